"""A run that goes on from another one of its thread which is open: what people want of that one is told to it.

Runners without a lease begin anew under another trace, or count their steps anew. A worker's next attempt is one of the
same run, and is told with its claim (`projections.commands`).
"""

from __future__ import annotations

from towerlog.engine.control.cancel import CONTROL, cancel_one
from towerlog.engine.control.steering import ask
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import postpone
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Event, EventType, RunById
from towerlog.model.facts import Facts
from towerlog.model.pending import Pending
from towerlog.model.run import RunRow, Status


def carry_over(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run begins that goes on from an open one: it is asked what that one is asked, or was and still holds.

    One that is paused ends as lost: who resumes the thread must find one run to resume. A used-up budget asks the new
    one itself. What was created for workers is a wish of its own.
    """
    if before is not None or after.resumed_from is None or after.has_lane:
        return
    old = plan.run(after.org, RunById(after.resumed_from))
    if old is None or old.is_terminal():
        return
    if old.status is Status.CANCELLING:
        cancel_one(plan, plan.now_of(after), None, old.cancel_reason)
        return
    pause = _pause_of(old)
    if pause is not None and pause.budget_id is None:
        members = {"resumed_from": old.run_id} | ({"reason": pause.content} if pause.content else {})
        ask(plan, plan.now_of(after), "pause", members)
    if old.status is Status.PAUSED or old.pause_taken is not None:
        postpone(plan, end_before, old)


def _pause_of(row: RunRow) -> Pending | None:
    return row.pause_taken or next((one for one in row.pending if one.type == "pause"), None)


def end_before(plan: Plan, rows: list[RunRow]) -> Steps[None]:
    """Ends runs that the next one of their thread goes on from: nobody waits there any more."""
    for row in rows:
        if not plan.now_of(row).is_terminal():
            error = "its runner was restarted and began anew"
            plan.note(row, EventType.RUN_LOST, {"error": error}, Facts(error=error), by=CONTROL)
        yield
