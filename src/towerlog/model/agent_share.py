"""What one agent has told in a run, and what counts of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from towerlog.model.computed_costs import NO_COMPUTED, Computed
from towerlog.model.running_totals import NO_SIDES, Level, RunningTotals, Sides, rest_of
from towerlog.model.usage import NO_USAGE, Usage, add, larger

Forgotten = Literal["calls", "totals"]
OF_CALLS = ("delta", "change")
"""The kinds of reports that are increments."""
_replace = msgspec.structs.replace


class AgentShare(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one agent has told in a run."""

    increments: Usage = NO_USAGE
    """The sum of its increments."""
    totals: Usage = NO_USAGE
    """The highest of its running totals, bucket by bucket, and the calls that it has told beside them."""
    sides: Sides = NO_SIDES
    rest: Usage = NO_USAGE
    """The tokens that its running totals say beyond its increments."""
    turn: Usage = NO_USAGE
    """The newest of these calls."""
    running: RunningTotals | None = None
    """Its running totals by their size; None where all of them are in what stands above."""
    model: str | None = None
    """The model that it named last."""
    several_models: bool = False
    """It has named another one before."""
    step_index: int = -1
    """The highest checkpoint so far; -1 for none."""
    awaited_step: int = -1
    """The step of the checkpoint that waits for approval; -1 for none."""
    step_agent: str | None = None
    """Name of the agent of that checkpoint, in the share of retired agents."""
    computed: Computed = NO_COMPUTED
    """The sum of what was computed of those of its increments that told no cost."""
    computed_total: Computed = NO_COMPUTED
    """What was computed of the rest of its running totals."""
    forgotten: Forgotten | None = None
    """What it had told that was forgotten: calls alone, or running totals too. Its running totals count no more, since
    they may say what has counted, but for what they exceed `floor` by; in the other case calls may be in them, and do
    not count. Of retired agents: not all of them are known by their digests."""
    floor: int | None = None
    """Of one that was forgotten: how many tokens have counted of it elsewhere; None where that is not known."""

    def at(self, step_index: int, waits: bool) -> AgentShare:
        """After a checkpoint at this step, which may wait for approval."""
        awaited = step_index if waits else -1 if step_index >= self.awaited_step else self.awaited_step
        if step_index <= self.step_index and awaited == self.awaited_step:
            return self
        return _replace(self, step_index=max(step_index, self.step_index), awaited_step=awaited)

    def level(self) -> Level:
        """What its running totals say together."""
        if self.totals is NO_USAGE and self.sides is NO_SIDES:
            return Level()
        totals = self.totals if self.totals.cost_nanos is None else _replace(self.totals, cost_nanos=None)
        if self.running is not None:
            newest = self.running.points[-1]
            return Level(newest.total, newest.step, totals, self.sides, self.turn)
        top = rest_of(NO_USAGE, totals, self.sides).total_tokens
        return Level(-1 if top is None else top, self.step_index, totals, self.sides, self.turn)

    def counted(self) -> Usage:
        """What counts of what it has told."""
        return with_rest(self.increments, self.rest, self.totals.cost_nanos)

    def computed_cost(self) -> Computed:
        """What counts of what was computed: nothing that a cost which it told is of already."""
        if self.totals.cost_nanos is not None:
            return NO_COMPUTED
        if self.increments.cost_nanos is not None or self.computed_total is NO_COMPUTED:
            return self.computed
        return self.computed.plus(self.computed_total)

    def has_totals(self) -> bool:
        """Whether it has told running totals, as far as it is remembered."""
        return self.totals != NO_USAGE or self.sides != NO_SIDES or self.forgotten == "totals"

    def counts(self, kind: str) -> bool:
        """Whether a report of this kind counts, or what was forgotten of it may have counted it already."""
        return self.forgotten is None or (self.forgotten == "calls" and kind in OF_CALLS)

    def above_floor(self, top: int | None) -> AgentShare:
        """Of one that was forgotten: after a running total. What it exceeds all that has counted by counts, without a
        split; where that is not known, what the next ones exceed it by."""
        if top is None:
            return self
        own = self.increments.total_tokens or 0
        if self.floor is None:
            return _replace(self, floor=max(0, top - own))
        more = top - self.floor - own
        return _replace(self, increments=add(self.increments, Usage(total_tokens=more))) if more > 0 else self


def with_rest(calls: Usage, rest: Usage, cost_nanos: int | None) -> Usage:
    """Increments with the rest of totals, of which one may have told a cost."""
    found = add(calls, rest)
    return found if cost_nanos is None else _replace(found, cost_nanos=larger(found.cost_nanos, cost_nanos))
