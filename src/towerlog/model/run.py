"""Runs: the status machine, and the row that the folds keep of each run.

`TRANSITIONS` is the only place that says which status may follow which. A dialect has only a table of its words for the
statuses.
"""

from __future__ import annotations

import enum
from hashlib import blake2b
from operator import attrgetter

import msgspec

from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.agent_share import AgentShare
from towerlog.model.approval import ClosedQuestion, OpenQuestion, awaited
from towerlog.model.assumed import AssumedCells
from towerlog.model.computed_costs import NO_COMPUTED, Computed, ComputedCells, ToldTotals
from towerlog.model.dormant import Dormant
from towerlog.model.ledger import Ledger
from towerlog.model.pending import MAX_ANSWERS, MAX_MESSAGES, Pending
from towerlog.model.running_totals import NO_SIDES, Sides
from towerlog.model.span import NO_CALLS, ToldCalls
from towerlog.model.spending import Spending
from towerlog.model.usage import NO_USAGE, Usage


class Status(enum.StrEnum):
    """The status of a run. `WAITING`: for a person's input."""

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
PLACEHOLDER_AGENTS = frozenset({DEFAULT_AGENT, "unknown"})
"""Names that dialects use when nobody named the agent; the first real name replaces them."""

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(Status) - {Status.QUEUED},
    Status.RUNNING: frozenset(Status) - {Status.RUNNING},
    Status.WAITING: frozenset(Status) - {Status.WAITING},
    Status.PAUSED: frozenset(Status) - {Status.PAUSED},
    # Only an end may follow: a report that was under way when the cancel came must not make the run go on.
    Status.CANCELLING: TERMINAL,
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.BUDGET_EXCEEDED: frozenset(),
    Status.LOST: frozenset(),
}


PARENT_RUN, PARENT_TRACE, PARENT_FOREIGN = "run:", "trace:", "foreign:"
"""How a `parent_key` begins: what follows is the parent's run id, trace id or foreign id."""


Unplaced = tuple[int, str, str, int]
"""Hour, agent and status of a roll-up cell, and how many events."""


