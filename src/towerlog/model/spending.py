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

from collections.abc import Callable

import msgspec
from msgspec.structs import astuple

from towerlog.model.agent_share import OF_CALLS, AgentShare, with_rest
from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Repriced
from towerlog.model.dormant import DIGEST_CHARS, MAX_DIGESTS, Dormant
from towerlog.model.running_totals import (
    NO_SIDES,
    TOKEN_BUCKETS,
    PointChange,
    RunningTotals,
    Sides,
    after_total,
    point_of,
    rest_of,
)
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, add_known, larger, whole

MAX_SHARES = 256
"""Agents of a run that are remembered, those that told most lately. What the others have spent stays counted, and of
their running totals nothing more counts."""

MAX_AWAKE = 8
"""Of these the ones whose shares are in full; those of the others are packed (`model/dormant.py`)."""
MAX_SHARES_BYTES = 28 * 1024
"""Of all that are packed, as JSON. Past it the oldest of them have fewer running totals, and then are forgotten."""

# What can be wrong with a run's figures.
TOTAL_DECREASED = "total_decreased"
"""A running total was lower than before. The highest one counts."""
AGENTS_RETIRED = "agents_retired"
"""More agents told running totals than are remembered. What those that are forgotten tell as such does not count."""
COMPUTED_KEPT = "computed_kept"
"""A told cost is lower than what was computed before in more than `MAX_COMPUTED_CELLS` hours, agents, models: not all
of that could be taken back."""

