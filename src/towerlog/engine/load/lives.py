"""The runs that went before one under the same name: each start for a run that has ended, or was lost, begins the next.

Which one a repeat or a late post belongs to is looked for in all of them: a thread's name and a trace mean the newest.

And the runs that go on from one whose runner has begun anew, under whatever name: what is asked of it is meant for
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from towerlog.engine.load.own_runs import MAX_OPEN_LOOKED_AT
from towerlog.model.event import OpenRun, RunById, RunByTrace, RunRef
from towerlog.model.naming import may_go_on_from
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow

MAX_LIVES = 8
"""How many of the runs before one are looked at, the newest of them."""
MAX_LATER = 32
"""Runs that may go on one from the other, for what is asked of the first to reach the last."""
_BY_ITSELF = frozenset({Status.COMPLETED, Status.FAILED, Status.BUDGET_EXCEEDED})
"""Ends that an agent has told: what comes after them in the thread is no restart."""


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


def may_go_on(row: RunRow, thread: ThreadRow | None) -> list[int]:
    """The numbers of the runs of its thread that may go on from this one, the newest first."""
    if thread is None or row.has_lane or row.status in _BY_ITSELF:
        return []
    numbers = {*thread.open_runs[-MAX_OPEN_LOOKED_AT:], thread.newest_run, thread.newest_parentless}
    return sorted((number for number in numbers if number > row.run), reverse=True)


def later_lives(row: RunRow, newest: Iterable[RunRow], find: Callable[[RunById], RunRow | None]) -> list[RunRow]:
    """The runs that go on from this one, the nearest first, whether or not they have ended. `newest`: see `may_go_on`.

    Only while its runner has told nothing since the next one began: else the two are at work beside each other.
    """
    for candidate in newest:
        line = _line_to(row, candidate, find)
        if line[0].run != row.run:
            continue
        found = [row]
        for before, after in pairwise(line):
            if not _is_left(before, after):
                break
            found.append(after)
        if len(found) > 1:
            return found[1:]
    return []


def too_late(row: RunRow, newest: Iterable[RunRow], find: Callable[[RunById], RunRow | None]) -> RunRow | None:
    """The newest of more than MAX_LATER runs, each of which goes on from the one before: whether the first of them goes
    on from this one is not known."""
    for candidate in newest:
        line = _line_to(row, candidate, find)
        is_cut = len(line) > MAX_LATER and line[0].run != row.run
        if is_cut and may_go_on_from(candidate, row) and all(_is_left(*pair) for pair in pairwise(line)):
            return candidate
    return None


def _line_to(row: RunRow, newest: RunRow, find: Callable[[RunById], RunRow | None]) -> list[RunRow]:
    """From a run to one that goes on from it, over those between; where it does not, or more than MAX_LATER do, from
    the last that is known to be between."""
    line, life = [newest], newest
    while life.run != row.run and life.resumed_from is not None and not life.has_lane and len(line) <= MAX_LATER:
        before = row if life.resumed_from == row.run_id else find(RunById(life.resumed_from))
        if before is None or not row.run <= before.run < life.run or before.thread_id != row.thread_id:
            break
        line.append(before)
        life = before
    return line[::-1]


def _is_left(row: RunRow, after: RunRow) -> bool:
    """Whether a run was open when the next one of its agent began, and its agent has told nothing since.

    Rows keep moments, and no places in the log: what both told in one moment, one post may be, is told by two that are
    at work beside each other. One that was lost is told of no more.
    """
    was_open = row.status not in _BY_ITSELF and (row.ended_at is None or row.ended_at >= after.created_at)
    told_at = row.process_at or 0
    is_silent = told_at < after.created_at or (row.status is Status.LOST and told_at == after.created_at)
    return was_open and is_silent and may_go_on_from(after, row)
