"""Events of clients of the native API: one event → one draft, by a table of types.

A client reports what its own runs do. Types that only the server may write (a lost lease, a requested cancel) and
unknown types are refused, so that a mistake in a client shows with its first event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from towerlog.dialects import checkpoint_event, fields
from towerlog.dialects.base import MAX_LABEL_CHARS, DialectSettings
from towerlog.dialects.fields import MAX_LABELS, NULL, Count, Duration, JsonObject, facts_named
from towerlog.dialects.run_events import ROWS, failure_text
from towerlog.errors import NotFound, TowerlogError
from towerlog.model.event import Draft, EventType, History, RunByForeignId, RunRef
from towerlog.model.facts import LATEST_STEP, NO_FACTS, CheckpointFacts, Effects, Facts
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN
from towerlog.model.times import LATEST_MS
from towerlog.model.usage import MAX_NUMBER, Usage, UsageReport

NAME = "sdk"
"""The `source` of runs of these clients, and the prefix of their run keys in the store."""
CLIENT_DROPPED = "client.dropped"
"""Name of the event by which a client reports dropped numbers."""
MAX_QUESTION_CHARS = 2000

Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
Visible = Annotated[
    str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 128, "pattern": "^[!-~]{1,128}$"})
]
MAX_NAME_CHARS = 128


class ReportedEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One event of a run. What is read of `data` depends on the type; unknown members are kept.

    `client_seq` numbers the events of a client within one run: 1, 2, 3 … without a gap.
    """

    event_id: Visible
    client_seq: Seq | None = None
    type: str
    time: str | int | None = None
    agent: str | None = None
    data: JsonObject = NULL


class ClientEvent(ReportedEvent, frozen=True, gc=False, kw_only=True):
    """One event of any run. `run_key` is the client's own name of the run, or one of our run ids."""

    client_seq: Seq
    run_key: Visible
    thread: str | None = None


# What the types of events have in their data


class _Started(msgspec.Struct, frozen=True, gc=False):
    parent_run_key: str | None = None
    parent_run_id: str | None = None
    metadata: JsonObject = NULL
    labels: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_LABELS)] | None = None


class _Anything(msgspec.Struct, frozen=True, gc=False):
    pass


class _Failed(msgspec.Struct, frozen=True, gc=False):
    error: msgspec.Raw


