"""Dialect `steps`: an SDK inside an agent reports what happens, one event per POST.

The busiest endpoint of the server. An event is decoded in two passes over its bytes: the envelope, then the payload by
its type. Only when something does not fit, each member is looked at on its own: a detail is named in a warning, and
what identifies or places the event refuses it, with every wrong field of the envelope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import msgspec

from towerlog import errors
from towerlog.dialects import base, details, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.alerts.paths import PATHS as ALERT_PATHS
from towerlog.dialects.approvals.terms import SaidQuestion, terms_of
from towerlog.dialects.base import Call, Dialect, Endpoint, Limit, Reply, Warned, reply_json
from towerlog.dialects.details import ForeignId, Label, Time
from towerlog.dialects.fields import NULL, Count, Duration, JsonObject, Warnings
from towerlog.dialects.members import kind_of
from towerlog.dialects.usage_json import SaidUsage
from towerlog.errors import IdempotencyMismatch, IdReused, Invalid, RateLimited, TowerlogError, Unauthenticated
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId
from towerlog.model.facts import Effects, Facts, some, with_effects
from towerlog.model.outcome import Appended
from towerlog.model.pending import Pending
from towerlog.model.principal import Scope
from towerlog.model.question_digest import words_of
from towerlog.model.run import Status

NAME = "steps"
MAX_PREVIEW_CHARS = 500
MAX_QUESTION_CHARS = 2000

STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.WAITING: "waiting_for_input",
    Status.PAUSED: "running",
    Status.CANCELLING: "running",
    Status.COMPLETED: "success",
    Status.FAILED: "error",
    Status.CANCELLED: "error",
    Status.BUDGET_EXCEEDED: "error",
    Status.LOST: "error",
}
"""A run's status in the four words that the SDKs know."""

STATUS_OF: dict[str, Status] = {
    "running": Status.RUNNING,
    "waiting_for_input": Status.WAITING,
    "success": Status.COMPLETED,
    "error": Status.FAILED,
}

SdkEventType = Literal[
    "run_start", "step", "tool_call", "error", "run_end", "human_input_requested", "human_input_received"
]
Phase = Literal["start", "end"]


class SdkEvent(msgspec.Struct, frozen=True, gc=False):
    """One event. What is read of `payload` depends on the type; unknown fields are kept."""

    event_type: Annotated[SdkEventType, v.said("What happened.", "run_start")]
    sdk_run_id: Annotated[str, v.said("The sender's own id of the run, unique in the organisation.", "run-7")]
    payload: Annotated[JsonObject, v.said("What the type needs; other members are kept.", {"framework": "plain"})]
    agent_name: v.AgentName | None = None
    occurred_at: Annotated[
        Time, v.said("When it happened by the sender's clock; never used for order.", "2026-04-02T10:00:01.500Z")
    ] = None
    event_id: v.EventId | None = None


class SdkCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pending command of the run; sent with each reply until an event acknowledges it."""

    type: v.CommandType
    command_id: v.CommandId
    content: v.Content | None = None
    question_id: v.QuestionId | None = None
    expired: v.Expired = False


class Ingested(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The event is on stable storage; `event_id` rises with every event of the organisation."""

    status: Annotated[Literal["ok"], v.said("The event is stored.", "ok")]
    event_id: v.Position
    budget_warning: Annotated[str, v.said("While a budget is used up.", "Agent 'a' has …")] | None = None
    commands: Annotated[list[SdkCommand], v.said("What people ask of the run, until it is acknowledged.")] = []
    warnings: Warned = msgspec.UNSET


# What is read of the payload of each type. All of it are details: what cannot be used is named in a warning.


class _Payload(msgspec.Struct, frozen=True, gc=False):
    thread_id: str | None = None
    session_id: str | None = None


class _Start(_Payload, frozen=True, gc=False):
    framework: str | None = None


