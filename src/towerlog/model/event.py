"""Events: what a dialect makes (`Draft`) and what the log returns (`Event`).

`data` is always one line of JSON text, an object, so that it can be copied into replies and stream frames as it is.
What the folds need of it is in `Facts`, so that a fold never parses a body.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated

import msgspec

from towerlog.errors import Damaged
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.facts import NO_EFFECTS, NO_FACTS, Effects, Facts
from towerlog.model.run import Status
from towerlog.model.span import SpanPlace
from towerlog.model.times import told_time


class EventType(enum.StrEnum):
    """The closed set of canonical types. Anything else is `other`, with its sender's type in `Facts.name`."""

    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_PAUSE_REQUESTED = "run.pause_requested"
    RUN_PAUSED = "run.paused"
    RUN_RESUME_REQUESTED = "run.resume_requested"
    RUN_RESUMED = "run.resumed"
    RUN_WAITING = "run.waiting_for_input"
    RUN_INPUT = "run.input"
    RUN_QUESTION_WITHDRAWN = "run.question_withdrawn"
    APPROVAL_EXPIRED = "approval.expired"
    RUN_MESSAGE = "run.message"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_SILENT = "run.silent"
    RUN_LOST = "run.lost"
    BUDGET_WARNING = "budget.warning"
    BUDGET_EXCEEDED = "budget.exceeded"
    COST_REPRICED = "cost.repriced"
    USAGE_RECOUNTED = "usage.recounted"
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
    RUN_ERASED = "run.erased"
    ERASED = "erased"
    OTHER = "other"


TARGET_STATUS: dict[EventType, Status] = {
    EventType.RUN_QUEUED: Status.QUEUED,
    EventType.RUN_STARTED: Status.RUNNING,
    EventType.RUN_PAUSED: Status.PAUSED,
    EventType.RUN_RESUMED: Status.RUNNING,
    EventType.RUN_WAITING: Status.WAITING,
    EventType.RUN_INPUT: Status.RUNNING,
    EventType.RUN_QUESTION_WITHDRAWN: Status.RUNNING,
    EventType.APPROVAL_EXPIRED: Status.RUNNING,
    EventType.RUN_CANCEL_REQUESTED: Status.CANCELLING,
    EventType.RUN_COMPLETED: Status.COMPLETED,
    EventType.RUN_FAILED: Status.FAILED,
    EventType.RUN_CANCELLED: Status.CANCELLED,
    EventType.RUN_LOST: Status.LOST,
    EventType.BUDGET_EXCEEDED: Status.BUDGET_EXCEEDED,
    EventType.LANE_RELEASED: Status.QUEUED,
    EventType.LANE_LOST: Status.QUEUED,
}
"""The status that an event gives its run, if `TRANSITIONS` in `model/run.py` allows it. A run with an open question or
approval is `waiting_for_input` where this says `running`."""

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
TIMED_TYPES = TOOL_TYPES | {EventType.STEP}
"""Types that may begin or end what is measured between two events."""
_CLOSES = (EventType.RUN_INPUT, EventType.RUN_QUESTION_WITHDRAWN, EventType.APPROVAL_EXPIRED)
QUESTION_TYPES = frozenset({EventType.RUN_WAITING, *_CLOSES})
"""Types that open or close a question of the run."""


class RunById(msgspec.Struct, frozen=True, gc=False):
    """A run by our own UUID. An unknown one is refused with 404, never created."""

    run_id: str


class RunByForeignId(msgspec.Struct, frozen=True, gc=False):
    """A run by its sender's id, unique in the organisation; created when new.

    `foreign_id` begins with its dialect, as in `steps:abc`, so that one id of two dialects names two runs.
    One of our own run ids after the colon is found as well.
    """

    foreign_id: str
    thread_id: str
    names_thread: bool = True
    """False: nobody has named the thread, and a child stands in its parent's."""
    of_parent: bool = False
    """It is the thread of the run's parent."""


