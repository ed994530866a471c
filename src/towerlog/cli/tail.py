"""What `towerlog runs tail` shows: deltas joined to text, every other event on a line with the time it happened at."""

from __future__ import annotations

import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from towerlog.cli.escapes import json_line, visible, visible_text
from towerlog.cli.formatting import counted, duration, money, number
from towerlog.cli.output import cut, note
from towerlog.cli.tree import Branch, Remaining, Told
from towerlog.model.times import parse_ms
from towerlog.sdk.api.shapes import Gap, RunEvent

INTERRUPTED = 130
MAX_TEXT_CHARS = 200
"""Characters of a value that are shown; `--json` has all of it."""
STORED_LATER = " stored later"
INDENT = "  "
MAX_DEPTH = 10
MAX_LABEL_CHARS = 16
MAX_SPANS = 1000
"""Spans whose depth is remembered; past it the oldest is forgotten, and what happens in it stands at the margin."""
_WHOLE = frozenset(
    {"run.waiting_for_input", "run.input", "approval.expired", "run.completed", "run.failed", "run.lost"}
)
"""What a person has to read: it goes on in the next line of the screen."""
_PLACES = frozenset(
    {"thread_id", "session_id", "trace_id", "parent_trace_id", "agent_id", "run_id", "sdk_run_id", "parent_span_id"}
)
"""Members that say where an event belongs, which its line shows otherwise."""


def show_tail(
    events: Iterable[Told | Remaining], as_json: bool, *, utc: bool = False, until_question: bool = False
) -> None:
    """Shows events as they come; `until_question`: to the first question. Ctrl-C ends it, with exit code 130."""
    screen = Screen(utc)
    try:
        for told in events:
            if isinstance(told, Remaining):
                screen.close()
                note(f"The run has ended. {counted(told.runs, 'run')} below it not yet: Ctrl-C stops watching.")
                continue
            event = told.event
            if as_json:
                gap = {"run_id": told.branch.run_id, "gap": event.raw}
                click.echo(json_line(gap if isinstance(event, Gap) else event.raw, compact=True))
            else:
                screen.show(told)
            if until_question and isinstance(event, RunEvent) and event.type == "run.waiting_for_input":
                break
    except KeyboardInterrupt:
        screen.close()
        raise SystemExit(INTERRUPTED) from None
    screen.close()


class Screen:
    """Prints events, each below what it happened in, and keeps track of whether the last line of text has ended.

    Those of a run below the one that is followed stand further to the right, behind the name of their agent.
    """

    def __init__(self, utc: bool = False) -> None:
        """Begins at the start of a line."""
        self._utc = utc
        self._writer: Branch | None = None
        """Whose text the current line is; None at the start of a line."""
        self._depths: OrderedDict[tuple[str, str], int] = OrderedDict()
        """How deep the newest spans stand."""
        self._latest = (0, "")
        """The latest moment that was shown, in whole seconds, and the run that told of it."""

    def show(self, told: Told) -> None:
        """Prints an event."""
        event, branch = told.event, told.branch
        if isinstance(event, Gap):
            self.close()
            note(words_of_gap(event))
            return
        data = event.data if isinstance(event.data, dict) else {}
        if event.type == "other" and data.get("name") == "heartbeat":
            return
        # Senders name things as their dialect does; the server says them beside the data, under one name for all.
        data = {**data, **event.members}
        if event.duration_ms is not None:
            data["duration_ms"] = event.duration_ms
        if event.type == "message.delta":
            self._write(branch, visible_text(event.text or ""))
            return
        self.close()
        when = self._time(event.happened_at) + self._order(branch, event.happened_at)
        head = f"{when}  {_margin(branch)}{INDENT * self._depth(branch, data)}"
        line = head + line_of(event.type, data)
        if sys.stdout.isatty() and event.type not in _WHOLE:
            line = cut(line, shutil.get_terminal_size().columns)
        click.echo(line)

    def _time(self, text: str) -> str:
        """The time of day, in this machine's zone or in UTC."""
        try:
            moment = datetime.fromtimestamp(parse_ms(text) / 1000, UTC)
        except ValueError:
            return visible(text)
        return f"{moment:%H:%M:%S}Z" if self._utc else f"{moment.astimezone():%H:%M:%S}"

    def _order(self, branch: Branch, text: str) -> str:
        """Says of an event that stands below a later one of another run that it was stored after that."""
        try:
            second = parse_ms(text) // 1000
        except ValueError:
            return ""
        latest, run_id = self._latest
        self._latest = max(self._latest, (second, branch.run_id))
        return STORED_LATER if second < latest and run_id != branch.run_id else ""

    def _depth(self, branch: Branch, data: Mapping[str, Any]) -> int:
        """How many open spans of its run the event stands in."""
        parent = data.get("parent_span_id")
        above = self._depths.get((branch.run_id, parent)) if isinstance(parent, str) else None
        depth = 0 if above is None else min(above + 1, MAX_DEPTH)
        own = data.get("span_id") or data.get("tool_call_id")
        if isinstance(own, str):
            self._depths[branch.run_id, own] = depth
            if len(self._depths) > MAX_SPANS:
                self._depths.popitem(last=False)
        return depth

    def _write(self, branch: Branch, text: str) -> None:
        """A piece of text: of one run after the other, each line with its margin."""
        if not text:
            return
        if self._writer is not branch:
            self.close()
        *lines, rest = text.split("\n")
        for line in (*(f"{line}\n" for line in lines), *([rest] if rest else [])):
            click.echo(line if self._writer is branch else _margin(branch) + line, nl=False)
            self._writer = None if line.endswith("\n") else branch

    def close(self) -> None:
        """Ends the current line of text."""
        if self._writer is not None:
            click.echo()
            self._writer = None


