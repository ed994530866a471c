"""Events of clients of the native API: one event → one draft, by a table of types.

A client reports what its own runs do. Types that only the server may write (a lost lease, a requested cancel) and
unknown types are refused, so that a mistake in a client shows with its first event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from towerlog.dialects import checkpoint_event, details, fields
from towerlog.dialects.approvals.terms import SaidQuestion, terms_of
from towerlog.dialects.base import MAX_LABEL_CHARS, DialectSettings
from towerlog.dialects.details import ForeignId, Label
from towerlog.dialects.fields import MAX_LABELS, NULL, Count, Duration, JsonObject, Warnings, facts_named, step_facts
from towerlog.dialects.members import kind_of
from towerlog.dialects.native.event_json import MAX_NAME_CHARS, ReportedEvent, Seq, Visible
from towerlog.dialects.run_events import (
    FAILED,
    ROWS,
    MessageDeltaData,
    reason,
    success_of,
    with_spent,
)
from towerlog.dialects.usage_json import ModelCallData, model_call_facts
from towerlog.errors import Invalid, NotFound, TowerlogError
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.event import Draft, EventType, History, RunByForeignId, RunRef
from towerlog.model.facts import LATEST_STEP, NO_FACTS, CheckpointFacts, Effects, Facts, some
from towerlog.model.run import MAX_METADATA_BYTES, PARENT_FOREIGN, PARENT_RUN
from towerlog.model.times import EARLIEST_MS, LATEST_MS

NAME = "sdk"
"""The `source` of runs of these clients, and the prefix of their run keys in the store."""
CLIENT_DROPPED = "client.dropped"
"""Name of the event by which a client reports dropped numbers."""
MAX_QUESTION_CHARS = 2000


# What the types of events have in their data


class _Started(msgspec.Struct, frozen=True, gc=False):
    parent_run_key: str | None = None
    parent_run_id: str | None = None
    metadata: JsonObject = NULL
    labels: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_LABELS)] | None = None


class _Anything(msgspec.Struct, frozen=True, gc=False):
    pass


class _Failed(msgspec.Struct, frozen=True, gc=False):
    error: msgspec.Raw = NULL


class _Cancelled(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


class _Waiting(SaidQuestion, frozen=True, gc=False):
    question: str | None = None
    question_key: Visible | None = None


class _Withdrawn(msgspec.Struct, frozen=True, gc=False):
    question_id: Count | None = None
    question_key: Visible | None = None
    reason: str | None = None


class _Step(msgspec.Struct, frozen=True, gc=False):
    name: Label | None = None
    span_id: ForeignId | None = None
    parent_span_id: ForeignId | None = None
    phase: Literal["start", "end"] | None = None
    duration_ms: Duration | None = None


class _ToolCall(msgspec.Struct, frozen=True, gc=False):
    tool: Label | None = None
    tool_call_id: ForeignId | None = None


class _ToolResult(_ToolCall, frozen=True, gc=False):
    success: bool | None = None
    error: msgspec.Raw = NULL
    duration_ms: Duration | None = None


class _Acknowledged(msgspec.Struct, frozen=True, gc=False):
    command_id: Count | None = None
    type: Label | None = None
    taken: bool | None = None
    note: str | None = None


class _Other(msgspec.Struct, frozen=True, gc=False):
    name: str
    """The sender's own type, so it is checked strictly."""


class _WithHistory(msgspec.Struct, frozen=True, gc=False):
    history: msgspec.Raw


class _Dropped(msgspec.Struct, frozen=True, gc=False):
    from_seq: Seq
    to_seq: Seq
    reason: str | None = None


def _started(sent: _Started, _data: bytes, where: str, warnings: Warnings) -> Facts:
    return Facts(
        effects=Effects(
            is_start=True, parent_key=_parent_key(sent, where, warnings), metadata=_metadata(sent, where, warnings)
        )
    )


def _parent_key(sent: _Started, where: str, warnings: Warnings) -> str | None:
    """The key of the parent; None, with a warning, for one that cannot be: a child is told of with or without it."""
    if sent.parent_run_id:
        try:
            return PARENT_RUN + fields.path_uuid(sent.parent_run_id, "run")
        except NotFound:
            fields.unused(warnings, f"{where}.parent_run_id", "must be a UUID")
    if sent.parent_run_key:
        try:
            return PARENT_FOREIGN + run_ref(sent.parent_run_key, None, f"{where}.parent_run_key").foreign_id
        except Invalid as error:
            fields.unused(warnings, f"{where}.parent_run_key", error.details[f"{where}.parent_run_key"])
    return None