class RunByTrace(msgspec.Struct, frozen=True, gc=False):
    """The run of this thread and trace; created when new.
    `reopen`: when that run has ended, a new one is begun instead of adding late events to it.
    """

    thread_id: str
    trace_id: str
    reopen: bool = False


class OpenRun(msgspec.Struct, frozen=True, gc=False):
    """The thread's newest open run of its own, else its newest, else a new one.

    A run of its own is one that is no child of another run of the thread.
    `reopen`: when the newest run has ended, a new one is begun.
    """

    thread_id: str
    reopen: bool = False


NamedRun = RunById | RunByForeignId | RunByTrace
"""A run by a name of its own."""
RunRef = NamedRun | OpenRun


class HistoryBase(msgspec.Struct, frozen=True, gc=False):
    """A beginning of a history that is stored already: the key of its last node, and how many messages it has."""

    node: bytes
    length: int


class StoredHistory(msgspec.Struct, frozen=True, gc=False):
    """Where a history lies: its last node and its last meta list, empty for empty ones; how many messages it has."""

    node: bytes
    length: int
    metas: bytes


class History(msgspec.Struct, frozen=True, gc=False):
    """The messages of an incoming checkpoint: one compact JSON text each, keys in the order as sent."""

    messages: Sequence[bytes]
    """With a base only those after it."""
    meta: Sequence[bytes] | None
    """Of the whole history, the base included; None when the sender gave none."""
    base: HistoryBase | None = None
    stored: StoredHistory | None = None
    """Where it lies, if it was stored before its event."""
    is_long: bool = False
    """It is not stored with its event: if it is not stored before, its event is not taken."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event as a dialect makes it, before it has a place in the log."""

    type: EventType
    run: RunRef
    data: bytes
    facts: Facts = NO_FACTS
    occurred_at: int | None = None
    """Wall ms of the sender's clock; kept and shown, never used for order."""
    event_id: str | None = None
    """The sender's id of the event, unique in the run for the run's life: a repetition is stored once."""
    natural_key: str | None = None
    """Set for what can happen once in a run (a start, an end): the same again with the same content adds nothing."""
    agent: str | None = None
    """The agent's name; None: the run's agent."""
    agent_default: str = DEFAULT_AGENT
    """The agent's name when neither the event nor its run names one."""
    history: History | None = None
    content: bytes = b""
    """What `content_digest` gives of `data`; empty where it has not been worked out yet."""
    chained: bytes = b""
    """What `in_chain` gives of `data`, the same."""
    inside: Facts | None = None
    """Of what begins or ends a workflow or a team: the facts of the plain event that it is inside an agent's run."""
    part: bool = False
    """Told by a part of its run: the agent that it names is its own, and not the run's."""
    span: SpanPlace | None = None
    """Of a span: where it stands in its trace."""
    otherwise: Draft | None = None
    """What it is if its run has something else under its id: a second account of a call whose figures count once."""

    @property
    def effects(self) -> Effects:
        """What the folds will act on; `NO_EFFECTS` for none."""
        return self.facts.effects or NO_EFFECTS


class AgentHeartbeat(msgspec.Struct, frozen=True, gc=False):
    """A heartbeat of an agent outside any run: updates its last heartbeat and adds no event."""

    agent: str
    occurred_at: int | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """An item of a batch that is not stored, and why. `code` is one of the codes in `errors.py`."""

    code: str
    message: str
    field: str | None = None


Item = Draft | AgentHeartbeat | Refusal