class OpenTool(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A tool call whose result has not come, or a step whose end has not. Times as those of the row."""

    tool: str
    """Of a step `step_key`, as is its `call_id`."""
    call_id: str
    """The sender's, or one made here; of a long one what `long_call_id` gives."""
    called_at: int
    told_at: int | None = None
    """When it began by its sender's clock."""
    overlaps: bool = False
    """Another call of this tool was open with it: which of them a result without an id belongs to is a guess."""


def step_key(name: str) -> str:
    """What a step is called among open tool calls: no tool has such a name."""
    return STEP + (name if len(name) < MAX_OPEN_ID_CHARS else long_call_id(name))


def long_call_id(call_id: str) -> str:
    """What stands in the row for the id of a tool call that has more than MAX_OPEN_ID_CHARS characters: a digest."""
    return LONG_ID + blake2b(call_id.encode(), digest_size=16).hexdigest()


class ForkedFrom(msgspec.Struct, frozen=True, gc=False):
    """The checkpoint that a forked run began with."""

    run_id: str
    step_index: int
    agent: str
    """Name of the agent whose checkpoint it was."""


class RunRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run as folded from its events. Times are ms of `recorded_at` if they are not said to be the sender's; numbers
    are keys of the store."""

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
    composite: bool = False
    """A workflow or a team started it, no agent."""
    started_again: bool = False
    """Its start was told once more when it had a state (`engine.ingest.restarts`)."""
    agent: str | None = None
    """The name of the run's main agent: the first one named."""
    assumed_agent: bool = False
    """Nobody has named it: it is what stands for one, the service that reports the run."""
    assumed_cells: AssumedCells = ()
    """While no agent is named: where what stands for one has been counted."""
    began_cell: tuple[int, str, str] | None = None
    """The same of its start: hour, agent and status of that roll-up cell."""
    was_agent: str | None = None
    named_seq: int = 0
    """What stood for its agent, and the first event that did not stand under that: what was before is the agent's."""
    model: str | None = None
    first_model: str | None = None
    """The model that was named first: its start and its end count there."""
    start_cell: tuple[int, str, str] | None = None
    end_cell: tuple[int, str, str] | None = None
    """While no model is known: the roll-up cells that count its start and its end (`projections.usage.shifts`)."""
    unplaced: tuple[Unplaced, ...] = ()
    """Events that were counted without a model, since their agents have named none yet."""
    persona_id: str | None = None
    route_id: str | None = None
    parent_key: str | None = None
    """`PARENT_RUN`, `PARENT_TRACE` or `PARENT_FOREIGN` and an id. Resolved when the run is read, since a child may
    arrive before its parent."""
    resumed_from: str | None = None
    retry_of: str | None = None
    forked_from: ForkedFrom | None = None
    unnamed_thread: bool = False
    """No event has named its thread so far: it stands in one named after itself, or in its parent's."""
    created_by: str | None = None
    """A user id."""
    reporter_key: str | None = None
    """Id of the API key that reports it. Of a run that was made for workers the one that created it: while it is in the
    queue, no other may take it out of there without a claim."""
    started_at: int | None = None
    start_told_at: int | None = None
    """When its sender says that it began: of its start, or of its first event while no start has come."""
    ended_at: int | None = None
    end_told_at: int | None = None
    """When its sender says that it ended."""
    ended_seq: int | None = None
    ended_position: int | None = None
    usage: Usage = NO_USAGE
    """What `spending` adds up to. Its cost is higher where what was computed could not be taken back."""
    run_total: Usage = NO_USAGE
    run_sides: Sides = NO_SIDES
    process_cost: int | None = None
    computed_total: Computed = NO_COMPUTED
    run_rest: Usage = NO_USAGE
    shares: dict[str, AgentShare] = {}
    retired: AgentShare | None = None
    dormant: Dormant | None = None
    usage_flags: tuple[str, ...] = ()
    """`TOTAL_DECREASED` and the other words of `spending`. The nine of these are the members of `Spending`."""
    computed_cells: ComputedCells = ()
    """Where its computed cost is counted."""
    told_totals: ToldTotals = ()
    """What running totals count in it beyond calls."""
    price_version: str | None = None
    """Of the prices that it was computed with."""
    usage_seq: int = 0
    """Of the last event that moved what it has spent."""
    calls: ToldCalls = NO_CALLS
    """Of spans: model calls, whose figures are compared with those of others above and below them."""
    process: str | None = None
    """The process whose cost it told last (`UsageReport.process`)."""
    error: str | None = None
    questions: tuple[OpenQuestion, ...] = ()
    """Open ones, oldest first. They outlive their worker: the next claim finds them open."""
    asking_epoch: int = 0
    """Lease epoch of the last attempt that has asked anything."""
    closed_questions: tuple[ClosedQuestion, ...] = ()
    """The last MAX_CLOSED_QUESTIONS, and all whose answers wait for their agent, oldest first: whoever answers too late
    is told who was first."""
    awaits_approval: bool = False
    """Its newest checkpoint with a status waits for a person's approval."""
    phase: str | None = None
    has_lane: bool = False
    """Created for workers: it has a place in the queue."""
    attempt: int = 0
    lease_epoch: int = 0
    """Epoch of the last claim; 0 for a run that no worker has ever held."""
    forced: bool = False
    cancel_requested_at: int | None = None
    cancel_delivered_at: int | None = None
    """When a reply to the agent carried the cancel for the first time."""
    cancel_acknowledged_at: int | None = None
    cancel_reason: str | None = None
    process_at: int | None = None
    """Wall ms of the agent's last event, heartbeats included."""
    progress_at: int | None = None
    """Wall ms of its last event that was no heartbeat."""
    output_at: int | None = None
    """Wall ms of its last `message.delta`."""
    expected_at: int | None = None
    """Wall ms when a person ended a wait or an idleness, so that reports are expected again; None once there is one."""
    seen_at: int = 0
    """`process_at`, but up to SEEN_GRAIN_MS behind: the index of silent runs is on it."""
    silent_at: int | None = None
    """When `run.silent` was written for a silence that still lasts; None when there is none."""
    sends_heartbeats: bool = False
    """The run has sent heartbeats of its own."""
    idle: bool = False
    """The agent reported that it has nothing to do until it gets a message."""
    pending: tuple[Pending, ...] = ()
    command_ids: tuple[int, ...] = ()
    """Of the last MAX_COMMAND_IDS commands, pending or not, oldest first."""
    pause_taken: Pending | None = None
    """The pause that its agent has acknowledged and nobody has ended: the next attempt is told of it again."""
    open_tools: tuple[OpenTool, ...] = ()
    """Newest last. They outlive the run's end: results may be late."""
    late_events: int = 0
    rate_limited: int = 0
    clients: dict[str, Ledger] = {}
    """Client id → the ledger of its numbers; clients that do not number events are not in it."""
    uncounted_clients: bool = False
    """There were more than MAX_CLIENTS clients; the rest have no ledger."""
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    deltas_erased_at: int | None = None
    checkpoints_erased_at: int | None = None
    events_erased_at: int | None = None
    """When its content was erased (`Erases`). What was counted of it stays."""
    erased_seq: int = 0
    """Of the event that says the last of these: what came after all content was erased has content again."""

    def is_terminal(self) -> bool:
        """True once an end has been committed."""
        return self.status in TERMINAL

    def has_ended_since(self, before: RunRow | None) -> bool:
        """True if it has ended, and had not as it was `before`; None: it was not there."""
        return self.status in TERMINAL and (before is None or before.status not in TERMINAL)

    def pending_bytes(self) -> int:
        """How long the texts of its pending commands are together, as they stand in the row."""
        return sum([command.size() for command in self.pending if command.content is not None])

    def has_undelivered(self) -> bool:
        """Whether a command is pending that no reply has carried yet."""
        return bool(self.pending) and any(not command.delivered for command in self.pending)

    def awaited(self) -> OpenQuestion | None:
        """The oldest question that somebody waits for: what an answer without a name is an answer to."""
        return next(iter(awaited(self.questions, self.asking_epoch)), None)

    def question(self, question_id: int) -> OpenQuestion | None:
        """The open question of this id."""
        return next((one for one in self.questions if one.question_id == question_id), None)

    def is_first_step(self, agent: str, step_index: int) -> bool:
        """True when this agent cannot have a checkpoint at this step yet: all its steps are lower.

        Saves a look-up in the store. False where agents were retired: it may be one of them.
        """
        share = self.share(agent)
        return self.retired is None if share is None else step_index > share.step_index

    def share(self, agent: str) -> AgentShare | None:
        """What an agent has told; None for one that has told nothing, or is forgotten."""
        share = self.shares.get(agent)
        return share if share is not None or self.dormant is None else self.dormant.share(agent)

    def spending(self) -> Spending:
        """All that was told of its usage."""
        return Spending(
            self.shares, self.retired, self.run_total, self.run_sides, self.process_cost, self.usage_flags,
            self.computed_total, self.run_rest, self.dormant,
        )  # fmt: skip

    def model_of(self, agent: str | None) -> str | None:
        """The model of what an agent tells without one: that which it has named, else what was named before the run's
        agent was known. None where it has named several: a total or a cost may be of all of them.
        """
        for name in (agent, *sorted(PLACEHOLDER_AGENTS)):
            share = None if name is None else self.shares.get(name) or self.share(name)
            if share is not None and share.model is not None:
                return None if share.several_models else share.model
        return None

    def latest_step(self) -> tuple[str, int] | None:
        """(agent, step_index) of the highest checkpoint, None without any."""
        steps = [(share.step_index, agent) for agent, share in self.shares.items() if share.step_index >= 0]
        if self.retired is not None and self.retired.step_agent is not None:
            steps.append((self.retired.step_index, self.retired.step_agent))
        if self.dormant is not None and self.dormant.step_agent is not None:
            steps.append((self.dormant.step_index, self.dormant.step_agent))
        if not steps:
            return None
        # Of two agents at the same step the later name: any fixed rule will do, but a rebuild must choose the same.
        step_index, agent = max(steps)
        return agent, step_index

    def is_silence_timed(self) -> bool:
        """True while only its own events show that it is alive: it is running and was never under a lease."""
        return self.status is Status.RUNNING and not self.lease_epoch and not self.idle

    def silence_matters(self) -> bool:
        """Whether its silence is to be marked: it reported a start or heartbeats, and is not marked already."""
        return self.silent_at is None and (self.sends_heartbeats or not self.implicit)

    def began_at(self) -> int:
        """When it began, for lists: by its sender's clock where that told it, else when it was created here."""
        return self.created_at if self.start_told_at is None else self.start_told_at

    def shown_created_at(self) -> int:
        """When it was created, beside the times of `span`: not after its start, which another clock may have told."""
        started_at, _ = self.span()
        return self.created_at if started_at is None else min(self.created_at, started_at)

    def span(self) -> tuple[int | None, int | None]:
        """Start and end, None for what has not come. By the sender's clock where it told both, else as they arrived."""
        if self.ended_at is None:
            shown = self.started_at if self.start_told_at is None else self.start_told_at
            return (shown if self.started_at is not None else None), None
        return self.span_to(self.ended_at, self.end_told_at)

    def span_to(self, ended_at: int, end_told_at: int | None) -> tuple[int | None, int]:
        """Start and end of a run that ends at this time, or by its sender's clock at that one."""
        # A clock that was set back in between has measured nothing.
        if self.start_told_at is not None and end_told_at is not None and end_told_at >= self.start_told_at:
            return self.start_told_at, end_told_at
        return self.started_at, max(ended_at, self.started_at or self.created_at)

    def duration_ms(self) -> int | None:
        """From start (or creation) to end; None while it has not ended."""
        started_at, ended_at = self.span()
        # A run that never started (cancelled in the queue) counts from its creation.
        return None if ended_at is None else ended_at - (self.created_at if started_at is None else started_at)


place_of = attrgetter("agent", "thread_id", "parent_key", "metadata")
"""What an event may change of that which tells whether an alert rule is about a run, or about those below it."""
MAX_UNPLACED = 16
MAX_UNPLACED_BYTES = 1_536
"""Roll-up cells of which it is remembered how many events a run without a model has in them, and what they take as
JSON; what is in others stays without one."""
MAX_OPEN_TOOLS = 64
MAX_OPEN_ID_CHARS = 200
"""Of the id of an open tool call; a longer one stands in the row by its digest."""
STEP = "\x1e"
"""Begins the name of an open step."""
LONG_ID = "\x1f"
"""Begins such a digest, and hardly an id."""
MAX_COMMAND_IDS = 64
"""Commands of a run that are known by their ids once they are taken; of an older id nobody knows what it was."""
MAX_QUESTIONS = 64
"""Open questions of one attempt; one more is refused, so that its agent does not wait for what cannot come."""
MAX_CLOSED_QUESTIONS = 32
"""More only where so many answers wait for their agent: the row has the questions of all these."""
MAX_PENDING = MAX_MESSAGES + 2 * MAX_ANSWERS + MAX_QUESTIONS + 2
"""There is always room for a cancel, and for a pause or a resume, beside messages, answers, and the words that as many
questions have expired as may be open."""
MAX_METADATA_BYTES = 16 * 1024
"""Of a run's row. What does not fit stays in its event."""
MAX_QUESTION_CHARS = 4 * 1024
MAX_QUESTION_BYTES = 6 * 1024
"""Of the texts of all open questions, and of these as JSON: past it the row has the beginnings of the longest. Their
events are whole."""
MAX_OPEN_TOOL_BYTES = 6 * 1024
"""Of all open tool calls as JSON: past it the oldest are forgotten. Nobody waits for them here."""
MAX_OPEN_RUNS = 1024
MAX_THREAD_QUEUE = 1000
"""Bounds of the lists inside a row. Past them the oldest entry is removed; further runs in the queue of a thread are
refused."""
SEEN_GRAIN_MS = 60_000
"""How far `seen_at` may lag: an index entry is moved once a minute and not with each event."""
