"""Events of the `checkpoints` dialect: what is read of the data of each type, and the draft that it becomes.

A new type of event is a line in `_KINDS`. Only the fields that are named here are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec

from towerlog.dialects import base, checkpoint_event, details, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import MAX_LABEL_CHARS
from towerlog.dialects.details import Time
from towerlog.dialects.fields import IDLE, NULL, RATE_LIMITED, Count, Duration, JsonObject, Warnings, facts_named
from towerlog.dialects.members import kind_of
from towerlog.dialects.usage_json import SaidUsage
from towerlog.model.event import AgentHeartbeat, Draft, EventType, RunRef
from towerlog.model.facts import LATEST_STEP, NO_EFFECTS, CheckpointFacts, Effects, Facts, some
from towerlog.model.run import Status


class RunnerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a batch. `data` needs a `thread_id`; what else is read of it depends on the type."""

    type: Annotated[str, v.said("What happened; a type that is not known is stored as `other`.", "thread_started")]
    data: Annotated[
        JsonObject,
        v.said(
            "What the type needs, a `thread_id` always; other members are kept.",
            {"thread_id": "towers", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "agent_id": "researcher"},
        ),
    ] = msgspec.field(default_factory=lambda: NULL)
    sequence_num: Annotated[
        Any,
        v.said(
            "The sender's own number; not used, since the log's order is that of arrival.", 1, type=["integer", "null"]
        ),
    ] = None
    """The sender's own number; not used: the log's order is that of arrival."""
    occurred_at: Annotated[
        Time, v.said("When it happened by the sender's clock; never used for order.", "2026-04-02T10:00:01.500Z")
    ] = None
    event_id: v.EventId | None = None


class _Named(SaidUsage, frozen=True, gc=False):
    thread_id: str | None = None
    trace_id: str | None = None
    parent_trace_id: str | None = None
    agent_id: str | None = None


class _Failed(_Named, frozen=True, gc=False):
    error: msgspec.Raw = NULL


class _Budgeted(_Named, frozen=True, gc=False):
    budget_usd: msgspec.Raw = NULL


class _Limited(_Named, frozen=True, gc=False):
    wait_seconds: Duration | None = None


class _Acknowledged(_Named, frozen=True, gc=False):
    command_id: Count | None = None


class _Group(_Named, frozen=True, gc=False):
    """A workflow or a team: the names of both, of which one is sent."""

    workflow_name: msgspec.Raw = NULL
    team_name: msgspec.Raw = NULL
    terminated: msgspec.Raw = NULL
    termination_reason: msgspec.Raw = NULL


class _ErrorObject(msgspec.Struct, frozen=True, gc=False):
    type: msgspec.Raw = NULL
    error_type: msgspec.Raw = NULL
    message: msgspec.Raw = NULL
    error_message: msgspec.Raw = NULL


_NAMED = msgspec.json.Decoder(_Named)
_GROUP = msgspec.json.Decoder(_Group)
_IDENTITY = frozenset({"thread_id", "trace_id", "parent_trace_id", "agent_id"})
_ERROR_OBJECT = msgspec.json.Decoder(_ErrorObject)
_TEXT = msgspec.json.Decoder(str)
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_OTHER = EventType.OTHER
_INITIAL = CheckpointFacts(0, "in_progress", initial=True)


class _Kind(msgspec.Struct, frozen=True):
    """How a type of event becomes a draft."""

    decoder: msgspec.json.Decoder[Any]
    type: EventType
    facts: Callable[[Any, str | None, Warnings], Facts]
    """(decoded data, parent key, what could not be used) → facts."""
    once: bool = False
    """Happens once in a run; its type is then its natural key."""
    opens: bool = False
    """Begins a new run if the one it names has ended."""
    group: str = ""
    """`workflow` or `team`: begins or ends the run of one; inside an agent's run it moves nothing."""


def _leaves(status: str) -> CheckpointFacts:
    """The status that the run's newest checkpoint gets."""
    return CheckpointFacts(LATEST_STEP, status, decision=True)


def _start_facts(sent: _Named, parent_key: str | None, warnings: Warnings) -> Facts:
    model = sent.model or None
    return Facts(effects=Effects(is_start=True, model=model, parent_key=parent_key, checkpoint=_INITIAL))


def _end_facts(sent: _Named, parent_key: str | None, warnings: Warnings) -> Facts:
    model = sent.model or None
    tokens = sent.tokens_used
    figures = {"tokens_used": tokens, "model": model}
    metadata = _metadata({name: value for name, value in figures.items() if value is not None})
    effects = _ending(sent, parent_key, warnings, "completed")
    return Facts(effects=msgspec.structs.replace(effects, metadata=metadata))


def _ending(sent: _Named, parent_key: str | None, warnings: Warnings, status: str) -> Effects:
    """The effects of an event after which nothing more may come: what was spent after the last checkpoint is told by
    nothing else."""
    report, model, provider = sent.total("data", warnings), sent.model or None, sent.provider or None
    leaves = _leaves(status)
    return Effects(report=report, model=model, provider=provider, parent_key=parent_key, checkpoint=leaves)