class FieldWarning(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A field of a request that is stored as it was sent but could not be used, or that was repaired; and why."""

    index: Annotated[int, msgspec.Meta(examples=[0])] | None = None
    """The place of its event in the batch; null if it is about the request itself, or the request is one event."""
    field: Annotated[str, msgspec.Meta(examples=["payload.duration_ms"])]
    """Its path within the event, as in `payload.duration_ms`."""
    message: Annotated[
        str, msgspec.Meta(examples=["payload.duration_ms: must be a number; it is kept as it was sent and not used"])
    ]
    """Which field it is and what became of it, for people."""


NATURAL = "\x1f"
"""Begins the stored id of an event without an id of its sender's, which holds no control character."""
OF_KEY = "\x1e"
"""Begins the stored id of an event that has its id among those of its sender's key."""


OF_ERASED = "\x1d"
"""Begins the stored id of an event whose content was erased: a digest of its id follows, by which a repeat is known."""


def id_of_key(key_id: str, event_id: str) -> str:
    """What is kept under an id of a key: the ids of a run that is held are its holder's, whoever used them first."""
    return f"{OF_KEY}{key_id}{OF_KEY}{event_id}"


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
    """What it is kept under; `sent_id` is what readers are shown."""
    agent: int = 0
    """The agent's number, 0 for none."""
    late: bool = False
    """Stored after the run had ended; moves its totals, but not its status."""
    future: bool = False
    """`occurred_at` was more than `FUTURE_TOLERANCE_MS` ahead of the server's clock."""
    hash: bytes = b""
    """SHA-256 over the run's previous hash and this event."""
    content: bytes = b""
    """Of an event with an id: what `content_digest` gives of its data as it was sent. A repeat has the same."""

    @property
    def sent_id(self) -> str | None:
        """The id that its sender gave it; None where it is stored under a natural key."""
        told = self.event_id
        if told is None or told[:1] > NATURAL:
            return told
        if told.startswith(OF_KEY):
            told = told.split(OF_KEY, 2)[2]
        return None if told.startswith((NATURAL, OF_ERASED)) else told

    @property
    def effects(self) -> Effects:
        """What the folds act on; `NO_EFFECTS` for none."""
        return self.facts.effects or NO_EFFECTS

    def happened_at(self) -> int:
        """When it happened, in wall ms: by the sender's clock where that is not absurd, else when it arrived."""
        told_at = self.told_at()
        return self.recorded_at if told_at is None else told_at

    def told_at(self) -> int | None:
        """When it happened by the sender's clock; None where that told nothing, or something absurd."""
        return told_time(self.occurred_at, self.recorded_at)


READ_FAILED = "a read from disk failed"
"""In the reason of what the disk has not handed out: what stands there may be whole."""


class DamagedEvent(msgspec.Struct, frozen=True, gc=False):
    """Stands where events of the log cannot be handed out: they are not what was written, or not there at all.

    One event, or (`first_seq` below `seq`) a stretch of a run in which nothing is left.
    """

    org: int
    position: int
    """0 where nothing tells it."""
    run: int
    """0 where nothing tells it; then `seq` tells nothing either."""
    seq: int
    """The last one that is damaged."""
    first_seq: int
    reason: str

    def error(self, run_id: str | None) -> Damaged:
        """What whoever asked for it is told; `run_id` where it is known."""
        if not self.run:
            which = f"The event at position {self.position} is"
        elif self.seq == self.first_seq:
            which = f"Event {self.seq} of run {run_id} is"
        else:
            which = f"Events {self.first_seq} to {self.seq} of run {run_id} are"
        how = f"not to be read now: {READ_FAILED}" if READ_FAILED in self.reason else "damaged in the store"
        return Damaged(f"{which} {how}. What comes after it can be read: ask for it with after_seq.")


Logged = Event | DamagedEvent
"""What a reader of the log is given."""


def sound(found: Logged | None, run_id: str | None) -> Event | None:
    """The event, if there is one. Raises Damaged, which names it, where it is not what was written."""
    if isinstance(found, DamagedEvent):
        raise found.error(run_id)
    return found


COPY = "r"
"""Begins the epoch of a copied log, which goes on otherwise than the first one: a bare seq may be of another log."""


def cursor_text(epoch: str, position: int) -> str:
    """The cursor of a feed, opaque to clients: the epoch of the log and a position in it."""
    return f"{epoch}-{position}"
