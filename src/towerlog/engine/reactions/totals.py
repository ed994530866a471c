"""Running totals that were told before the calls that they are of: what these tell takes the place of what they count.

Before such a call, an event takes out of the cell of the total what the call is about to count, and what was computed
of that. So the telling that knows the split, the model and the hour decides, whichever came first.
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
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, dollars_json, subtract


def make_room(plan: Plan, run_state: RunState, agent: AgentRow, facts: Facts) -> None:
    """Takes from the totals of a run what an event of this agent tells too; it is placed after this."""
    effects, row = facts.effects, plan.row_of(run_state)
    if effects is None or effects.report is None or not row.told_totals:
        return
    after = named(row, facts, agent.name, late=row.status in TERMINAL)
    checkpoint = effects.checkpoint
    step = None if checkpoint is None or checkpoint.decision else checkpoint.step_index
    of_agent, of_run = after.spending().overlaps(effects.report, agent.name, step)
    model = effects.model or after.model_of(agent.name)
    # By the names that they have before the event.
    kept = list(zip(row.told_totals, after.told_totals, strict=True))
    own = [was for was, now in kept if not now.whole_run and now.agent == agent.name]
    whole = [was for was, now in kept if now.whole_run]
    taken = [*_taken(own, of_agent, model), *_taken(whole, of_run, model)]
    for told, less in taken:
        _recount(plan, run_state, told, less, _left(plan, after, told, less))


def _taken(totals: list[ToldTotal], less: Usage, model: str | None) -> Iterator[tuple[ToldTotal, Usage]]:
    """From which of these so much is taken: of this model first, and then the newest. Figures are below 0."""
    newest = sorted(range(len(totals)), key=lambda at: (totals[at].model == model, at), reverse=True)
    for at in newest:
        if less == NO_USAGE:
            return
        told = totals[at]
        held = msgspec.structs.astuple(told.tokens)
        some = Usage(
            *(None if by is None else max(by, -(one or 0)) or None for by, one in zip(_of(less), held, strict=True))
        )
        if some != NO_USAGE:
            yield told, some
            less = Usage(*(figure or None for figure in _of(subtract(less, some))))


def _of(usage: Usage) -> tuple[int | None, ...]:
    return msgspec.structs.astuple(usage)


def _left(plan: Plan, row: RunRow, told: ToldTotal, less: Usage) -> Priced:
    """What changes of what was computed of a total when so much of it is taken."""
    left = told.plus(less, NO_COMPUTED).tokens
    if not has_tokens(left):
        return Priced(None if told.nanos is None else -told.nanos, None, -told.unpriced)
    if told.nanos is None:
        return Priced(None, None, 0)
    own = plan.prices.all_of(row.org)
    now, was = (
        worth(plan.reactions.book, own, tokens, told.provider, told.priced_by, told.at_ms, is_call=False) or Priced()
        for tokens in (left, told.tokens)
    )
    if now.nanos is not None and was.nanos == told.nanos:
        return Priced(now.nanos - told.nanos, now.version, 0)
    # Prices have changed since, or there are none any more: in the same proportion.
    part, of = (left.total_tokens, told.tokens.total_tokens) if now.nanos is None else (now.nanos, was.nanos)
    return Priced(told.nanos * (part or 0) // max(1, of or 0) - told.nanos, None, 0)


def _recount(plan: Plan, run_state: RunState, told: ToldTotal, less: Usage, priced: Priced) -> None:
    org = run_state.row.org
    where = told.hour, told.model, told.status, told.arrived
    of = Recount(*where, told.tokens, True, told.provider, told.priced_by, told.parts)
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