def _margin(branch: Branch) -> str:
    """What stands before what a run tells: nothing for the one that is followed."""
    if not branch.depth:
        return ""
    return f"{INDENT * min(branch.depth, MAX_DEPTH)}{visible(branch.label)[:MAX_LABEL_CHARS]}  "


def words_of_gap(gap: Gap) -> str:
    """A gap in words."""
    if gap.oldest_seq is None:
        return f"[gap] {gap.reason or 'events are missing'}; starting again from the beginning"
    return f"[gap] {number(gap.missing)} events before seq {gap.oldest_seq} are no longer kept"


def line_of(type_: str, data: Mapping[str, Any]) -> str:
    """An event on one line: its type and the main part of its data."""
    words = _WORDS.get(type_, _all_of)
    return visible(f"[{type_}] {words(data)}".rstrip())


def _all_of(data: Mapping[str, Any]) -> str:
    """What there is no better word for: all members but those that say only where the event belongs."""
    told = {name: value for name, value in data.items() if value is not None and name not in _PLACES}
    return _short(told or None)


def _other(data: Mapping[str, Any]) -> str:
    payload = data.get("payload")
    said = _all_of(payload) if isinstance(payload, dict) else _short(payload)
    return " ".join(word for word in (_short(data.get("name")), said) if word)


def _tool_call(data: Mapping[str, Any]) -> str:
    return f"{_tool(data)}({_short(data.get('arguments'))})"


def _tool_result(data: Mapping[str, Any]) -> str:
    took = _took(data)
    well = "failed" if data.get("success") is False or data.get("error") else "ok"
    what = _short(data.get("error") or data.get("result"))
    return " ".join(word for word in (_tool(data), well, took and f"in {took}", what and f"→ {what}") if word)


def _tool(data: Mapping[str, Any]) -> str:
    return str(data.get("tool") or "tool")


def _model_call(data: Mapping[str, Any]) -> str:
    failed = "failed" if data.get("success") is False else ""
    return ", ".join(word for word in (_short(data.get("model")), failed, *_figures(data), _took(data)) if word)


def _checkpoint(data: Mapping[str, Any]) -> str:
    step = data.get("step_index")
    words = (f"step {step}" if isinstance(step, int) else "", _short(data.get("status")), *_figures(data))
    return ", ".join(word for word in words if word) or _all_of(data)


def _figures(data: Mapping[str, Any]) -> tuple[str, str]:
    """Tokens and cost. The tokens are totals, as `runs show` has them: what was cached is a part of the input."""
    went_in, cached, came_out = (
        count if isinstance(count := data.get(name), int) else None
        for name in ("total_input_tokens", "cached_input_tokens", "total_output_tokens")
    )
    tokens = " → ".join(number(count) or "?" for count in (went_in, came_out))
    tokens = "" if went_in is None and came_out is None else tokens
    cost = data.get("cost_usd")
    return (
        f"{tokens} ({number(cached)} cached)" if tokens and cached else tokens,
        money(cost) if isinstance(cost, int | float) else "",
    )


def _step(data: Mapping[str, Any]) -> str:
    payload, result = data.get("payload"), _short(data.get("result"))
    words = (data.get("name"), data.get("phase"), _took(data), _short(payload) if payload else "")
    said = " ".join(str(word) for word in (*words, result and f"→ {result}") if word)
    return said or _all_of(data)


def _cancelled(data: Mapping[str, Any]) -> str:
    words = ("forced" if data.get("forced") else "", _short(data.get("reason")))
    return ": ".join(word for word in words if word)


def _lost_lane(data: Mapping[str, Any]) -> str:
    attempt = data.get("attempt")
    return _short(data.get("worker_id")) + (f", attempt {attempt}" if isinstance(attempt, int) else "")


def _acknowledged(data: Mapping[str, Any]) -> str:
    kind = _short(data.get("type")) + (", not taken" if data.get("taken") is False else "")
    return ": ".join(word for word in (kind, _short(data.get("note"))) if word)


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
    return " ".join(word for word in (_short(data.get("content")), _by(data, "answered_by"), _which(data)) if word)


def _message(data: Mapping[str, Any]) -> str:
    return " ".join(word for word in (_short(data.get("content")), _by(data, "written_by")) if word)


def _by(data: Mapping[str, Any], member: str) -> str:
    name = data.get(member)
    return f"by {_short(name)}" if name else ""


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
    "run.started": _member("input"),
    "tool.call": _tool_call,
    "tool.result": _tool_result,
    "model.call": _model_call,
    "step": _step,
    "checkpoint": _checkpoint,
    "other": _other,
    "lane.report": lambda data: _short(data.get("text")) or _all_of(data),
    "run.waiting_for_input": _question,
    "run.input": _answer,
    "run.message": _message,
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
