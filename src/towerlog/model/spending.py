"""What a run has spent: one algebra for all that is told of usage, whoever tells it and in whatever order.

Two kinds of figures meet: increments (of one model call) and running totals (of an agent, of the run, of a process).
All increments count, and of the totals their *rest*: what they say beyond the increments. So nothing is counted twice,
no sum falls, one that is told alone moves only its own bucket, and the order of reports changes nothing. Where calls
are told after a total that they are in, they take the place of its rest: what they say of cached tokens counts. What
the figures of one call beside a running total are worth is in `model/running_totals.py`.

Costs that nobody told are computed from tokens and prices, and kept apart: of increments, and of the rest of totals,
where no cost was told of the same. Only such a cost may be taken back: by a told one that replaces it, or by calls.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple

from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Repriced
from towerlog.model.running_totals import (
    MAX_POINTS_BYTES,
    NO_SIDES,
    TOKEN_BUCKETS,
    Level,
    PointChange,
    RunningTotals,
    Sides,
    after_total,
    point_of,
    rest_of,
)
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, add_known, larger, whole

MAX_SHARES = 256
"""Agents of a run whose running totals are remembered, those that told most lately. What the others have spent stays
counted, but one of them that tells a running total again is counted from nothing."""

MAX_SHARES_BYTES = 28 * 1024
"""Of what is remembered of all of them, as JSON."""
FEW_SHARES = 16
"""So few fit in any case, with names of the usual length: their size is not looked at."""

# What can be wrong with a run's figures.
TOTAL_DECREASED = "total_decreased"
"""A running total was lower than before. The highest one counts."""
AGENTS_RETIRED = "agents_retired"
"""More than `MAX_SHARES` agents told running totals. One that tells again after as many others is counted anew."""
COMPUTED_KEPT = "computed_kept"
"""A told cost is lower than what was computed before in more than `MAX_COMPUTED_CELLS` hours, agents, models: not all
of that could be taken back."""

_OF_CALLS = ("delta", "change")
_FREE = Priced(None, None, 0)
_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode


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
        return _with_rest(self.increments, self.rest, self.totals.cost_nanos)

    def computed_cost(self) -> Computed:
        """What counts of what was computed: nothing that a cost which it told is of already."""
        if self.totals.cost_nanos is not None:
            return NO_COMPUTED
        if self.increments.cost_nanos is not None or self.computed_total is NO_COMPUTED:
            return self.computed
        return self.computed.plus(self.computed_total)

    def with_computed(self, priced: Priced, kind: str) -> AgentShare:
        """With what was computed of a report of this kind more."""
        one = priced.as_computed()
        if kind in _OF_CALLS:
            return _replace(self, computed=self.computed.plus(one))
        return _replace(self, computed_total=self.computed_total.changed(one))


_NO_SHARE = AgentShare()


class Spending(msgspec.Struct, frozen=True, gc=False):
    """Everything that was told of one run's usage."""

    shares: dict[str, AgentShare]
    """By agent, the one that told last at the end."""
    retired: AgentShare | None = None
    """What agents that are no longer remembered have spent together: only ever added to."""
    run_total: Usage = NO_USAGE
    """The highest running totals of the whole run."""
    run_sides: Sides = NO_SIDES
    process_cost: int | None = None
    """The highest cost that a process told, in nano-dollars."""
    flags: tuple[str, ...] = ()
    computed_total: Computed = NO_COMPUTED
    """What was computed of the rest of running totals of the whole run, as in a share."""
    run_rest: Usage = NO_USAGE
    """The tokens that running totals of the whole run say beyond all that agents have told."""

    def usage(self) -> Usage:
        """What counts of all of it."""
        told = self.told()
        computed = self.computed_cost(told)
        if computed is NO_COMPUTED:
            return told
        return _replace(
            told,
            cost_nanos=add_known(told.cost_nanos, computed.nanos),
            computed_nanos=computed.nanos,
            unpriced_calls=computed.unpriced or None,
        )

    def computed_cost(self, told: Usage) -> Computed:
        """What counts of what was computed; `told`: what counts of what was told."""
        if self.process_cost is not None or self.run_total.cost_nanos is not None:
            return NO_COMPUTED
        found = NO_COMPUTED if self.retired is None else self.retired.computed
        for share in self.shares.values():
            of_share = share.computed_cost()
            if of_share is not NO_COMPUTED:
                found = of_share if found is NO_COMPUTED else found.plus(of_share)
        if told.cost_nanos is not None or self.computed_total is NO_COMPUTED:
            return found
        return found.plus(self.computed_total)

    def told(self) -> Usage:
        """What counts of what was told."""
        told = self._of_agents()
        if self.process_cost is not None:
            told = _replace(told, cost_nanos=larger(told.cost_nanos, self.process_cost))
        return _with_rest(told, self.run_rest, self.run_total.cost_nanos)

    def _of_agents(self) -> Usage:
        told = NO_USAGE
        for share in self.shares.values():
            told = add(told, share.counted())
        if self.retired is not None:
            told = add(told, self.retired.counted())
        return told

    def after(
        self,
        report: UsageReport,
        agent: str,
        step_index: int | None = None,
        priced: Priced | None = None,
        *,
        again: bool = False,
    ) -> Spending:
        """With one report more; `step_index`: that of the checkpoint that carries it, `priced`: what was computed.
        `again`: the step was told before, with other content.
        """
        if report.kind == "rest":
            return self._without_rest(report, agent, priced)
        usage, process_cost = report.usage, self.process_cost
        share = self.shares.get(agent, AgentShare())
        # Reports may overtake each other: an older step has lower totals, and that is no fall unless it is told again.
        overtaken = step_index is not None and step_index < share.step_index and not again
        fell = False
        if report.process_cost and usage.cost_nanos is not None:
            fell = process_cost is not None and usage.cost_nanos < process_cost and report.fell is None
            process_cost = larger(process_cost, usage.cost_nanos)
            usage = _replace(usage, cost_nanos=None)
        if report.whole_run:
            total, sides, falling = after_total(self.run_total, self.run_sides, usage, report.inclusive)
            changed = _replace(self, run_total=total, run_sides=sides, process_cost=process_cost)
            if priced is not None:
                changed = _replace(changed, computed_total=self.computed_total.changed(priced.as_computed()))
        else:
            share, falling = _share_after(share, report, usage, step_index)
            if priced is not None:
                share = share.with_computed(priced, report.kind)
            changed = _replace(self.with_share(agent, share), process_cost=process_cost)
            if report.by_size:
                changed = changed._with_few_points()
        fell = fell or falling
        if changed.run_total is not NO_USAGE or changed.run_sides is not NO_SIDES:
            rest = rest_of(changed._of_agents(), changed.run_total, changed.run_sides)
            changed = _replace(changed, run_rest=rest)
        return changed.flagged(TOTAL_DECREASED) if report.fell or (fell and not overtaken) else changed

    def _without_rest(self, report: UsageReport, agent: str, priced: Priced | None) -> Spending:
        """After calls, or totals that were overtaken, have told a part of what totals had counted; `report`: how much
        more that is now, mostly below 0."""
        one, share = (priced or _FREE).as_computed(), self.shares.get(agent)
        if report.whole_run:
            total = self.computed_total.changed(one)
            rest = _left(self.run_rest, report.usage)
            return _replace(self, run_rest=rest, computed_total=total if any(astuple(rest)) else NO_COMPUTED)
        if share is None:
            return self
        total = share.computed_total.changed(one)
        rest = _left(share.rest, report.usage)
        share = _replace(share, rest=rest, computed_total=total if any(astuple(rest)) else NO_COMPUTED)
        return _replace(self, shares={**self.shares, agent: share})

    def overlaps(self, report: UsageReport, agent: str, step_index: int | None = None) -> tuple[Usage, Usage]:
        """What totals no longer count when this report has come: those of its agent, and those of the whole run."""
        after = self.after(report, agent, step_index)
        was, now = self.shares.get(agent, _NO_SHARE), after.shares.get(agent, _NO_SHARE)
        return _fallen(was.rest, now.rest), _fallen(self.run_rest, after.run_rest)

    def changes(self, report: UsageReport, agent: str, step_index: int | None = None) -> list[PointChange]:
        """Which running totals of its agent count otherwise when this one has come."""
        share = self.shares.get(agent)
        point = point_of(report, step_index) if report.by_size else None
        return [] if point is None or share is None or share.running is None else share.running.changes(point)

    def decided(self, agent: str, step_index: int, waits: bool) -> Spending:
        """After a decision about an agent's checkpoint, which may leave it waiting."""
        share = self.shares.get(agent)
        if waits or share is None or share.awaited_step != step_index:
            return self
        return self.with_share(agent, _replace(share, awaited_step=-1))

    def with_share(self, agent: str, share: AgentShare) -> Spending:
        """With what an agent has told. Of too many agents the one that has told nothing for longest is retired."""
        shares = {name: one for name, one in self.shares.items() if name != agent}
        shares[agent] = share
        changed = _replace(self, shares=shares)
        while len(shares) > MAX_SHARES or (len(shares) > FEW_SHARES and len(_encode(shares)) > MAX_SHARES_BYTES):
            changed = changed.without(next(iter(shares)))
            shares = changed.shares
        return changed

    def without(self, agent: str) -> Spending:
        """With what an agent has told as a part of what is only added to: all sums stay."""
        shares = dict(self.shares)
        gone = shares.pop(agent)
        changed = _replace(self, shares=shares, retired=_retired(self.retired or AgentShare(), agent, gone))
        has_totals = gone.totals != NO_USAGE or gone.sides != NO_SIDES
        return changed.flagged(AGENTS_RETIRED) if has_totals else changed

    def _with_few_points(self) -> Spending:
        """Of the agent that has told nothing for longest the running totals are forgotten first."""
        held = {name: one.running for name, one in self.shares.items() if one.running is not None}
        shares = self.shares
        while len(_encode(tuple(held.values()))) > MAX_POINTS_BYTES:
            oldest, running = next(iter(held.items()))
            fewer = running.of_highest(len(running.points) - 1) if len(held) == 1 else None
            if fewer is None:
                del held[oldest]
            else:
                held[oldest] = fewer
            shares = {**shares, oldest: _replace(shares[oldest], running=fewer)}
        return self if shares is self.shares else _replace(self, shares=shares)

    def repriced(self, changed: Repriced, agent: str) -> Spending:
        """With what was computed anew of an agent's reports."""
        known, shares = self.shares.get(agent), self.shares
        if known is not None:
            calls, totals = known.computed.changed(changed.calls), known.computed_total.changed(changed.totals)
            shares = {**shares, agent: _replace(known, computed=calls, computed_total=totals)}
        return _replace(self, shares=shares, computed_total=self.computed_total.changed(changed.run_totals))

    def flagged(self, flag: str) -> Spending:
        """With one flag more."""
        return self if flag in self.flags else _replace(self, flags=tuple(sorted((*self.flags, flag))))


