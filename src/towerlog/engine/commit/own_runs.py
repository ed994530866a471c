"""A thread's own run: its newest open one that is no child of another run of the thread, else its newest such one.

Whether a run is such a child is looked up when it is asked for: either of the two may have arrived first. So is the
process that carries a run out: the same one carries out those above it in the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from towerlog.model.event import NamedRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, RunRow
from towerlog.model.thread import ThreadRow

MAX_OPEN_LOOKED_AT = 16
"""Of a thread's open runs, the newest that are looked at; each leads to the run that it belongs to."""
MAX_CLIMB = 20
"""Parents above a run that are looked up; more name each other in a circle."""

RowOf = Callable[[int], RunRow | None]
Find = Callable[[NamedRun], RunRow | None]


def own_run(thread: ThreadRow, row_of: RowOf, find: Find) -> RunRow | None:
    """None where the thread has no run. `row_of`: a run by its number; `find`: a run of the organisation by name."""
    numbers = thread.open_runs[-MAX_OPEN_LOOKED_AT:]
    newest_open = _newest(root for root in _roots(numbers, row_of, find) if not root.is_terminal())
    return newest_open or _newest(_roots((thread.newest_run, thread.newest_parentless), row_of, find))


def parent_within(row: RunRow, find: Find) -> RunRow | None:
    """The run's parent, if that stands in the same thread."""
    key = row.parent_key or ""
    ref: NamedRun
    if key.startswith(PARENT_TRACE):
        ref = RunByTrace(row.thread_id, key.removeprefix(PARENT_TRACE))
    elif key.startswith(PARENT_RUN):
        ref = RunById(key.removeprefix(PARENT_RUN))
    elif key.startswith(PARENT_FOREIGN):
        ref = RunByForeignId(key.removeprefix(PARENT_FOREIGN), "")
    else:
        return None
    parent = find(ref)
    return None if parent is None or parent.run == row.run or parent.thread_id != row.thread_id else parent


def process_of(row: RunRow, parent_key: str | None, find: Find) -> str:
    """The trace that names the process which carries out a run: that of the topmost run above it in its thread.

    `parent_key`: the run's, or what its event says of it. A parent that nobody has heard of yet is known by its trace.
    """
    name, seen = row.trace_id, {row.trace_id}
    for _ in range(MAX_CLIMB):
        above = parent_within(msgspec.structs.replace(row, parent_key=parent_key), find)
        if above is None:
            is_trace = parent_key is not None and parent_key.startswith(PARENT_TRACE)
            return (parent_key or "").removeprefix(PARENT_TRACE) if is_trace else name
        if above.trace_id in seen:
            return min(seen)  # a circle: any of its names will do, but the same for all of them
        row, parent_key, name = above, above.parent_key, above.trace_id
        seen.add(name)
    return name


def _roots(numbers: Iterable[int], row_of: RowOf, find: Find) -> Iterable[RunRow]:
    for number in numbers:
        row = row_of(number) if number else None
        for _ in range(MAX_CLIMB):
            parent = None if row is None else parent_within(row, find)
            if parent is None:
                break
            row = parent
        if row is not None:
            yield row


def _newest(rows: Iterable[RunRow]) -> RunRow | None:
    return max(rows, key=lambda row: row.run, default=None)