def _metadata(sent: _Started, where: str, warnings: Warnings) -> msgspec.Raw | msgspec.UnsetType:
    """What is merged into the run's metadata; labels are its member `labels`."""
    text = bytes(sent.metadata)
    if text[:1] not in (b"{", b"n"):
        fields.unused(warnings, f"{where}.metadata", f"must be an object, not {kind_of(text)}")
        text = b"null"
    is_object = text[:1] == b"{"
    if not sent.labels:
        return details.metadata(sent.metadata, f"{where}.metadata", warnings) if is_object else msgspec.UNSET
    if len(text) > MAX_METADATA_BYTES:
        return details.metadata(sent.metadata, f"{where}.metadata", warnings)
    members = fields.members_of(text, f"{where}.metadata") if is_object else {}
    # A member `labels` of the client's own metadata takes precedence.
    merged = msgspec.Raw(msgspec.json.encode({"labels": sent.labels, **members}))
    return details.metadata(merged, f"{where}.metadata", warnings)


def _ends(status: str) -> Effects:
    """The end of a run shows in its last checkpoint, where whoever goes on in the thread looks."""
    return Effects(checkpoint=CheckpointFacts(LATEST_STEP, status, decision=True))


def _completed(_sent: _Anything, data: bytes, where: str, warnings: Warnings) -> Facts:
    return with_spent(Facts(success=True, effects=_COMPLETES), data, where, warnings)


def _failed(sent: _Failed, data: bytes, where: str, warnings: Warnings) -> Facts:
    error = reason(sent.error, f"{where}.error", warnings) or FAILED
    return with_spent(Facts(error=error, success=False, effects=_FAILS), data, where, warnings)


def _cancelled(sent: _Cancelled, data: bytes, where: str, warnings: Warnings) -> Facts:
    error = fields.summary(sent.reason) if sent.reason else None
    return with_spent(Facts(error=error, effects=_FAILS), data, where, warnings)


def _over_budget(_sent: _Anything, data: bytes, where: str, warnings: Warnings) -> Facts:
    return with_spent(NO_FACTS, data, where, warnings)


def _waiting(sent: _Waiting, _data: bytes, where: str, warnings: Warnings) -> Facts:
    key = _question_key(sent.question_key, where)
    effects = some(Effects(question_key=key, terms=terms_of(sent, where, warnings)))
    if not sent.question:
        details.missing(warnings, f"{where}.question")
        return Facts(effects=effects)
    return Facts(question=fields.summary(sent.question, MAX_QUESTION_CHARS), effects=effects)


def _withdrawn(sent: _Withdrawn, _data: bytes, where: str, warnings: Warnings) -> Facts:
    """Without an id or a key the oldest open question is meant, as of a worker."""
    key = _question_key(sent.question_key, where)
    if key is None and sent.question_id is None:
        details.missing(warnings, f"{where}.question_key")
    return Facts(effects=some(Effects(question_id=sent.question_id, question_key=key)))


def _question_key(text: str | None, where: str) -> str | None:
    return None if text is None else visible(text, f"{where}.question_key")


def _step(sent: _Step, _data: bytes, where: str, warnings: Warnings) -> Facts:
    if not sent.name:
        details.missing(warnings, f"{where}.name")
    return step_facts(sent.span_id, sent.name, sent.phase, sent.duration_ms)


def _delta(sent: MessageDeltaData, _data: bytes, where: str, warnings: Warnings) -> Facts:
    if sent.content is None:
        details.missing(warnings, f"{where}.content")
    return NO_FACTS


def _tool_call(sent: _ToolCall, _data: bytes, where: str, warnings: Warnings) -> Facts:
    if not sent.tool:
        details.missing(warnings, f"{where}.tool")
    if not sent.tool_call_id:
        details.missing(warnings, f"{where}.tool_call_id")
    return Facts(tool=sent.tool or None, tool_call_id=sent.tool_call_id or None)


def _tool_result(sent: _ToolResult, data: bytes, where: str, warnings: Warnings) -> Facts:
    return msgspec.structs.replace(
        _tool_call(sent, data, where, warnings),
        success=success_of(sent.success, sent.error),
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
    )


