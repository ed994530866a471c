"""Replies of the native API: their types, and how rows become them.

Ids are named for their noun. Unknown is null; times are RFC 3339 text; money is an exact JSON number of dollars; bodies
are copied as they were stored.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.run_json import (
    LeaseView,
    PersonaJson,
    RouteJson,
    RunDetail,
    lease_view,
    persona_view,
    route_view,
    run_detail,
)
from towerlog.dialects.usage_json import UsageView, of_cost, usage_view
from towerlog.dialects.views.event_members import EventMembers, event_members
from towerlog.model import persona as model
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.event import Event
from towerlog.model.key import Key
from towerlog.model.outcome import LaneView, RunView, WorkerView
from towerlog.model.thread import ThreadRow
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import UsageRow, dollars_json

_HOUR_MS = 3_600_000


class RunTree(RunDetail, frozen=True, gc=False, kw_only=True):
    """A run with its descendants."""

    unserved: v.Unserved
    busy_worker: v.BusyWorker | None
    children: Annotated[list[RunTree], v.said("The runs that this run has started, with theirs.", [])]


class Agent(msgspec.Struct, frozen=True):
    """An agent and its totals."""

    agent_id: v.AgentId
    name: v.AgentName
    created_at: v.CreatedAt
    run_count: Annotated[int, v.said("How many runs it has had.", 12)]
    event_count: Annotated[int, v.said("How many events it has sent.", 340)]
    error_count: Annotated[int, v.said("How many of its runs have failed.", 1)]
    usage: Annotated[UsageView, v.said("The tokens that it has used.")]
    cost_usd: v.Dollars
    cost_source: v.CostSource | None
    price_version: v.PriceVersion | None
    unpriced_calls: v.UnpricedCalls
    last_event_at: (
        Annotated[str, v.time("When its last event came; what the server or a person did to its runs is none.")] | None
    )
    last_heartbeat_at: v.Heartbeat | None


class Thread(msgspec.Struct, frozen=True):
    """A thread."""

    thread_id: v.ThreadId
    title: v.Title | None
    policy: v.Policy
    created_at: v.CreatedAt
    updated_at: v.UpdatedAt
    run_count: Annotated[int, v.said("How many runs it has.", 3)]
    open_run_count: Annotated[int, v.said("How many of them have not ended.", 1)]
    erased_at: Annotated[str, v.time("When the content of its runs was erased, with its title.")] | None


class LoggedEvent(EventMembers, frozen=True, kw_only=True, gc=False):
    """An event of a run's log. What all dialects say stands beside the event's own `data`, by one name.

    `event_id` is the sender's. `hash` is the SHA-256 of the run's log up to this event, in hexadecimal digits; null in
    quarantine.
    """

    seq: v.Seq
    position: v.Position
    type: Annotated[str, v.said("What happened.", "message.delta")]
    name: Annotated[str, v.said("What a step is called; of another event, its sender's own type.", "plan")] | None
    data: Annotated[msgspec.Raw, v.said("What the sender said of it.", {"content": "looking … "})]
    dialect: Annotated[str, v.said("The API that it came in through.", "lanes")]
    event_id: v.EventId | None
    occurred_at: v.OccurredAt | None
    recorded_at: Annotated[str, v.time("When it was stored.")]
    duration_ms: v.TookMs | None
    late: Annotated[bool, v.said("Stored after the run had ended.", False)]
    foreign: Annotated[
        bool,
        v.said(
            "Would have changed a run that another API key held: it is stored, under `name`, and changed nothing.",
            False,
        ),
    ]
    future: Annotated[bool, v.said("`occurred_at` was more than five minutes ahead of the server's clock.", False)]
    hash: (
        Annotated[
            str,
            v.said(
                "SHA-256 of the run's log up to this event, in hexadecimal digits; null in quarantine.",
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
        ]
        | None
    )


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint without its history. `checkpoint_id` is unique in the run."""

    checkpoint_id: v.CheckpointId
    run_id: v.RunId
    thread_id: v.ThreadId
    agent: v.AgentName
    step_index: v.StepIndex
    status: v.CheckpointStatus
    seq: v.Seq
    revision: Annotated[int, v.said("How often this step was saved.", 1)]
    message_count: Annotated[int, v.said("How many messages it has.", 1)]
    is_initial: Annotated[bool, v.said("It is what the run began with.", False)]
    created_at: v.CreatedAt
    updated_at: v.UpdatedAt


