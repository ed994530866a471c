"""The runs that went before one under the same name: each start for a run that has ended, or was lost, begins the next.

Which one a repeat or a late post belongs to is looked for in all of them: a thread's name and a trace mean the newest.
"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.model.event import OpenRun, RunById, RunByTrace, RunRef
from towerlog.model.run import RunRow

MAX_LIVES = 8
"""How many of the runs before one are looked at, the newest of them."""


def earlier_lives(row: RunRow, ref: RunRef, find: Callable[[RunById], RunRow | None]) -> list[RunRow]:
    """The runs before this one that a reference meant once, the newest first. `row`: the run that it means now."""
    found: list[RunRow] = []
    if row.resumed_from is None or not isinstance(ref, RunByTrace | OpenRun):
        return found  # as with most runs
    life = row
    while life.resumed_from is not None and len(found) < MAX_LIVES:
        before = find(RunById(life.resumed_from))
        if before is None or before.run >= life.run or before.thread_id != row.thread_id:
            break
        if type(ref) is RunByTrace and before.trace_id != row.trace_id:
            break
        found.append(before)
        life = before
    return found
