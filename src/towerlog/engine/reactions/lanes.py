"""A lane is done when its run has ended or somebody works on it without a claim; then the next run may be claimed."""

from __future__ import annotations

import msgspec

from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Event
from towerlog.model.lane import QueueState
from towerlog.model.run import RunRow, Status


def close_lane(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """Closes the lane of a run that has ended."""
    if before is None or not after.has_lane:
        return
    lane = plan.lane(after.run)
    if lane is None:
        return
    if after.is_terminal() and lane.state is not QueueState.DONE:
        plan.put_lane(msgspec.structs.replace(lane, state=QueueState.DONE, expires_at=None))
    elif before.status is Status.QUEUED and lane.state in (QueueState.QUEUED, QueueState.BLOCKED):
        # Somebody works on it without a claim: it is no longer anybody else's to take.
        plan.put_lane(msgspec.structs.replace(lane, state=QueueState.DONE))


def free_next(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """The thread's next run may be claimed once this one has ended. Comes after the thread was folded."""
    if before is None or not after.has_lane or not after.is_terminal():
        return
    thread = plan.thread_made(after.org, after.thread_id)
    lane = plan.lane(thread.lane_runs[0]) if thread.lane_runs else None
    if lane is not None and lane.state is QueueState.BLOCKED:
        plan.put_lane(msgspec.structs.replace(lane, state=QueueState.QUEUED))
