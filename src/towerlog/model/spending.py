"""What a run has spent: one algebra for all that is told of usage, whoever tells it and in whatever order.

Two kinds of figures meet: increments (of one model call) and running totals (of an agent, of the run, of a process).
All increments count, and of the totals their *rest*: what they say beyond the increments. So nothing is counted twice,
no sum falls, one that is told alone moves only its own bucket, and the order of reports changes nothing. Where calls
are told after a total that they are in, they take the place of its rest: what they say of cached tokens counts.

Costs that nobody told are computed from tokens and prices, and kept apart: of increments, and of the rest of totals,
where no cost was told of the same. Only such a cost may be taken back: by a told one that replaces it, or by calls.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple

from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Repriced
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, add_known, falls, highest, larger, subtract, whole

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
_OF_TOTALS = ("total", "turn")
TOKEN_BUCKETS = 6
"""So many of the figures of `Usage` are tokens, the first ones."""
_FREE = Priced(None, None, 0)
_NONE = (None, None, None)
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
    rest: Usage = NO_USAGE
    """The tokens that its running totals say beyond its increments."""
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
    """What was computed of the rest of its running totals."""

    def at(self, step_index: int, waits: bool) -> AgentShare:
        """After a checkpoint at this step, which may wait for approval."""
        awaited = step_index if waits else -1 if step_index >= self.awaited_step else self.awaited_step
        if step_index <= self.step_index and awaited == self.awaited_step:
            return self
        return _replace(self, step_index=max(step_index, self.step_index), awaited_step=awaited)

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
            fell = process_cost is not None and usage.cost_nanos < process_cost
            process_cost = larger(process_cost, usage.cost_nanos)
            usage = _replace(usage, cost_nanos=None)
        if report.whole_run:
            total, sides, falling = _after_total(self.run_total, self.run_sides, usage, report.inclusive)
            changed = _replace(self, run_total=total, run_sides=sides, process_cost=process_cost)
            if priced is not None:
                changed = _replace(changed, computed_total=self.computed_total.changed(priced.as_computed()))
        else:
            share, falling = _share_after(share, report, usage, step_index)
            if priced is not None:
                share = share.with_computed(priced, report.kind)
            changed = _replace(self.with_share(agent, share), process_cost=process_cost)
        fell = fell or falling
        if changed.run_total is not NO_USAGE or changed.run_sides is not NO_SIDES:
            rest = _rest_of(changed._of_agents(), changed.run_total, changed.run_sides)
            changed = _replace(changed, run_rest=rest)
        return changed.flagged(TOTAL_DECREASED) if fell and not overtaken else changed

    def _without_rest(self, report: UsageReport, agent: str, priced: Priced | None) -> Spending:
        """After calls have told a part of what totals had counted; `report` has figures below 0."""
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
        if self._only_grows(report):
            return NO_USAGE, NO_USAGE
        after = self.after(report, agent, step_index)
        was, now = self.shares.get(agent, _NO_SHARE), after.shares.get(agent, _NO_SHARE)
        return _fallen(was.rest, now.rest), _fallen(self.run_rest, after.run_rest)

    def _only_grows(self, report: UsageReport) -> bool:
        """Whether no rest can be less after a report: a running total takes nothing from others, and none of its own
        input and output becomes tokens of another bucket where it tells of no other. Most running totals are so."""
        usage = report.usage
        if report.kind not in _OF_TOTALS or self.run_total is not NO_USAGE or self.run_sides is not NO_SIDES:
            return False
        return usage.cached_input_tokens is None and usage.cache_write_tokens is None and usage.reasoning_tokens is None

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


def _after_total(known: Usage, sides: Sides, told: Usage, inclusive: bool) -> tuple[Usage, Sides, bool]:
    """The highest totals after one more, and whether it was below what was known."""
    if not inclusive or (told.input_tokens is None and told.output_tokens is None):
        return highest(known, told), sides, falls(known, told)
    bare = _replace(told, input_tokens=None, output_tokens=None)
    sent, written = told.all_input_tokens(), told.all_output_tokens()
    newer = Sides(larger(sides.input, sent), larger(sides.output, written))
    fell = falls(known, bare) or (sides.input or 0) > (sent or newer.input or 0)
    return highest(known, bare), newer, fell or (sides.output or 0) > (written or newer.output or 0)


def _with_rest(calls: Usage, rest: Usage, cost_nanos: int | None) -> Usage:
    """Increments with the rest of totals, of which one may have told a cost."""
    found = add(calls, rest)
    return whole(found if cost_nanos is None else _replace(found, cost_nanos=larger(found.cost_nanos, cost_nanos)))


def _rest_of(calls: Usage, totals: Usage, sides: Sides) -> Usage:
    """The tokens that totals say beyond calls. Tokens that one tells as input and another as cached are the same."""
    if totals == NO_USAGE and sides == NO_SIDES:
        return NO_USAGE
    if calls == NO_USAGE and (totals.cached_input_tokens, totals.cache_write_tokens, totals.reasoning_tokens) == _NONE:
        # Of most senders who tell totals: what is worked out below comes to this.
        sent, written = larger(totals.input_tokens, sides.input), larger(totals.output_tokens, sides.output)
        both = add_known(sent, written)
        total = totals.total_tokens if both is None else max(both, totals.total_tokens or 0)
        return NO_USAGE if total is None else Usage(sent, output_tokens=written, total_tokens=total)
    fresh, cached, written = _beyond(
        (totals.input_tokens, totals.cached_input_tokens, totals.cache_write_tokens),
        (calls.input_tokens, calls.cached_input_tokens, calls.cache_write_tokens),
        sides.input,
    )
    visible, thought = _beyond(
        (totals.output_tokens, totals.reasoning_tokens), (calls.output_tokens, calls.reasoning_tokens), sides.output
    )
    rest = Usage(fresh, cached, written, visible, thought)
    split = add(calls, rest).split_tokens()
    if totals.total_tokens is None and rest == NO_USAGE:
        return NO_USAGE
    more = max(totals.total_tokens or 0, split or 0) - (whole(calls).total_tokens or 0)
    return _replace(rest, total_tokens=max(0, more))


def _beyond(totals: tuple[int | None, ...], calls: tuple[int | None, ...], side: int | None) -> list[int | None]:
    """What totals say of each bucket beyond calls. `side`: of all of these together, whatever they are; what it says
    beyond the others is of the first one."""
    more = [None if one is None else max(0, one - (known or 0)) for one, known in zip(totals, calls, strict=True)]
    if side is None:
        return more
    spare = max(0, side - sum(known or 0 for known in calls))
    for at in range(1, len(more)):
        part = more[at]
        if part is not None:
            more[at] = part = min(part, spare)
            spare -= part
    more[0] = max(more[0] or 0, spare)
    return more


def _fallen(was: Usage, now: Usage) -> Usage:
    """What is less than before, bucket by bucket, as figures below 0."""
    if was is now or was == NO_USAGE:
        return NO_USAGE
    pairs = zip(astuple(was)[:TOKEN_BUCKETS], astuple(now)[:TOKEN_BUCKETS], strict=True)
    return Usage(*(min(0, (new or 0) - (old or 0)) or None for old, new in pairs))


def _left(rest: Usage, less: Usage) -> Usage:
    pairs = zip(astuple(rest)[:TOKEN_BUCKETS], astuple(less)[:TOKEN_BUCKETS], strict=True)
    return Usage(*(None if one is None else max(0, one + (by or 0)) for one, by in pairs))


def _share_after(
    share: AgentShare, report: UsageReport, usage: Usage, step_index: int | None
) -> tuple[AgentShare, bool]:
    """What an agent has told after one report more, and whether a running total fell."""
    kind, turns, turn = report.kind, share.turns, share.turn
    if kind in _OF_CALLS:
        increments = add(share.increments, whole(usage) if kind == "delta" else usage)
        rest = _rest_of(increments, share.totals, share.sides)
        return _replace(share, increments=increments, rest=rest), False
    told = _totals_of(kind, usage)
    if kind == "turn":
        more, call = _call_of(share, usage, step_index)
        turns = add(turns, more)
        turn = call if step_index is None or step_index >= share.step_index else turn
    totals, sides, fell = _after_total(share.totals, share.sides, told, report.inclusive)
    if turns != share.turns:
        totals, sides, _ = _after_total(totals, sides, turns, report.inclusive)
    rest = _rest_of(share.increments, totals, sides)
    return _replace(share, turns=turns, turn=turn, totals=totals, sides=sides, rest=rest), fell


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
