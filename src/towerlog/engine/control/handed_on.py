"""What people ask of a run whose runner has begun anew: it is asked of the runs that go on from it as well.

So a request means the same a moment before the next run begins, when that takes it over (`reactions.next_runs`), and a
moment after. The run itself is asked too: its runner may be slow, and not gone.
"""

from __future__ import annotations

from towerlog.engine.load.lives import later_lives, may_go_on
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import RunNotActive
from towerlog.model.run import RunRow, Status


def needs_of_later(needs: Needs, row: RunRow, *, ends: bool = False) -> None:
    """The runs that may go on from this one; `ends`: with what their end moves. Those between are looked up late."""
    if row.has_lane:
        return
    for number in may_go_on(row, needs.thread(row.org, row.thread_id)):
        later = needs.run_by_number(number)
        if later is not None and ends and not later.is_terminal():
            needs.ends_below(later, cancelling=True)
        elif later is not None:
            needs.notes(later)


def later_runs(plan: Plan, row: RunRow) -> list[RunRow]:
    """The runs that go on from this one, the nearest first, whether or not they have ended."""
    numbers = [] if row.has_lane else may_go_on(row, plan.thread(row.org, row.thread_id))
    newest = [one for number in numbers if (one := plan.run_by_number(number)) is not None]
    return later_lives(row, newest, lambda ref: plan.run(row.org, ref))


def open_later(plan: Plan, row: RunRow) -> list[RunRow]:
    """Those of them that have not ended and are not being cancelled."""
    return [one for one in later_runs(plan, row) if not one.is_terminal() and one.status is not Status.CANCELLING]


def not_active(plan: Plan, row: RunRow, words: str) -> RunNotActive:
    """Refuses what is asked of a run that has ended; it names the run that goes on from it. `words`: without a stop."""
    later = later_runs(plan, row)
    if not later:
        return RunNotActive(f"{words}.")
    run_id = later[-1].run_id
    told = f"{words}. Its runner began anew: run {run_id} goes on from it, and is {later[-1].status}. Ask that one."
    return RunNotActive(told, details={"resumed_by": run_id})
