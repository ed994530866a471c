"""What `towerlog runs tail` shows: deltas joined to text, every other event on a line with its time."""

from __future__ import annotations

import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from towerlog.cli.formatting import duration, money, number
from towerlog.cli.output import note
from towerlog.cli.untrusted import json_line, visible, visible_text
from towerlog.model.times import parse_ms
from towerlog.sdk.api.shapes import Gap, RunEvent

INTERRUPTED = 130
MAX_TEXT_CHARS = 200
"""Characters of a value that are shown; `--json` has all of it."""
INDENT = "  "
MAX_DEPTH = 10
MAX_SPANS = 1000
"""Spans whose depth is remembered; past it the oldest is forgotten, and what happens in it stands at the margin."""
_WHOLE = frozenset({"run.waiting_for_input", "run.input", "run.completed", "run.failed", "run.lost"})
"""What a person has to read: it goes on in the next line of the screen."""


def show_tail(
    events: Iterable[RunEvent | Gap], as_json: bool, *, utc: bool = False, until_question: bool = False
) -> None:
    """Shows events as they come; `until_question`: to the first question. Ctrl-C ends it, with exit code 130."""
    screen = Screen(utc)
    try:
        for event in events:
            if as_json:
                click.echo(json_line({"gap": event.raw} if isinstance(event, Gap) else event.raw, compact=True))
            else:
                screen.show(event)
            if until_question and isinstance(event, RunEvent) and event.type == "run.waiting_for_input":
                break
    except KeyboardInterrupt:
        screen.close()
        raise SystemExit(INTERRUPTED) from None
    screen.close()


class Screen:
    """Prints events, each below what it happened in, and keeps track of whether the last line of text has ended."""

    def __init__(self, utc: bool = False) -> None:
        """Begins at the start of a line."""
        self._utc = utc
        self._inside = False
        self._depths: OrderedDict[str, int] = OrderedDict()
        """How deep the newest spans stand."""

    def show(self, event: RunEvent | Gap) -> None:
        """Prints an event."""
        if isinstance(event, Gap):
            self.close()
            note(words_of_gap(event))
            return
        data = event.data if isinstance(event.data, dict) else {}
        if event.type == "other" and data.get("name") == "heartbeat":
            return
        if event.type == "message.delta":
            self._write(visible_text(str(data.get("content", ""))))
            return
        self.close()
        head = f"{self._time(event.created_at)}  {INDENT * self._depth(data)}"
        line = head + line_of(event.type, data)
        if sys.stdout.isatty() and event.type not in _WHOLE:
            line = _cut(line, shutil.get_terminal_size().columns)
        click.echo(line)

    def _time(self, text: str) -> str:
        """The time of day, in this machine's zone or in UTC."""
        try:
            moment = datetime.fromtimestamp(parse_ms(text) / 1000, UTC)
        except ValueError:
            return visible(text)
        return f"{moment:%H:%M:%S}Z" if self._utc else f"{moment.astimezone():%H:%M:%S}"

    def _depth(self, data: Mapping[str, Any]) -> int:
        """How many open spans the event stands in."""
        parent = data.get("parent_span_id")
        above = self._depths.get(parent) if isinstance(parent, str) else None
        depth = 0 if above is None else min(above + 1, MAX_DEPTH)
        own = data.get("span_id") or data.get("tool_call_id")
        if isinstance(own, str):
            self._depths[own] = depth
            if len(self._depths) > MAX_SPANS:
                self._depths.popitem(last=False)
        return depth

    def _write(self, text: str) -> None:
        if text:
            click.echo(text, nl=False)
            self._inside = not text.endswith("\n")

    def close(self) -> None:
        """Ends the current line of text."""
        if self._inside:
            click.echo()
            self._inside = False


def _cut(line: str, width: int) -> str:
    """The line, cut where the screen ends."""
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def words_of_gap(gap: Gap) -> str:
    """A gap in words."""
    if gap.oldest_seq is None:
        return f"[gap] {gap.reason or 'events are missing'}; starting again from the beginning"
    return f"[gap] {number(gap.missing)} events before seq {gap.oldest_seq} are no longer kept"


