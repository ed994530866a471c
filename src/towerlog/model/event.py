"""Events: what a dialect proposes (`Draft`) and what the log returns (`Event`).

`data` is always one line of JSON text, an object, ready to be spliced into a reply; what the folds need beside it
stands in `Facts`, so that a fold never parses a body.
"""

from __future__ import annotations

import enum

import msgspec

from towerlog.model.facts import NO_EFFECTS, NO_FACTS, Effects, Facts
from towerlog.model.run import Status
from towerlog.model.usage import NOTHING


class EventType(enum.StrEnum):
    """The closed set of canonical types; what has no place here is `other` under its own name (`Facts.name`)."""

    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_PAUSE_REQUESTED = "run.pause_requested"
    RUN_PAUSED = "run.paused"
    RUN_RESUME_REQUESTED = "run.resume_requested"
    RUN_RESUMED = "run.resumed"
    RUN_WAITING = "run.waiting_for_input"
    RUN_INPUT = "run.input"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_SILENT = "run.silent"
    RUN_LOST = "run.lost"
    BUDGET_WARNING = "budget.warning"
    BUDGET_EXCEEDED = "budget.exceeded"
    MESSAGE_DELTA = "message.delta"
    TOOL_CALL = "tool.call"
    TOOL_RESULT = "tool.result"
    MODEL_CALL = "model.call"
    STEP = "step"
    CHECKPOINT = "checkpoint"
    COMMAND_DELIVERED = "command.delivered"
    COMMAND_ACKNOWLEDGED = "command.acknowledged"
    LANE_CLAIMED = "lane.claimed"
    LANE_REPORT = "lane.report"
    LANE_RELEASED = "lane.released"
    LANE_LOST = "lane.lost"
    OTHER = "other"


TARGET_STATUS: dict[EventType, Status] = {
    EventType.RUN_QUEUED: Status.QUEUED,
    EventType.RUN_STARTED: Status.RUNNING,
    EventType.RUN_PAUSED: Status.PAUSED,
    EventType.RUN_RESUMED: Status.RUNNING,
    EventType.RUN_WAITING: Status.WAITING,
    EventType.RUN_INPUT: Status.RUNNING,
    EventType.RUN_CANCEL_REQUESTED: Status.CANCELLING,
    EventType.RUN_COMPLETED: Status.COMPLETED,
    EventType.RUN_FAILED: Status.FAILED,
    EventType.RUN_CANCELLED: Status.CANCELLED,
    EventType.RUN_LOST: Status.LOST,
    EventType.BUDGET_EXCEEDED: Status.BUDGET_EXCEEDED,
    EventType.LANE_RELEASED: Status.QUEUED,
    EventType.LANE_LOST: Status.QUEUED,
}
"""Where an event takes its run when the transition table of `model/run.py` allows it."""

FEED_TYPES = frozenset(
    {
        EventType.TOOL_CALL,
        EventType.TOOL_RESULT,
        EventType.MODEL_CALL,
        EventType.CHECKPOINT,
        EventType.RUN_COMPLETED,
        EventType.RUN_FAILED,
        EventType.BUDGET_EXCEEDED,
    }
)
"""What may have a place in an agent's activity feed; the rest is never even indexed there."""


FEED_TYPES_WHEN_SPENT = frozenset({EventType.CHECKPOINT, EventType.RUN_COMPLETED, EventType.RUN_FAILED})
"""Those among them that show there only when they say what was spent."""

NOT_FROM_AGENT = frozenset(
    {
        EventType.RUN_QUEUED,
        EventType.RUN_CANCEL_REQUESTED,
        EventType.RUN_PAUSE_REQUESTED,
        EventType.RUN_RESUME_REQUESTED,
        EventType.RUN_SILENT,
        EventType.RUN_LOST,
        EventType.COMMAND_DELIVERED,
        EventType.LANE_LOST,
    }
)
"""Written by others about a run; all the rest is its agent's own word, or an answer that gives it its time anew."""

PLAIN_TYPES = frozenset(
    {
        EventType.MESSAGE_DELTA,
        EventType.STEP,
        EventType.OTHER,
        EventType.LANE_REPORT,
        EventType.TOOL_CALL,
        EventType.TOOL_RESULT,
    }
)
"""Types that by themselves move nothing but the run's place in the log and its clocks; a tool's also its open calls."""
TOOL_TYPES = frozenset({EventType.TOOL_CALL, EventType.TOOL_RESULT})


