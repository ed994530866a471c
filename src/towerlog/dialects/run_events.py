"""Events of a worker's report: one event → one draft, by a table of types.

A type without a row in `ROWS` is stored as `other` under its own name. That includes the types that only the server may
write: a worker cannot report that its lease was lost or that a cancel was requested.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from towerlog.dialects import checkpoint_event
from towerlog.dialects.base import MAX_LABEL_CHARS, DialectSettings
from towerlog.dialects.fields import (
    EMPTY_OBJECT,
    NULL,
    Count,
    JsonObject,
    below,
    bounded_text,
    cost_nanos_of,
    decode,
    decode_any,
    facts_named,
    invalid_field,
    one_line,
    optional_id,
    summary,
)
from towerlog.errors import TowerlogError
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.facts import NO_FACTS, Effects, Facts, LaneFacts
from towerlog.model.usage import Usage, UsageReport

MAX_PHASE_CHARS = 200
FAILED = "failed"
"""The error of a failure whose worker gave no reason."""

_NONE = msgspec.Raw(b"")
_NUMBER = re.compile(rb"[0-9]{1,15}")
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_OTHER = EventType.OTHER
_CALL_TYPES = frozenset({"error", "rate_limited", "budget_exceeded", "client_disconnect"})


class WorkerEvent(msgspec.Struct, gc=False):
    """One event of a report. `id` makes a retry harmless: the same id in a run is stored once."""

    type: str
    payload: JsonObject = NULL
    id: str | None = None


class _Phase(msgspec.Struct, gc=False):
    phase: msgspec.Raw = _NONE


class _Failure(msgspec.Struct, gc=False):
    error: msgspec.Raw = _NONE
    message: msgspec.Raw = _NONE
    fatal: msgspec.Raw = _NONE


class _Delta(msgspec.Struct, gc=False):
    content: str


class _Tool(msgspec.Struct, gc=False):
    tool_call_id: str | None = None
    name: msgspec.Raw = _NONE
    tool: msgspec.Raw = _NONE
    tool_name: msgspec.Raw = _NONE
    success: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE
    duration_ms: msgspec.Raw = _NONE


class _ModelCall(msgspec.Struct, gc=False):
    model: str | None = None
    input_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost_usd: msgspec.Raw = NULL
    duration_ms: Count | None = None
    status: str | None = None


class _Question(msgspec.Struct, gc=False):
    question: str | None = None


class _Answer(msgspec.Struct, gc=False):
    command_id: Count | None = None


_PHASE = msgspec.json.Decoder(_Phase)
_FAILURE = msgspec.json.Decoder(_Failure)
_DELTA = msgspec.json.Decoder(_Delta)
_TOOL = msgspec.json.Decoder(_Tool)
_MODEL_CALL = msgspec.json.Decoder(_ModelCall)
_QUESTION = msgspec.json.Decoder(_Question)
_ANSWER = msgspec.json.Decoder(_Answer)
_STRING = msgspec.json.Decoder(str)

Read = Callable[[bytes, str], tuple[EventType, Facts]]
"""(payload, its path for errors) → type and facts of the event."""


class Row(NamedTuple):
    """What a worker's type becomes: a fixed type and facts, or what `read` finds in the payload."""

    type: EventType
    facts: Facts = NO_FACTS
    read: Read | None = None


def worker_draft(event: WorkerEvent, index: int, run: RunById, settings: DialectSettings) -> Draft:
    """The draft of the event at `index` of its report; a wrong field raises `Invalid` below `events.<index>`."""
    try:
        return _draft(event, run, settings)
    except TowerlogError as error:
        raise below(f"events.{index}", error) from None