def _with_rest(calls: Usage, rest: Usage, cost_nanos: int | None) -> Usage:
    """Increments with the rest of totals, of which one may have told a cost."""
    found = add(calls, rest)
    return found if cost_nanos is None else _replace(found, cost_nanos=larger(found.cost_nanos, cost_nanos))


def _fallen(was: Usage, now: Usage) -> Usage:
    """What is less than before, bucket by bucket, as figures below 0."""
    if was is now or was == NO_USAGE:
        return NO_USAGE
    pairs = zip(astuple(was)[:TOKEN_BUCKETS], astuple(now)[:TOKEN_BUCKETS], strict=True)
    return Usage(*(min(0, (new or 0) - (old or 0)) or None for old, new in pairs))


def _left(rest: Usage, less: Usage) -> Usage:
    pairs = zip(astuple(rest)[:TOKEN_BUCKETS], astuple(less)[:TOKEN_BUCKETS], strict=True)
    return Usage(*(None if one is None and (by or 0) <= 0 else max(0, (one or 0) + (by or 0)) for one, by in pairs))


def _share_after(
    share: AgentShare, report: UsageReport, usage: Usage, step_index: int | None
) -> tuple[AgentShare, bool]:
    """What an agent has told after one report more, and whether a running total fell."""
    if report.kind in _OF_CALLS:
        increments = add(share.increments, whole(usage) if report.kind == "delta" else usage)
        rest = NO_USAGE  # as with most agents
        if share.totals is not NO_USAGE or share.sides is not NO_SIDES:
            rest = rest_of(increments, share.totals, share.sides)
        return _replace(share, increments=increments, rest=rest), False
    *_, fell = after_total(share.totals, share.sides, _totals_of(report.kind, usage), report.inclusive)
    cost_nanos = larger(share.totals.cost_nanos, usage.cost_nanos)
    point, level, running = point_of(report, step_index), share.level(), share.running
    if point is not None and report.by_size:
        known = RunningTotals(level) if running is None else running
        running = known.after(point)
        if running is not known:
            level = level.after(point) if point.total > level.top else running.level()
        running = running if running.points else None
    elif point is not None:
        level, running = level.after(point), None
    totals = level.totals if cost_nanos is None else _replace(level.totals, cost_nanos=cost_nanos)
    rest = rest_of(share.increments, totals, level.sides)
    return _replace(share, totals=totals, sides=level.sides, turn=level.turn, running=running, rest=rest), fell


def _totals_of(kind: str, usage: Usage) -> Usage:
    """The running totals in a report: of a turn's input and output only where they add up to the total."""
    if kind == "turn" and usage.split_tokens() != usage.total_tokens:
        return Usage(total_tokens=usage.total_tokens, cost_nanos=usage.cost_nanos)
    return usage


def _retired(together: AgentShare, agent: str, gone: AgentShare) -> AgentShare:
    step, name = max((together.step_index, together.step_agent or ""), (gone.step_index, agent))
    increments = add(together.increments, gone.counted())
    computed = together.computed.plus(gone.computed_cost())
    return AgentShare(increments, step_index=step, step_agent=name if step >= 0 else None, computed=computed)
