"""Times on the wire: RFC 3339 in UTC with milliseconds, there and back exactly."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.times import format_ms, format_optional_ms, parse_ms

LATEST_MS = 253_402_300_799_999
MOMENTS = st.integers(0, LATEST_MS)


@given(MOMENTS)
def test_a_time_survives_the_wire(time_ms: int) -> None:
    text = format_ms(time_ms)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert parse_ms(text) == time_ms


@given(MOMENTS, MOMENTS)
def test_text_sorts_as_time_does(one: int, other: int) -> None:
    assert (format_ms(one) < format_ms(other)) == (one < other)


@given(MOMENTS.filter(lambda ms: 86_400_000 < ms < LATEST_MS - 86_400_000), st.integers(-23 * 60, 23 * 60))
def test_an_offset_names_the_same_moment(time_ms: int, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    moment = datetime.fromtimestamp(time_ms // 1000, UTC) + timedelta(milliseconds=time_ms % 1000)
    assert parse_ms(moment.astimezone(zone).isoformat()) == time_ms


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01 00:00:01", 1000),
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123),
        ("2023-11-14T22:13:20.1235Z", 1_700_000_000_124),
        ("2023-11-14T22:13:20.1234567891Z", 1_700_000_000_123),
        ("2023-11-15T03:43:20.123+05:30", 1_700_000_000_123),
        ("20231114T221320Z", 1_700_000_000_000),
        ("9999-12-31T23:59:59.999Z", LATEST_MS),
    ],
)
def test_iso_8601_in_its_usual_forms(text: str, time_ms: int) -> None:
    assert parse_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-04-02",
        "1775124000",
        "2026-13-40T25:61:00Z",
        "2026-02-30T00:00:00Z",
        "2026-04-02T10:00:00Q",
        "0001-01-01T00:00:00+23:59",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999-01:00",
        "10000-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|outside the years"):
        parse_ms(text)


@given(st.text() | st.from_regex(r"[0-9T :.+-]{10,30}Z?", fullmatch=True))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        time_ms = parse_ms(text)
    except ValueError:
        return
    assert 0 <= time_ms <= LATEST_MS


def test_an_unknown_time_has_no_text() -> None:
    assert format_optional_ms(None) is None
    assert format_optional_ms(0) == "1970-01-01T00:00:00.000Z"
