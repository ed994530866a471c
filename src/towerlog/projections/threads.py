"""The fold of a thread: its open runs and its newest one. Only the first and the terminal event of a run change it."""

from __future__ import annotations

import msgspec

from towerlog.model.event import Event
from towerlog.model.run import MAX_OPEN_RUNS, RunRow
from towerlog.model.thread import ThreadRow


def fold(row: ThreadRow, before: RunRow | None, after: RunRow, event: Event) -> ThreadRow:
    """The row after an event of one of its runs; the same object when nothing changed."""
    began = before is None
    ended = after.is_terminal() and (before is None or not before.is_terminal())
    # The same object: the plan writes only rows that have changed.
    if not began and not ended:
        return row
    open_runs, lane_runs, newest, parentless = row.open_runs, row.lane_runs, row.newest_run, row.newest_parentless
    if began:
        # Numbers rise by creation; a rebuild and the writer must agree whatever order runs are folded in.
        newest = max(newest, after.run)
        parentless = max(parentless, after.run) if after.parent_key is None else parentless
        open_runs = (*open_runs, after.run)[-MAX_OPEN_RUNS:]
        lane_runs = (*lane_runs, after.run) if after.has_lane else lane_runs
    if ended:
        open_runs = tuple(number for number in open_runs if number != after.run)
        lane_runs = tuple(number for number in lane_runs if number != after.run)
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + began,
        newest_run=newest,
        newest_parentless=parentless,
        open_runs=open_runs,
        lane_runs=lane_runs,
        updated_at=event.recorded_at,
    )


def unfolded(row: ThreadRow) -> ThreadRow:
    """The row without what was folded from events: where a rebuild begins."""
    return ThreadRow(row.org, row.thread_id, row.created_at, row.title, policy=row.policy)