def _error_facts(sent: _Failed, parent_key: str | None, warnings: Warnings) -> Facts:
    error = _error_text(bytes(sent.error), "data.error", warnings)
    return Facts(error=error, effects=_ending(sent, parent_key, warnings, "error"))


def _group_name(sent: _Group, kind: str) -> str:
    """The agent of a group's run: `workflow:NAME` or `team:NAME`."""
    name = _text_of(sent.workflow_name) or _text_of(sent.team_name) or ""
    return fields.truncated(f"{kind}:{name}" if name else kind, MAX_LABEL_CHARS)


def _group_start_facts(_sent: _Group, parent_key: str | None, _warnings: Warnings) -> Facts:
    return Facts(effects=Effects(is_start=True, composite=True, parent_key=parent_key))


def _group_end_facts(sent: _Group, parent_key: str | None, warnings: Warnings) -> Facts:
    if sent.total("data", warnings) is not None:
        fields.unused(warnings, "data", "its agents' runs tell what they have spent, so that of a group does not count")
    reason = _text_of(sent.termination_reason)
    terminated = bytes(sent.terminated) == b"true"
    error = fields.summary(reason or "terminated") if terminated else None
    return Facts(error=error, effects=some(Effects(parent_key=parent_key)))


def _budget_facts(sent: _Budgeted, parent_key: str | None, warnings: Warnings) -> Facts:
    cost = details.cost_nanos(sent.run_cost_usd, "data.run_cost_usd", warnings)
    budget = details.cost_nanos(sent.budget_usd, "data.budget_usd", warnings)
    figures = {"run_cost_usd": (sent.run_cost_usd, cost), "budget_usd": (sent.budget_usd, budget)}
    known = {name: raw for name, (raw, nanos) in figures.items() if nanos is not None}
    effects = _ending(sent, parent_key, [], "budget_exceeded")
    return Facts(effects=msgspec.structs.replace(effects, metadata=_metadata(known)))


def _warning_facts(sent: _Budgeted, parent_key: str | None, warnings: Warnings) -> Facts:
    # For its checks only: a warning leaves no metadata.
    _budget_facts(sent, parent_key, warnings)
    return Facts(effects=some(Effects(parent_key=parent_key)))


def _idle_facts(sent: _Named, parent_key: str | None, warnings: Warnings) -> Facts:
    effects = _ending(sent, parent_key, warnings, "idle")
    return Facts(name=IDLE, effects=msgspec.structs.replace(effects, status=Status.RUNNING, idle=True))


def _acknowledged_facts(sent: _Acknowledged, parent_key: str | None, warnings: Warnings) -> Facts:
    if sent.command_id is None:
        details.missing(warnings, "data.command_id")
    return Facts(effects=some(Effects(command_id=sent.command_id, parent_key=parent_key)))


def _limited_facts(_sent: _Limited, parent_key: str | None, warnings: Warnings) -> Facts:
    return Facts(name=RATE_LIMITED, effects=Effects(parent_key=parent_key, rate_limited=True))


def _foreign_facts(name: str, parent_key: str | None) -> Facts:
    facts = facts_named(name)
    if parent_key is None:
        return facts
    effects = msgspec.structs.replace(facts.effects or NO_EFFECTS, parent_key=parent_key)
    return msgspec.structs.replace(facts, effects=effects)


def _metadata(known: dict[str, Any]) -> msgspec.Raw | msgspec.UnsetType:
    return msgspec.Raw(msgspec.json.encode(known)) if known else msgspec.UNSET


def _error_text(raw: bytes, field: str, warnings: Warnings) -> str | None:
    """An error in one line, from a string, or from the type and message of an object."""
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return fields.summary(_TEXT.decode(raw)) or None
    if raw[:1] != b"{":
        fields.unused(warnings, field, f"must be a string or an object, not {kind_of(raw)}")
        return None
    error = _ERROR_OBJECT.decode(raw)
    # Runners name the members either way.
    kinds = [_text_of(part) for part in (error.type, error.error_type)]
    messages = [_text_of(part) for part in (error.message, error.error_message)]
    parts = [next(filter(None, texts), None) for texts in (kinds, messages)]
    return fields.summary(": ".join(part for part in parts if part) or raw[:4000].decode(errors="ignore"))


def _text_of(raw: msgspec.Raw) -> str | None:
    text = bytes(raw)
    return _TEXT.decode(text) if text[:1] == b'"' else None


