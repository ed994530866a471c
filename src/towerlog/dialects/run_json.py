"""A run as JSON: a row of the run lists, and everything that is known of one run.

Unknown is null. Money leaves as exact JSON numbers, times as RFC 3339 text.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.steering_json import (
    CancelView,
    ClosedQuestionView,
    QuestionView,
    cancel_view,
    of_questions,
)
from towerlog.dialects.usage_json import TreeView, UsageView, credits_of, of_cost, tree_view, usage_view
from towerlog.model.lane import Lane, QueueState
from towerlog.model.ledger import Ledger
from towerlog.model.liveness import Liveness
from towerlog.model.outcome import RunView
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.run import MAX_CLOSED_QUESTIONS, RunRow, Status
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import dollars_json


class FullRow(msgspec.Struct, frozen=True, gc=False):
    """A row of the list of all runs."""

    run_id: v.RunId
    org_id: v.OrgId
    thread_id: v.ThreadId
    status: v.RunStatus
    model: v.ModelName | None
    persona_id: v.PersonaId | None
    total_input_tokens: v.InputTokens | None
    total_output_tokens: v.OutputTokens | None
    total_cost_usd: v.Dollars
    duration_ms: v.DurationMs | None
    cache_hit_rate: v.CacheHitRate | None
    credits_used: v.Credits | None
    created_at: v.CreatedAt
    completed_at: v.CompletedAt | None
    failed_at: v.FailedAt | None
    created_by_user_id: v.UserId | None
    created_by_user_name: Annotated[str, v.said("The name of the user who created it.", "admin")] | None
    created_by_email: v.Email | None
    unpriced_calls: v.UnpricedCalls


class LeaseView(msgspec.Struct, frozen=True, gc=False):
    """Who holds a run, and until when."""

    state: v.LeaseState
    worker_id: v.WorkerId | None
    lease_epoch: v.LeaseEpoch
    lease_expires_at: v.LeaseEnd | None
    last_heartbeat: v.Heartbeat | None


class ClientView(msgspec.Struct, frozen=True, gc=False):
    """The numbers of one client. `truncated`: there are more gaps than are kept, so not all are known."""

    client_id: v.ClientId
    received: Annotated[int, v.said("How many of its events have arrived.", 5)]
    highest: Annotated[int, v.said("The highest number that it has given an event.", 6)]
    missing: Annotated[
        list[list[int]], v.said("What has not arrived, as first and last number, both included.", [[4, 4]])
    ]
    """First and last, both included."""
    dropped: Annotated[int, v.said("How many events it says it could not keep.", 0)]
    truncated: Annotated[bool, v.said("There are more gaps than are kept, so not all are known.", False)]


class DeliveryView(msgspec.Struct, frozen=True, gc=False):
    """Whether everything that the run's clients reported has arrived; null if none of them numbers its events.

    `clients` is null in lists.
    """

    complete: Annotated[bool, v.said("Whether all has arrived; null if no client numbers its events.", False)] | None
    truncated: Annotated[bool, v.said("There are more gaps than are kept, so not all are known.", False)]
    clients: Annotated[list[ClientView], v.said("Each reporting process; null in lists.")] | None


class BudgetView(msgspec.Struct, frozen=True, gc=False):
    """The most that a run may use; null: no bound of this kind."""

    usd: Annotated[
        msgspec.Raw,
        v.said("The most that the run may cost, in dollars; null: no such bound.", 0.5, type=["number", "null"]),
    ]
    tokens: Annotated[int, v.said("The most tokens that it may use; null: no such bound.", 20000)] | None


class PersonaJson(msgspec.Struct, frozen=True, gc=False):
    """The persona of a run."""

    schema_name: ClassVar[str] = "PersonaView"
    persona_id: v.PersonaId
    persona_key: v.PersonaKey
    version: Annotated[str, v.said("Its version.", "1")]
    agent: Annotated[str, v.said("The agent that runs as this persona.", "writer")]
    instructions: (
        Annotated[str, v.said("What the agent is told before anything else.", "Shorten. Never flatter.")] | None
    )
    model_settings: Annotated[
        msgspec.Raw, v.free_object("Settings of the model, as its provider names them.", {"temperature": 0.2})
    ]
    tools: Annotated[list[str], v.said("The tools that may be used; null: all that the agent has.", ["search"])] | None
    budget: Annotated[BudgetView, v.said("The most that a run may use.")] | None


class RouteJson(msgspec.Struct, frozen=True, gc=False):
    """The provider and model of a run. `key_env` names the environment variable that holds the key."""

    schema_name: ClassVar[str] = "RouteView"
    route_id: v.RouteId
    provider: Annotated[str, v.said("The provider.", "openai")]
    model: v.ModelName
    base_url: Annotated[str, v.said("The address of the provider's API.", "https://api.openai.com/v1")] | None
    key_env: Annotated[str, v.said("The environment variable that holds the provider's key.", "OPENAI_API_KEY")] | None


class ForkView(msgspec.Struct, frozen=True, gc=False):
    """The checkpoint that a forked run began with."""

    run_id: v.RunId
    step_index: v.StepIndex


class LivenessView(msgspec.Struct, frozen=True, gc=False):
    """`alive`, `silent`, `stalled` or `lost`, null for a run that has ended otherwise or waits in the queue; and the
    clocks behind it."""

    verdict: (
        Annotated[
            str,
            v.said(
                "Null for a run that has ended, unless as lost, and for one that waits in the queue: nobody runs it.",
                "alive",
                enum=["alive", "silent", "stalled", "lost"],
            ),
        ]
        | None
    )
    process_at: Annotated[str, v.time("When the agent gave its last sign of life.")] | None
    progress_at: Annotated[str, v.time("When anything but a heartbeat came.")] | None
    output_at: Annotated[str, v.time("When the agent last put something out.")] | None


class RunDetail(msgspec.Struct, frozen=True, gc=False):
    """One run."""

    run_id: v.RunId
    org_id: v.OrgId
    thread_id: v.ThreadId
    created_by_user_id: v.UserId | None
    status: v.RunStatus
    created_at: v.CreatedAt
    trace_id: v.TraceId
    agent: v.AgentName | None
    agent_id: v.AgentId | None
    source: Annotated[str, v.said("The API through which it began.", "runs")]
    model: v.ModelName | None
    persona_id: v.PersonaId | None
    route_id: v.RouteId | None
    parent_run_id: Annotated[str, v.run_id("The run that started this one.")] | None
    resumed_from: Annotated[str, v.run_id("The run whose state this one began with.")] | None
    resumed_by: v.ResumedBy | None
    retry_of: Annotated[str, v.run_id("The run that this one repeats.")] | None
    forked_from: Annotated[ForkView, v.said("The checkpoint that a fork began with.")] | None
    foreign_id: Annotated[str, v.said("The run's id in the system that reports it.", "letter-7")] | None
    implicit: Annotated[bool, v.said("Its start has not come: it is known by later events only.", False)]
    started_at: v.StartedAt | None
    completed_at: v.CompletedAt | None
    failed_at: v.FailedAt | None
    ended_at: Annotated[str, v.time("When the run ended in any way.")] | None
    last_event_at: (
        Annotated[str, v.time("When its last event came, whoever told it; `liveness` has the agent's last.")] | None
    )
    last_seq: Annotated[int, v.said("The number of its newest event.", 9)]
    late_events: Annotated[int, v.said("How many events came after its end.", 0)]
    events_erased_at: Annotated[str, v.time("When the content of its events was erased; its figures stay.")] | None
    delivery: Annotated[DeliveryView, v.said("Whether all that its clients have reported has arrived.")]
    total_input_tokens: v.InputTokens | None
    total_output_tokens: v.OutputTokens | None
    total_cost_usd: v.Dollars
    cost_source: v.CostSource | None
    price_version: v.PriceVersion | None
    unpriced_calls: v.UnpricedCalls
    duration_ms: v.DurationMs | None
    cache_hit_rate: v.CacheHitRate | None
    credits_used: v.Credits | None
    usage: Annotated[UsageView, v.said("The tokens that it has used.")]
    usage_flags: Annotated[list[str], v.said("What may be wrong with the figures.", ["total_decreased"])]
    """`total_decreased`, `agents_retired`, `computed_kept`: what may be wrong with the figures."""
    tree: Annotated[TreeView, v.said("The same of the run and all runs below it; null in lists.")] | None
    error: Annotated[str, v.said("Why it failed.", "the search engine does not answer")] | None
    question: Annotated[str, v.said("What it asks a person.", "Send it?")] | None
    question_id: v.QuestionId | None
    questions: Annotated[list[QuestionView], v.said("Its open questions, the oldest first.")]
    closed_questions: (
        Annotated[
            list[ClosedQuestionView],
            v.said(f"Its last {MAX_CLOSED_QUESTIONS} closed questions, the oldest first; null in lists."),
        ]
        | None
    )
    phase: v.Phase | None
    attempt: v.Attempt
    forced: Annotated[bool, v.said("It was ended without its agent.", False)]
    cancel_requested_at: Annotated[str, v.time("When its cancel was asked for.")] | None
    cancel: Annotated[CancelView, v.said("How far a cancel has come.")] | None
    liveness: Annotated[LivenessView, v.said("Whether the agent still gives signs of life.")]
    created_by_user_name: Annotated[str, v.said("The name of the user who created it.", "admin")] | None
    created_by_email: v.Email | None
    metadata: Annotated[msgspec.Raw, v.free_object("What its creator and its agent say of it.", {"ticket": "T-1"})]
    input: Annotated[msgspec.Raw, v.said("What it was created with; null in lists.", {"topic": "towers"})] | None
    result: Annotated[msgspec.Raw, v.said("What it has produced; null in lists.", {"answer": 42})] | None
    lane: Annotated[LeaseView, v.said("Its lease, for a run that workers carry out.")] | None


def full_row(view: RunView, credits_per_dollar: int) -> FullRow:
    """The list's row of a run."""
    row = view.row
    return FullRow(
        run_id=row.run_id,
        org_id=view.org_id,
        thread_id=row.thread_id,
        status=row.status.value,
        model=row.model,
        persona_id=row.persona_id,
        total_input_tokens=row.usage.all_input_tokens(),
        total_output_tokens=row.usage.all_output_tokens(),
        total_cost_usd=dollars_json(row.usage.cost_nanos),
        unpriced_calls=row.usage.unpriced_calls or 0,
        duration_ms=row.duration_ms(),
        cache_hit_rate=row.usage.cache_hit_rate(),
        credits_used=credits_of(row.usage.cost_nanos, credits_per_dollar),
        created_at=format_ms(row.shown_created_at()),
        completed_at=completed_at(row),
        failed_at=failed_at(row),
        created_by_user_id=row.created_by,
        created_by_user_name=view.created_by_name,
        created_by_email=view.created_by_email,
    )


