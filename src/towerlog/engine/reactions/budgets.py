"""Budgets: what is spent is counted wherever it is in scope, in the transaction of the event that spent it.

Whoever uses a budget up is told in its run, and asked there to pause or to end with the reply to that very event. The
other runs in its scope are asked by a timer, a few in each commit; one that spends before that is asked at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import msgspec

from towerlog.engine.audit.automatic import budget_actor, note_run
from towerlog.engine.control.cancel import CONTROL, cancel_one
from towerlog.engine.control.steering import ask
from towerlog.engine.load.own_runs import run_ids_above
from towerlog.engine.load.rows import Needs, parent_of
from towerlog.engine.plan.budgets import Carried, SpendingPlace, SpendingPlaces
from towerlog.engine.plan.plan import Plan
from towerlog.engine.pricing.book import has_tokens
from towerlog.errors import BudgetExceeded
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.alert import AlertTrigger
from towerlog.model.audit import Action
from towerlog.model.budget import BudgetAction, BudgetRow, Reservation
from towerlog.model.event import Event, EventType, NamedRun, Refusal, RunById
from towerlog.model.facts import Effects, Facts, Moved
from towerlog.model.outcome import Stored
from towerlog.model.run import RunRow, Status
from towerlog.model.times import format_ms
from towerlog.model.usage import MAX_SUM, dollars_json, summed
from towerlog.projections import budgets as fold
from towerlog.projections.scopes.budgets import BudgetSet
from towerlog.store.lookup_keys import SpentSince
from towerlog.store.values import Kind, Spread

_replace = msgspec.structs.replace


def needs_of_scope(needs: Needs, row: RunRow) -> None:
    """What tells which budgets count what a run spends: those above it, if any budget is of a tree."""
    budgets = needs.cache.budgets.get(row.org)
    if budgets and budgets.counts_trees:
        run_ids_above(row, lambda ref: needs.run(row.org, ref))


def needs_of_warning(needs: Needs, row: RunRow) -> None:
    """What the reply to an event of this run may have to tell."""
    budgets = needs.cache.budgets.get(row.org)
    if budgets and budgets.exceeds and budgets.exceeds_in_places:
        needs.run(row.org, RunById(row.run_id))
        needs_of_scope(needs, row)


def in_scope(plan: Plan, org: int, agent: str | None, thread_id: str, row: RunRow | None) -> list[BudgetRow]:
    """The budgets that count what an agent spends in a thread, each in its present period; `row`: in this run, or in a
    child of it."""
    return _of(plan, plan.budgets.of(org), agent, thread_id, row)


def _as_put(plan: Plan, org: int, agent: str | None, thread_id: str, row: RunRow | None) -> list[BudgetRow]:
    """Rows of the budgets without unsaved spending."""
    return _of(plan, plan.budgets.as_put(org), agent, thread_id, row)


def _of(plan: Plan, budgets: BudgetSet, agent: str | None, thread_id: str, row: RunRow | None) -> list[BudgetRow]:
    above = () if row is None else _above(plan, budgets, row)
    return [fold.current(one, plan.now_ms) for one in budgets.about(agent, thread_id, above)]


def _above(plan: Plan, budgets: BudgetSet, row: RunRow) -> Iterable[str]:
    """Ids of a run and of those above it, if any budget is of a tree."""

    def find(ref: NamedRun) -> RunRow | None:
        return plan.run(row.org, ref)

    return run_ids_above(row, find) if budgets.counts_trees else ()


def count(plan: Plan, moved: list[Moved], after: RunRow, event: Event) -> None:
    """Counts what agents have spent with an event, and settles the reservation that it names."""
    org, reservation_id = after.org, event.effects.reservation_id
    if reservation_id is not None:
        _settle(plan, after, reservation_id, is_known=_knows_cost(event))
    if not moved or not plan.may_have_budgets(org) or not plan.budgets.as_put(org):
        return
    if reservation_id is None and _is_carried(plan, moved, after):
        return
    sums: dict[str, int] = {}
    calls: dict[str, int] = {}
    rows: dict[str, BudgetRow] = {}
    for one in moved:
        for row in in_scope(plan, org, one.agent, after.thread_id, after):
            budget_id = row.budget_id
            if one.is_in(row.period_start):
                # Nearly always one of an event's agents has spent something.
                sums[budget_id] = summed(sums[budget_id], one.nanos) if budget_id in sums else one.nanos
                calls[budget_id] = calls.get(budget_id, 0) + one.unpriced
                rows[budget_id] = row
    counted = [fold.unpriced(row, calls[row.budget_id]) for row in rows.values()]
    for row in counted:
        if row is not rows[row.budget_id]:
            plan.budgets.put(org, row.budget_id, row)
    _move(plan, counted, sums, after)


def _is_carried(plan: Plan, moved: list[Moved], after: RunRow) -> bool:
    """Carries forward what was spent; False, and nothing is, where more may follow from it than sums. What corrects
    something, or is of several agents, always goes the long way."""
    one = moved[0]
    if len(moved) > 1 or one.counted_at is not None or one.nanos < 0 or one.unpriced < 0:
        return False
    places = plan.budgets.places(after.org, plan.alerts.version)
    place = places.by_agents.get((one.agent, after.agent)) or _place(plan, places, one.agent, after)
    return place.take(one.nanos, one.unpriced)


def _place(plan: Plan, places: SpendingPlaces, agent: str, row: RunRow) -> SpendingPlace:
    """Where an agent spends something in a run; worked out each time where trees or labels tell which budgets, and
    which rules about them, are about that."""
    org, thread_id, persona_id = row.org, row.thread_id, row.persona_id
    budgets, rules = plan.budgets.as_put(org), plan.alerts.rules(org).index(AlertTrigger.BUDGET)
    counting = budgets.index.place(agent, thread_id, persona_id)
    watching: Hashable = () if rules is None else rules.place(row.agent or DEFAULT_AGENT, thread_id, persona_id)
    is_known = counting is not None and watching is not None
    place = places.by_name.get((counting, watching)) if is_known else None
    if place is None:
        ids = budgets.ids_about(agent, thread_id, _above(plan, budgets, row))
        sums = places.sums if watching is not None else {}
        lacking = [fold.current(budgets[one], plan.now_ms) for one in ids if (one, watching) not in sums]
        if lacking:
            _add_sums(plan, sums, lacking, watching, row)
        place = SpendingPlace(tuple([sums[one, watching] for one in ids]))
        if is_known:
            places.by_name[counting, watching] = place
    if budgets.index.is_by_agent and (rules is None or rules.is_by_agent):
        places.by_agents[agent, row.agent] = place
    return place


def _add_sums(
    plan: Plan, sums: dict[tuple[str, Hashable], tuple[Carried, int]], rows: list[BudgetRow], by: Hashable, run: RunRow
) -> None:
    """What is carried forward of these budgets, each with up to which sum it may be: by the rules about this run."""
    find_limits = plan.reactions.budget_limits
    limits = [MAX_SUM] * len(rows) if find_limits is None else find_limits(plan, rows, run)
    for one, limit in zip(rows, limits, strict=True):
        room = min(limit, fold.unnoticed_below(one)) - 1 - one.spent_nanos
        sums[one.budget_id, by] = plan.budgets.carried(one.org, one.budget_id), room


def _knows_cost(event: Event) -> bool:
    """Whether it is known what the call cost that an event tells of. One that has failed and tells nothing cost
    nothing."""
    effects = event.effects
    if effects.told_or_computed().cost_nanos is not None:
        return True
    return event.facts.success is False and (effects.report is None or not has_tokens(effects.report.usage))


def _move(plan: Plan, rows: list[BudgetRow], sums: dict[str, int], after: RunRow) -> None:
    """Moves budgets by what was spent of each, and tells and stops whom that concerns.

    `rows`: in their present periods; `after`: the run that spent.
    """
    org, counting = after.org, [row for row in rows if sums[row.budget_id]]
    counted = [fold.spent_in_period(row, sums[row.budget_id]) for row in counting]
    for row, _, _ in counted:
        plan.budgets.put(org, row.budget_id, row)
    for one in counted:
        _tell(plan, after, one)
    for row, _, _ in counted:
        if row.is_stopping():
            stop(plan, _spent_again(plan, row, after), plan.now_of(after))
    moves = [(before, row) for before, (row, _, _) in zip(counting, counted, strict=True)]
    for react in plan.reactions.on_budget:
        react(plan, moves, after)


def join_trees(plan: Plan, before: RunRow | None, after: RunRow, event: Event) -> None:
    """A run has got its parent: what it and the runs below it have spent before counts in the trees that it is in now.

    Its children may have been told before it, and it before its parent.
    """
    if not plan.budgets.as_put(after.org).counts_trees:
        return
    budgets = plan.budgets.of(after.org)
    above = run_ids_above(after, lambda ref: plan.run(after.org, ref)) - {after.run_id}
    joined = [fold.current(one, plan.now_ms) for one in budgets.of_trees(above)]
    sums = {row.budget_id: _spent_below(plan, after, event, row.period_start) for row in joined}
    for row in joined:
        if row.is_stopping():
            plan.budgets.put(row.org, row.budget_id, fold.stopping_more(row))
            stop(plan, row, plan.now_of(after))
    _move(plan, _as_left(plan, joined), sums, after)


def join_thread(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run has got its thread: what it has spent before counts in that thread, as far as it is of the present period.

    Of a run that is older than the period, and of one that tells a cost of its process, only what comes from now on.
    """
    budgets = plan.budgets.of(after.org)
    joined = [fold.current(one, plan.now_ms) for one in budgets.of_thread(after.thread_id)]
    spent = 0 if before is None or before.process_cost is not None else before.usage.cost_nanos or 0
    for row in joined:
        if row.is_stopping():
            stop(plan, row, plan.now_of(after))
    sums = {row.budget_id: spent if after.created_at >= row.period_start else 0 for row in joined}
    _move(plan, _as_left(plan, joined), sums, after)