class CheckpointState(Checkpoint, frozen=True, kw_only=True):
    """A checkpoint with its history: what was sent, value for value."""

    trace_id: v.TraceId
    figures: Annotated[msgspec.Raw, v.said("What was sent beside the history.", {"state": {"found": 2}})]
    history: Annotated[
        list[msgspec.Raw], v.said("The messages, as they were sent.", [{"role": "assistant", "content": "Two towers."}])
    ]
    history_meta: (
        Annotated[
            list[msgspec.Raw], v.said("What was sent beside each message; null where nothing was.", [{"tokens": 12}])
        ]
        | None
    )


class LaneState(msgspec.Struct, frozen=True):
    """A run's place in the queue, or the worker that holds it."""

    run_id: v.RunId
    thread_id: v.ThreadId
    agent: v.AgentName
    labels: Annotated[dict[str, str], v.said("Labels that a worker must have to claim the run.", {"gpu": "a100"})]
    attempt: v.Attempt
    queued_at: Annotated[str, v.time("Since when it has waited, or did.")]
    claimed_at: Annotated[str, v.time("When it was claimed last.")] | None
    lease_seconds: v.LeaseSeconds
    lease: Annotated[LeaseView, v.said("Who holds it, and until when.")]
    unserved: v.Unserved
    busy_worker: v.BusyWorker | None
    phase: v.Phase | None
    log_line: v.LogLine | None


class Worker(msgspec.Struct, frozen=True):
    """A worker and the runs that it holds."""

    worker_id: v.WorkerId
    last_heartbeat_at: v.Heartbeat | None
    run_ids: v.RunIds


class PersonaDetail(PersonaJson, frozen=True, kw_only=True):
    """A version of a persona."""

    schema_name: ClassVar[str] = "Persona"
    created_at: v.CreatedAt


class RouteDetail(RouteJson, frozen=True, kw_only=True):
    """A version of a route."""

    schema_name: ClassVar[str] = "ProviderRoute"
    version: Annotated[int, v.said("The version; each change of a route makes another.", 1)]
    created_at: v.CreatedAt


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its text."""

    key_id: v.KeyId
    name: Annotated[str, v.said("A name for people.", "build agent")]
    scopes: v.Scopes
    hint: Annotated[str, v.said("How its text begins.", "tl_live_crxk")]
    user_id: v.UserId
    created_at: v.CreatedAt
    revoked_at: Annotated[str, v.time("When it was revoked; null while it is good.")] | None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """A new key. `key` is its text, shown only now; null in the reply to a repeated request."""

    key: (
        Annotated[str, v.said("Its text, shown only now; null in the reply to a repeated request.", "tl_live_crxk…")]
        | None
    )


class UsageTotal(msgspec.Struct, frozen=True):
    """Usage of an hour, an agent or a model; the other two are null."""

    hour: Annotated[str, v.time("The hour that the figures are of.")] | None
    agent: v.AgentName | None
    model: v.ModelName | None
    events: Annotated[int, v.said("How many events there were.", 340)]
    runs_started: Annotated[int, v.said("How many runs began. Each counts once, under the first model it named.", 12)]
    runs_ended: Annotated[int, v.said("How many runs ended. Each counts once, under the first model it named.", 11)]
    usage: Annotated[UsageView, v.said("The tokens used.")]
    cost_usd: v.Dollars
    cost_source: v.CostSource | None
    price_version: v.PriceVersion | None
    unpriced_calls: v.UnpricedCalls


def run_of(view: RunView, credits_per_dollar: int) -> RunDetail:
    """A run of a list."""
    return run_detail(view, credits_per_dollar, in_list=True)


def detail_of(view: RunView, credits_per_dollar: int) -> RunDetail:
    """One run, without its descendants."""
    return run_detail(view, credits_per_dollar)


def tree_of(view: RunView, credits_per_dollar: int, *, in_list: bool = False) -> RunTree:
    """A run with its descendants."""
    known = msgspec.structs.asdict(run_detail(view, credits_per_dollar, in_list=in_list))
    known |= {"unserved": view.unserved, "busy_worker": view.busy_worker}
    children = [tree_of(child, credits_per_dollar, in_list=True) for child in view.children]
    return RunTree(**known, children=children)


def agent_of(row: AgentRow) -> Agent:
    """An agent."""
    return Agent(
        agent_id=row.agent_id,
        name=row.name,
        created_at=format_ms(row.created_at),
        run_count=row.run_count,
        event_count=row.event_count,
        error_count=row.error_count,
        usage=usage_view(row.usage),
        cost_usd=dollars_json(row.usage.cost_nanos),
        **of_cost(row.usage, row.price_version),
        last_event_at=format_optional_ms(row.last_event_at),
        last_heartbeat_at=format_optional_ms(row.last_heartbeat_at),
    )


def thread_of(row: ThreadRow) -> Thread:
    """A thread."""
    return Thread(
        thread_id=row.thread_id,
        title=row.title,
        policy=row.policy,
        created_at=format_ms(row.created_at),
        updated_at=format_ms(max(row.updated_at, row.created_at)),
        run_count=row.run_count,
        open_run_count=len(row.open_runs),
        erased_at=format_optional_ms(row.erased_at),
    )


def event_of(event: Event) -> LoggedEvent:
    """An event of a log."""
    return LoggedEvent(
        **{"name": None, **event_members(event)},
        seq=event.seq,
        position=event.position,
        type=event.type.value,
        data=msgspec.Raw(event.data),
        dialect=event.dialect,
        event_id=event.sent_id,
        occurred_at=format_optional_ms(event.occurred_at),
        recorded_at=format_ms(event.recorded_at),
        duration_ms=event.facts.duration_ms,
        late=event.late,
        foreign=event.facts.foreign,
        future=event.future,
        hash=event.hash.hex() or None,
    )


def checkpoint_id(row: CheckpointRow) -> str:
    """Its step and its agent, with what no segment of a path can hold as an escape."""
    return f"{row.step_index}:{row.agent.replace('%', '%25').replace('/', '%2F')}"


def agent_of_id(text: str) -> str:
    """The agent in a checkpoint's id."""
    return text.replace("%2F", "/").replace("%25", "%")


