"""Values as people read them: durations, money, counts, sizes, points in time, tool calls."""

from __future__ import annotations

import math
import re

import click

from towerlog.ambient import SystemClock
from towerlog.cli.escapes import json_line
from towerlog.model.times import format_ms, parse_ms

LEAST_SHOWN = 0.0001
"""The smallest cost that is shown as a figure, in dollars."""
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
TIME_FORMS = "a time such as 2026-04-02T10:00:00Z nor an age such as 90m, 24h or 7d"
_CALL_NAMES = ("name", "tool_name", "tool", "toolName")
_CALL_ARGUMENTS = ("arguments", "args", "input")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration(milliseconds: float | None) -> str:
    """A duration in at most two units; empty where it is unknown, or larger than any number."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return ""
    seconds = milliseconds / 1000
    if seconds < 60:
        # Cut as the minutes below are, and as the dashboard does it: nothing takes longer than it did.
        return f"{round(milliseconds) // 100 / 10:.1f} s" if milliseconds >= 999.5 else f"{milliseconds:.0f} ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def calls_in(tool_calls: object) -> list[str]:
    """Tool calls as frameworks write them, each as its name and its arguments; what is none of those, as JSON."""
    calls = tool_calls if isinstance(tool_calls, list) else [] if tool_calls is None else [tool_calls]
    return [_call(call) for call in calls]


def _call(given: object) -> str:
    if not isinstance(given, dict):
        return json_line(given)
    inner = given.get("function")
    call = inner if isinstance(inner, dict) else given
    name = next((call[key] for key in _CALL_NAMES if isinstance(call.get(key), str)), None)
    if name is None:
        return json_line(given)
    arguments = next((call[key] for key in _CALL_ARGUMENTS if call.get(key) is not None), None)
    if arguments is None:
        return str(name)
    # Arguments are often JSON in a text.
    return f"{name} {arguments if isinstance(arguments, str) else json_line(arguments)}"


def ago(milliseconds: int) -> str:
    """How long ago something was, in one unit; what lies ahead, as between clocks that differ, in the same way."""
    seconds = abs(milliseconds) // 1000
    if seconds == 0:
        return "now"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    unit, length = next((unit, length) for unit, length in units if seconds >= length)
    words = f"{seconds // length} {unit}"
    return f"{words} ago" if milliseconds > 0 else f"in {words}"


def money(dollars: float | None) -> str:
    """Dollars; empty where the cost is unknown. A cost that is there is never shown as none."""
    if dollars is None:
        return ""
    if 0 < dollars < LEAST_SHOWN:
        return f"<${LEAST_SHOWN}"
    return f"${dollars:.2f}" if dollars == 0 or dollars >= 1 else f"${dollars:.4f}"


def cost_cell(dollars: float | None, unpriced: int) -> str:
    """A cost in a table; with a plus where it leaves out calls without a price, which alone are `unpriced`."""
    if not unpriced:
        return money(dollars)
    return "unpriced" if dollars is None else f"{money(dollars)}+"


def cost_words(dollars: float | None, source: str | None, prices: str | None, unpriced: int) -> str:
    """A cost, where it comes from, and how many calls it leaves out; empty where nothing is known of it."""
    words = money(dollars)
    if source in ("computed", "mixed"):
        words += f" ({'partly ' if source == 'mixed' else ''}computed{f' with {prices}' if prices else ''})"
    left_out = f"{counted(unpriced, 'call')} unpriced" if unpriced else ""
    return ", ".join(word for word in (words, left_out) if word)


def number(count: int | None) -> str:
    """With thousands separators; empty where it is unknown."""
    return "" if count is None else f"{count:,}"


def counted(count: int, noun: str) -> str:
    """`1 event`, `12,345 events`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def point_in_time(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """The value of an option: RFC 3339 as it is, or an age such as `90m`, `24h` or `7d`."""
    if text is None:
        return None
    found = _AGO.fullmatch(text.strip())
    if found is None:
        try:
            parse_ms(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither {TIME_FORMS}") from None
        return text
    return format_ms(max(SystemClock().now_ms() - int(found[1]) * _SECONDS[found[2]] * 1000, 0))


since_option = click.option(
    "--since", callback=point_in_time, help="Created at or after: RFC 3339, or an age such as 90m, 24h, 7d."
)
limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1), help="Maximum number of rows."
)
until_option = click.option(
    "--until", callback=point_in_time, help="Created before: RFC 3339, or an age such as 90m, 24h, 7d."
)
