"""Facts: what folds and encoders need of an event beside its body, so that no fold ever parses a body.

A fact that moves a row beyond its counters is an effect. An event without effects, of a type in `PLAIN_TYPES`, is
plain: it costs the writer next to nothing.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec

from towerlog.model.approval import OnExpiry, Terms
from towerlog.model.checkpoint import StoredState
from towerlog.model.computed_costs import MINUTE_MS, ClaimedCost, Priced, Recount, Repriced, TakenBack
from towerlog.model.price import CardSince
from towerlog.model.run import ForkedFrom, Status
from towerlog.model.span import BelowSpan, ToldCall
from towerlog.model.usage import NO_USAGE, Usage, UsageReport


class Origin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of a run at its first event. Kept in that event, so that a rebuild has it.

    It never changes, but for the thread of a run whose thread nobody has named.
    """

    run_id: str
    thread_id: str
    trace_id: str
    foreign_id: str | None = None
    implicit: bool = False
    created_by: str | None = None
    parent_key: str | None = None
    resumed_from: str | None = None
    persona_id: str | None = None
    route_id: str | None = None
    source: str = ""
    """The dialect of the event that created the run."""
    retry_of: str | None = None
    """Id of the run that this one repeats."""
    forked_from: ForkedFrom | None = None
    unnamed_thread: bool = False
    """Nobody has named its thread: it stands in one named after itself, or in its parent's."""


class Erases(enum.StrEnum):
    """What is erased of a run; each holds what stands before it."""

    DELTAS = "deltas"
    """The bodies of its `message.delta`."""
    CHECKPOINTS = "checkpoints"
    """Its checkpoints with their histories, and the bodies of the events that brought them."""
    EVENTS = "events"
    """The content of all its events, and all that its row has of it beside figures, names and times."""


LATEST_STEP = -1
"""As `step_index` of a decision: the newest checkpoint of the run."""


class CheckpointFacts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A checkpoint without its history, which is in the content store under `node`."""

    step_index: int
    status: str
    node: str = ""
    """Hex key of the history's last node; empty for the empty history."""
    length: int = 0
    metas: str = ""
    """Hex key of the history's meta list; empty for an empty one."""
    has_meta: bool = True
    digest: str = ""
    """Hex SHA-256 of figures and history: the same digest means the same content, and nothing is stored again."""
    initial: bool = False
    """Made by the start of a run, not sent by its agent."""
    decision: bool = False
    """A person's approve or reject, or the end of the run: changes only the checkpoint's status."""
    agent: str | None = None
    """Name of the agent whose checkpoint it is, if not the event's own agent."""
    held: StoredState | None = None
    left: bool = False
    """Of one that waits for approval: it came when its agent had told a later step already, and so waits no more. With
    `decision`: nobody waits for it any more, as the server has found."""
    again: bool = False
    """A step below the newest one of its agent, which was told before with other content."""
    terms: Terms | None = None
    """Of one that waits for approval: what its agent says about that."""
    decided_by: str | None = None
    """Of a decision: the user id of whoever has taken it."""
    expired: bool = False
    """Of a decision: nobody has taken it in time."""