def checkpoint_of(row: CheckpointRow, run_id: str) -> Checkpoint:
    """A checkpoint of a list."""
    return Checkpoint(
        checkpoint_id=checkpoint_id(row),
        run_id=run_id,
        thread_id=row.thread_id,
        agent=row.agent,
        step_index=row.step_index,
        status=row.status,
        seq=row.seq,
        revision=row.revision,
        message_count=row.length,
        is_initial=row.initial,
        created_at=format_ms(row.created_at),
        updated_at=format_ms(row.updated_at),
    )


def state_of(view: CheckpointView) -> CheckpointState:
    """A checkpoint read back whole."""
    meta = view.history_meta
    return CheckpointState(
        **msgspec.structs.asdict(checkpoint_of(view.row, view.run_id)),
        trace_id=view.trace_id,
        figures=msgspec.Raw(view.figures),
        history=[msgspec.Raw(message) for message in view.history],
        history_meta=None if meta is None else [msgspec.Raw(entry) for entry in meta],
    )


def lane_of(view: LaneView) -> LaneState:
    """A lane."""
    lane = view.lane
    return LaneState(
        run_id=view.run.row.run_id,
        thread_id=view.run.row.thread_id,
        agent=lane.agent,
        labels=lane.labels,
        attempt=lane.attempt,
        queued_at=format_ms(lane.queued_at),
        claimed_at=format_optional_ms(lane.claimed_at),
        lease_seconds=lane.lease_ms // 1000,
        lease=lease_view(lane),
        unserved=view.unserved,
        busy_worker=view.busy_worker,
        phase=lane.phase,
        log_line=lane.log_line,
    )


def worker_of(view: WorkerView) -> Worker:
    """A worker."""
    return Worker(view.worker_id, format_optional_ms(view.last_heartbeat), list(view.run_ids))


def persona_of(persona: model.Persona) -> PersonaDetail:
    """A version of a persona."""
    return PersonaDetail(**msgspec.structs.asdict(persona_view(persona)), created_at=format_ms(persona.created_at))


def route_of(route: model.ProviderRoute) -> RouteDetail:
    """A version of a route."""
    known = msgspec.structs.asdict(route_view(route))
    return RouteDetail(**known, version=route.version, created_at=format_ms(route.created_at))


def key_of(key: Key) -> ApiKey:
    """A key without its text."""
    return ApiKey(
        key_id=key.key_id,
        name=key.name,
        scopes=[scope.value for scope in key.scopes],
        hint=key.hint,
        user_id=key.user_id,
        created_at=format_ms(key.created_at),
        revoked_at=format_optional_ms(key.revoked_at),
    )


def usage_of(row: UsageRow, by: str) -> UsageTotal:
    """A group of roll-up cells."""
    return UsageTotal(
        hour=format_ms(row.hour * _HOUR_MS) if by == "hour" else None,
        agent=row.agent if by == "agent" else None,
        model=(row.model or None) if by == "model" else None,
        events=row.events,
        runs_started=row.runs_started,
        runs_ended=row.runs_ended,
        usage=usage_view(row.usage),
        cost_usd=dollars_json(row.usage.cost_nanos),
        **of_cost(row.usage, row.price_version),
    )