def run_detail(view: RunView, credits_per_dollar: int, *, in_list: bool = False) -> RunDetail:
    """Everything that is known of a run; `input`, `result` and the clients of `delivery` only of a single run."""
    row, origin = view.row, view.row.forked_from
    return RunDetail(
        run_id=row.run_id,
        org_id=view.org_id,
        thread_id=row.thread_id,
        created_by_user_id=row.created_by,
        status=row.status.value,
        created_at=format_ms(row.shown_created_at()),
        trace_id=row.trace_id,
        agent=row.agent,
        agent_id=view.agent_id,
        source=row.source,
        model=row.model,
        persona_id=row.persona_id,
        route_id=row.route_id,
        parent_run_id=view.parent_run_id,
        resumed_from=row.resumed_from,
        resumed_by=view.resumed_by,
        retry_of=row.retry_of,
        # The agent of the checkpoint is left out: run and step are how people refer to it.
        forked_from=None if origin is None else ForkView(origin.run_id, origin.step_index),
        foreign_id=row.foreign_id,
        implicit=row.implicit,
        started_at=format_optional_ms(row.span()[0]),
        completed_at=completed_at(row),
        failed_at=failed_at(row),
        ended_at=format_optional_ms(row.span()[1]),
        last_event_at=format_ms(row.last_event_at) if row.last_event_at else None,
        last_seq=row.last_seq,
        late_events=row.late_events,
        events_erased_at=format_optional_ms(row.events_erased_at),
        delivery=delivery_view(row, in_list=in_list),
        total_input_tokens=row.usage.all_input_tokens(),
        total_output_tokens=row.usage.all_output_tokens(),
        total_cost_usd=dollars_json(row.usage.cost_nanos),
        **of_cost(row.usage, row.price_version),
        duration_ms=row.duration_ms(),
        cache_hit_rate=row.usage.cache_hit_rate(),
        credits_used=credits_of(row.usage.cost_nanos, credits_per_dollar),
        usage=usage_view(row.usage),
        usage_flags=list(row.usage_flags),
        tree=tree_view(view.tree),
        error=row.error,
        **of_questions(row, view.answered_by),
        phase=row.phase,
        attempt=row.attempt,
        forced=row.forced,
        cancel_requested_at=format_optional_ms(row.cancel_requested_at),
        cancel=cancel_view(row),
        liveness=liveness_view(view.liveness),
        created_by_user_name=view.created_by_name,
        created_by_email=view.created_by_email,
        metadata=row.metadata,
        input=_raw(view.input),
        result=_raw(view.result),
        lane=None if view.lane is None else lease_view(view.lane),
    )


