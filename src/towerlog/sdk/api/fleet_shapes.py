"""What a server answers about agents, queues, registries, keys and approvals, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towerlog.sdk.api.shapes import Json, Lease, Shape, Usage, many


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
    last_event_at: str | None = None
    last_heartbeat_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentEvent(Shape):
    """What an agent did, without its content."""

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
class LaneInfo(Shape):
    """A run's place in the queue, or who holds it."""

    run_id: str
    thread_id: str
    agent: str
    lease: Lease = field(metadata={"read": Lease.read})
    labels: Json | None = None
    attempt: int = 1
    queued_at: str | None = None
    claimed_at: str | None = None
    lease_seconds: int | None = None
    phase: str | None = None
    log_line: str | None = None


@dataclass(frozen=True, kw_only=True)
class Queue(Shape):
    """How deep the queue is, how long its oldest has waited, and the lanes, oldest first."""

    queued: int
    held: int
    oldest_queued_at: str | None = None
    data: tuple[LaneInfo, ...] = field(default=(), metadata={"read": many(LaneInfo)})


@dataclass(frozen=True, kw_only=True)
class WorkerInfo(Shape):
    """A worker and what it holds."""

    worker_id: str
    run_ids: list[str]
    last_heartbeat_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class UsageTotal(Shape):
    """What was used in an hour, by an agent or of a model: the other two are None."""

    hour: str | None = None
    agent: str | None = None
    model: str | None = None
    events: int = 0
    runs_started: int = 0
    runs_ended: int = 0
    usage: Usage | None = field(default=None, metadata={"read": Usage.read})
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class ApiKey(Shape):
    """A key. `key` is its text, told in the one moment in which it is made."""

    key_id: str
    name: str
    scopes: list[str]
    hint: str | None = None
    user_id: str | None = None
    created_at: str | None = None
    revoked_at: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class WhoAmI(Shape):
    """Whom a key speaks for, and what it may do."""

    org_id: str
    user_id: str
    key_id: str
    scopes: list[str]


@dataclass(frozen=True, kw_only=True)
class Persona(Shape):
    """A version of a persona: which agent, and how it is to behave. Never changes."""

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
    """A way to a model. `key_env` is the name of the variable that holds the key, never the key."""

    route_id: str
    provider: str
    model: str
    version: int | None = None
    base_url: str | None = None
    key_env: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Approval(Shape):
    """A checkpoint whose tool calls wait for a person."""

    trace_id: str
    thread_id: str
    agent_id: str
    step_index: int
    created_at: str
    pending_tool_calls: Any = None


@dataclass(frozen=True, kw_only=True)
class Decision(Shape):
    """A checkpoint after a person has decided."""

    trace_id: str
    step_index: int
    status: str
