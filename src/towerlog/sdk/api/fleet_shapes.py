"""Replies about agents, queues, personas, routes, keys, budgets, approvals and the audit, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towerlog.sdk.api.shapes import Json, Lease, Shape, Usage, many, texts


@dataclass(frozen=True, kw_only=True)
class AgentInfo(Shape):
    """An agent and its totals."""

    agent_id: str
    name: str
    created_at: str
    run_count: int = 0
    event_count: int = 0
    error_count: int = 0
    usage: Usage | None = field(default=None, metadata={"read": Usage.read})
    cost_usd: float | None = None
    cost_source: str | None = None
    price_version: str | None = None
    unpriced_calls: int = 0
    last_event_at: str | None = None
    last_heartbeat_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentEvent(Shape):
    """An event of an agent, without its content."""

    id: str
    timestamp: str
    type: str
    tool: str | None = None
    input_summary: str | None = None
    output_summary: str | None = None
    duration_ms: int | None = None
    success: bool | None = None
    metadata: Any = None


@dataclass(frozen=True, kw_only=True)
class Change(Shape):
    """A row that has changed, as its list shows it. `kind` is what it is a row of, or another event of the stream:
    `removed`, `snapshot` (read the lists unless it is `resumed`), `position`.
    """

    kind: str
    row: Json


@dataclass(frozen=True, kw_only=True)
class LaneInfo(Shape):
    """A run's place in the queue, or who holds it."""

    run_id: str
    thread_id: str
    agent: str
    lease: Lease = field(metadata={"read": Lease.read})
    unserved: bool = False
    busy_worker: str | None = None
    labels: Json | None = None
    attempt: int = 1
    queued_at: str | None = None
    claimed_at: str | None = None
    lease_seconds: int | None = None
    phase: str | None = None
    log_line: str | None = None


@dataclass(frozen=True, kw_only=True)
class Queue(Shape):
    """The length of the queue, the time of its oldest run, and the lanes, oldest first."""

    queued: int
    held: int
    unserved: int = 0
    oldest_queued_at: str | None = None
    data: tuple[LaneInfo, ...] = field(default=(), metadata={"read": many(LaneInfo)})


@dataclass(frozen=True, kw_only=True)
class WorkerInfo(Shape):
    """A worker and the runs that it holds."""

    worker_id: str
    run_ids: list[str]
    last_heartbeat_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class UsageTotal(Shape):
    """The usage of an hour, an agent or a model: the other two are None."""

    hour: str | None = None
    agent: str | None = None
    model: str | None = None
    events: int = 0
    runs_started: int = 0
    runs_ended: int = 0
    usage: Usage | None = field(default=None, metadata={"read": Usage.read})
    cost_usd: float | None = None
    cost_source: str | None = None
    price_version: str | None = None
    unpriced_calls: int = 0


@dataclass(frozen=True, kw_only=True)
class RunFacets(Shape):
    """How many runs there are, by what they have in common: lists of `{"value", "runs"}`, the most first; None where
    counting takes too long.
    """

    total: int | None = None
    status: list[Json] | None = None
    agent: list[Json] | None = None
    model: list[Json] | None = None
    persona_id: list[Json] | None = None


@dataclass(frozen=True, kw_only=True)
class RunDurations(Shape):
    """How long the ended runs of an hour, a day, an agent … took: half of them, 95 of 100, the longest."""

    runs: int
    p50_ms: int
    p95_ms: int
    max_ms: int
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunSum(Shape):
    """What the runs of an hour, a day, an agent, a thread … have used."""

    runs: int
    usage: Json
    group: str | None = None
    cost_usd: float | None = None
    unpriced_calls: int = 0


