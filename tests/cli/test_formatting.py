"""Figures for people, and points in time that are said as people say them."""

from __future__ import annotations

import click
import pytest

from towerlog.ambient import SystemClock
from towerlog.cli import formatting
from towerlog.model.times import format_ms


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (None, ""),
        (0, "0 ms"),
        (999, "999 ms"),
        (999.6, "1.0 s"),
        (1_500, "1.5 s"),
        (5_088, "5.0 s"),
        (59_999, "59.9 s"),
        (61_000, "1 min 1 s"),
        (3_660_000, "1 h 1 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations(milliseconds, words) -> None:
    assert formatting.duration(milliseconds) == words


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"id": "call_1", "name": "publish", "arguments": {"title": "Q3"}}, 'publish {"title": "Q3"}'),
        ({"type": "function", "function": {"name": "rm", "arguments": '{"path":"/"}'}}, 'rm {"path":"/"}'),
        ({"tool_name": "ls", "args": {}}, "ls {}"),
        ({"tool": "now"}, "now"),
        ({"what": 1}, '{"what": 1}'),
        ("publish", '"publish"'),
        (7, "7"),
    ],
)
def test_tool_calls_are_shown_by_name_and_arguments(call, words) -> None:
    assert formatting.calls_in([call, call]) == [words, words]


def test_what_is_no_list_of_tool_calls() -> None:
    assert formatting.calls_in(None) == []
    assert formatting.calls_in({"name": "ls"}) == ["ls"]


def test_a_duration_that_no_number_is_is_unknown() -> None:
    """As `1e400` in somebody's event."""
    assert formatting.duration(float("inf")) == ""


def test_unknown_money_is_not_nought() -> None:
    assert [formatting.money(dollars) for dollars in (None, 0, 0.0012, 12.345)] == ["", "$0.00", "$0.0012", "$12.35"]
    assert [formatting.money(dollars) for dollars in (0.00003, 0.0001)] == ["<$0.0001", "$0.0001"]


def test_numbers_and_sizes() -> None:
    assert [formatting.number(count) for count in (None, 0, 1234567)] == ["", "0", "1,234,567"]
    sizes = [formatting.size(count) for count in (0, 1023, 1536, 5 << 20, 3 << 40)]
    assert sizes == ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 TiB"]


def point(text: str | None) -> str | None:
    command = click.Command("x")
    return formatting.point_in_time(click.Context(command), click.Option(["--since"]), text)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("90m", 5400), ("24h", 86_400), ("7d", 604_800)])
def test_so_long_ago_is_a_point_in_time(text, seconds) -> None:
    before = SystemClock().now_ms() - seconds * 1000
    said = point(text)
    after = SystemClock().now_ms() - seconds * 1000
    assert said is not None
    assert format_ms(before) <= said <= format_ms(after)


def test_anything_else_is_a_time_or_refused_with_both_forms() -> None:
    assert point("2026-01-01T00:00:00Z") == "2026-01-01T00:00:00Z"
    assert point(None) is None
    for wrong in ("soon", "24", "2026-13-01T00:00:00Z", ""):
        with pytest.raises(click.BadParameter, match=r"neither a time such as .* nor an age such as 90m"):
            point(wrong)