class _Step(_Payload, frozen=True, gc=False):
    node_name: str | None = None
    phase: Phase | None = None
    duration_ms: Duration | None = None


class _ToolCall(_Payload, frozen=True, gc=False):
    tool_name: Label | None = None
    phase: Phase | None = None
    input_preview: str | None = None
    output_preview: str | None = None
    duration_ms: Duration | None = None
    tool_call_id: ForeignId | None = None
    success: bool | None = None


class _Spent(SaidUsage, frozen=True, gc=False):
    """The payload of an event that ends a run, which may say what that has spent."""

    thread_id: str | None = None
    session_id: str | None = None


class _Error(_Spent, frozen=True, gc=False):
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None


class _End(_Spent, frozen=True, gc=False):
    recovered: bool | None = None


class _Question(SaidQuestion, frozen=True, gc=False):
    thread_id: str | None = None
    session_id: str | None = None
    question: str | None = None
    channel: str | None = None


class _Answer(_Payload, frozen=True, gc=False):
    responded_by: str | None = None
    question_id: Count | None = None


# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_STEP, _TOOL_CALL, _TOOL_RESULT = EventType.STEP, EventType.TOOL_CALL, EventType.TOOL_RESULT
_WAITING = EventType.RUN_WAITING


def _start_facts(_sent: _Start, _warnings: Warnings) -> tuple[EventType, Facts]:
    return EventType.RUN_STARTED, Facts(effects=Effects(is_start=True))


def _step_facts(sent: _Step, _warnings: Warnings) -> tuple[EventType, Facts]:
    return _STEP, fields.step_facts(None, sent.node_name, sent.phase, sent.duration_ms)


def _tool_facts(sent: _ToolCall, _warnings: Warnings) -> tuple[EventType, Facts]:
    duration_ms = None if sent.duration_ms is None else round(sent.duration_ms)
    facts = Facts(
        tool=sent.tool_name or None,
        tool_call_id=sent.tool_call_id or None,
        success=sent.success,
        duration_ms=duration_ms,
    )
    return _TOOL_CALL if sent.phase == "start" else _TOOL_RESULT, facts


def _error_facts(sent: _Error, warnings: Warnings) -> tuple[EventType, Facts]:
    # One line for lists; the traceback stays in the event.
    text = ": ".join(part for part in (sent.error_type, sent.error_message) if part)
    effects = some(
        Effects(report=sent.total("payload", warnings), model=sent.model or None, provider=sent.provider or None)
    )
    return EventType.RUN_FAILED, Facts(error=fields.summary(text) or None, effects=effects)


def _end_facts(sent: _End, warnings: Warnings) -> tuple[EventType, Facts]:
    report, model = sent.total("payload", warnings), sent.model or None
    effects = some(
        Effects(report=report, model=model, provider=sent.provider or None, recovered=sent.recovered is True)
    )
    return EventType.RUN_COMPLETED, Facts(effects=effects)


def _question_facts(sent: _Question, warnings: Warnings) -> tuple[EventType, Facts]:
    question = fields.summary(sent.question, MAX_QUESTION_CHARS) if sent.question else None
    effects = some(Effects(terms=terms_of(sent, "payload", warnings)))
    return _WAITING, Facts(question=question, effects=effects)


def _answer_facts(sent: _Answer, _warnings: Warnings) -> tuple[EventType, Facts]:
    """Takes the oldest answer pending; without one it says that a question was answered, the oldest unless named."""
    return EventType.RUN_INPUT, Facts(effects=Effects(acknowledges="input", question_id=sent.question_id))


class _Kind(msgspec.Struct, frozen=True):
    """How events of one type are read."""

    decoder: msgspec.json.Decoder[Any]
    facts: Callable[[Any, Warnings], tuple[EventType, Facts]]
    once: bool = False
    """Happens once in a run; its type is then its natural key."""