@dataclass(frozen=True, kw_only=True)
class RunOutline(Shape):
    """What a run spent its time on: spans to be drawn, and the figures of its tools."""

    run_id: str
    begin: str
    end: str
    spans: list[Json]
    tools: list[Json]
    events: int
    whole: bool
    agents: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ApiKey(Shape):
    """A key. `key` is its text, which is only in the reply to its creation."""

    key_id: str
    name: str
    scopes: list[str]
    hint: str | None = None
    user_id: str | None = None
    created_at: str | None = None
    revoked_at: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class AuditActor(Shape):
    """Who has acted: `type` is key, link, rule, budget, operator or server. Names are those of that moment.

    Of a link, user and key are those who made it, or `rule_id` is the rule whose message carried it.
    """

    type: str
    user_id: str | None = None
    user_name: str | None = None
    key_id: str | None = None
    key_name: str | None = None
    rule_id: str | None = None
    rule_name: str | None = None
    budget_id: str | None = None
    budget_name: str | None = None
    link_id: str | None = None
    sent_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditObject(Shape):
    """What was changed."""

    type: str
    id: str


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Shape):
    """An act that has changed something. `before` is None where its object was not there, `after` where it is gone."""

    number: int
    at: str
    actor: AuditActor = field(metadata={"read": AuditActor.read})
    action: str
    object: AuditObject = field(metadata={"read": AuditObject.read})
    address: str | None = None
    before: Json | None = None
    after: Json | None = None
    hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class WhoAmI(Shape):
    """The owner and the scopes of a key."""

    org_id: str
    user_id: str
    key_id: str
    scopes: list[str]


@dataclass(frozen=True, kw_only=True)
class Persona(Shape):
    """A version of a persona: an agent and its instructions. Never changes."""

    persona_key: str
    version: str
    agent: str
    persona_id: str | None = None
    instructions: str | None = None
    model_settings: Any = None
    tools: list[Any] | None = None
    budget: Any = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Route(Shape):
    """A route to a model. `key_env` is the name of the variable with the key, never the key."""

    route_id: str
    provider: str
    model: str
    version: int | None = None
    base_url: str | None = None
    key_env: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget(Shape):
    """A budget in its present period. `scope` has one of organisation, agent, thread_id, run_id."""

    budget_id: str
    name: str
    scope: Json
    amount_usd: float
    period: str
    action: str
    warn_at: float
    spent_usd: float | None = 0.0
    reserved_usd: float = 0.0
    unpriced_calls: int = 0
    state: str = "ok"
    resets_at: str | None = None
    created_at: str | None = None
    spent_usd_per_hour: float | None = None
    ends_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reserved(Shape):
    """Whether money is held, and the budget that has less than that left."""

    granted: bool
    reservation_id: str | None = None
    refused_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reservation(Shape):
    """Money that is held for a run, in some budgets, until an event settles it or its time is over."""

    reservation_id: str
    run_id: str
    amount_usd: float
    key_id: str | None = None
    budget_ids: tuple[str, ...] = field(default=(), metadata={"read": texts})
    expires_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Approval(Shape):
    """What waits for a person: a question, or tool calls. `state` is `open`, or what became of it."""

    approval_id: str
    kind: str
    state: str
    run_id: str
    thread_id: str
    asked_at: str
    agent: str | None = None
    run_status: str | None = None
    question_id: int | None = None
    question: str | None = None
    context: Any = None
    tool_calls: Any = None
    step_index: int | None = None
    schema: Any = None
    risk: str | None = None
    expires_at: str | None = None
    on_expiry: str = "wait"
    expired: bool = False
    answered_at: str | None = None
    answered_by: str | None = None
    resumed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answered(Shape):
    """An approval after its answer."""

    approval_id: str
    kind: str
    run_id: str
    state: str
    question_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerLink(Shape):
    """A link by which an approval is answered once, without a key. `url` is None where no setting says the address."""

    approval_id: str
    path: str
    sent_to: str
    expires_at: str
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Price(Shape):
    """A price of the organisation's own. `usd_per_million` has input, output and the other rates of the API."""

    price_id: str
    model: str
    usd_per_million: Json
    provider: str | None = None
    valid_from: str | None = None
    price_version: str | None = None
    """Value of `price_version` in costs that were computed with this price."""
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class ListedPrice(Shape):
    """A price of the list that comes with the server, as it is now, for short prompts."""

    provider: str
    model: str
    usd_per_million: Json
    name: str | None = None
    has_tiers: bool = False
    """Whether long prompts cost something else."""
    price_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class CostChange(Shape):
    """What computing anew changes for one agent, model and hour of a run."""

    run_id: str
    agent: str
    hour: str
    model: str | None = None
    provider: str | None = None
    calls: int = 0
    priced_calls: int = 0
    """Of them, those that had no price."""
    old_usd: float = 0.0
    new_usd: float = 0.0
    difference_usd: float = 0.0
    price_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Repriced(Shape):
    """What changes in some runs; `next` is the cursor of the next ones."""

    data: tuple[CostChange, ...] = field(default=(), metadata={"read": many(CostChange)})
    dry_run: bool = True
    runs: int = 0
    next: str | None = None
