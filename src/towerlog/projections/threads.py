"""The fold of a thread: its open runs, its newest one, and what was counted of the costs of its processes.

Of a run only the first and the terminal event change it, those that tell a cost of its process, and the one that names
its thread when it stands in another.
"""

from __future__ import annotations

import msgspec

from towerlog.model.event import Event
from towerlog.model.pending import text_bytes
from towerlog.model.run import MAX_OPEN_RUNS, RunRow
from towerlog.model.thread import MAX_PROCESS_BYTES, MAX_PROCESSES, ThreadRow
from towerlog.model.usage import Usage, summed


def fold(row: ThreadRow, before: RunRow | None, after: RunRow, event: Event) -> ThreadRow:
    """The row after an event of one of its runs; the same object when nothing changed."""
    began = before is None
    ended = after.has_ended_since(before)
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


def left(row: ThreadRow, run: RunRow) -> ThreadRow | None:
    """The row without its only run, which moves to another thread. None: it was made with that run, and for it alone.

    `run`: before it moves.
    """
    empty = unfolded(row)
    return None if empty == ThreadRow(row.org, row.thread_id, run.created_at) else empty


def joined(row: ThreadRow, run: RunRow, event: Event) -> ThreadRow:
    """The row with a run that has moved here with this event; `run`: after it."""
    open_runs = row.open_runs if run.is_terminal() else tuple(sorted((*row.open_runs, run.run)))[-MAX_OPEN_RUNS:]
    parentless = run.run if run.parent_key is None else 0
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + 1,
        newest_run=max(row.newest_run, run.run),
        newest_parentless=max(row.newest_parentless, parentless),
        open_runs=open_runs,
        updated_at=event.recorded_at,
    )


def newly_counted(row: ThreadRow, process: str, before: RunRow, spent: Usage, after: Usage) -> Usage:
    """What an event adds to the roll-ups: `spent`, but of told costs only what no run of the process has told before.

    `spent`: what it adds to its run's own totals, which are `after` then.
    """
    told = max(0, _truth(row, process, after) - _counted(row, process, before))
    computed = (after.computed_nanos or 0) - (before.usage.computed_nanos or 0)
    return msgspec.structs.replace(spent, cost_nanos=summed(told, computed))


def count_cost(row: ThreadRow, before: RunRow, after: RunRow, event: Event) -> ThreadRow:
    """The row after an event that told a cost of a process; `before` and `after`: the event's run."""
    report, spent = event.effects.report, event.facts.spent
    if report is None or report.process is None or spent is None:
        return row
    costs = {process: cost for process, cost in row.process_costs.items() if process != report.process}
    costs[report.process] = max(_counted(row, report.process, before), _truth(row, report.process, after.usage))
    while len(costs) > MAX_PROCESSES or sum(map(text_bytes, costs)) > MAX_PROCESS_BYTES:
        del costs[next(iter(costs))]
    # The same object: the plan writes only rows that have changed.
    same = [*costs.items()] == [*row.process_costs.items()]
    return row if same else msgspec.structs.replace(row, process_costs=costs)


def _truth(row: ThreadRow, process: str, after: Usage) -> int:
    """The highest that is known of a process, with what one of its runs has told now."""
    return max(row.process_costs.get(process, 0), after.reported_nanos())


def _counted(row: ThreadRow, process: str, before: RunRow) -> int:
    """What was counted of a process so far: of all its runs, and of this one before it told any cost of a process."""
    known, own = row.process_costs.get(process), before.usage.reported_nanos()
    if known is None:
        return own
    return known + own if before.process_cost is None else known


def unfolded(row: ThreadRow) -> ThreadRow:
    """The row without what was folded from events: where a rebuild begins."""
    title, policy = row.title, row.policy
    return ThreadRow(row.org, row.thread_id, row.created_at, title, policy=policy, erased_at=row.erased_at)