class RunById(msgspec.Struct, frozen=True, gc=False):
    """A run by our own UUID; an unknown one is refused (404), never created."""

    run_id: str


class RunByForeignId(msgspec.Struct, frozen=True, gc=False):
    """A run by its sender's id, unique in the organisation; created when new.

    `foreign_id` carries its dialect, as in `steps:abc`; a sender may also use one of our run ids after the colon.
    """

    foreign_id: str
    thread_id: str


class RunByTrace(msgspec.Struct, frozen=True, gc=False):
    """The run (thread, trace); created when new. `reopen`: a terminal one is left alone and a new run begun."""

    thread_id: str
    trace_id: str
    reopen: bool = False


class OpenRun(msgspec.Struct, frozen=True, gc=False):
    """The thread's newest open run, else its newest run, else a new one.

    `reopen`: a new run also when the newest has ended.
    """

    thread_id: str
    reopen: bool = False


RunRef = RunById | RunByForeignId | RunByTrace | OpenRun


class History(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint's messages on their way in: one compact JSON text each, key order as sent."""

    messages: list[bytes]
    meta: list[bytes] | None
    """Parallel to `messages`; None when the sender gave none."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event as a dialect proposes it."""

    type: EventType
    run: RunRef
    data: bytes
    facts: Facts = NO_FACTS
    occurred_at: int | None = None
    """Milliseconds; the sender's clock, kept and never used for ordering."""
    event_id: str | None = None
    """The sender's idempotency id, unique in the run for the run's life."""
    natural_key: str | None = None
    """A name for what can happen once in a run: the same again with the same content adds nothing."""
    agent: str | None = None
    """The agent's name; None: the run's agent."""
    agent_default: str = "default"
    """Used when neither the event nor its run names one."""
    history: History | None = None

    @property
    def effects(self) -> Effects:
        """What the folds will act on; `NO_EFFECTS` for none."""
        return self.facts.effects or NO_EFFECTS


class Touch(msgspec.Struct, frozen=True, gc=False):
    """A sign of life of an agent outside any run: moves its last heartbeat, adds no event."""

    agent: str
    occurred_at: int | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """An item of a batch that is not stored, and why. `code` is one of the error codes."""

    code: str
    message: str
    field: str | None = None


Item = Draft | Touch | Refusal


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event as the log returns it."""

    org: int
    position: int
    """Rises by commit order in the organisation."""
    run: int
    """The run's number (not its id)."""
    seq: int
    """1, 2, 3 … in the run."""
    type: EventType
    recorded_at: int
    data: bytes
    facts: Facts = NO_FACTS
    facts_json: bytes = b""
    """`facts` as it is stored and hashed; empty for `NO_FACTS`."""
    dialect: str = ""
    occurred_at: int | None = None
    event_id: str | None = None
    agent: int = 0
    """The agent's number, 0 for none."""
    late: bool = False
    """Came after the run had ended."""
    future: bool = False
    """Its sender's clock was more than five minutes ahead."""
    hash: bytes = b""
    """SHA-256 over the run's previous hash and this event."""

    @property
    def effects(self) -> Effects:
        """What the folds act on; `NO_EFFECTS` for none."""
        return self.facts.effects or NO_EFFECTS

    def is_plain(self) -> bool:
        """True when it moves nothing but its run's place in the log, its clocks, its open tools, its clients' numbers.

        Most of all events are plain; many of them are folded at once.
        """
        return self.type in PLAIN_TYPES and self.facts.effects is None and not self.late


def cursor_text(epoch: str, position: int) -> str:
    """The opaque cursor of a feed: which log, and where in it."""
    return f"{epoch}-{position}"


def has_spent(event: Event) -> bool:
    """Whether an event added tokens or money to its run."""
    effects, spent = event.effects, event.facts.spent
    if effects.checkpoint is not None and (effects.checkpoint.initial or effects.checkpoint.decision):
        return False
    if spent is None:
        spent = NOTHING if effects.report is None else effects.report.usage
    return bool(spent.all_tokens() or spent.cost_nanos)


def has_feed_place(event: Event) -> bool:
    """Whether an event shows in its agent's feed: a turn or an end only if it spent something."""
    return event.type in FEED_TYPES and (event.type not in FEED_TYPES_WHEN_SPENT or has_spent(event))
