"""Sub-agents: who reports in checkpoints alone, into the thread of the run above, ends with that run.

Runners tell no end of the sub-agents that they carry out themselves: only what state each was in after its last turn.
A run that told its beginning tells its end too, and is left alone.
"""

from __future__ import annotations

from towerlog.engine.commit.own_runs import MAX_CLIMB, parent_within
from towerlog.engine.commit.plan import Plan
from towerlog.model.checkpoint import END_STATUS
from towerlog.model.event import Event, EventType, NamedRun
from towerlog.model.facts import Facts
from towerlog.model.run import RunRow, Status

MAX_ENDED_BELOW = 256
"""Open runs of a thread, the newest ones, that are looked at when one of its runs ends."""
REASON = "the run above it has ended"

_ENDS: dict[Status, EventType] = {
    Status.COMPLETED: EventType.RUN_COMPLETED,
    Status.FAILED: EventType.RUN_FAILED,
    Status.CANCELLED: EventType.RUN_CANCELLED,
    Status.BUDGET_EXCEEDED: EventType.BUDGET_EXCEEDED,
    Status.LOST: EventType.RUN_FAILED,
}


def end_below(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """Ends the sub-agents below a run that has just ended, each as its last checkpoint says, else as that run."""
    if not after.is_terminal() or (before is not None and before.is_terminal()) or after.latest_step() is None:
        return
    thread = plan.thread_made(after.org, after.thread_id)
    for number in thread.open_runs[-MAX_ENDED_BELOW:]:
        row = plan.run_by_number(number)
        if row is not None and is_sub_agent(row) and _stands_below(plan, row, after):
            _end(plan, row, after.status)


def is_sub_agent(row: RunRow) -> bool:
    """Whether a run is open, has a run above it, and was only ever told of by checkpoints."""
    is_told = row.implicit and not row.has_lane and row.latest_step() is not None
    return is_told and row.parent_key is not None and not row.is_terminal()


def _stands_below(plan: Plan, row: RunRow, top: RunRow) -> bool:
    def find(ref: NamedRun) -> RunRow | None:
        return plan.run(top.org, ref)

    for _ in range(MAX_CLIMB):
        above = parent_within(row, find)
        if above is None or above.run == top.run:
            return above is not None
        row = above
    return False


def _end(plan: Plan, row: RunRow, status: Status) -> None:
    latest = row.latest_step()
    checkpoint = None if latest is None else plan.checkpoint(row.run, *latest)
    status = status if checkpoint is None else END_STATUS.get(checkpoint.status, status)
    error = None if status is Status.COMPLETED else REASON
    plan.note(row, _ENDS[status], {"reason": REASON}, Facts(error=error), by=row.source)
