"""Sub-agents: who reports in checkpoints alone, into the thread of the run above, ends with that run.

Runners tell no end of the sub-agents that they carry out themselves: only what state each was in after its last turn.
A run that told its beginning tells its end too, and is left alone.
"""

from __future__ import annotations

from functools import partial

from towerlog.engine.load.misses import all_of, together
from towerlog.engine.load.own_runs import MAX_CLIMB, parent_within
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import postpone
from towerlog.engine.plan.plan import Plan
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.checkpoint import END_STATUS, CheckpointRow
from towerlog.model.event import Event, EventType, NamedRun, RunById
from towerlog.model.facts import Facts
from towerlog.model.run import RunRow, Status

ENDED_AT_ONCE = 16
"""Sub-agents, before the event loop may go on with something else: an end costs some tenths of a millisecond."""
REASON = "the run above it has ended"

_ENDS: dict[Status, EventType] = {
    Status.COMPLETED: EventType.RUN_COMPLETED,
    Status.FAILED: EventType.RUN_FAILED,
    Status.CANCELLED: EventType.RUN_CANCELLED,
    Status.BUDGET_EXCEEDED: EventType.BUDGET_EXCEEDED,
    Status.LOST: EventType.RUN_FAILED,
}


def end_below(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """The sub-agents below a run that has just ended are to end, each as its last checkpoint says, else as that run."""
    if after.has_ended_since(before) and after.latest_step() is not None:
        postpone(plan, _end_sub_agents, after)


def _end_sub_agents(plan: Plan, ended: list[RunRow]) -> Steps[None]:
    """Ends what is below any of these. Each thread is looked through once, however many of its runs have ended."""
    tops = {row.run: row.status for row in ended}
    threads = dict.fromkeys((row.org, row.thread_id) for row in ended)
    yield from all_of(_end_in_thread(plan, *thread, tops) for thread in threads)


def _end_in_thread(plan: Plan, org: int, thread_id: str, tops: dict[int, Status]) -> Steps[None]:
    """Ends those of a thread's open runs that stand below one of `tops`, which they join, the older ones first."""
    numbers = plan.thread_made(org, thread_id).open_runs
    rows = yield from together(partial(plan.run_by_number, number) for number in numbers)
    subs = [row for row in rows if row is not None and is_sub_agent(row)]
    tops_of = yield from together(partial(_nearest, plan, row, tops) for row in subs)
    below = [row for row, top in zip(subs, tops_of, strict=True) if top is not None]
    yield from together(partial(_last_of, plan, row) for row in below)
    for index, row in enumerate(below):
        if index and not index % ENDED_AT_ONCE:
            yield
        top = _nearest(plan, row, tops)  # again: it may have ended here
        if top is not None:
            tops[row.run] = _end(plan, row, tops[top], _why(plan, top))


def is_sub_agent(row: RunRow) -> bool:
    """Whether a run is open, has a run above it, and was only ever told of by checkpoints."""
    is_told = row.implicit and not row.has_lane and row.latest_step() is not None
    return is_told and row.parent_key is not None and not row.is_terminal()


def _nearest(plan: Plan, row: RunRow, tops: dict[int, Status]) -> int | None:
    """The number of the nearest run above this one, in its thread, that is among `tops`."""

    below = row

    def find(ref: NamedRun) -> RunRow | None:
        return _run_then(plan, below, plan.run(row.org, ref))

    for _ in range(MAX_CLIMB):
        above = parent_within(below, find)
        if above is None or above.run in tops:
            return None if above is None else above.run
        below = above
    return None


def _run_then(plan: Plan, below: RunRow, found: RunRow | None) -> RunRow | None:
    """The run that had this one's name when `below` was first told of: later ones of a trace have other sub-agents."""
    for _ in range(MAX_CLIMB):
        if found is None or found.run < below.run or found.resumed_from is None:
            break
        before = plan.run(below.org, RunById(found.resumed_from))
        if before is None or (before.thread_id, before.trace_id) != (found.thread_id, found.trace_id):
            break
        found = before
    return found


def _last_of(plan: Plan, row: RunRow) -> CheckpointRow | None:
    """Its last checkpoint. Also its agent is known then."""
    latest = row.latest_step()
    found = None if latest is None else plan.checkpoint(row.run, *latest)
    plan.agent(row.org, row.agent or DEFAULT_AGENT)
    return found


def _why(plan: Plan, top: int) -> str:
    """Why a run ends with the one above it, which has the number `top`: where that was lost, how."""
    above = plan.run_by_number(top)
    error = None if above is None else above.error
    if above is None or error is None or error.startswith(REASON):
        return error or REASON
    return f"{REASON}: {error}" if above.status is Status.LOST else REASON


def _end(plan: Plan, row: RunRow, status: Status, why: str) -> Status:
    checkpoint = _last_of(plan, row)
    status = status if checkpoint is None else END_STATUS.get(checkpoint.status, status)
    error = None if status is Status.COMPLETED else why
    return plan.note(row, _ENDS[status], {"reason": why}, Facts(error=error), by=row.source).status
