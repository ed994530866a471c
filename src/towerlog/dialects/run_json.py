"""A run as JSON: a row of the run lists, and everything that is known of one run.

Unknown is null. Money leaves as exact JSON numbers, times as RFC 3339 text.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from towerlog.dialects.steering_json import CancelView, QuestionView, cancel_view, question_views
from towerlog.dialects.usage_json import TreeView, UsageView, credits_of, tree_view, usage_view
from towerlog.model.lane import Lane, QueueState
from towerlog.model.ledger import Ledger
from towerlog.model.liveness import Liveness
from towerlog.model.outcome import RunView
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.run import RunRow, Status
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import dollars_json


class FullRow(msgspec.Struct, frozen=True, gc=False):
    """A row of the list of all runs."""

    run_id: str
    org_id: str
    thread_id: str
    status: str
    model: str | None
    persona_id: str | None
    total_input_tokens: int | None
    total_output_tokens: int | None
    total_cost_usd: msgspec.Raw
    duration_ms: int | None
    cache_hit_rate: float | None
    credits_used: int | None
    created_at: str
    completed_at: str | None
    failed_at: str | None
    created_by_user_id: str | None
    created_by_user_name: str | None
    created_by_email: str | None


class LeaseView(msgspec.Struct, frozen=True, gc=False):
    """Who holds a run, and until when."""

    state: str
    worker_id: str | None
    lease_epoch: int
    lease_expires_at: str | None
    last_heartbeat: str | None


class ClientView(msgspec.Struct, frozen=True, gc=False):
    """The numbers of one client. `truncated`: there are more gaps than are kept, so not all are known."""

    client_id: str
    received: int
    highest: int
    missing: list[list[int]]
    """First and last, both included."""
    dropped: int
    truncated: bool


class DeliveryView(msgspec.Struct, frozen=True, gc=False):
    """Whether everything that the run's clients reported has arrived; null if none of them numbers its events.

    `clients` is null in lists.
    """

    complete: bool | None
    truncated: bool
    clients: list[ClientView] | None


class BudgetView(msgspec.Struct, frozen=True, gc=False):
    """The most that a run may use; null: no bound of this kind."""

    usd: msgspec.Raw
    tokens: int | None


class PersonaJson(msgspec.Struct, frozen=True, gc=False):
    """The persona of a run."""

    schema_name: ClassVar[str] = "PersonaView"
    persona_id: str
    persona_key: str
    version: str
    agent: str
    instructions: str | None
    model_settings: msgspec.Raw
    tools: list[str] | None
    budget: BudgetView | None


class RouteJson(msgspec.Struct, frozen=True, gc=False):
    """The provider and model of a run. `key_env` names the environment variable that holds the key."""

    schema_name: ClassVar[str] = "RouteView"
    route_id: str
    provider: str
    model: str
    base_url: str | None
    key_env: str | None


class ForkView(msgspec.Struct, frozen=True, gc=False):
    """The checkpoint that a forked run began with."""

    run_id: str
    step_index: int


class LivenessView(msgspec.Struct, frozen=True, gc=False):
    """`alive`, `silent`, `stalled` or `lost`, null for a run that has ended otherwise; and the clocks behind it."""

    verdict: str | None
    process_at: str | None
    progress_at: str | None
    output_at: str | None


class RunDetail(msgspec.Struct, frozen=True, gc=False):
    """One run."""

    run_id: str
    org_id: str
    thread_id: str
    created_by_user_id: str | None
    status: str
    created_at: str
    trace_id: str
    agent: str | None
    agent_id: str | None
    source: str
    model: str | None
    persona_id: str | None
    route_id: str | None
    parent_run_id: str | None
    resumed_from: str | None
    retry_of: str | None
    forked_from: ForkView | None
    foreign_id: str | None
    implicit: bool
    started_at: str | None
    completed_at: str | None
    failed_at: str | None
    ended_at: str | None
    last_event_at: str | None
    last_seq: int
    late_events: int
    delivery: DeliveryView
    total_input_tokens: int | None
    total_output_tokens: int | None
    total_cost_usd: msgspec.Raw
    duration_ms: int | None
    cache_hit_rate: float | None
    credits_used: int | None
    usage: UsageView
    usage_flags: list[str]
    """`total_decreased`, `agents_retired`: what may be wrong with the figures."""
    tree: TreeView | None
    """The same of the run and all runs below it; null in lists."""
    error: str | None
    question: str | None
    question_id: int | None
    questions: list[QuestionView]
    phase: str | None
    attempt: int
    forced: bool
    cancel_requested_at: str | None
    cancel: CancelView | None
    liveness: LivenessView
    created_by_user_name: str | None
    created_by_email: str | None
    metadata: msgspec.Raw
    input: msgspec.Raw | None
    result: msgspec.Raw | None
    lane: LeaseView | None


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
        duration_ms=row.duration_ms(),
        cache_hit_rate=row.usage.cache_hit_rate(),
        credits_used=credits_of(row.usage.cost_nanos, credits_per_dollar),
        created_at=format_ms(row.created_at),
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
        created_at=format_ms(row.created_at),
        trace_id=row.trace_id,
        agent=row.agent,
        agent_id=view.agent_id,
        source=row.source,
        model=row.model,
        persona_id=row.persona_id,
        route_id=row.route_id,
        parent_run_id=view.parent_run_id,
        resumed_from=row.resumed_from,
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
        delivery=delivery_view(row, in_list=in_list),
        total_input_tokens=row.usage.all_input_tokens(),
        total_output_tokens=row.usage.all_output_tokens(),
        total_cost_usd=dollars_json(row.usage.cost_nanos),
        duration_ms=row.duration_ms(),
        cache_hit_rate=row.usage.cache_hit_rate(),
        credits_used=credits_of(row.usage.cost_nanos, credits_per_dollar),
        usage=usage_view(row.usage),
        usage_flags=list(row.usage_flags),
        tree=tree_view(view.tree),
        error=row.error,
        # The oldest open one: what an input without a question id answers.
        question=row.questions[0].text if row.questions else None,
        question_id=row.questions[0].question_id if row.questions else None,
        questions=question_views(row),
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
