"""Running totals that count otherwise once something else has come: what that tells takes the place of what they count.

Before a call that a total is of, and before a lower total that the next one has overtaken, an event takes out of the
cell of the total what the new one is about to count, and what was computed of that. So the telling that knows the
split, the model and the hour decides, whichever came first. A total of the whole run is priced anew when another model
is named.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from towerlog.engine.control.cancel import CONTROL
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.pricing.book import has_tokens, worth
from towerlog.model.agent import AgentRow
from towerlog.model.computed_costs import NO_COMPUTED, Computed, Priced, Recount, ToldTotal
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.naming import named
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.running_totals import PointChange
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, dollars_json, subtract
from towerlog.model.usage_parts import UNCLEAR, UsageParts
from towerlog.projections.computed_costs import left_of, model_of_total
from towerlog.projections.runs import is_of_others


def recount_totals(plan: Plan, run_state: RunState, agent: AgentRow, facts: Facts) -> None:
    """Takes from the totals of a run what an event of this agent tells too; it is placed after this."""
    effects = facts.effects
    if effects is None:
        return
    has_whole = any(one.whole_run for one in run_state.row.told_totals)
    if has_whole and effects.model is not None and not is_of_others(facts):
        _price_by_models(plan, run_state, _named(plan, run_state, agent, facts), effects.model, agent.name)
    if effects.report is None:
        return
    checkpoint = effects.checkpoint
    step = None if checkpoint is None or checkpoint.decision else checkpoint.step_index
    for change in _named(plan, run_state, agent, facts).spending().changes(effects.report, agent.name, step):
        _count_otherwise(plan, run_state, agent.name, change)
    row, after = plan.row_of(run_state), _named(plan, run_state, agent, facts)
    of_agent, of_run = after.spending().overlaps(effects.report, agent.name, step)
    model = effects.model or after.model_of(agent.name)
    # By the names that they have before the event.
    kept = list(zip(row.told_totals, after.told_totals, strict=True))
    own = [was for was, now in kept if not now.whole_run and now.agent == agent.name]
    whole = [was for was, now in kept if now.whole_run]
    taken = [*_taken(own, of_agent, model), *_taken(whole, of_run, model)]
    for told, less in taken:
        _recount(plan, run_state, told, less, _left(plan, after, told, less))


def _named(plan: Plan, run_state: RunState, agent: AgentRow, facts: Facts) -> RunRow:
    """The row before the event, as the event names its agent."""
    row = plan.row_of(run_state)
    return named(row, facts, agent.name, late=row.status in TERMINAL)


def _price_by_models(plan: Plan, run_state: RunState, row: RunRow, model: str, agent: str) -> None:
    """Totals of the whole run are priced while one model alone is named in it, whichever came first."""
    alone = model_of_total(msgspec.structs.replace(row, retired=None), model, agent, whole_run=True)
    for told in plan.row_of(run_state).told_totals:
        by = alone if told.model in ("", alone) else None
        if not told.whole_run or told.priced_by == by or (told.nanos is None and not told.unpriced):
            continue
        if by is not None and row.retired is not None:
            continue  # which models those have named is not known
        if by is None:
            more = 0 if told.nanos is None else max(0, told.reports - told.unpriced)
            priced = Priced(None if told.nanos is None else -told.nanos, None, more)
        else:
            found = _worth(plan, row.org, told, told.tokens, by, told.parts)
            # Without a price it is noted all the same: one may come, and costs be computed anew.
            priced = found if found.nanos is None else Priced(found.nanos, found.version, -told.unpriced)
            priced = msgspec.structs.replace(priced, unpriced=priced.unpriced or 0)
        _recount(plan, run_state, told, NO_USAGE, priced, now_priced_by=by)


def _count_otherwise(plan: Plan, run_state: RunState, agent: str, change: PointChange) -> None:
    """A running total that was told earlier adds less, or a call beside it counts no more."""
    row, place = plan.row_of(run_state), change.point.place
    told = next((one for one in row.told_totals if place and one.number == place and not one.whole_run), None)
    if told is None:
        return
    differs = subtract(change.after, change.before)
    share = row.share(told.agent) or row.share(agent)
    less, has_calls = _within(differs, told.tokens), share is None or share.increments != NO_USAGE
    if has_calls or less != _known(differs):
        # Calls that were told as well have taken some of it: it keeps the kinds that these have left, and what is too
        # much of one is taken with the rest of the totals.
        less = _less_of(less)
        if less != NO_USAGE:
            _recount(plan, run_state, told, less, _left(plan, row, told, less))
        return
    if less == NO_USAGE:
        return
    parts = UNCLEAR if change.point.is_unclear() else None
    was, now = (_worth(plan, row.org, told, tokens, told.priced_by, parts) for tokens in (change.before, change.after))
    is_all = _known(told.tokens) == _known(change.before)
    if is_all and was.nanos != told.nanos:
        _recount(plan, run_state, told, less, _left(plan, row, told, less))  # prices have changed since
        return
    nanos = max((now.nanos or 0) - (was.nanos or 0), -(told.nanos or 0))
    priced = Priced(nanos or None, now.version, now.as_computed().unpriced - was.as_computed().unpriced)
    # With figures of 0: a bucket that is known to have nothing is another than one that is unknown.
    _recount(plan, run_state, told, differs, priced, was=change.before)


def _less_of(differs: Usage) -> Usage:
    """Of a total that adds fewer tokens than before those that it has no more; nothing where it adds as many."""
    if not (differs.total_tokens or 0) < 0:
        return NO_USAGE
    return Usage(*(min(0, figure or 0) or None for figure in _of(differs)))


def _taken(totals: list[ToldTotal], less: Usage, model: str | None) -> Iterator[tuple[ToldTotal, Usage]]:
    """From which of these so much is taken: of this model first, and then the newest. Figures are below 0."""
    newest = sorted(range(len(totals)), key=lambda at: (totals[at].model == model, at), reverse=True)
    found: dict[int, Usage] = {}
    for within in (_with_split, _of_total):
        for at in newest:
            if less == NO_USAGE:
                break
            some = within(less, add(totals[at].tokens, found.get(at, NO_USAGE)))
            if some != NO_USAGE:
                found[at] = add(found.get(at, NO_USAGE), some)
                less = _known(subtract(less, some))
    for at, some in found.items():
        yield totals[at], some


def _within(less: Usage, held: Usage) -> Usage:
    """Figures below 0, as far as so much is held."""
    pairs = zip(_of(less), _of(held), strict=True)
    return Usage(*(None if by is None else max(by, -(one or 0)) or None for by, one in pairs))


def _with_split(less: Usage, held: Usage) -> Usage:
    """The same, of the total no more than of its buckets and of the tokens without a split."""
    found = _within(less, held)
    if less.total_tokens is None:
        return found
    unsplit = max(less.unsplit_tokens(), -max(0, held.unsplit_tokens()))
    total = max((found.split_tokens() or 0) + unsplit, -(held.total_tokens or 0), min(0, less.total_tokens))
    return msgspec.structs.replace(found, total_tokens=total or None)


def _of_total(less: Usage, held: Usage) -> Usage:
    """The same of the total alone: where its split is told elsewhere it may be less than that."""
    total = max(less.total_tokens or 0, -(held.total_tokens or 0))
    return Usage(total_tokens=min(0, total) or None)


def _known(usage: Usage) -> Usage:
    """Without figures of 0."""
    return Usage(*(figure or None for figure in _of(usage)))


def _of(usage: Usage) -> tuple[int | None, ...]:
    return msgspec.structs.astuple(usage)


def _left(plan: Plan, row: RunRow, told: ToldTotal, less: Usage) -> Priced:
    """What changes of what was computed of a total when so much of it is taken."""

    def cost(tokens: Usage) -> tuple[int | None, str | None]:
        found = _worth(plan, row.org, told, tokens, told.priced_by)
        return (found.nanos, found.version) if has_tokens(tokens) else (0, None)

    left = told.plus(less, NO_COMPUTED).tokens
    return left_of(Computed(told.nanos, told.unpriced), told.tokens, left, cost)


def _worth(
    plan: Plan, org: int, told: ToldTotal, tokens: Usage, model: str | None, parts: UsageParts | None = None
) -> Priced:
    """What tokens of a total are worth by this model."""
    own = plan.prices.all_of(org)
    found = worth(plan.reactions.book, own, tokens, told.provider, model, told.at_ms, parts, is_call=False)
    return Priced(unpriced=0) if found is None else found


def _recount(
    plan: Plan,
    run_state: RunState,
    told: ToldTotal,
    less: Usage,
    priced: Priced,
    *,
    was: Usage | None = None,
    now_priced_by: str | msgspec.UnsetType | None = msgspec.UNSET,
) -> None:
    """`less`: how much more counts of a total, mostly below 0. `was`: what one running total has added, None where all
    of the place is meant."""
    org = run_state.row.org
    of = Recount(
        told.hour, told.model, told.status, told.arrived, told.tokens if was is None else was, True, told.provider,
        told.priced_by, told.parts, was is not None, now_priced_by,
        0 if now_priced_by is msgspec.UNSET else told.reports,
    )  # fmt: skip
    report = UsageReport(less, "rest", told.whole_run, parts=told.parts)
    effects = Effects(report=report, priced=priced, provider=told.provider, recount=of)
    plan.append(
        run_state,
        plan.agent(org, told.agent),
        EventType.USAGE_RECOUNTED,
        msgspec.json.encode(_members(told, less, priced.as_computed())),
        dialect=CONTROL,
        facts=Facts(part=True, effects=effects),
        occurred_at=told.at_ms,
    )


def _members(told: ToldTotal, less: Usage, computed: Computed) -> dict[str, object]:
    figures = {
        "input_tokens": less.all_input_tokens(),
        "output_tokens": less.all_output_tokens(),
        "total_tokens": less.total_tokens,
    }
    found: dict[str, object] = {"model": told.model or None}
    found |= {name: figure for name, figure in figures.items() if figure}
    return found | {"cost_usd": dollars_json(computed.nanos)} if computed.nanos else found