def _draft(event: WorkerEvent, run: RunById, settings: DialectSettings) -> Draft:
    if not event.type or len(event.type) > MAX_LABEL_CHARS:
        raise invalid_field("type", f"must have 1 to {MAX_LABEL_CHARS} characters")
    event_id = optional_id(event.id, "id") if event.id else None
    payload, where = bytes(event.payload), "payload"
    # Absent and null mean the same, and the data of an event is an object.
    if payload == b"null":
        payload = EMPTY_OBJECT
    if event.type == "checkpoint":
        return checkpoint_event.checkpoint_draft(payload, run, settings, where, event_id=event_id)
    data = one_line(payload, where, settings.max_depth, settings.max_event_bytes)
    row = ROWS.get(event.type)
    if row is None:
        return Draft(_OTHER, run, data, facts_named(event.type), None, event_id)
    kind, facts = (row.type, row.facts) if row.read is None else row.read(data, where)
    return Draft(kind, run, data, facts, None, event_id)


def failure_text(raw: bytes | msgspec.Raw, default: str | None = FAILED) -> str | None:
    """The reason in one line, from a string or from an object with a `message` or `error`."""
    found = decode_any(bytes(raw)) if bytes(raw) else None
    if isinstance(found, dict):
        # An object without a message is shown as its JSON.
        told = found.get("message") or found.get("error")
        found = told if isinstance(told, str) else bytes(raw).decode()
    return summary(found) or default if isinstance(found, str) else default


def _read_phase(data: bytes, where: str) -> tuple[EventType, Facts]:
    phase = _text(decode(_PHASE, data, where).phase)
    lane = LaneFacts(phase=bounded_text(phase, f"{where}.phase", MAX_PHASE_CHARS)) if phase else None
    return EventType.LANE_REPORT, Facts(name="phase_change", effects=None if lane is None else Effects(lane=lane))


def _read_error(data: bytes, where: str) -> tuple[EventType, Facts]:
    """An error is only recorded, unless it is marked `fatal`: then the run has failed."""
    if bytes(decode(_FAILURE, data, where).fatal) == b"true":
        return _read_failure(data, where)
    return EventType.OTHER, Facts(name="error")


def _read_failure(data: bytes, where: str) -> tuple[EventType, Facts]:
    failure = decode(_FAILURE, data, where)
    told = failure_text(failure.error, None) or failure_text(failure.message)
    return EventType.RUN_FAILED, Facts(error=told, success=False)


def _read_cancelled(data: bytes, where: str) -> tuple[EventType, Facts]:
    told = failure_text(decode(_FAILURE, data, where).error, None)
    return EventType.RUN_CANCELLED, NO_FACTS if told is None else Facts(error=told)


def _read_delta(data: bytes, where: str) -> tuple[EventType, Facts]:
    decode(_DELTA, data, where)
    return EventType.MESSAGE_DELTA, NO_FACTS


def _read_tool_call(data: bytes, where: str) -> tuple[EventType, Facts]:
    sent = decode(_TOOL, data, where)
    return EventType.TOOL_CALL, Facts(tool=_tool_name(sent, where), tool_call_id=_tool_call_id(sent, where))


def _read_tool_result(data: bytes, where: str) -> tuple[EventType, Facts]:
    sent = decode(_TOOL, data, where)
    duration = bytes(sent.duration_ms)
    return EventType.TOOL_RESULT, Facts(
        tool=_tool_name(sent, where),
        tool_call_id=_tool_call_id(sent, where),
        success=_success(bytes(sent.success), bytes(sent.error)),
        duration_ms=int(duration) if _NUMBER.fullmatch(duration) else None,
    )


def _tool_name(sent: _Tool, where: str) -> str | None:
    name = _text(sent.name) or _text(sent.tool) or _text(sent.tool_name)
    return bounded_text(name, f"{where}.name")


def _tool_call_id(sent: _Tool, where: str) -> str | None:
    return optional_id(sent.tool_call_id, f"{where}.tool_call_id")


def _success(success: bytes, error: bytes) -> bool | None:
    # Anything but a JSON boolean is ignored; then an error decides.
    if success in {b"true", b"false"}:
        return success == b"true"
    return None if error in {b"", b"null", b'""', b"false"} else False