_FREE = Priced(None, None, 0)
_replace = msgspec.structs.replace


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
    dormant: Dormant | None = None
    """Agents that told before those of `shares`; None where there were never so many."""

    def share(self, agent: str) -> AgentShare | None:
        """What an agent has told; None for one that has told nothing, or is forgotten."""
        share = self.shares.get(agent)
        return share if share is not None or self.dormant is None else self.dormant.share(agent)

    def share_made(self, agent: str) -> AgentShare:
        """The same, made for one that tells for the first time, or for the first time since it was forgotten."""
        share = self.share(agent)
        if share is not None:
            return share
        if self.retired is None:
            return _NO_SHARE  # nobody is forgotten
        known = None if self.dormant is None else self.dormant.was_forgotten(agent)
        return AgentShare(forgotten=self.retired.forgotten) if known is None else known

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
        if self.dormant is not None:
            found = found.plus(self.dormant.computed)
        for share in self.shares.values():
            has_totals = share.totals is not NO_USAGE or share.computed_total is not NO_COMPUTED
            of_share = share.computed_cost() if has_totals else share.computed
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
        cost_nanos = self.run_total.cost_nanos
        return told if self.run_rest is NO_USAGE and cost_nanos is None else with_rest(told, self.run_rest, cost_nanos)

    def _of_agents(self) -> Usage:
        told = NO_USAGE
        for share in self.shares.values():
            has_totals = share.totals is not NO_USAGE or share.rest is not NO_USAGE
            told = add(told, share.counted() if has_totals else share.increments)  # most have told calls alone
        if self.retired is not None:
            told = add(told, self.retired.counted())
        return told if self.dormant is None else add(told, self.dormant.told)

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
        share = self.shares.get(agent) or self.share_made(agent)
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
        elif share.forgotten is not None and not share.counts(report.kind):
            falling, changed = False, self._with_forgotten(agent, share, report, priced)
            changed = _replace(changed, process_cost=process_cost)
        else:
            share, falling = _share_after(share, report, usage, step_index)
            if priced is not None:
                share = _with_computed(share, priced, report.kind)
            changed = _replace(self.with_share(agent, share), process_cost=process_cost)
        fell = fell or falling
        if changed.run_total is not NO_USAGE or changed.run_sides is not NO_SIDES:
            rest = rest_of(changed._of_agents(), changed.run_total, changed.run_sides)
            changed = _replace(changed, run_rest=rest)
        return changed.flagged(TOTAL_DECREASED) if report.fell or (fell and not overtaken) else changed

    def _with_forgotten(self, agent: str, share: AgentShare, report: UsageReport, priced: Priced | None) -> Spending:
        """With a report of an agent that was forgotten, which may say what has counted already."""
        before = share
        if report.kind not in OF_CALLS:
            share = share.above_floor(whole(report.usage).total_tokens)
        if share.increments is not before.increments and priced is not None:
            share = _with_computed(share, priced, report.kind)
        return self.with_share(agent, share).flagged(AGENTS_RETIRED)

    def _without_rest(self, report: UsageReport, agent: str, priced: Priced | None) -> Spending:
        """After calls, or totals that were overtaken, have told a part of what totals had counted; `report`: how much
        more that is now, mostly below 0."""
        one, share = (priced or _FREE).as_computed(), self.share(agent)
        if report.whole_run:
            total = self.computed_total.changed(one)
            rest = _left(self.run_rest, report.usage)
            return _replace(self, run_rest=rest, computed_total=total if any(astuple(rest)) else NO_COMPUTED)
        if share is None:
            return self
        total = share.computed_total.changed(one)
        rest = _left(share.rest, report.usage)
        share = _replace(share, rest=rest, computed_total=total if any(astuple(rest)) else NO_COMPUTED)
        return self._with_changed(agent, share)

    def overlaps(self, report: UsageReport, agent: str, step_index: int | None = None) -> tuple[Usage, Usage]:
        """What totals no longer count when this report has come: those of its agent, and those of the whole run."""
        after = self.after(report, agent, step_index)
        was, now = self.share(agent) or _NO_SHARE, after.share(agent) or _NO_SHARE
        return _fallen(was.rest, now.rest), _fallen(self.run_rest, after.run_rest)

    def changes(self, report: UsageReport, agent: str, step_index: int | None = None) -> list[PointChange]:
        """Which running totals of its agent count otherwise when this one has come."""
        share = self.share(agent)
        point = point_of(report, step_index) if report.by_size else None
        if point is None or share is None or share.running is None:
            return []
        return share.running.changes(point, share.level())

    def decided(self, agent: str, step_index: int, waits: bool) -> Spending:
        """After a decision about an agent's checkpoint, which may leave it waiting."""
        share = self.share(agent)
        if waits or share is None or share.awaited_step != step_index:
            return self
        return self.with_share(agent, _replace(share, awaited_step=-1))

    def with_share(self, agent: str, share: AgentShare) -> Spending:
        """With what an agent has told. Of too many agents the one that has told nothing for longest is retired."""
        known = self if self.dormant is None else self.awake(agent)
        shares = {name: one for name, one in known.shares.items() if name != agent}
        shares[agent] = share
        changed = _replace(known, shares=shares)
        return changed if len(shares) <= MAX_AWAKE else changed._settled()

    def awake(self, agent: str) -> Spending:
        """With the share of an agent in full, as that of the one that told longest ago, if it is packed."""
        key = None if self.dormant is None else self.dormant.key_of(agent)
        if self.dormant is None or key is None:
            return self
        dormant, share = self.dormant.without(key)
        return _replace(self, shares={agent: share, **self.shares}, dormant=dormant)

    def _with_changed(self, agent: str, share: AgentShare) -> Spending:
        """With another share of an agent that is there: it has told nothing more."""
        known = self.awake(agent)
        changed = _replace(known, shares={**known.shares, agent: share})
        return changed if known is self else changed._settled()

    def _settled(self) -> Spending:
        """With no more shares in full than may be, and no more of the others."""
        shares, dormant = dict(self.shares), self.dormant or Dormant()
        while len(shares) > MAX_AWAKE:
            oldest = next(iter(shares))
            dormant = dormant.with_share(oldest, shares.pop(oldest))
        while dormant.size() > MAX_SHARES_BYTES:
            fewer = dormant.with_fewer_points()
            if fewer is None:
                break
            dormant = fewer
        changed = _replace(self, shares=shares, dormant=dormant)
        while len(dormant.shares) > MAX_SHARES - MAX_AWAKE or (dormant.shares and dormant.size() > MAX_SHARES_BYTES):
            changed = changed.without(dormant.oldest())
            assert changed.dormant is not None, "it has its digest"
            dormant = changed.dormant
        return changed

    def without(self, agent: str) -> Spending:
        """With what an agent has told as a part of what is only added to: all sums stay. `agent`: its name, or the
        digest that stands for it among those that are packed."""
        shares, dormant = self.shares, self.dormant or Dormant()
        if agent in shares:
            gone = shares[agent]
            shares = {name: one for name, one in shares.items() if name != agent}
        else:
            dormant, gone = dormant.without(agent)
            gone = _replace(gone, step_index=-1)  # its step is known among those of the packed ones
        retired = _retired(self.retired or AgentShare(), agent, gone)
        has_totals = gone.has_totals()
        if has_totals or gone.increments != NO_USAGE:
            dormant = dormant.remembering(agent, gone)
        changed = _replace(self, shares=shares, retired=retired, dormant=dormant)
        if len(dormant.forgotten) > MAX_DIGESTS * DIGEST_CHARS:
            changed = changed.with_digests(MAX_DIGESTS)
        return changed.flagged(AGENTS_RETIRED) if has_totals else changed

    def with_digests(self, count: int) -> Spending:
        """With so many of those that are forgotten known, the newest of them; there are more."""
        retired = _replace(self.retired or AgentShare(), forgotten="calls")
        return self if self.dormant is None else _replace(self, dormant=self.dormant.of_digests(count), retired=retired)

    def without_digests(self) -> Spending:
        """Of those that are forgotten nobody is known any more."""
        dormant = self.dormant
        if dormant is None:
            return self
        retired = _replace(self.retired or AgentShare(), forgotten="calls") if dormant.forgotten else self.retired
        if dormant.shares:
            return _replace(self, dormant=dormant.of_digests(0), retired=retired)
        if dormant.step_agent is not None:
            retired = _retired(retired or AgentShare(), dormant.step_agent, AgentShare(step_index=dormant.step_index))
        return _replace(self, dormant=None, retired=retired)

    def with_running(self, agent: str, change: Callable[[RunningTotals], RunningTotals]) -> Spending:
        """With a change of the running totals of an agent, if it has any. It has not told more than before."""
        share = self.share(agent)
        if share is None or share.running is None:
            return self
        changed = change(share.running)
        running = changed if changed.points else None
        if agent in self.shares:
            return _replace(self, shares=self.shares | {agent: _replace(share, running=running)})
        assert self.dormant is not None, "it is there"
        key = self.dormant.key_of(agent)
        assert key is not None, "it is there"
        return _replace(self, dormant=self.dormant.with_running(key, running))

    def repriced(self, changed: Repriced, agent: str) -> Spending:
        """With what was computed anew of an agent's reports."""
        known, after = self.share(agent), self
        if known is not None:
            calls, totals = known.computed.changed(changed.calls), known.computed_total.changed(changed.totals)
            after = self._with_changed(agent, _replace(known, computed=calls, computed_total=totals))
        return _replace(after, computed_total=self.computed_total.changed(changed.run_totals))

    def flagged(self, flag: str) -> Spending:
        """With one flag more."""
        return self if flag in self.flags else _replace(self, flags=tuple(sorted((*self.flags, flag))))


def _with_computed(share: AgentShare, priced: Priced, kind: str) -> AgentShare:
    """With what was computed of a report of this kind more."""
    one = priced.as_computed()
    if kind in OF_CALLS:
        return _replace(share, computed=share.computed.plus(one))
    return _replace(share, computed_total=share.computed_total.changed(one))


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
    if report.kind in OF_CALLS:
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
            running = running.within_bytes()
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
    return AgentShare(
        increments,
        step_index=step,
        step_agent=name if step >= 0 else None,
        computed=computed,
        forgotten=together.forgotten,
    )
