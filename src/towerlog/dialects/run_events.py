"""Events of a worker's report: one event → one draft, by a table of types.

A type without a row in `ROWS` is stored as `other` under its own name. That includes the types that only the server may
write: a worker cannot report that its lease was lost or that a cancel was requested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from towerlog.dialects import checkpoint_event, details
from towerlog.dialects.approvals.terms import SaidQuestion, terms_of
from towerlog.dialects.base import MAX_LABEL_CHARS, DialectSettings
from towerlog.dialects.details import ForeignId, Label, Phase
from towerlog.dialects.fields import (
    EMPTY_OBJECT,
    NULL,
    Count,
    Duration,
    JsonObject,
    Warnings,
    below,
    decode_any,
    facts_named,
    invalid_field,
    one_line,
    optional_id,
    read,
    step_facts,
    summary,
    unused,
)
from towerlog.dialects.members import kind_of
from towerlog.dialects.usage_json import ModelCallData, SaidUsage, model_call_facts
from towerlog.errors import TowerlogError
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.facts import NO_FACTS, Effects, Facts, LaneFacts, some, with_effects
from towerlog.model.lane import MAX_LEASE_SECONDS

MAX_QUESTION_KEY_CHARS = 128
FAILED = "failed"
"""The error of a failure whose worker gave no reason."""

_NONE = msgspec.Raw(b"")
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_OTHER = EventType.OTHER


class WorkerEvent(msgspec.Struct, gc=False):
    """One event of a report. `id` makes a retry harmless: the same id in a run is stored once."""

    type: str
    payload: JsonObject = NULL
    id: str | None = None


class _Phase(msgspec.Struct, gc=False):
    phase: Phase | None = None


class _Failure(msgspec.Struct, gc=False):
    error: msgspec.Raw = _NONE
    message: msgspec.Raw = _NONE
    fatal: bool | None = None


class MessageDeltaData(msgspec.Struct, frozen=True, gc=False):
    """What is read of a piece of a message."""

    content: str | None = None


class _Tool(msgspec.Struct, gc=False):
    tool_call_id: ForeignId | None = None
    name: Label | None = None
    tool: Label | None = None
    tool_name: Label | None = None
    success: bool | None = None
    error: msgspec.Raw = _NONE
    duration_ms: Duration | None = None


class _Step(msgspec.Struct, gc=False):
    name: Label | None = None
    node_name: Label | None = None
    span_id: ForeignId | None = None
    phase: str | None = None
    duration_ms: Duration | None = None


class _Question(SaidQuestion, frozen=True, gc=False):
    question: str | None = None
    question_key: str | None = None


class _Withdrawal(msgspec.Struct, gc=False):
    question_id: Count | None = None
    question_key: str | None = None


class _Answer(msgspec.Struct, gc=False):
    command_id: Count | None = None
    question_id: Count | None = None
    taken: bool | None = None


_PHASE = msgspec.json.Decoder(_Phase)
_FAILURE = msgspec.json.Decoder(_Failure)
_DELTA = msgspec.json.Decoder(MessageDeltaData)
_TOOL = msgspec.json.Decoder(_Tool)
_USAGE = msgspec.json.Decoder(SaidUsage)
_STEP = msgspec.json.Decoder(_Step)
_MODEL_CALL = msgspec.json.Decoder(ModelCallData)
_QUESTION = msgspec.json.Decoder(_Question)
_WITHDRAWAL = msgspec.json.Decoder(_Withdrawal)
_ANSWER = msgspec.json.Decoder(_Answer)

Read = Callable[[bytes, str, Warnings], tuple[EventType, Facts]]
"""(payload, its path, what could not be used) → type and facts of the event."""


class Row(NamedTuple):
    """What a worker's type becomes: a fixed type and facts, or what `read` finds in the payload."""

    type: EventType
    facts: Facts = NO_FACTS
    read: Read | None = None


def worker_draft(event: WorkerEvent, index: int, run: RunById, settings: DialectSettings, warnings: Warnings) -> Draft:
    """The draft of the event at `index` of its report; a wrong field raises `Invalid` below `events.<index>`.

    `warnings` get what of its payload could not be used.
    """
    try:
        if not event.type or len(event.type) > MAX_LABEL_CHARS:
            raise invalid_field("type", f"must have 1 to {MAX_LABEL_CHARS} characters")
        event_id = optional_id(event.id, "id") if event.id else None
        payload, where = bytes(event.payload), "payload"
        if event.type == "checkpoint":
            payload = EMPTY_OBJECT if payload == b"null" else payload
            return checkpoint_event.checkpoint_draft(payload, run, settings, where, warnings, event_id=event_id)
        if payload[:1] != b"{":
            payload = details.as_object(payload, where, settings.max_event_bytes, warnings)
        data = one_line(payload, where, settings.max_depth, settings.max_event_bytes)
        row = ROWS.get(event.type)
        if row is None:
            return Draft(_OTHER, run, data, facts_named(event.type), None, event_id)
        kind, facts = (row.type, row.facts) if row.read is None else row.read(data, where, warnings)
        return Draft(kind, run, data, facts, None, event_id)
    except TowerlogError as error:
        raise below(f"events.{index}", error) from None


