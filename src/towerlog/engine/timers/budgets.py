"""Budgets: brings a stop, or the word to go on, to the runs in scope, a few in each commit; ends reservations.

What is still to be done stands in the budget itself, so that a restart goes on where the last step ended.
"""

from __future__ import annotations

import msgspec

from towerlog.ambient import ServingTime
from towerlog.engine.audit.automatic import budget_actor, note_run
from towerlog.engine.control.steering import ask
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.budgets import free, in_scope, needs_of_scope, owns_pause, reservation_of, stop
from towerlog.engine.timers.loop import Rounds, Upkeep, one_by_one
from towerlog.model.audit import Action
from towerlog.model.budget import BudgetAction, BudgetRow, BudgetStep, Reservation
from towerlog.model.run import RunRow, Status
from towerlog.projections import budgets as fold
from towerlog.store.base import Unit
from towerlog.store.values import Kind

RUNS_AT_ONCE = 100
"""Runs, and reservations, to one commit."""
RESUMED = "The budget has money again."
DELETED = "The budget was deleted."
ONLY_WARNS = "The budget only warns from now on."
_replace = msgspec.structs.replace
Due = tuple[BudgetRow | None, list[RunRow]]


class SteppingBudgets:
    """Takes the steps of every budget that has some left, and begins new periods for those that have paused runs."""

    def __init__(self, serving: ServingTime, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups. Periods are by the wall clock."""
        self._serving = serving
        self._upkeep = upkeep

    async def sweep(self) -> None:
        """Until none is due. Whatever else waits for a commit gets its turn between two steps."""
        due: Due | None = (None, [])
        rounds = Rounds("budgets")
        while due is not None and rounds.advance(due):
            due = await self._upkeep(self._find, _needs, _place)
            if due is not None and due[0] is None:
                return

    async def _find(self, unit: Unit, _heard_ms: int) -> Due:
        now_ms = self._serving.now().wall_ms
        row = await unit.budget_due(now_ms)
        if row is None:
            return None, []
        return row, await unit.runs_of_step(fold.current(row, now_ms), RUNS_AT_ONCE)


def _needs(needs: Needs, due: Due) -> Steps[None]:
    row, runs = due
    if row is None:
        return
    needs.counters(row.org)
    for one in runs:
        found = needs.run_by_number(one.run)
        if found is not None:
            needs.moves(found)
            needs_of_scope(needs, found)
        yield


def _place(plan: Plan, due: Due) -> Steps[None]:
    found, runs = due
    stored = None if found is None else plan.budgets.get(found.org, found.budget_id)
    if stored is None:
        return
    row = fold.current(stored, plan.now_ms)
    plan.budgets.put(row.org, row.budget_id, row)
    if found is None or row.step is not found.step or row.step_after != found.step_after:
        return  # a new period, or a change that came in between: the runs are those of another step

    def reach(plan: Plan, one: RunRow) -> Steps[None]:
        run = plan.run_by_number(one.run)
        if run is not None and row.step is BudgetStep.RESUME:
            _let_go_on(plan, row, run)
        elif run is not None:
            stop(plan, row, run)
        yield

    done = yield from one_by_one(plan, runs, reach)
    is_over = done == len(runs) and len(runs) < RUNS_AT_ONCE
    now = plan.budgets.get(row.org, row.budget_id) or row
    plan.budgets.put(row.org, row.budget_id, fold.stepped(now, None if is_over else runs[done - 1].run))


def _let_go_on(plan: Plan, row: BudgetRow, run: RunRow) -> None:
    """Unless another budget that is used up keeps it paused: then it is that one's."""
    plan.changes.budget_pauses[row.org, row.budget_id, run.run] = False
    if run.is_terminal() or run.status is Status.CANCELLING:
        return
    for other in in_scope(plan, row.org, run.agent, run.thread_id, run):
        is_another = other.budget_id != row.budget_id and run.run not in other.let_go
        if is_another and other.is_stopping() and other.action is BudgetAction.PAUSE:
            owns_pause(plan, other, run)
            return
    reason = DELETED if row.deleted else ONLY_WARNS if row.is_exceeded else RESUMED
    ask(plan, run, "resume", {"reason": reason, "budget_id": row.budget_id})
    note_run(plan, budget_actor(row), Action.RUN_RESUME, run, reason=reason)


class ExpiredReservations:
    """Frees what reservations hold whose time is over."""

    def __init__(self, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups."""
        self._upkeep = upkeep

    async def sweep(self) -> None:
        """All that have run out by now."""
        found: list[Reservation] | None = await self._upkeep(_expired, _needs_of_expired, _free)
        rounds = Rounds("reservations")
        while found is not None and len(found) == RUNS_AT_ONCE and rounds.advance(found):
            found = await self._upkeep(_expired, _needs_of_expired, _free)


async def _expired(unit: Unit, serving_ms: int) -> list[Reservation]:
    return await unit.reservations_expired(serving_ms, RUNS_AT_ONCE)


def _needs_of_expired(needs: Needs, found: list[Reservation]) -> None:
    for one in found:
        needs.counters(one.org)
        needs.want(Kind.RESERVATION, (one.org, one.reservation_id))


def _free(plan: Plan, found: list[Reservation]) -> Steps[None]:
    for one in found:
        held = reservation_of(plan, one.org, one.reservation_id)
        if held is not None and held.expires_at <= plan.serving_ms:
            free(plan, held)
        yield