def liveness_view(liveness: Liveness) -> LivenessView:
    """The clocks as text."""
    return LivenessView(
        verdict=None if liveness.verdict is None else liveness.verdict.value,
        process_at=format_optional_ms(liveness.process_at),
        progress_at=format_optional_ms(liveness.progress_at),
        output_at=format_optional_ms(liveness.output_at),
    )


def completed_at(row: RunRow) -> str | None:
    """When the run completed; None for any other end."""
    return format_optional_ms(row.span()[1]) if row.status is Status.COMPLETED else None


def failed_at(row: RunRow) -> str | None:
    """When the run ended other than completed."""
    return None if row.status is Status.COMPLETED else format_optional_ms(row.span()[1])


def delivery_view(row: RunRow, *, in_list: bool = False) -> DeliveryView:
    """The ledgers of a run. Dropped events make it incomplete, since they will not arrive."""
    clients = [_client_view(client_id, ledger) for client_id, ledger in row.clients.items()]
    truncated = row.uncounted_clients or any(client.truncated for client in clients)
    whole = not truncated and all(ledger.is_complete() for ledger in row.clients.values())
    return DeliveryView(
        complete=whole if row.clients else None,
        truncated=truncated,
        clients=None if in_list else clients,
    )


def _client_view(client_id: str, ledger: Ledger) -> ClientView:
    return ClientView(
        client_id=client_id,
        received=ledger.received_count(),
        highest=ledger.highest,
        missing=[[first, last] for first, last in ledger.missing()],
        dropped=ledger.dropped_count(),
        truncated=ledger.is_truncated(),
    )


