"""Runs: the one status machine and the projection row that the folds keep.

The transition table is the only place that knows which status may follow which; each dialect has a word table for
the statuses, nothing more.
"""

from __future__ import annotations

import enum

import msgspec

from towerlog.model.ledger import Ledger
from towerlog.model.usage import NOTHING, Usage


class Status(enum.StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting_for_input"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BUDGET_EXCEEDED = "budget_exceeded"
    LOST = "lost"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.BUDGET_EXCEEDED, Status.LOST})
OPEN = frozenset(Status) - TERMINAL
PLACEHOLDER_AGENTS = frozenset({"default", "unknown"})
"""Names that stand in for an agent nobody named: the first real name takes their place."""

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(Status) - {Status.QUEUED},
    Status.RUNNING: frozenset(Status) - {Status.RUNNING},
    Status.WAITING: frozenset(Status) - {Status.WAITING},
    Status.PAUSED: frozenset(Status) - {Status.PAUSED},
    # A run that is being cancelled goes nowhere but to an end: no late report may bring it back.
    Status.CANCELLING: TERMINAL,
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.BUDGET_EXCEEDED: frozenset(),
    Status.LOST: frozenset(),
}


class Part(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One agent's share of a run: its newest running total and the sum of its increments."""

    total: Usage | None = None
    delta: Usage = NOTHING
    step_index: int = -1
    """The highest checkpoint so far; -1 for none."""
    step_agent: str | None = None
    """Whose checkpoint that is, in the part that several agents share."""

    def effective(self) -> Usage:
        """A reported total is the truth; increments count where none was reported."""
        return self.delta if self.total is None else self.total


class Pending(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A command that the run's agent has not acknowledged yet."""

    command_id: int
    """The seq of the event that asked for it."""
    type: str
    """`cancel`, `input`, `pause` or `resume`."""
    content: str | None = None
    delivered: bool = False
    """True once a reply to its agent has carried it."""


class ForkedFrom(msgspec.Struct, frozen=True, gc=False):
    """The checkpoint that a run began with."""

    run_id: str
    step_index: int
    agent: str
    """Whose checkpoint."""


class RunRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run as folded from its events. Times are ms of `recorded_at`; numbers are keys of the store."""

    run: int
    org: int
    run_id: str
    thread_id: str
    trace_id: str
    status: Status
    created_at: int
    last_seq: int = 0
    last_position: int = 0
    last_event_at: int = 0
    last_hash: bytes = b""
    foreign_id: str | None = None
    source: str = ""
    implicit: bool = False
    agent: str | None = None
    """The name of the run's main agent: the first that is known."""
    model: str | None = None
    persona_id: str | None = None
    route_id: str | None = None
    parent_key: str | None = None
    """`run:<id>`, `trace:<trace_id>` or `foreign:<foreign_id>`: resolved when it is read, so that parent and child may
    come in any order."""
    resumed_from: str | None = None
    retry_of: str | None = None
    forked_from: ForkedFrom | None = None
    created_by: str | None = None
    """A user id."""
    started_at: int | None = None
    ended_at: int | None = None
    ended_seq: int | None = None
    usage: Usage = NOTHING
    """The run's totals: `run_total` where given, else the sum of the parts."""
    run_total: Usage | None = None
    parts: dict[str, Part] = {}
    error: str | None = None
    question: str | None = None
    phase: str | None = None
    has_lane: bool = False
    """Made to be claimed by a worker."""
    attempt: int = 0
    lease_epoch: int = 0
    """Of the last claim; 0 for a run that no worker has ever held."""
    unanswered: bool = False
    """Back in the queue with a question open: an answer is taken although nobody waits for it right now."""
    forced: bool = False
    cancel_requested_at: int | None = None
    cancel_delivered_at: int | None = None
    """When a reply to the agent carried the cancel for the first time."""
    cancel_acknowledged_at: int | None = None
    cancel_reason: str | None = None
    process_at: int | None = None
    """The agent's last word of any kind, heartbeats included."""
    progress_at: int | None = None
    """Its last word that was no heartbeat."""
    output_at: int | None = None
    """Its last piece of an answer."""
    watched_at: int = 0
    """`process_at`, at most WATCH_GRAIN_MS behind: what the store finds silent runs by, moved once a minute."""
    silent_at: int | None = None
    """When the silence that still lasts was noted."""
    has_beats: bool = False
    """Has sent heartbeats of its own."""
    idle: bool = False
    """Its agent has said that it has nothing to do until somebody speaks to it."""
    pending: tuple[Pending, ...] = ()
    open_tools: tuple[tuple[str, str], ...] = ()
    """(tool, tool_call_id) of calls without a result, newest last."""
    late_events: int = 0
    rate_limited: int = 0
    clients: dict[str, Ledger] = {}
    """Client id → what is known of its numbers; clients that give none are not in it."""
    uncounted_clients: bool = False
    """There were more clients than are counted."""
    metadata: msgspec.Raw = msgspec.Raw(b"{}")

    def is_terminal(self) -> bool:
        """True once an end has been committed."""
        return self.status in TERMINAL

    def is_first_step(self, agent: str, step_index: int) -> bool:
        """True when no checkpoint of this agent and step can be there: its steps so far are all lower."""
        part = self.parts.get(agent)
        return len(self.parts) < MAX_PARTS if part is None else step_index > part.step_index

    def latest_step(self) -> tuple[str, int] | None:
        """(agent, step_index) of the highest checkpoint, None without any."""
        parts = self.parts.items()
        steps = [(part.step_index, part.step_agent or agent) for agent, part in parts if part.step_index >= 0]
        if not steps:
            return None
        step_index, agent = max(steps)
        return agent, step_index

    def is_watched(self) -> bool:
        """True while nothing but its own words shows that it is alive: it runs, and no lease was ever on it."""
        return self.status is Status.RUNNING and not self.lease_epoch and not self.idle

    def silence_matters(self) -> bool:
        """Whether its silence means something: it was begun, or has sent heartbeats, and was not noted silent yet."""
        return self.silent_at is None and (self.has_beats or not self.implicit)

    def duration_ms(self) -> int | None:
        """From start (or creation) to end; None while it has not ended."""
        if self.ended_at is None:
            return None
        return self.ended_at - (self.started_at or self.created_at)


MAX_OPEN_TOOLS = 64
MAX_INPUTS = 15
MAX_PENDING = MAX_INPUTS + 2
"""A cancel, and a pause or its opposite, always find room beside the inputs."""
MAX_PARTS = 256
MAX_OPEN_RUNS = 1024
MAX_THREAD_QUEUE = 1000
"""Bounds of the lists inside a row; past them the oldest entry gives way (parts: the rest shares one entry;
the queue of a thread: no run more is made)."""
WATCH_GRAIN_MS = 60_000