def _decoder(kind: type[_Named]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


_KINDS: dict[str, _Kind] = {
    "thread_started": _Kind(_NAMED, EventType.RUN_STARTED, _start_facts, once=True, opens=True),
    "thread_completed": _Kind(_NAMED, EventType.RUN_COMPLETED, _end_facts, once=True),
    "thread_error": _Kind(_decoder(_Failed), EventType.RUN_FAILED, _error_facts, once=True),
    "thread_budget_exceeded": _Kind(_decoder(_Budgeted), EventType.BUDGET_EXCEEDED, _budget_facts, once=True),
    "budget_warning": _Kind(_decoder(_Budgeted), EventType.BUDGET_WARNING, _warning_facts),
    IDLE: _Kind(_NAMED, EventType.OTHER, _idle_facts),
    "command_acknowledged": _Kind(_decoder(_Acknowledged), EventType.COMMAND_ACKNOWLEDGED, _acknowledged_facts),
    RATE_LIMITED: _Kind(_decoder(_Limited), EventType.OTHER, _limited_facts),
    **{
        f"{group}_started": _Kind(_GROUP, EventType.RUN_STARTED, _group_start_facts, once=True, opens=True, group=group)
        for group in ("workflow", "team")
    },
    **{
        f"{group}_completed": _Kind(_GROUP, EventType.RUN_COMPLETED, _group_end_facts, once=True, group=group)
        for group in ("workflow", "team")
    },
}


class _Place(NamedTuple):
    """Which run an event is of, checked."""

    run: RunRef
    parent: str | None


class Places(msgspec.Struct, frozen=True, gc=False):
    """What a batch has named so far: most of its events name the same few."""

    runs: dict[tuple[str | None, str | None, bool], RunRef] = {}
    """By (thread, trace, whether the event opens a new one)."""
    places: dict[tuple[str | None, str | None, str | None, bool], _Place] = {}
    """By (thread, trace, the parent's trace, whether the event opens a new run)."""


def draft_of(
    event: RunnerEvent, settings: base.DialectSettings, places: Places, warnings: Warnings
) -> Draft | AgentHeartbeat:
    """The draft or heartbeat of an event. Errors name fields relative to the event, as in `data.thread_id`.

    `warnings` get what could not be used.
    """
    name = fields.bounded_text(event.type, "type")
    if name is None:
        raise fields.invalid_field("type", "is required")
    event_id = fields.optional_id(event.event_id, "event_id")
    given = msgspec.Raw(fields.EMPTY_OBJECT) if bytes(event.data) == b"null" else event.data
    if name == "checkpoint":
        draft = checkpoint_event.checkpoint_draft(given, None, settings, "data", warnings, event_id=event_id)
        if event.occurred_at is None:
            return draft
        occurred_at, figures = details.timed(event.occurred_at, "occurred_at", draft.data, warnings)
        return msgspec.structs.replace(draft, data=figures, occurred_at=occurred_at)
    # Size and depth are checked before anything is decoded.
    data = fields.one_line(given, "data", settings.max_depth, settings.max_event_bytes)
    occurred_at, data = details.timed(event.occurred_at, "occurred_at", data, warnings)
    kind = _KINDS.get(name)
    sent = fields.read(_NAMED if kind is None else kind.decoder, data, "data", warnings, _IDENTITY)
    # With a thread, a heartbeat is an event of its run; without one only its agent is known.
    if name == "heartbeat" and not sent.thread_id:
        agent = fields.agent_name(sent.agent_id, "data.agent_id", warnings)
        return AgentHeartbeat(agent or checkpoint_event.UNKNOWN_AGENT, occurred_at)
    opens = kind is not None and kind.opens
    named = (sent.thread_id, sent.trace_id, sent.parent_trace_id, opens)
    place = places.places.get(named)
    if place is None:
        place = places.places[named] = _place_of(sent, opens, places)
    run, parent = place
    draft = Draft(
        _OTHER if kind is None else kind.type,
        run,
        data,
        _foreign_facts(name, parent) if kind is None else kind.facts(sent, parent, warnings),
        occurred_at,
        event_id,
        name if kind is not None and kind.once else None,
        fields.agent_name(sent.agent_id, "data.agent_id", warnings),
        checkpoint_event.UNKNOWN_AGENT,
    )
    return draft if kind is None or not kind.group else _of_group(draft, kind, sent, _foreign_facts(name, parent))


def _of_group(draft: Draft, kind: _Kind, sent: _Group, inside: Facts) -> Draft:
    """An event that begins or ends a group's run, or is a plain one inside the run of an agent."""
    if kind.opens:
        return msgspec.structs.replace(draft, agent=_group_name(sent, kind.group), inside=inside)
    failed = EventType.RUN_FAILED if draft.facts.error is not None else draft.type
    return msgspec.structs.replace(draft, type=failed, inside=inside)


def _place_of(sent: _Named, reopen: bool, places: Places) -> _Place:
    parent = checkpoint_event.parent_key(sent.parent_trace_id, "data.parent_trace_id")
    named = (sent.thread_id, sent.trace_id, reopen)
    run = places.runs.get(named)
    if run is None:
        thread_id = fields.text_id(sent.thread_id, "data.thread_id")
        trace_id = fields.optional_id(sent.trace_id, "data.trace_id")
        run = places.runs[named] = checkpoint_event.run_ref(thread_id, trace_id, reopen=reopen)
    return _Place(run, parent)
