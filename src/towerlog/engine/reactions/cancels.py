"""Who gets a parent that is being cancelled, or was, is asked to end as well: at its beginning, or when it is linked.

So a cancel reaches the children that are born after it at once, and however their parent ends.
"""

from __future__ import annotations

from functools import partial

from towerlog.engine.control.cancel import ORPHANED, cancel_one
from towerlog.engine.load.misses import together
from towerlog.engine.load.own_runs import rows_above
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import postpone
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Event, NamedRun
from towerlog.model.run import RunRow, Status
from towerlog.store.values import Spread


def needs_above(needs: Needs, row: RunRow) -> None:
    """The runs above this one."""
    rows_above(row, lambda ref: needs.run(row.org, ref))


def cancel_born(plan: Plan, _before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run has got its parent. It is asked once its command is whole: a run that is made then has its lane."""
    if not after.is_terminal():
        postpone(plan, _cancel_below_cancelled, after)


def _cancel_below_cancelled(plan: Plan, born: list[RunRow]) -> Steps[None]:
    lines = yield from together(partial(_above, plan, row) for row in born)
    for row, above in zip(born, lines, strict=True):
        now = plan.now_of(row)
        if now.is_terminal() or not any(_is_cancelled(one) for one in above):
            continue
        # What was told of before it and stands below it is reached by the steps of the spread.
        plan.changes.spreads[now.run] = Spread(now.run, now.org, ORPHANED)
        cancel_one(plan, now, None, ORPHANED)


def _above(plan: Plan, row: RunRow) -> list[RunRow]:
    def find(ref: NamedRun) -> RunRow | None:
        return plan.run(row.org, ref)

    return rows_above(row, find)


def _is_cancelled(row: RunRow) -> bool:
    """Whether somebody has asked for its end, and it has ended by that or not yet."""
    return row.cancel_requested_at is not None and row.status in (Status.CANCELLING, Status.CANCELLED)