def _model_call(sent: ModelCallData, _data: bytes, where: str, warnings: Warnings) -> Facts:
    if not sent.model:
        details.missing(warnings, f"{where}.model")
    return model_call_facts(sent, where, warnings)


def _acknowledged(sent: _Acknowledged, _data: bytes, where: str, warnings: Warnings) -> Facts:
    if sent.command_id is None:
        details.missing(warnings, f"{where}.command_id")
        return NO_FACTS
    return Facts(effects=Effects(command_id=sent.command_id, untaken=sent.taken is False))


def _other(sent: _Other, data: bytes, where: str, _warnings: Warnings) -> Facts:
    name = required_label(sent.name, f"{where}.name")
    if name != CLIENT_DROPPED:
        return facts_named(name)
    payload = fields.members_of(data, where).get("payload", NULL)
    dropped = fields.decode(_DROPPED, payload, f"{where}.payload")
    if dropped.to_seq < dropped.from_seq:
        raise fields.invalid_field(f"{where}.payload.to_seq", "must not be less than from_seq")
    return Facts(name=name, client_dropped=(dropped.from_seq, dropped.to_seq))


def _as_worker(type_: EventType) -> Callable[[_Anything, bytes, str, Warnings], Facts]:
    """The facts that follow from the type of a worker's event, whatever its data."""
    row = ROWS[type_]
    return lambda _sent, _data, _where, _warnings: row.facts


_COMPLETES, _FAILS = _ends("completed"), _ends("error")


class _Kind(NamedTuple):
    """How the data of a type is decoded, and how it becomes facts."""

    decoder: msgspec.json.Decoder[Any]
    facts: Callable[[Any, bytes, str, Warnings], Facts]


_WITH_HISTORY = msgspec.json.Decoder(_WithHistory)
_DROPPED = msgspec.json.Decoder(_Dropped)
_ANYTHING = msgspec.json.Decoder(_Anything)

KINDS: dict[EventType, _Kind] = {
    EventType.RUN_STARTED: _Kind(msgspec.json.Decoder(_Started), _started),
    EventType.RUN_PAUSED: _Kind(_ANYTHING, _as_worker(EventType.RUN_PAUSED)),
    EventType.RUN_RESUMED: _Kind(_ANYTHING, _as_worker(EventType.RUN_RESUMED)),
    EventType.RUN_WAITING: _Kind(msgspec.json.Decoder(_Waiting), _waiting),
    EventType.RUN_QUESTION_WITHDRAWN: _Kind(msgspec.json.Decoder(_Withdrawn), _withdrawn),
    EventType.RUN_COMPLETED: _Kind(_ANYTHING, _completed),
    EventType.RUN_FAILED: _Kind(msgspec.json.Decoder(_Failed), _failed),
    EventType.RUN_CANCELLED: _Kind(msgspec.json.Decoder(_Cancelled), _cancelled),
    EventType.BUDGET_WARNING: _Kind(_ANYTHING, _as_worker(EventType.BUDGET_WARNING)),
    EventType.BUDGET_EXCEEDED: _Kind(_ANYTHING, _over_budget),
    EventType.MESSAGE_DELTA: _Kind(msgspec.json.Decoder(MessageDeltaData), _delta),
    EventType.TOOL_CALL: _Kind(msgspec.json.Decoder(_ToolCall), _tool_call),
    EventType.TOOL_RESULT: _Kind(msgspec.json.Decoder(_ToolResult), _tool_result),
    EventType.MODEL_CALL: _Kind(msgspec.json.Decoder(ModelCallData), _model_call),
    EventType.STEP: _Kind(msgspec.json.Decoder(_Step), _step),
    EventType.COMMAND_ACKNOWLEDGED: _Kind(msgspec.json.Decoder(_Acknowledged), _acknowledged),
    EventType.OTHER: _Kind(msgspec.json.Decoder(_Other), _other),
}
"""Type → how it is read. `checkpoint` is read by `checkpoint_event.py`."""
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_CHECKPOINT = EventType.CHECKPOINT
TYPES = frozenset({*KINDS, _CHECKPOINT})
_TYPES: dict[str, EventType] = {type_.value: type_ for type_ in TYPES}