class _Cancelled(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    question: str


class _Step(msgspec.Struct, frozen=True, gc=False):
    name: str
    span_id: str | None = None
    parent_span_id: str | None = None
    phase: Literal["start", "end"] | None = None
    duration_ms: Duration | None = None


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: str


class _ToolCall(msgspec.Struct, frozen=True, gc=False):
    tool: str
    tool_call_id: str


class _ToolResult(_ToolCall, frozen=True, gc=False):
    success: bool | None = None
    error: msgspec.Raw = NULL
    duration_ms: Duration | None = None


class _ModelCall(msgspec.Struct, frozen=True, gc=False):
    model: str
    input_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost_usd: msgspec.Raw = NULL
    duration_ms: Duration | None = None


class _Acknowledged(msgspec.Struct, frozen=True, gc=False):
    command_id: Count
    type: str | None = None
    note: str | None = None


class _Other(msgspec.Struct, frozen=True, gc=False):
    name: str


class _WithHistory(msgspec.Struct, frozen=True, gc=False):
    history: msgspec.Raw


class _Dropped(msgspec.Struct, frozen=True, gc=False):
    from_seq: Seq
    to_seq: Seq
    reason: str | None = None


def _started(sent: _Started, _data: bytes, where: str) -> Facts:
    return Facts(effects=Effects(is_start=True, parent_key=_parent_key(sent, where), metadata=_metadata(sent, where)))


def _parent_key(sent: _Started, where: str) -> str | None:
    if sent.parent_run_id:
        try:
            return PARENT_RUN + fields.path_uuid(sent.parent_run_id, "run")
        except NotFound:
            raise fields.invalid_field(f"{where}.parent_run_id", "must be a UUID") from None
    if sent.parent_run_key:
        return PARENT_FOREIGN + run_ref(sent.parent_run_key, None, f"{where}.parent_run_key").foreign_id
    return None


def _metadata(sent: _Started, where: str) -> msgspec.Raw | msgspec.UnsetType:
    """What is merged into the run's metadata; labels are its member `labels`."""
    text = bytes(sent.metadata)
    if text != b"null" and text[:1] != b"{":
        raise fields.invalid_field(f"{where}.metadata", f"Expected `object | null`, got {fields.kind_of(text)}")
    if not sent.labels:
        return msgspec.UNSET if text == b"null" else sent.metadata
    members = {} if text == b"null" else fields.decode(_MEMBERS, text, f"{where}.metadata")
    # A member `labels` of the client's own metadata takes precedence.
    return msgspec.Raw(msgspec.json.encode({"labels": sent.labels, **members}))


def _ends(status: str) -> Effects:
    """The end of a run shows in its last checkpoint, where whoever goes on in the thread looks."""
    return Effects(checkpoint=CheckpointFacts(LATEST_STEP, status, decision=True))


def _completed(_sent: _Anything, _data: bytes, _where: str) -> Facts:
    return Facts(success=True, effects=_COMPLETES)


def _failed(sent: _Failed, _data: bytes, where: str) -> Facts:
    if bytes(sent.error)[:1] not in (b'"', b"{"):
        raise fields.invalid_field(f"{where}.error", "must be a string or an object")
    return Facts(error=failure_text(sent.error), success=False, effects=_FAILS)


def _cancelled(sent: _Cancelled, _data: bytes, _where: str) -> Facts:
    return Facts(error=fields.summary(sent.reason) if sent.reason else None, effects=_FAILS)


def _waiting(sent: _Waiting, _data: bytes, _where: str) -> Facts:
    return Facts(question=fields.summary(sent.question, MAX_QUESTION_CHARS))


def _step(sent: _Step, _data: bytes, _where: str) -> Facts:
    required_label(sent.name, "data.name")
    fields.optional_id(sent.span_id, "data.span_id")
    fields.optional_id(sent.parent_span_id, "data.parent_span_id")
    return NO_FACTS if sent.duration_ms is None else Facts(duration_ms=round(sent.duration_ms))


def _delta(_sent: _Delta, _data: bytes, _where: str) -> Facts:
    return NO_FACTS


def _tool_call(sent: _ToolCall, _data: bytes, where: str) -> Facts:
    call_id = fields.text_id(sent.tool_call_id, f"{where}.tool_call_id")
    return Facts(tool=required_label(sent.tool, f"{where}.tool"), tool_call_id=call_id)


def _tool_result(sent: _ToolResult, data: bytes, where: str) -> Facts:
    # Many tools report a failure by an error alone, without `success`.
    failed = bytes(sent.error) not in (b"null", b'""', b"false")
    return msgspec.structs.replace(
        _tool_call(sent, data, where),
        success=False if sent.success is None and failed else sent.success,
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
    )


def _model_call(sent: _ModelCall, _data: bytes, where: str) -> Facts:
    usage = Usage(
        input_tokens=sent.input_tokens,
        cached_input_tokens=sent.cached_input_tokens,
        cache_write_tokens=sent.cache_write_tokens,
        output_tokens=sent.output_tokens,
        reasoning_tokens=sent.reasoning_tokens,
        cost_nanos=fields.cost_nanos_of(sent.cost_usd, f"{where}.cost_usd"),
    )
    return Facts(
        success=True,
        duration_ms=None if sent.duration_ms is None else round(sent.duration_ms),
        effects=Effects(report=UsageReport(usage, "delta"), model=required_label(sent.model, f"{where}.model")),
    )


def _acknowledged(sent: _Acknowledged, _data: bytes, where: str) -> Facts:
    fields.bounded_text(sent.type, f"{where}.type")
    return Facts(effects=Effects(command_id=sent.command_id))


def _other(sent: _Other, data: bytes, where: str) -> Facts:
    name = required_label(sent.name, f"{where}.name")
    if name != CLIENT_DROPPED:
        return facts_named(name)
    payload = fields.decode(_MEMBERS, data, where).get("payload", NULL)
    dropped = fields.decode(_DROPPED, payload, f"{where}.payload")
    if dropped.to_seq < dropped.from_seq:
        raise fields.invalid_field(f"{where}.payload.to_seq", "must not be less than from_seq")
    return Facts(name=name, client_dropped=(dropped.from_seq, dropped.to_seq))


def _as_worker(type_: EventType) -> Callable[[_Anything, bytes, str], Facts]:
    """The facts that follow from the type of a worker's event, whatever its data."""
    row = ROWS[type_]
    return lambda _sent, _data, _where: row.facts


_COMPLETES, _FAILS = _ends("completed"), _ends("error")


class _Kind(NamedTuple):
    """How the data of a type is decoded, and how it becomes facts."""

    decoder: msgspec.json.Decoder[Any]
    facts: Callable[[Any, bytes, str], Facts]


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WITH_HISTORY = msgspec.json.Decoder(_WithHistory)
_DROPPED = msgspec.json.Decoder(_Dropped)
_ANYTHING = msgspec.json.Decoder(_Anything)

KINDS: dict[EventType, _Kind] = {
    EventType.RUN_STARTED: _Kind(msgspec.json.Decoder(_Started), _started),
    EventType.RUN_PAUSED: _Kind(_ANYTHING, _as_worker(EventType.RUN_PAUSED)),
    EventType.RUN_RESUMED: _Kind(_ANYTHING, _as_worker(EventType.RUN_RESUMED)),
    EventType.RUN_WAITING: _Kind(msgspec.json.Decoder(_Waiting), _waiting),
    EventType.RUN_COMPLETED: _Kind(_ANYTHING, _completed),
    EventType.RUN_FAILED: _Kind(msgspec.json.Decoder(_Failed), _failed),
    EventType.RUN_CANCELLED: _Kind(msgspec.json.Decoder(_Cancelled), _cancelled),
    EventType.BUDGET_WARNING: _Kind(_ANYTHING, _as_worker(EventType.BUDGET_WARNING)),
    EventType.BUDGET_EXCEEDED: _Kind(_ANYTHING, _as_worker(EventType.BUDGET_EXCEEDED)),
    EventType.MESSAGE_DELTA: _Kind(msgspec.json.Decoder(_Delta), _delta),
    EventType.TOOL_CALL: _Kind(msgspec.json.Decoder(_ToolCall), _tool_call),
    EventType.TOOL_RESULT: _Kind(msgspec.json.Decoder(_ToolResult), _tool_result),
    EventType.MODEL_CALL: _Kind(msgspec.json.Decoder(_ModelCall), _model_call),
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
    event: ReportedEvent, index: int, run: RunRef, client_id: str | None, settings: DialectSettings
) -> Draft:
    """The draft of the event at `index` of its batch; a wrong field raises `Invalid` below `events.<index>`."""
    try:
        return _draft(event, run, client_id, settings)
    except TowerlogError as error:
        raise fields.below(f"events.{index}", error) from None


def _draft(event: ReportedEvent, run: RunRef, client_id: str | None, settings: DialectSettings) -> Draft:
    event_id = visible(event.event_id, "event_id")
    # Without numbers a client's losses could not be seen, and a client id promises that they can.
    if client_id is not None and event.client_seq is None:
        raise fields.invalid_field("client_seq", "is required")
    agent = fields.bounded_text(event.agent, "agent", MAX_LABEL_CHARS)
    type_, data, facts, history, own_agent = _told(event, run, settings)
    if client_id is not None:
        # The ledger of the run counts by these two.
        facts = msgspec.structs.replace(facts, client_id=client_id, client_seq=event.client_seq)
    occurred_at = _time(event.time, "time")
    return Draft(type_, run, data, facts, occurred_at, event_id, None, agent or own_agent, "default", history)


def run_ref(run_key: str, thread: str | None, field: str, thread_field: str = "thread") -> RunByForeignId:
    """The run of a client's key. One that begins without a thread stands in its parent's, else in one named like it."""
    key = visible(run_key, field)
    thread_id = fields.optional_id(thread, thread_field)
    # A thread id is a segment of paths, so it cannot have a slash; a run key can.
    return RunByForeignId(f"{NAME}:{key}", thread_id or key.replace("/", "-"), thread_id is not None)


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
    event: ReportedEvent, run: RunRef, settings: DialectSettings
) -> tuple[EventType, bytes, Facts, History | None, str | None]:
    """Type, data, facts, and of a checkpoint its history and the agent that it names."""
    type_ = _TYPES.get(event.type)
    if type_ is None:
        raise fields.invalid_field("type", "must be one of " + ", ".join(sorted(_TYPES)))
    data, where = bytes(event.data), "data"
    if data == b"null":
        data = fields.EMPTY_OBJECT
    if type_ is _CHECKPOINT:
        kept = _checkpoint(data, run, settings, where)
        return type_, kept.data, kept.facts, kept.history, kept.agent
    data = fields.one_line(data, where, settings.max_depth, settings.max_event_bytes)
    kind = KINDS[type_]
    return type_, data, kind.facts(fields.decode(kind.decoder, data, where), data, where), None, None


def _checkpoint(data: bytes, run: RunRef, settings: DialectSettings, where: str) -> Draft:
    """Requires a history: a checkpoint without one cannot be resumed from, so it is a mistake of the client."""
    fields.object_text(data, where, settings.max_body_bytes)
    fields.decode(_WITH_HISTORY, data, where)
    return checkpoint_event.checkpoint_draft(data, run, settings, where, has_base=True)


def _time(value: str | int | None, field: str) -> int | None:
    """RFC 3339 text, or milliseconds since 1970."""
    if not isinstance(value, int):
        return fields.time_ms_of(value, field)
    if not 0 <= value <= LATEST_MS:
        raise fields.invalid_field(field, "is outside the years 1970 to 9999")
    return value
