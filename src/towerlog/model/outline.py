"""The outline of a run: what it spent its time on, as spans that are few enough to be drawn."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from towerlog.model.event import EventType
from towerlog.model.times import told_time

MAX_OUTLINE_SPANS = 2000
MAX_OUTLINE_WIDTH = 4000
MAX_OUTLINE_EVENTS = 200_000
"""Of a run that are looked at, from its beginning."""
MAX_OUTLINE_TOOLS = 200
"""Tools whose figures are told: those that were called most."""


class MomentLane(msgspec.Struct, frozen=True, gc=False):
    """Of `LaneFacts`."""

    worker_id: str | None = None


class MomentCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """Of `CheckpointFacts`."""

    decided_by: str | None = None
    expired: bool = False


class MomentEffects(msgspec.Struct, frozen=True, gc=False, rename={"requests": "asks"}):
    """Of `Effects`, whose names in the log these are."""

    model: str | None = None
    lane: MomentLane | None = None
    beat: bool = False
    of_server: bool = False
    requests: str | None = None
    budget_id: str | None = None
    checkpoint: MomentCheckpoint | None = None


class MomentSpent(msgspec.Struct, frozen=True, gc=False):
    """Of `Usage`."""

    cost_nanos: int | None = None


class MomentFacts(msgspec.Struct, frozen=True, gc=False):
    """What outlines and previews need of an event's facts: members as they are named there, in the log.

    A run has very many events, and most of what their facts say is skipped faster than it is read.
    """

    name: str | None = None
    spent: MomentSpent | None = None
    tool: str | None = None
    tool_call_id: str | None = None
    begins: str | None = None
    ends: str | None = None
    step: str | None = None
    success: bool | None = None
    duration_ms: int | None = None
    error: str | None = None
    effects: MomentEffects | None = None


NO_MOMENT_FACTS = MomentFacts()


class Moment(msgspec.Struct, frozen=True, gc=False):
    """An event without its body."""

    seq: int
    type: EventType
    recorded_at: int
    occurred_at: int | None
    agent: int
    facts: MomentFacts

    def at(self) -> int:
        """When it happened, by its sender's clock where that can be."""
        told = told_time(self.occurred_at, self.recorded_at)
        return self.recorded_at if told is None else told


class Span(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a run's time, or several that are too short to be told apart. Times are wall ms."""

    kind: str
    """`tool`, `model`, `step`, `text`, `wait`, `pause`, `queue`, `lease`, `child`, `event`."""
    name: str | None
    """Of the tool, model, step or worker, or the type of the event; None for several of different names."""
    agent: int
    """Number of the agent whose it is; 0 for none."""
    begin: int
    end: int | None
    """None: it goes on."""
    first_seq: int
    last_seq: int
    count: int = 1
    """How many it stands for."""
    failed: int = 0
    """How many of them failed."""
    run_id: str | None = None
    """Of a child."""
    is_timed: bool = True
    """False: of a call it is not known how long it took."""


class ToolFigures(msgspec.Struct, frozen=True, gc=False):
    """The calls of one tool. Times are in ms, of ended calls of which they are known; None without any."""

    tool: str
    calls: int
    failed: int
    open: int
    p50_ms: int | None
    p95_ms: int | None
    max_ms: int | None


class Outline(msgspec.Struct, frozen=True, gc=False):
    """The spans of a window of a run's time, and the figures of all of it."""

    begin: int
    end: int
    """The window."""
    spans: list[Span]
    tools: list[ToolFigures]
    events: int
    """How many events were looked at."""
    whole: bool
    """Whether those are all that there are."""
    agents: Mapping[int, str]
    """The names of agents of the spans by their numbers, as many as are named."""