def line_of(type_: str, data: Mapping[str, Any]) -> str:
    """An event on one line: its type and the main part of its data."""
    words = _WORDS.get(type_)
    said = words(data) if words else _short({name: value for name, value in data.items() if value is not None} or None)
    return visible(f"[{type_}] {said}".rstrip())


def _tool_call(data: Mapping[str, Any]) -> str:
    arguments = data.get("arguments", data.get("input"))
    return f"{_tool(data)}({_short(arguments)})"


def _tool_result(data: Mapping[str, Any]) -> str:
    took = _took(data)
    well = "failed" if data.get("success") is False or data.get("error") else "ok"
    what = _short(data.get("error") or data.get("result"))
    return " ".join(word for word in (_tool(data), well, took and f"in {took}", what and f"→ {what}") if word)


def _tool(data: Mapping[str, Any]) -> str:
    return str(data.get("tool") or data.get("tool_name") or data.get("name") or "tool")


def _model_call(data: Mapping[str, Any]) -> str:
    tokens = [number(data.get(name)) for name in ("input_tokens", "output_tokens") if isinstance(data.get(name), int)]
    cost = data.get("cost_usd")
    figures = (" → ".join(tokens), money(cost) if isinstance(cost, int | float) else "", _took(data))
    return ", ".join(word for word in (str(data.get("model") or ""), *figures) if word)


def _step(data: Mapping[str, Any]) -> str:
    payload = data.get("payload")
    name = data.get("name") or data.get("node_name")
    words = (name, data.get("phase"), _took(data), _short(payload) if payload else "")
    return " ".join(str(word) for word in words if word) or _short(data or None)


def _cancelled(data: Mapping[str, Any]) -> str:
    words = ("forced" if data.get("forced") else "", _short(data.get("reason")))
    return ": ".join(word for word in words if word)


def _lost_lane(data: Mapping[str, Any]) -> str:
    attempt = data.get("attempt")
    return _short(data.get("worker_id")) + (f", attempt {attempt}" if isinstance(attempt, int) else "")


def _acknowledged(data: Mapping[str, Any]) -> str:
    words = (_short(data.get("type")), _short(data.get("note")))
    return ": ".join(word for word in words if word)


def _took(data: Mapping[str, Any]) -> str:
    milliseconds = data.get("duration_ms")
    return duration(milliseconds) if isinstance(milliseconds, int | float) else ""


def _member(*names: str) -> Callable[[Mapping[str, Any]], str]:
    """The first of these members that is present."""

    def words(data: Mapping[str, Any]) -> str:
        return next((_short(data[name]) for name in names if data.get(name) is not None), "")

    return words


def _question(data: Mapping[str, Any]) -> str:
    return " ".join(word for word in (_short(data.get("question")), _which(data)) if word)


def _answer(data: Mapping[str, Any]) -> str:
    return " ".join(word for word in (_short(data.get("content")), _which(data)) if word)


def _which(data: Mapping[str, Any]) -> str:
    """Which question it is: a run may have several open, and `runs answer --question` names one."""
    question_id = data.get("question_id")
    return f"(question {question_id})" if isinstance(question_id, int) else ""


def _short(value: Any) -> str:
    """A value, shortened; text without quotes."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_line(value)
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "…"


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "tool.call": _tool_call,
    "tool.result": _tool_result,
    "model.call": _model_call,
    "step": _step,
    "run.waiting_for_input": _question,
    "run.input": _answer,
    "run.message": _member("content"),
    "run.question_withdrawn": _member("reason"),
    "run.completed": _member("result"),
    "run.failed": _member("error"),
    "run.lost": _member("error"),
    "run.silent": lambda data: f"no events since {data.get('silent_since')}",
    "run.cancel_requested": _member("reason"),
    "run.cancelled": _cancelled,
    "run.pause_requested": _member("reason"),
    "run.resume_requested": _member("reason"),
    "command.delivered": _member("type"),
    "command.acknowledged": _acknowledged,
    "lane.claimed": _member("worker_id"),
    "lane.lost": _lost_lane,
}