def failure_text(raw: bytes | msgspec.Raw, default: str | None = FAILED) -> str | None:
    """The reason in one line, from a string or from an object with a `message` or `error`."""
    found = decode_any(bytes(raw)) if bytes(raw) else None
    if isinstance(found, dict):
        # An object without a message is shown as its JSON.
        told = found.get("message") or found.get("error")
        found = told if isinstance(told, str) else bytes(raw).decode()
    return summary(found) or default if isinstance(found, str) else default


def reason(raw: msgspec.Raw, field: str, warnings: Warnings) -> str | None:
    """The reason of a failure in one line, from a string or an object; None for none."""
    text = bytes(raw)
    if not text or text == b"null":
        return None
    if text[:1] not in (b'"', b"{"):
        unused(warnings, field, f"must be a string or an object, not {kind_of(text)}")
        return None
    return failure_text(text, None)


def _read_phase(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    phase = read(_PHASE, data, where, warnings).phase
    lane = LaneFacts(phase=phase) if phase else None
    return EventType.LANE_REPORT, Facts(name="phase_change", effects=None if lane is None else Effects(lane=lane))


def _read_error(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    """An error is only recorded, unless it is marked `fatal`: then the run has failed."""
    failure = read(_FAILURE, data, where, warnings)
    if not failure.fatal:
        return EventType.OTHER, Facts(name="error")
    kind, facts = _failed(failure, where, warnings)
    return kind, with_spent(facts, data, where, warnings)


def _read_failure(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    kind, facts = _failed(read(_FAILURE, data, where, warnings), where, warnings)
    return kind, with_spent(facts, data, where, warnings)


def _failed(failure: _Failure, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    told = reason(failure.error, f"{where}.error", warnings) or reason(failure.message, f"{where}.message", warnings)
    return EventType.RUN_FAILED, Facts(error=told or FAILED, success=False)


def _read_completed(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    return EventType.RUN_COMPLETED, with_spent(Facts(success=True), data, where, warnings)


def with_spent(facts: Facts, data: bytes, where: str, warnings: Warnings) -> Facts:
    """The facts of an end, with what its run has spent, if it says so."""
    sent = read(_USAGE, data, where, warnings)
    report = sent.total(where, warnings)
    if report is None:
        return facts
    return with_effects(facts, report=report, model=sent.model or None, provider=sent.provider or None)


def _read_over_budget(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    return EventType.BUDGET_EXCEEDED, with_spent(NO_FACTS, data, where, warnings)


def _read_cancelled(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    told = reason(read(_FAILURE, data, where, warnings).error, f"{where}.error", warnings)
    facts = NO_FACTS if told is None else Facts(error=told)
    return EventType.RUN_CANCELLED, with_spent(facts, data, where, warnings)


def _read_shipped(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    return EventType.RUN_COMPLETED, with_spent(Facts(name="ship_complete", success=True), data, where, warnings)


def _read_delta(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    if read(_DELTA, data, where, warnings).content is None:
        details.missing(warnings, f"{where}.content")
    return EventType.MESSAGE_DELTA, NO_FACTS


def _read_tool_call(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    sent = read(_TOOL, data, where, warnings)
    return EventType.TOOL_CALL, Facts(tool=_tool_name(sent), tool_call_id=sent.tool_call_id or None)


def _read_tool_result(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    sent = read(_TOOL, data, where, warnings)
    return EventType.TOOL_RESULT, Facts(
        tool=_tool_name(sent),
        tool_call_id=sent.tool_call_id or None,
        success=success_of(sent.success, sent.error),
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
    )


def _read_step(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    sent = read(_STEP, data, where, warnings)
    return EventType.STEP, step_facts(sent.span_id, sent.name or sent.node_name, sent.phase, sent.duration_ms)


def _tool_name(sent: _Tool) -> str | None:
    return sent.name or sent.tool or sent.tool_name or None


def success_of(success: bool | None, error: msgspec.Raw) -> bool | None:
    """Whether a tool succeeded: many report a failure by an error alone, without `success`."""
    if success is not None:
        return success
    return None if bytes(error) in (b"", b"null", b'""', b"false") else False


def _read_model_call(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    return EventType.MODEL_CALL, model_call_facts(read(_MODEL_CALL, data, where, warnings), where, warnings)


def _read_waiting(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    sent = read(_QUESTION, data, where, warnings)
    question = summary(sent.question) if sent.question else None
    effects = Effects(question_key=_key(sent.question_key, where, warnings), terms=terms_of(sent, where, warnings))
    return EventType.RUN_WAITING, Facts(question=question, effects=some(effects))


def _read_withdrawn(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    """By its id or its key; without either, the oldest open question."""
    sent = read(_WITHDRAWAL, data, where, warnings)
    effects = some(Effects(question_id=sent.question_id, question_key=_key(sent.question_key, where, warnings)))
    return EventType.RUN_QUESTION_WITHDRAWN, Facts(effects=effects)


def _key(text: str | None, where: str, warnings: Warnings) -> str | None:
    """The agent's name of a question. One that is too long to be compared each time names nothing."""
    if text and len(text) > MAX_QUESTION_KEY_CHARS:
        unused(warnings, f"{where}.question_key", f"has more than {MAX_QUESTION_KEY_CHARS} characters")
        return None
    return text or None


def _read_acknowledged(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    sent = read(_ANSWER, data, where, warnings)
    if sent.command_id is None:
        details.missing(warnings, f"{where}.command_id")
        return EventType.COMMAND_ACKNOWLEDGED, NO_FACTS
    facts = Facts(effects=Effects(command_id=sent.command_id, untaken=sent.taken is False))
    return EventType.COMMAND_ACKNOWLEDGED, facts


def _read_input(data: bytes, where: str, warnings: Warnings) -> tuple[EventType, Facts]:
    """Takes an answer: by the command's id, else the oldest one pending; else it says that a question was answered."""
    sent = read(_ANSWER, data, where, warnings)
    if sent.command_id is not None:
        return EventType.RUN_INPUT, Facts(effects=Effects(command_id=sent.command_id))
    return EventType.RUN_INPUT, Facts(effects=Effects(acknowledges="input", question_id=sent.question_id))


def _named(type_: EventType, name: str) -> Row:
    return Row(type_, facts_named(name))


ROWS: dict[str, Row] = {
    "heartbeat": _named(EventType.LANE_REPORT, "heartbeat"),
    "log_line": _named(EventType.LANE_REPORT, "log_line"),
    "phase_change": Row(EventType.LANE_REPORT, read=_read_phase),
    "error": Row(EventType.OTHER, read=_read_error),
    "ship_complete": Row(EventType.RUN_COMPLETED, read=_read_shipped),
    "run.started": Row(EventType.RUN_STARTED),
    "run.paused": Row(EventType.RUN_PAUSED, Facts(effects=Effects(acknowledges="pause"))),
    "run.resumed": Row(EventType.RUN_RESUMED, Facts(effects=Effects(acknowledges="resume"))),
    "run.waiting_for_input": Row(EventType.RUN_WAITING, read=_read_waiting),
    "run.input": Row(EventType.RUN_INPUT, read=_read_input),
    "run.question_withdrawn": Row(EventType.RUN_QUESTION_WITHDRAWN, read=_read_withdrawn),
    "run.completed": Row(EventType.RUN_COMPLETED, read=_read_completed),
    "run.failed": Row(EventType.RUN_FAILED, read=_read_failure),
    "run.cancelled": Row(EventType.RUN_CANCELLED, read=_read_cancelled),
    "budget.warning": Row(EventType.BUDGET_WARNING),
    "budget.exceeded": Row(EventType.BUDGET_EXCEEDED, read=_read_over_budget),
    "message.delta": Row(EventType.MESSAGE_DELTA, read=_read_delta),
    "tool.call": Row(EventType.TOOL_CALL, read=_read_tool_call),
    "tool.result": Row(EventType.TOOL_RESULT, read=_read_tool_result),
    "model.call": Row(EventType.MODEL_CALL, read=_read_model_call),
    "step": Row(EventType.STEP, read=_read_step),
    "command.acknowledged": Row(EventType.COMMAND_ACKNOWLEDGED, read=_read_acknowledged),
}
"""Type of a worker's event → what it becomes. `checkpoint` is read by `checkpoint_event.py`."""


def lease_ms_of(lease_seconds: int | None, default: int | None, settings: DialectSettings) -> int | None:
    """The length of a lease in ms. Raises Invalid outside the bounds of the server."""
    if lease_seconds is None:
        return default
    if not settings.min_lease_seconds <= lease_seconds <= MAX_LEASE_SECONDS:
        least = f"{settings.min_lease_seconds} (the server's TOWERLOG_LANES_MIN_LEASE_SECONDS)"
        raise invalid_field("lease_seconds", f"must be between {least} and {MAX_LEASE_SECONDS}")
    return 1000 * lease_seconds
