"""What a run has spent: one algebra for all that is told of usage, whoever tells it and in whatever order.

Two kinds of figures meet: increments (of one model call) and running totals (of an agent, of the run, of a process).
For each bucket on its own the larger of the sum of the increments and the highest total counts. So no figure falls,
none is counted twice, and one that is told alone moves only its own bucket.

Costs that nobody told are computed from tokens and prices, and kept apart: of them too the larger of increments and
total counts, where no cost was told of the same. Only such a cost may be taken back, by a told one that replaces it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Repriced
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, add_known, falls, highest, larger, subtract

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
_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode


class Sides(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The highest running totals of senders who tell input and output without a split: cached tokens and reasoning are
    inside them."""

    input: int | None = None
    output: int | None = None


NO_SIDES = Sides()


class AgentShare(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one agent has told in a run."""

    increments: Usage = NO_USAGE
    """The sum of its increments."""
    totals: Usage = NO_USAGE
    """The highest of its running totals, bucket by bucket."""
    sides: Sides = NO_SIDES
    turns: Usage = NO_USAGE
    """The sum of the calls that it has told beside a running total: such a sum is one itself."""
    turn: Usage = NO_USAGE
    """Of these the newest, of its highest checkpoint: that may be told again with better figures."""
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
    """The highest that was computed of its running totals: what each added, on top of what was computed by then."""

    def at(self, step_index: int, waits: bool) -> AgentShare:
        """After a checkpoint at this step, which may wait for approval."""
        awaited = step_index if waits else -1 if step_index >= self.awaited_step else self.awaited_step
        if step_index <= self.step_index and awaited == self.awaited_step:
            return self
        return _replace(self, step_index=max(step_index, self.step_index), awaited_step=awaited)

    def counted(self) -> Usage:
        """What counts of what it has told."""
        return whole(_together(self.increments, self.totals, self.sides))

    def computed_cost(self) -> Computed:
        """What counts of what was computed: nothing that a cost which it told is of already."""
        if self.totals.cost_nanos is not None:
            return NO_COMPUTED
        if self.increments.cost_nanos is not None or self.computed_total is NO_COMPUTED:
            return self.computed
        return self.computed.or_larger(self.computed_total)

    def with_computed(self, priced: Priced, kind: str) -> AgentShare:
        """With what was computed of a report of this kind more."""
        one = priced.as_computed()
        if kind in _OF_CALLS:
            return _replace(self, computed=self.computed.plus(one))
        return _replace(self, computed_total=self.computed_total.or_larger(self.computed_cost().plus(one)))


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
    """The highest that was computed of running totals of the whole run, as in a share."""

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
        return found.or_larger(self.computed_total)

    def told(self) -> Usage:
        """What counts of what was told."""
        told = NO_USAGE
        for share in self.shares.values():
            told = add(told, share.counted())
        if self.retired is not None:
            told = add(told, self.retired.counted())
        if self.process_cost is not None:
            told = _replace(told, cost_nanos=larger(told.cost_nanos, self.process_cost))
        return whole(_together(told, self.run_total, self.run_sides))

    def after(
        self, report: UsageReport, agent: str, step_index: int | None = None, priced: Priced | None = None
    ) -> Spending:
        """With one report more; `step_index`: that of the checkpoint that carries it, `priced`: what was computed."""
        usage, process_cost = report.usage, self.process_cost
        share = self.shares.get(agent, AgentShare())
        # Reports may overtake each other: an older step has lower totals, and that is no fall.
        overtaken = step_index is not None and step_index < share.step_index
        fell = False
        if report.process_cost and usage.cost_nanos is not None:
            fell = process_cost is not None and usage.cost_nanos < process_cost
            process_cost = larger(process_cost, usage.cost_nanos)
            usage = _replace(usage, cost_nanos=None)
        if report.whole_run:
            total, sides, falling = _after_total(self.run_total, self.run_sides, usage, self.told, report.inclusive)
            changed = _replace(self, run_total=total, run_sides=sides, process_cost=process_cost)
            if priced is not None:
                level = self.computed_cost(self.told()).plus(priced.as_computed())
                changed = _replace(changed, computed_total=self.computed_total.or_larger(level))
        else:
            share, falling = _share_after(share, report, usage, step_index)
            if priced is not None:
                share = share.with_computed(priced, report.kind)
            changed = _replace(self.with_share(agent, share), process_cost=process_cost)
        fell = fell or falling
        return changed.flagged(TOTAL_DECREASED) if fell and not overtaken else changed

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
            oldest = next(iter(shares))
            gone = shares.pop(oldest)
            changed = _replace(changed, retired=_retired(changed.retired or AgentShare(), oldest, gone))
            if gone.totals != NO_USAGE:
                changed = changed.flagged(AGENTS_RETIRED)
        return changed

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


def _after_total(
    known: Usage, sides: Sides, told: Usage, counted: Callable[[], Usage], inclusive: bool
) -> tuple[Usage, Sides, bool]:
    """The highest totals after one more, and whether it was below what was known. `counted`: what counts so far."""
    if not inclusive or (told.input_tokens is None and told.output_tokens is None):
        return highest(known, told), sides, falls(known, told)
    bare = _replace(told, input_tokens=None, output_tokens=None)
    newer = Sides(larger(sides.input, told.input_tokens), larger(sides.output, told.output_tokens))
    fell = falls(known, bare) or (sides.input or 0) > (told.input_tokens or newer.input or 0)
    fell = fell or (sides.output or 0) > (told.output_tokens or newer.output or 0)
    so_far = counted()
    split = _replace(
        told,
        input_tokens=_without(told.input_tokens, so_far.cached_input_tokens, so_far.cache_write_tokens),
        output_tokens=_without(told.output_tokens, so_far.reasoning_tokens),
    )
    return highest(known, split), newer, fell


def _without(whole: int | None, *parts: int | None) -> int | None:
    return None if whole is None else max(0, whole - (add_known(*parts) or 0))


def _together(increments: Usage, totals: Usage, sides: Sides) -> Usage:
    """The larger figure of each bucket; tokens that one sender tells as input and another as cached count once."""
    found = highest(increments, totals)
    if sides is NO_SIDES or sides == NO_SIDES:
        return found
    if sides.input is not None and totals.cached_input_tokens is None and totals.cache_write_tokens is None:
        spare = max(sides.input, increments.all_input_tokens() or 0) - (found.input_tokens or 0)
        written = _at_most(found.cache_write_tokens, spare)
        found = _replace(
            found,
            cache_write_tokens=written,
            cached_input_tokens=_at_most(found.cached_input_tokens, spare - (written or 0)),
        )
    if sides.output is not None and totals.reasoning_tokens is None:
        spare = max(sides.output, increments.all_output_tokens() or 0) - (found.output_tokens or 0)
        found = _replace(found, reasoning_tokens=_at_most(found.reasoning_tokens, spare))
    return found


def _at_most(figure: int | None, bound: int) -> int | None:
    return None if figure is None else max(0, min(figure, bound))


def _share_after(
    share: AgentShare, report: UsageReport, usage: Usage, step_index: int | None
) -> tuple[AgentShare, bool]:
    """What an agent has told after one report more, and whether a running total fell."""
    kind, turns, turn = report.kind, share.turns, share.turn
    if kind in _OF_CALLS:
        more = whole(usage) if kind == "delta" else usage
        return _replace(share, increments=add(share.increments, more)), False
    told = _totals_of(kind, usage)
    if kind == "turn":
        more, call = _call_of(share, usage, step_index)
        turns = add(turns, more)
        turn = call if step_index is None or step_index >= share.step_index else turn
    totals, sides, fell = _after_total(share.totals, share.sides, told, share.counted, report.inclusive)
    if turns != share.turns:
        totals, sides, _ = _after_total(totals, sides, turns, share.counted, report.inclusive)
    return _replace(share, turns=turns, turn=turn, totals=totals, sides=sides), fell


def _call_of(share: AgentShare, usage: Usage, step_index: int | None) -> tuple[Usage, Usage]:
    """What a checkpoint adds to its agent's calls, and the newest of these by then."""
    grown = (usage.total_tokens or 0) - (share.totals.total_tokens or 0)
    call = _replace(usage, total_tokens=None, cost_nanos=None)
    # The running total has grown by this call, or by more. A checkpoint that repeats the figures of its last call
    # leaves it where it was, and totals exceed what they have grown by; only the first turn's are both.
    if (call.split_tokens() or 0) <= grown:
        return call, call
    if share.turn != NO_USAGE and step_index == share.step_index:
        # The same step told again with better figures: the total has grown by what they are more, at least.
        better = highest(share.turn, call)
        more = subtract(better, share.turn)
        if (more.split_tokens() or 0) <= grown:
            return more, better
    return NO_USAGE, share.turn


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


def whole(usage: Usage) -> Usage:
    """With `total_tokens` at least the sum of the buckets: a bare total counts what it says beyond them."""
    split = usage.split_tokens()
    if split is None or (usage.total_tokens is not None and usage.total_tokens >= split):
        return usage
    return _replace(usage, total_tokens=split)