def lease_view(lane: Lane) -> LeaseView:
    """A lease as readers see it; one that is over has no deadline."""
    return LeaseView(
        state=lane.state.value,
        worker_id=lane.worker_id,
        lease_epoch=lane.epoch,
        lease_expires_at=format_optional_ms(lane.expires_at) if lane.state is QueueState.HELD else None,
        last_heartbeat=format_optional_ms(lane.last_heartbeat),
    )


def persona_view(persona: Persona) -> PersonaJson:
    """A version of a persona as JSON."""
    budget = persona.budget
    return PersonaJson(
        persona_id=persona.persona_id,
        persona_key=persona.persona_key,
        version=persona.version,
        agent=persona.agent,
        instructions=persona.instructions,
        model_settings=persona.model_settings,
        tools=None if persona.tools is None else list(persona.tools),
        budget=None if budget is None else BudgetView(dollars_json(budget.cost_nanos), budget.tokens),
    )


def route_view(route: ProviderRoute) -> RouteJson:
    """A version of a route as JSON."""
    return RouteJson(route.route_id, route.provider, route.model, route.base_url, route.key_env)


def _raw(text: bytes | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text)


STATUS_WORDS: dict[Status, str] = {status: status.value for status in Status}
STATUS_OF: dict[str, Status] = {
    **{word: status for status, word in STATUS_WORDS.items()},
    "success": Status.COMPLETED,
    "error": Status.FAILED,
}
"""The words that the status filter takes: our own, and the words of other dialects for an end."""
