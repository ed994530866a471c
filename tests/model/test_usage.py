"""Tokens and money: exact, never negative, unknown never nought."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.usage import (
    MAX_DOLLARS,
    NANOS_PER_DOLLAR,
    NO_USAGE,
    Usage,
    UsageReport,
    add,
    add_known,
    dollars_json,
    format_dollars,
    parse_dollars,
    subtract,
)

FIGURES = st.none() | st.integers(0, 2**53)
USAGES = st.builds(Usage, *[FIGURES] * 7)
NANOS = st.integers(0, MAX_DOLLARS * NANOS_PER_DOLLAR)


@given(NANOS)
def test_money_survives_the_wire(nanos: int) -> None:
    assert parse_dollars(format_dollars(nanos)) == nanos


@given(NANOS)
def test_money_is_written_as_a_plain_json_number_without_spare_digits(nanos: int) -> None:
    text = format_dollars(nanos)
    assert Decimal(text) * NANOS_PER_DOLLAR == nanos
    assert json.loads(text) == pytest.approx(nanos / NANOS_PER_DOLLAR)
    assert "e" not in text
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.0", 0),
        ("0.00231", 2_310_000),
        ("0.002310", 2_310_000),
        ("2.31e-3", 2_310_000),
        ("1E2", 100_000_000_000),
        ("0.000000001", 1),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.1", 100_000_000),
        ("12345.678901234", 12_345_678_901_234),
        (str(MAX_DOLLARS), MAX_DOLLARS * NANOS_PER_DOLLAR),
    ],
)
def test_dollars_are_read_exactly(text: str, nanos: int) -> None:
    assert parse_dollars(text) == nanos


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be a number"),
        ('"1"', "must be a number"),
        ("true", "must be a number"),
        ("null", "must be a number"),
        ("{}", "must be a number"),
        ("NaN", "must be a number"),
        ("Infinity", "must be a number"),
        ("1x", "must be a number"),
        ("-0.000000001", "must not be negative"),
        ("-1e300", "must not be negative"),
        (f"{MAX_DOLLARS}.000000001", "is larger than 9007199254"),
        ("1e300", "is larger than 9007199254"),
    ],
)
def test_wrong_money_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_dollars(text)


@given(st.text())
def test_any_text_is_money_or_a_value_error(text: str) -> None:
    try:
        nanos = parse_dollars(text)
    except ValueError:
        return
    assert 0 <= nanos <= MAX_DOLLARS * NANOS_PER_DOLLAR


@pytest.mark.parametrize(
    ("nanos", "text"), [(0, "0"), (1, "0.000000001"), (-1, "-0.000000001"), (10**9, "1"), (1_500_000_000, "1.5")]
)
def test_money_as_text(nanos: int, text: str) -> None:
    assert format_dollars(nanos) == text


def test_unknown_money_is_null() -> None:
    assert msgspec.json.encode([dollars_json(None), dollars_json(0), dollars_json(2_310_000)]) == b"[null,0,0.00231]"


def test_unknown_is_not_nought() -> None:
    assert add_known() is None
    assert add_known(None, None) is None
    assert add_known(None, 0) == 0
    assert add_known(3, None, 4) == 7


@given(USAGES, USAGES)
def test_a_sum_is_made_bucket_by_bucket(left: Usage, right: Usage) -> None:
    whole = add(left, right)
    for name in Usage.__struct_fields__:
        parts = getattr(left, name), getattr(right, name)
        assert getattr(whole, name) == add_known(*parts)


@given(USAGES)
def test_nothing_is_neutral(usage: Usage) -> None:
    assert add(usage, NO_USAGE) == add(NO_USAGE, usage) == usage
    assert subtract(usage, NO_USAGE) == usage


@given(USAGES, USAGES)
def test_the_difference_leads_from_the_old_total_to_the_new(new: Usage, old: Usage) -> None:
    """Bucket by bucket; what the new total no longer knows counts as nought."""
    reached = add(old, subtract(new, old))
    for name in Usage.__struct_fields__:
        now, before = getattr(new, name), getattr(old, name)
        assert getattr(reached, name) == (now if before is None else now or 0)


@pytest.mark.parametrize(
    ("usage", "inputs", "outputs", "everything"),
    [
        (Usage(), None, None, None),
        (Usage(total_tokens=9), None, None, 9),
        (Usage(input_tokens=0), 0, None, 0),
        (Usage(input_tokens=1, cached_input_tokens=2, cache_write_tokens=4), 7, None, 7),
        (Usage(output_tokens=8, reasoning_tokens=16), None, 24, 24),
        (Usage(input_tokens=1, output_tokens=8, total_tokens=1000), 1, 8, 1000),
    ],
)
def test_buckets_add_up(usage: Usage, inputs: int | None, outputs: int | None, everything: int | None) -> None:
    assert (usage.all_input_tokens(), usage.all_output_tokens(), usage.all_tokens()) == (inputs, outputs, everything)


@pytest.mark.parametrize(
    ("usage", "rate"),
    [
        (Usage(), None),
        (Usage(input_tokens=10), None),
        (Usage(cached_input_tokens=0), None),
        (Usage(input_tokens=10, cached_input_tokens=0), 0.0),
        (Usage(input_tokens=60, cached_input_tokens=30, cache_write_tokens=10), 0.3),
        (Usage(cached_input_tokens=5), 1.0),
    ],
)
def test_the_cache_hit_rate_is_known_only_with_its_parts(usage: Usage, rate: float | None) -> None:
    assert usage.cache_hit_rate() == rate


@given(USAGES, st.sampled_from(["total", "delta"]), st.booleans())
def test_a_report_survives_its_storage(usage: Usage, kind: str, whole_run: bool) -> None:
    report = msgspec.convert({"usage": usage, "kind": kind, "whole_run": whole_run}, UsageReport)
    assert msgspec.json.decode(msgspec.json.encode(report), type=UsageReport) == report


def test_a_report_of_another_kind_is_no_report() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"usage":{},"kind":"guess"}', type=UsageReport)