def _as_left(plan: Plan, rows: list[BudgetRow]) -> list[BudgetRow]:
    """The budgets as a stop has left them: it is noted in the row that it has paused something."""
    return [fold.current(plan.budgets.get(row.org, row.budget_id) or row, plan.now_ms) for row in rows]


def _spent_below(plan: Plan, top: RunRow, event: Event, since: int) -> int:
    """What a run and those below it have spent since then and before this event: what the store has, and this group."""
    wanted = SpentSince(top.org, "run", top.run_id, since, parent_of(top))
    spent: int = plan.loaded(Kind.BUDGET_SPENT, wanted)
    for other in plan.changes.events:
        if other is event or other.org != top.org or other.facts.spent is None:
            continue
        run = plan.run_by_number(other.run)
        if run is not None and top.run_id in run_ids_above(run, lambda ref: plan.run(top.org, ref)):
            spent = summed(spent, *[one.nanos for one in other.facts.moved("") if one.is_in(since)])
    return spent


def stop_new(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run that somebody reports begins although its budget is used up: it is asked to pause or to end."""
    if before is not None or not plan.budgets.as_put(after.org):
        return
    for row in _as_put(plan, after.org, after.agent, after.thread_id, after):
        if row.is_stopping():
            stop(plan, row, plan.now_of(after))


def stop(plan: Plan, budget: BudgetRow, row: RunRow) -> None:
    """Asks a run in a used-up budget's scope to pause or to end: nothing to do where that was asked already, or where a
    person has let it go on since."""
    if row.is_terminal() or row.status is Status.CANCELLING or row.run in budget.let_go:
        return
    row = _told_of_change(plan, budget, row)
    if budget.action is BudgetAction.CANCEL:
        cancel_one(plan, row, None, budget.told())
        plan.changes.spreads[row.run] = Spread(row.run, row.org, budget.told())
        note_run(plan, budget_actor(budget), Action.RUN_CANCEL, row, reason=budget.told())
    elif ask(plan, row, "pause", {"reason": budget.told(), "budget_id": budget.budget_id}) is not row:
        owns_pause(plan, budget, row)
        note_run(plan, budget_actor(budget), Action.RUN_PAUSE, row, reason=budget.told())


def _spent_again(plan: Plan, budget: BudgetRow, row: RunRow) -> BudgetRow:
    """The budget, after this run spent something of it: nobody has let it go on since."""
    now = fold.spends_again(budget, row.run)
    if now is not budget:
        plan.budgets.put(now.org, now.budget_id, now)
    return now


def let_go_on(plan: Plan, row: RunRow) -> None:
    """A person lets a run go on: no budget that is used up pauses it again before it spends."""
    for budget in in_scope(plan, row.org, row.agent, row.thread_id, row):
        if budget.is_stopping() and budget.action is BudgetAction.PAUSE:
            plan.budgets.put(row.org, budget.budget_id, fold.let_go(budget, row.run))


def _told_of_change(plan: Plan, budget: BudgetRow, row: RunRow) -> RunRow:
    """The run, after it was told of what a change of the amount has crossed, if nobody was told of that before it."""
    now = None if budget.exceeded_told else plan.budgets.get(budget.org, budget.budget_id)
    if now is None or now.exceeded_told:
        return row
    crossed = fold.told(fold.current(now, plan.now_ms))
    plan.budgets.put(budget.org, budget.budget_id, crossed.row)
    _tell(plan, row, crossed)
    return plan.now_of(row)


def owns_pause(plan: Plan, budget: BudgetRow, row: RunRow) -> None:
    """From now on it is this budget that has paused the run."""
    plan.changes.budget_pauses[budget.org, budget.budget_id, row.run] = True
    now = plan.budgets.get(budget.org, budget.budget_id) or budget
    if not now.has_paused:
        plan.budgets.put(budget.org, budget.budget_id, _replace(now, has_paused=True))


def refuse_exhausted(plan: Plan, org: int, agent: str | None, thread_id: str, parent: RunRow | None) -> None:
    """No run may begin whose budget is used up. Raises BudgetExceeded."""
    for row in in_scope(plan, org, agent, thread_id, parent):
        if row.is_stopping():
            resets_at = row.resets_at()
            details = {"budget_id": row.budget_id} | ({} if resets_at is None else {"resets_at": format_ms(resets_at)})
            raise BudgetExceeded(row.told() + ".", details=details)


def with_warnings(plan: Plan, org: int, results: list[Stored | Refusal]) -> list[Stored | Refusal]:
    """The results of a request, each with what its sender is told of a budget that is used up."""
    if not plan.budgets.as_put(org).exceeds:
        return results
    of_place = plan.budgets.as_put(org).exceeds_in_places
    told: list[Stored | Refusal] = []
    for one in results:
        if isinstance(one, Stored) and one.position:
            row = plan.run(org, RunById(one.run_id)) if of_place else None
            thread_id = "" if row is None else row.thread_id
            over = [budget for budget in _as_put(plan, org, one.agent, thread_id, row) if budget.is_exceeded]
            if over:
                # Of an agent's all clients of this form know.
                first = next((budget for budget in over if budget.scope.agent is not None), over[0])
                one = _replace(one, budget_warning=first.told())
        told.append(one)
    return told


def _settle(plan: Plan, row: RunRow, reservation_id: str, *, is_known: bool) -> None:
    """The hold of the run's own reservation is over; what it spent is counted as any other money. What nobody knows is
    held on: it may be as much as was reserved."""
    held = reservation_of(plan, row.org, reservation_id)
    if held is not None and held.run == row.run:
        free(plan, held, is_known=is_known)


def reservation_of(plan: Plan, org: int, reservation_id: str) -> Reservation | None:
    """One that is open, as this group has left it."""
    key = (org, reservation_id)
    if key in plan.changes.reservations:
        return plan.changes.reservations[key]
    found: Reservation | None = plan.loaded(Kind.RESERVATION, key)
    return found


def free_ended(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run has ended: it spends nothing more of what is held for it."""
    is_end = after.has_ended_since(before)
    if not is_end or not plan.budgets.as_put(after.org).holds:
        return
    for one in reservations_of_run(plan, after):
        free(plan, one)


def reservations_of_run(plan: Plan, row: RunRow) -> list[Reservation]:
    """Those that are open, as this group has left them."""
    stored: list[Reservation] = [] if plan.is_new(row.run) else plan.loaded(Kind.RUN_RESERVATIONS, row.run)
    changed = plan.changes.reservations
    held = {one.reservation_id: one for one in stored if (one.org, one.reservation_id) not in changed}
    held |= {one.reservation_id: one for one in changed.values() if one is not None and one.run == row.run}
    return list(held.values())


def free(plan: Plan, held: Reservation, *, is_known: bool = True) -> None:
    """Nothing is held any more by a reservation; unless what it was for has cost something that is not `is_known`."""
    plan.changes.reservations[held.org, held.reservation_id] = None
    for budget_id in held.budgets:
        row = plan.budgets.get(held.org, budget_id)
        if row is not None:
            less = fold.held(row, -held.amount_nanos, held.key_id)
            kept = fold.kept(fold.current(row, plan.now_ms), held.amount_nanos, held.key_id)
            plan.budgets.put(held.org, budget_id, less if is_known else kept)


def _tell(plan: Plan, row: RunRow, crossed: fold.Crossed) -> None:
    """Tells of the thresholds of a budget that were crossed, in a run's log."""
    budget = crossed.row
    if crossed.warns:
        _note(plan, row, EventType.BUDGET_WARNING, budget, budget.told_early())
    if crossed.exceeds:
        _note(plan, row, EventType.BUDGET_EXCEEDED, budget, budget.told())


def _note(plan: Plan, row: RunRow, kind: EventType, budget: BudgetRow, message: str) -> None:
    resets_at = budget.resets_at()
    members = {
        "budget_id": budget.budget_id,
        "name": budget.name,
        "message": message,
        "amount_usd": dollars_json(budget.amount_nanos),
        "spent_usd": dollars_json(budget.spent_nanos),
        "period": budget.period,
        "action": budget.action,
        "resets_at": None if resets_at is None else format_ms(resets_at),
    }
    plan.note(row, kind, members, Facts(effects=Effects(budget_id=budget.budget_id)), by=CONTROL)
