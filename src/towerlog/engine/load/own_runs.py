"""A thread's own run: its newest open one that is no child of another run of the thread, else its newest such one.

Whether a run is such a child is looked up when it is asked for: either of the two may have arrived first. So is the
process that carries a run out: the same one carries out those above it in the thread, and the next run of its agent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from towerlog.model.event import NamedRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.naming import may_be_named
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, PLACEHOLDER_AGENTS, RunRow
from towerlog.model.thread import ThreadRow

MAX_OPEN_LOOKED_AT = 16
"""Of a thread's open runs, the newest that are looked at; each leads to the run that it belongs to."""
MAX_CLIMB = 20
"""Parents above a run that are looked up; more name each other in a circle."""
PROCESS_MARK, PROCESS_DIGITS = "\x1f", 8
"""In the name of a process: what stands between its first trace and who tells it, and how long the latter is."""

RowOf = Callable[[int], RunRow | None]
Find = Callable[[NamedRun], RunRow | None]


def own_run(thread: ThreadRow, row_of: RowOf, find: Find) -> RunRow | None:
    """None where the thread has no run. `row_of`: a run by its number; `find`: a run of the organisation by name."""
    numbers = thread.open_runs[-MAX_OPEN_LOOKED_AT:]
    newest = row_of(max(numbers)) if numbers else None
    if newest is not None and newest.parent_key is None and not newest.is_terminal():
        return newest  # as nearly always: no other one can be newer
    newest_open = _newest(root for root in _roots(numbers, row_of, find) if not root.is_terminal())
    return newest_open or _newest(_roots((thread.newest_run, thread.newest_parentless), row_of, find))


def run_before(thread: ThreadRow, agent: str | None, row_of: RowOf, find: Find) -> RunRow | None:
    """The run that a start in the thread goes on from: the thread's own one, but of those that are open one of the same
    agent. `agent`: the one that the start names, None for none.

    Where one of the two is not named yet, it may be the same; so it may where one agent has handed its run to
    the other.
    """
    own = own_run(thread, row_of, find)
    if own is None or own.is_terminal() or agent is None or agent in PLACEHOLDER_AGENTS or own.agent == agent:
        return own
    roots = _roots(thread.open_runs[-MAX_OPEN_LOOKED_AT:], row_of, find)
    open_ones = [root for root in roots if not root.is_terminal()]
    same = _newest(root for root in open_ones if root.agent == agent)
    handed = same or _newest(root for root in open_ones if agent in root.shares)
    return handed or (own if may_be_named(own) else None)


def parent_within(row: RunRow, find: Find) -> RunRow | None:
    """The run's parent, if that stands in the same thread."""
    parent = parent_above(row, find)
    return None if parent is None or parent.thread_id != row.thread_id else parent


def parent_above(row: RunRow, find: Find) -> RunRow | None:
    """The run's parent in whichever thread; one that is named by its trace in the run's own."""
    ref = ref_of_parent(row.parent_key or "", row.thread_id)
    parent = None if ref is None else find(ref)
    return None if parent is None or parent.run == row.run else parent


def ref_of_parent(key: str, thread_id: str) -> NamedRun | None:
    """Which run a parent's key names in a run of this thread."""
    if key.startswith(PARENT_TRACE):
        return RunByTrace(thread_id, key.removeprefix(PARENT_TRACE))
    if key.startswith(PARENT_RUN):
        return RunById(key.removeprefix(PARENT_RUN))
    if key.startswith(PARENT_FOREIGN):
        return RunByForeignId(key.removeprefix(PARENT_FOREIGN), "")
    return None


def rows_above(row: RunRow, find: Find) -> list[RunRow]:
    """The runs above a run in whichever threads, the nearest first, as far as MAX_CLIMB."""
    found: dict[int, RunRow] = {}
    below = row
    for _ in range(MAX_CLIMB):
        above = parent_above(below, find)
        if above is None or above.run == row.run or above.run in found:
            break
        found[above.run] = below = above
    return list(found.values())


def run_ids_above(row: RunRow, find: Find) -> set[str]:
    """Ids of a run and of those above it, as far as MAX_CLIMB."""
    return {row.run_id, *(above.run_id for above in rows_above(row, find))}


def top_of(row: RunRow, parent_key: str | None, find: Find) -> tuple[str, RunRow | None]:
    """The trace of the topmost run above a run in its thread, whose process carries out all below it; and that run.

    `parent_key`: the run's, or what its event says of it. A parent that nobody has heard of yet is known by its trace.
    """
    seen = {row.trace_id}
    for _ in range(MAX_CLIMB):
        if parent_key is None:  # as with most runs
            return row.trace_id, row
        above = parent_within(msgspec.structs.replace(row, parent_key=parent_key), find)
        if above is None:
            is_trace = parent_key.startswith(PARENT_TRACE)
            return (parent_key.removeprefix(PARENT_TRACE), None) if is_trace else (row.trace_id, row)
        if above.trace_id in seen:
            return min(seen), None  # a circle: any of its names will do, but the same for all of them
        row, parent_key = above, above.parent_key
        seen.add(row.trace_id)
    return row.trace_id, row


def process_of(row: RunRow, trace: str, top: RunRow | None, sender: str, thread: ThreadRow, cost: int) -> str:
    """The name of the process whose counter a run tells, which stands at `cost` nano-dollars.

    `trace` and `top`: see `top_of`; `sender`: who tells it; `thread`: the run's. Runners make a new
    trace for each call, and their counter goes on: the same sender's next run tells the same process, unless its
    counter is lower than it was, and so began anew. It did not where a run that is newer than the topmost one has told
    of it: that is below this one, and has overtaken it.
    """
    costs = thread.process_costs
    known = row.process or (top.process if top is not None else None)
    if known is not None:
        return known
    if top is None or trace in costs:
        return trace
    mark = PROCESS_MARK + hashlib.sha256(f"{sender}{PROCESS_MARK}{top.agent}".encode()).hexdigest()[:PROCESS_DIGITS]
    before = next((name for name in reversed(costs) if name.endswith(mark)), None)
    if before is not None:
        is_overtaken = any(one.run > top.run for one in thread.cost_places.get(before, ()))
        if costs[before] <= cost or is_overtaken:
            return before
    # A runner that was restarted may go on with the trace of the process before it.
    return trace + mark if trace + mark not in costs else top.run_id + mark


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