def _read_model_call(data: bytes, where: str) -> tuple[EventType, Facts]:
    """The buckets are disjoint: `input_tokens` excludes tokens that were read from or written to a cache."""
    sent = decode(_MODEL_CALL, data, where)
    usage = Usage(
        input_tokens=sent.input_tokens,
        cached_input_tokens=sent.cached_input_tokens,
        cache_write_tokens=sent.cache_write_tokens,
        output_tokens=sent.output_tokens,
        reasoning_tokens=sent.reasoning_tokens,
        cost_nanos=cost_nanos_of(sent.cost_usd, f"{where}.cost_usd"),
    )
    return EventType.MODEL_CALL, Facts(
        name=f"inference_{sent.status}" if sent.status in _CALL_TYPES else None,
        success=sent.status not in _CALL_TYPES,
        duration_ms=sent.duration_ms,
        effects=Effects(report=UsageReport(usage, "delta"), model=bounded_text(sent.model, f"{where}.model")),
    )


def _read_waiting(data: bytes, where: str) -> tuple[EventType, Facts]:
    question = decode(_QUESTION, data, where).question
    return EventType.RUN_WAITING, Facts(question=summary(question)) if question else NO_FACTS


def _read_acknowledged(data: bytes, where: str) -> tuple[EventType, Facts]:
    command_id = decode(_ANSWER, data, where).command_id
    facts = NO_FACTS if command_id is None else Facts(effects=Effects(command_id=command_id))
    return EventType.COMMAND_ACKNOWLEDGED, facts


def _read_input(data: bytes, where: str) -> tuple[EventType, Facts]:
    """An acknowledged input: by its id, else the oldest one pending."""
    command_id = decode(_ANSWER, data, where).command_id
    effects = Effects(acknowledges="input") if command_id is None else Effects(command_id=command_id)
    return EventType.RUN_INPUT, Facts(effects=effects)


def _text(raw: msgspec.Raw) -> str | None:
    """The value of a field that holds a string; None for anything else."""
    text = bytes(raw)
    return _STRING.decode(text) if text[:1] == b'"' else None


def _named(type_: EventType, name: str) -> Row:
    return Row(type_, facts_named(name))


ROWS: dict[str, Row] = {
    "heartbeat": _named(EventType.LANE_REPORT, "heartbeat"),
    "log_line": _named(EventType.LANE_REPORT, "log_line"),
    "phase_change": Row(EventType.LANE_REPORT, read=_read_phase),
    "error": Row(EventType.OTHER, read=_read_error),
    "ship_complete": Row(EventType.RUN_COMPLETED, Facts(name="ship_complete", success=True)),
    "run.started": Row(EventType.RUN_STARTED),
    "run.paused": Row(EventType.RUN_PAUSED, Facts(effects=Effects(acknowledges="pause"))),
    "run.resumed": Row(EventType.RUN_RESUMED, Facts(effects=Effects(acknowledges="resume"))),
    "run.waiting_for_input": Row(EventType.RUN_WAITING, read=_read_waiting),
    "run.input": Row(EventType.RUN_INPUT, read=_read_input),
    "run.completed": Row(EventType.RUN_COMPLETED, Facts(success=True)),
    "run.failed": Row(EventType.RUN_FAILED, read=_read_failure),
    "run.cancelled": Row(EventType.RUN_CANCELLED, read=_read_cancelled),
    "budget.warning": Row(EventType.BUDGET_WARNING),
    "budget.exceeded": Row(EventType.BUDGET_EXCEEDED),
    "message.delta": Row(EventType.MESSAGE_DELTA, read=_read_delta),
    "tool.call": Row(EventType.TOOL_CALL, read=_read_tool_call),
    "tool.result": Row(EventType.TOOL_RESULT, read=_read_tool_result),
    "model.call": Row(EventType.MODEL_CALL, read=_read_model_call),
    "step": Row(EventType.STEP),
    "command.acknowledged": Row(EventType.COMMAND_ACKNOWLEDGED, read=_read_acknowledged),
}
"""Type of a worker's event → what it becomes. `checkpoint` is read by `checkpoint_event.py`."""