def client_draft(
    event: ReportedEvent,
    index: int,
    run: RunRef,
    client_id: str | None,
    settings: DialectSettings,
    warnings: Warnings,
) -> Draft:
    """The draft of the event at `index` of its batch; a wrong field raises `Invalid` below `events.<index>`.

    `warnings` get what could not be used.
    """
    try:
        return _draft(event, run, client_id, settings, warnings)
    except TowerlogError as error:
        raise fields.below(f"events.{index}", error) from None


def _draft(
    event: ReportedEvent, run: RunRef, client_id: str | None, settings: DialectSettings, warnings: Warnings
) -> Draft:
    event_id = visible(event.event_id, "event_id")
    # Without numbers a client's losses could not be seen, and a client id promises that they can.
    if client_id is not None and event.client_seq is None:
        raise fields.invalid_field("client_seq", "is required")
    agent = fields.agent_name(event.agent, "agent", warnings)
    type_, data, facts, history, own_agent = _told(event, run, settings, warnings)
    if client_id is not None:
        # The ledger of the run counts by these two.
        facts = msgspec.structs.replace(facts, client_id=client_id, client_seq=event.client_seq)
    occurred_at, data = _timed(event.time, data, warnings)
    return Draft(type_, run, data, facts, occurred_at, event_id, None, agent or own_agent, DEFAULT_AGENT, history)


def _timed(time: Any, data: bytes, warnings: Warnings) -> tuple[int | None, bytes]:
    """Milliseconds since 1970 are taken as well as text; seconds would be a time of January 1970."""
    if type(time) is int and EARLIEST_MS <= time <= LATEST_MS:
        return time, data
    if type(time) is not int or not 0 <= time < EARLIEST_MS:
        return details.timed(time, "time", data, warnings)
    fields.unused(warnings, "time", "is before 2000: a number is milliseconds since 1970, not seconds")
    return None, details.kept(data, "time", time, warnings)


def run_ref(run_key: str, thread: str | None, field: str, thread_field: str = "thread") -> RunByForeignId:
    """The run of a client's key. One that begins without a thread stands in its parent's, else in one named like it."""
    key = visible(run_key, field)
    thread_id = fields.optional_id(thread, thread_field)
    # A thread id is a segment of paths, so it cannot have a slash; a run key can.
    return RunByForeignId(
        f"{NAME}:{key}", thread_id or fields.text_id(key.replace("/", "-"), field), thread_id is not None
    )


def visible(text: str, field: str) -> str:
    """1 to 128 visible ASCII characters."""
    if not (0 < len(text) <= MAX_NAME_CHARS and text.isascii() and text.isprintable() and " " not in text):
        raise fields.invalid_field(field, "must be 1 to 128 visible ASCII characters")
    return text


def required_label(text: str, field: str) -> str:
    """Free text of 1 to 200 characters."""
    found = fields.bounded_text(text, field, MAX_LABEL_CHARS)
    if found is None:
        raise fields.invalid_field(field, "must not be empty")
    return found


def _told(
    event: ReportedEvent, run: RunRef, settings: DialectSettings, warnings: Warnings
) -> tuple[EventType, bytes, Facts, History | None, str | None]:
    """Type, data, facts, and of a checkpoint its history and the agent that it names."""
    type_ = _TYPES.get(event.type)
    if type_ is None:
        raise fields.invalid_field("type", "must be one of " + ", ".join(sorted(_TYPES)))
    data, where = bytes(event.data), "data"
    if type_ is _CHECKPOINT:
        kept = _checkpoint(fields.EMPTY_OBJECT if data == b"null" else data, run, settings, where, warnings)
        return type_, kept.data, kept.facts, kept.history, kept.agent
    data = details.as_object(data, where, settings.max_event_bytes, warnings)
    data = fields.one_line(data, where, settings.max_depth, settings.max_event_bytes)
    kind = KINDS[type_]
    sent = fields.read(kind.decoder, data, where, warnings)
    return type_, data, kind.facts(sent, data, where, warnings), None, None


def _checkpoint(data: bytes, run: RunRef, settings: DialectSettings, where: str, warnings: Warnings) -> Draft:
    """Requires a history: a checkpoint without one cannot be resumed from, so it is a mistake of the client."""
    fields.object_text(data, where, settings.max_body_bytes)
    fields.decode(_WITH_HISTORY, data, where)
    return checkpoint_event.checkpoint_draft(data, run, settings, where, warnings, has_base=True)
