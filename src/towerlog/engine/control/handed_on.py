"""What people ask of a run whose runner has begun anew: it is asked of the runs that go on from it as well.

So a request means the same a moment before the next run begins, when that takes it over (`reactions.next_runs`), and a
moment after. The run itself is asked too: its runner may be slow, and not gone.
"""

from __future__ import annotations

from towerlog.engine.load.lives import MAX_LATER, later_lives, may_go_on, too_late
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import RunNotActive
from towerlog.model.run import RunRow, Status


def needs_of_later(needs: Needs, row: RunRow, *, ends: bool = False) -> None:
    """The runs that may go on from this one, and those between; `ends`: with what their end moves."""
    if row.has_lane:
        return
    numbers = may_go_on(row, needs.thread(row.org, row.thread_id))
    newest = [one for number in numbers if (one := needs.run_by_number(number)) is not None]
    between = later_lives(row, newest, lambda ref: needs.run(row.org, ref))
    for later in {one.run: one for one in (*newest, *between)}.values():
        if ends and not later.is_terminal():
            needs.ends_below(later, cancelling=True)
        else:
            needs.notes(later)


def later_runs(plan: Plan, row: RunRow) -> list[RunRow]:
    """The runs that go on from this one, the nearest first, whether or not they have ended. Raises RunNotActive for an
    open one from which more go on than are looked through: no request is to reach nobody."""
    numbers = [] if row.has_lane else may_go_on(row, plan.thread(row.org, row.thread_id))
    newest = [one for number in numbers if (one := plan.run_by_number(number)) is not None]
    last = None if row.is_terminal() else too_late(row, newest, lambda ref: plan.run(row.org, ref))
    if last is not None:
        told = f"More than {MAX_LATER} runs of its thread have begun since, each of which goes on from the one before."
        raise RunNotActive(f"{told} Ask the newest: run {last.run_id}.", details={"resumed_by": last.run_id})
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