class LaneFacts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a lane event says about the lease."""

    worker_id: str | None = None
    epoch: int = 0
    attempt: int = 0
    phase: str | None = None


class Effects(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    # The names of these in the log, whose hashes cover them.
    rename={"origin": "born", "requests": "asks", "is_start": "fills"},
):
    """What the folds act on, beside the event's type. Everything is optional; a plain event has none of it."""

    status: Status | None = None
    """Overrides `TARGET_STATUS`."""
    report: UsageReport | None = None
    priced: Priced | None = None
    """What was computed of its report, which tells tokens and no cost. Worked out when the event is placed."""
    repriced: Repriced | None = None
    """What the server has computed anew of earlier reports."""
    cards: tuple[CardSince, ...] = ()
    """By which prices, each of what happened from its time on."""
    model: str | None = None
    provider: str | None = None
    """Who serves that model, where the sender has told it."""
    parent_key: str | None = None
    thread_id: str | None = None
    """The thread that its run moves to, since this event names it and none before has named any."""
    checkpoint: CheckpointFacts | None = None
    lane: LaneFacts | None = None
    command_id: int | None = None
    """The pending command that this event acknowledges."""
    requests: str | None = None
    """The command that this event makes (`cancel`, `input`, `message`, `pause`, `resume`); pending until it is
    acknowledged."""
    untaken: bool = False
    """The agent has done nothing with that command: an answer for which it did not wait any more."""
    acknowledges: str | None = None
    """Or the type whose oldest pending command it acknowledges, for dialects that give no ids."""
    delivers: int | None = None
    """The pending command that a reply carries for the first time: this event is its receipt."""
    question_id: int | None = None
    """The question that this event answers or withdraws; of a question that is asked again, its first seq."""
    question_key: str | None = None
    """What the agent calls the question that this event asks or withdraws."""
    terms: Terms | None = None
    """What the agent says about the question that this event asks."""
    expires: OnExpiry | None = None
    """A question was not answered in time: what follows from that."""
    forced: bool = False
    of_server: bool = False
    """The server says it, though runners tell events of this type too: no sign of life of the agent, unless it says
    that there was one (`beat`)."""
    recovered: bool = False
    is_start: bool = False
    """A start: fills in what the run does not know yet, even when it arrives after other events or after the end."""
    starts_again: bool = False
    """A start that was told before: its agent may be one that was restarted."""
    composite: bool = False
    """Starts a run of a workflow or a team, in which agents have runs of their own."""
    claims: bool = False
    """Said for whoever took the lease: the one thing that may take a requeued run out of the queue."""
    beat: bool = False
    """Says nothing but that its sender is there."""
    reservation_id: str | None = None
    """The reservation of a budget that this event settles."""
    budget_id: str | None = None
    """The budget that the server says this of: it ends no run."""
    idle: bool = False
    """Its agent has nothing to do until somebody speaks to it."""
    rate_limited: bool = False
    """A model provider has slowed its agent down."""
    erases: Erases | None = None
    """What the server takes away of all that the run has so far."""
    origin: Origin | None = None
    reporter_key: str | None = None
    """Id of the API key that reports the run from here on: of its first event, and of its start; of who created it."""
    calls: tuple[ToldCall, ...] = ()
    """Of a span: what is remembered of the figures of model calls from now on, its own first if it is one."""
    below: tuple[BelowSpan, ...] = ()
    """What is added to sums of model calls below spans that have not come."""
    uncounted: bool = False
    """Figures of a model call do not count, since what is above or below it is remembered no more."""
    recount: Recount | None = None
    """Its report changes what was counted of an earlier call."""
    assumes_agent: str | None = None
    """Of the first event of a run whose agent nobody has named: what stands for it until somebody does."""
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """A JSON object merged into the run's metadata. Unset, not None: msgspec decodes no union of Raw with None."""

    def version_computed_with(self) -> str | None:
        """The prices that it was computed with; None where nothing was."""
        if self.repriced is not None:
            return self.repriced.version or None
        return None if self.priced is None else self.priced.version

    def told_or_computed(self) -> Usage:
        """The figures of its report, with the cost that was computed where none was told."""
        usage = NO_USAGE if self.report is None else self.report.usage
        if self.priced is None or self.priced.nanos is None:
            return usage
        return msgspec.structs.replace(usage, cost_nanos=self.priced.nanos)


class Moved(NamedTuple):
    """Money that an agent spent, in nano-dollars; less than 0: taken back from it."""

    agent: str
    nanos: int
    counted_at: int | None
    """When that was counted which it corrects, wall ms, or the first of it; None: it is spent now."""
    unpriced: int = 0
    """Calls whose cost nobody knows, which it adds or, below 0, takes away."""

    def is_in(self, since: int) -> bool:
        """Whether it moves a sum over the time from `since` on, wall ms: not where it corrects what is older."""
        return self.counted_at is None or self.counted_at >= since


