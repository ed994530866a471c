"""Replies about agents, queues, personas, routes, keys and approvals, as frozen values."""

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
    """The length of the queue, the time of its oldest run, and the lanes, oldest first."""

    queued: int
    held: int
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
class Approval(Shape):
    """A checkpoint whose tool calls wait for approval."""

    trace_id: str
    thread_id: str
    agent_id: str
    step_index: int
    created_at: str
    pending_tool_calls: Any = None


@dataclass(frozen=True, kw_only=True)
class Decision(Shape):
    """A checkpoint after a decision."""

    trace_id: str
    step_index: int
    status: str