def _decoder(kind: type[_Payload] | type[_Question] | type[_Spent]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


_KINDS: dict[str, _Kind] = {
    "run_start": _Kind(_decoder(_Start), _start_facts, once=True),
    "step": _Kind(_decoder(_Step), _step_facts),
    "tool_call": _Kind(_decoder(_ToolCall), _tool_facts),
    "error": _Kind(_decoder(_Error), _error_facts),
    "run_end": _Kind(_decoder(_End), _end_facts, once=True),
    "human_input_requested": _Kind(_decoder(_Question), _question_facts),
    "human_input_received": _Kind(_decoder(_Answer), _answer_facts),
}
_EVENT = msgspec.json.Decoder(SdkEvent)
_OPTIONAL_TEXT = msgspec.json.Decoder(str | None)
_RAW = msgspec.json.Decoder(msgspec.Raw)


def _decode_event(call: Call) -> Append:
    warnings: Warnings = []
    try:
        draft = _draft(call, warnings)
        return Append(
            NAME,
            [draft],
            warnings=tuple(warnings),
            type_field="event_type",
            data_field="payload",
            thread_field="payload.session_id",
            is_batch=False,
        )
    except Invalid as error:
        raise _every_wrong_field(call.body, error) from None


def _draft(call: Call, warnings: Warnings) -> Draft:
    try:
        event = fields.decode(_EVENT, call.body)
    except Invalid as error:
        event = details.decode_odd(_EVENT, call.body, "", ("occurred_at",), error)
    sdk_run_id = fields.text_id(event.sdk_run_id, "sdk_run_id")
    data = fields.one_line(event.payload, "payload", call.settings.max_depth, call.settings.max_event_bytes)
    kind = _KINDS[event.event_type]
    sent = fields.read(kind.decoder, data, "payload", warnings)
    event_id = fields.optional_id(event.event_id, "event_id")
    agent_name = fields.agent_name(event.agent_name, "agent_name", warnings)
    event_type, facts = kind.facts(sent, warnings)
    if event_type is _WAITING:
        # Nobody can name a question here: one that is asked again in the same words, by a sender that was restarted, is
        # the same.
        facts = with_effects(facts, question_key=words_of(facts, data))
    # Only previews are cut: they are for people, and an SDK may put a whole output into one.
    # None of them is long in a short payload.
    if event.event_type == "tool_call" and len(data) > MAX_PREVIEW_CHARS:
        data = _with_short_previews(sent, data)
    is_named = sent.thread_id is not None or sent.session_id is not None
    named = _thread(sent, warnings) if is_named else None
    occurred_at = None
    if event.occurred_at is not None:
        occurred_at, data = details.timed(event.occurred_at, "occurred_at", data, warnings)
    run = RunByForeignId(f"{NAME}:{sdk_run_id}", named or sdk_run_id, named is not None)
    once = event.event_type if kind.once else None
    return Draft(event_type, run, data, facts, occurred_at, event_id, once, agent_name)


def _thread(sent: _Payload, warnings: Warnings) -> str | None:
    """The thread that the payload names, if that is a usable id."""
    named = details.optional_id(sent.thread_id, "payload.thread_id", warnings)
    return named or details.optional_id(sent.session_id, "payload.session_id", warnings)


def _with_short_previews(sent: _ToolCall, data: bytes) -> bytes:
    previews = {"input_preview": sent.input_preview, "output_preview": sent.output_preview}
    long = {name: text for name, text in previews.items() if text is not None and len(text) > MAX_PREVIEW_CHARS}
    if not long:
        return data
    # The other members are copied as text, so that numbers keep their spelling.
    short = {
        name: msgspec.Raw(msgspec.json.encode(fields.truncated(text, MAX_PREVIEW_CHARS))) for name, text in long.items()
    }
    return msgspec.json.encode({**fields.members_of(data, "payload"), **short})


# What is wrong


def _known_type(value: str | None, field: str) -> None:
    if not value:
        raise fields.invalid_field(field, "is required")
    if value not in _KINDS:
        raise fields.invalid_field(field, f"must be one of {', '.join(get_args(SdkEventType))}")


def _is_object(value: msgspec.Raw, field: str) -> None:
    text = bytes(value)
    if text[:1] != b"{":
        raise fields.invalid_field(field, f"Expected `object`, got {kind_of(text)}")


_CHECKS: tuple[tuple[str, msgspec.json.Decoder[Any], Callable[[Any, str], object]], ...] = (
    ("event_type", _OPTIONAL_TEXT, _known_type),
    ("sdk_run_id", _OPTIONAL_TEXT, fields.text_id),
    ("payload", _RAW, _is_object),
    ("agent_name", _OPTIONAL_TEXT, fields.bounded_text),
    ("event_id", _OPTIONAL_TEXT, fields.optional_id),
)
"""Field, its decoder, its check: the rules of `_draft`, each applied on its own."""


def _every_wrong_field(body: bytes, first: Invalid) -> Invalid:
    """All wrong fields of the envelope; if it has none, the wrong field of the payload that was found first."""
    try:
        members = fields.members_of(body)
    except TowerlogError:
        return first
    wrong: dict[str, str] = {}
    for field, decoder, check in _CHECKS:
        if field == "payload" and field not in members:
            wrong[field] = "is required"
            continue
        try:
            check(fields.decode(decoder, members.get(field, NULL), field), field)
        except Invalid as error:
            wrong |= error.details
    wrong = wrong or first.details
    field, why = next(iter(wrong.items()))
    return Invalid(f"{field}: {why}", field=field, details=wrong)


def _encode_ingested(outcome: Appended, command: object, call: Call) -> Reply:
    [result] = outcome.results
    if isinstance(result, Refusal):
        return _explain(base.error_of(result), call.trace_id)
    if not result.commands and result.budget_warning is None:
        # By far the most frequent reply of the server: formatted, not encoded.
        return Reply(200, b'{"status":"ok","event_id":%d}' % result.position)
    commands = [_command(pending) for pending in result.commands]
    told = result.budget_warning
    return reply_json(Ingested(status="ok", event_id=result.position, budget_warning=told, commands=commands))


def _command(pending: Pending) -> SdkCommand:
    return SdkCommand(pending.type, pending.command_id, pending.content, pending.question_id, pending.expired)


def _explain(error: TowerlogError, _trace_id: str) -> Reply:
    status = base.status_of(error)
    headers = base.error_headers(error, status)
    match error:
        case Unauthenticated():
            return reply_json({"message": "Unauthenticated."}, status, headers)
        case RateLimited():
            return reply_json({"message": "Too Many Attempts."}, status, headers)
        case IdReused():
            return reply_json({"message": error.message}, status, headers)
        case Invalid():
            return _invalid_reply(error.details or {"body": error.message}, status)
        case IdempotencyMismatch():
            return _invalid_reply({"Idempotency-Key": error.message}, status)
        case _:
            return reply_json({"message": error.message}, status, headers)


def _invalid_reply(wrong: dict[str, str], status: int) -> Reply:
    errors = {field: [why if why.startswith(field) else f"{field}: {why}"] for field, why in wrong.items()}
    message = next(iter(errors.values()))[0]
    return reply_json({"message": message, "errors": errors}, status)


DIALECT = Dialect(
    NAME,
    "SDK events: one a request",
    (
        Endpoint(
            "POST", "/api/ingest", "steps.ingest", "Store one event of an SDK", base.scopes(Scope.INGEST),
            _decode_event, _encode_ingested, ingests=True, is_one_event=True, limited=True,
            request=SdkEvent, reply=Ingested, refuses=(errors.IdReused,),
        ),
        *ALERT_PATHS,
    ),
    _explain,
    Limit("steps_rate_per_minute", "key"),
)  # fmt: skip