class Facts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What folds and encoders need beside the body. Everything is optional.

    What stands here itself describes the event: encoders show it, and the row of a run takes the `error` of its end and
    the numbers of its clients from it. What moves rows beside the event's type stands in `effects`.
    """

    name: str | None = None
    """The sender's own type, if it is not the canonical one."""
    spent: Usage | None = None
    """What this event added to the roll-ups; computed when the event is placed."""
    taken_back: tuple[TakenBack, ...] = ()
    """Computed costs that were counted with earlier events: this one takes them back, since it tells a lower cost."""
    claimed: ClaimedCost | None = None
    """A part of a told cost that counted with an earlier event, and counts with this one."""
    tool: str | None = None
    tool_call_id: str | None = None
    begins: str | None = None
    """Of the beginning of a step: what its end will call it."""
    ends: str | None = None
    """Of the end of a step: what its beginning has called it."""
    step: str | None = None
    """What a step is called, where its ends are called otherwise: by the id of their span."""
    success: bool | None = None
    duration_ms: int | None = None
    """How long what this event ends took: as its sender told it, else as it was measured when it was placed."""
    error: str | None = None
    """Why it failed, in one line of at most 500 characters."""
    question: str | None = None
    client_id: str | None = None
    """The client that numbered this event; None if none did."""
    client_seq: int | None = None
    """Its number among the events of that client in this run: 1, 2, 3 … without a gap."""
    client_dropped: tuple[int, int] | None = None
    """First and last of the numbers that the client reports as dropped; they will not arrive."""
    client_key: str | None = None
    """Id of the API key that numbers under this client id from here on; None: it is the one that did before, or for a
    new client the one that reports the run."""
    parent_span_id: str | None = None
    """Of a span that has a parent: its id."""
    foreign: bool = False
    """Would change a run that another key holds, or has put into the queue. What reports the change is kept as `other`
    under `name`; what only names an agent for the run keeps its type, and the run its agent."""
    by_other: bool = False
    """Telemetry of a run that is another key's: it counts, and moves neither a model, the run's or that of one of its
    agents, nor its open calls."""
    part: bool = False
    """Told by a part of its run: the agent that it names is its own, and not the run's."""
    erased: str | None = None
    """Of a tombstone: the type of the event whose content is gone."""
    effects: Effects | None = None
    """None where the type alone says what the event moves."""

    def moved(self, agent: str) -> list[Moved]:
        """The money that an event of this agent moves."""
        if self.spent is None:
            return []
        found = []
        if self.spent.cost_nanos:
            of = None if self.effects is None else self.effects.repriced or self.effects.recount
            at_ms = None if of is None else of.arrived * MINUTE_MS
            found.append(Moved(agent, self.spent.cost_nanos, at_ms))
        less: tuple[TakenBack | ClaimedCost, ...] = self.taken_back
        if self.claimed is not None:
            less = (*less, self.claimed)
        return found + [Moved(one.agent, -one.nanos, one.arrived * MINUTE_MS) for one in less]

    def lost_nanos(self) -> int:
        """What it takes out of the cost of earlier events."""
        lost = 0 if self.claimed is None else self.claimed.nanos
        return lost + sum(one.nanos for one in self.taken_back)


NO_FACTS = Facts()
NO_EFFECTS = Effects()
"""What an event without effects has."""


class LinkAbove(NamedTuple):
    """What a span that has come says of what is above it."""

    above: str | None
    is_call: bool
    """It is a model call. Where its figures are remembered no more, what is below it is compared with nothing."""


def link_above(facts: Facts, span_id: str) -> LinkAbove:
    """That of the event of a span."""
    calls = facts.effects.calls if facts.effects is not None else ()
    return LinkAbove(facts.parent_span_id, bool(calls) and calls[0].span_id == span_id)


def with_effects(facts: Facts, **changed: Any) -> Facts:
    """The facts with some of their effects changed."""
    effects = msgspec.structs.replace(facts.effects or NO_EFFECTS, **changed)
    return msgspec.structs.replace(facts, effects=effects)


def some(effects: Effects) -> Effects | None:
    """The effects, None where there are none: an event that says nothing of the kind must stay plain."""
    return None if effects == NO_EFFECTS else effects
