"""What follows from changes of a plan and is carried out once they are whole: at the end of each item and command."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.model.run import RunRow


def postpone(plan: Plan, action: Callable[[Plan, list[RunRow]], Steps[None]], row: RunRow) -> None:
    """Has an action carried out by `finish`, once for all rows that it was postponed with."""
    plan.postponed.setdefault(action, []).append(row)


def more_work(plan: Plan) -> Iterator[tuple[int, int]]:
    """(organisation, work): what follows from an event, or had to be looked for, is known only afterwards."""
    yield from plan.known.more_work.items()
    if plan.changes.alerts or plan.changes.delivery_bodies:
        yield from plan.alerts.work().items()


def finish(plan: Plan) -> Steps[None]:
    """Carries out what was postponed, and what that postpones."""
    while plan.postponed:
        action, rows = plan.postponed.popitem()
        yield from action(plan, rows)
