"""The fold of a thread: its open runs, its newest one, and what was counted of the costs of its processes.

Of a run only the first and the terminal event change it, those that tell a cost of its process, and the one that names
its thread when it stands in another.

Each cost of a process counts what it says beyond the next lower one, in the cell of what told it: so it is the same in
whatever order they come. One that comes between two others claims its part from the place of the higher one. Of two
that are equal the first one counts, by the clocks of their senders.
"""

from __future__ import annotations

import math

import msgspec

from towerlog.model.computed_costs import ClaimedCost
from towerlog.model.event import Event
from towerlog.model.facts import Effects
from towerlog.model.naming import may_be_named
from towerlog.model.pending import text_bytes
from towerlog.model.run import MAX_OPEN_RUNS, RunRow
from towerlog.model.thread import (
    MAX_COST_PLACES,
    MAX_COST_PLACES_BYTES,
    MAX_PROCESS_BYTES,
    MAX_PROCESSES,
    CostPlace,
    CostTelling,
    ThreadRow,
)
from towerlog.model.usage import Usage, UsageReport, summed
from towerlog.projections.computed_costs import arrived_of
from towerlog.projections.usage import key_of

_encode = msgspec.json.Encoder().encode


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


def count_cost(row: ThreadRow, before: RunRow, after: RunRow, event: Event, agent: str | None) -> ThreadRow:
    """The row after an event that told a cost of a process; `before` and `after`: the event's run, `agent`: of it."""
    report, spent = event.effects.report, event.facts.spent
    if report is None or report.process is None or spent is None:
        return row
    costs = {process: cost for process, cost in row.process_costs.items() if process != report.process}
    counted = _counted(row, report.process, before)
    costs[report.process] = max(counted, _truth(row, report.process, after.usage))
    places = places_after(row, counted, after, event, agent or "")
    while len(costs) > MAX_PROCESSES or sum(map(text_bytes, costs)) > MAX_PROCESS_BYTES:
        gone = next(iter(costs))
        del costs[gone]
        places.pop(gone, None)
    # The same object: the plan writes only rows that have changed.
    same = [*costs.items()] == [*row.process_costs.items()]
    if same and [*places.items()] == [*row.cost_places.items()]:
        return row
    return msgspec.structs.replace(row, process_costs=costs, cost_places=places)


def _truth(row: ThreadRow, process: str, after: Usage) -> int:
    """The highest that is known of a process, with what one of its runs has told now."""
    return max(row.process_costs.get(process, 0), after.reported_nanos())


def _counted(row: ThreadRow, process: str, before: RunRow) -> int:
    """What was counted of a process so far: of all its runs, and of this one before it told any cost of a process."""
    known, own = row.process_costs.get(process), before.usage.reported_nanos()
    if known is None:
        return own
    return known + own if before.process_cost is None else known


def telling_of(effects: Effects, agent: str, told_at: int | None) -> CostTelling:
    """A told cost as it was told; `told_at`: wall ms by its sender's clock."""
    return CostTelling(math.inf if told_at is None else told_at, _step_of(effects), agent, effects.model or "")


def with_fall(row: ThreadRow, run: int, effects: Effects, telling: CostTelling) -> UsageReport:
    """The report of a cost of a process, with whether that fell; `run`: whose it is."""
    report, checkpoint = effects.report, effects.checkpoint
    assert report is not None, "it tells a cost"
    cost = report.usage.cost_nanos
    if not report.process_cost or cost is None or telling.step < 0 or checkpoint is None or checkpoint.again:
        return report
    others = [
        one
        for one in _of(row, report)
        if (one.run, one.agent) == (run, telling.agent) and one.step not in (-1, telling.step)
    ]
    fell = any((one.step < telling.step) != (one.high < cost) for one in others if one.high != cost)
    return msgspec.structs.replace(report, fell=fell)


def claimed(row: ThreadRow, report: UsageReport, before: RunRow, telling: CostTelling) -> ClaimedCost | None:
    """What a cost of a process takes from the place of the next higher one; `before`: its run before it."""
    found = _found(_of(row, report), report, telling)
    if found is None or (before.process_cost is None and before.usage.reported_nanos()):
        return None
    cost = report.usage.cost_nanos or 0
    return ClaimedCost(found.agent, found.hour, found.model, found.status, found.arrived, cost - found.low)


def places_after(
    row: ThreadRow, counted: int, run: RunRow, event: Event, agent: str
) -> dict[str, tuple[CostPlace, ...]]:
    """The places after a told cost of a process, of which so much was counted before it; `run`: after it."""
    report, spent, effects = event.effects.report, event.facts.spent, event.effects
    assert report is not None, "it tells a cost"
    process = report.process or ""
    places, known = dict(row.cost_places), _of(row, report)
    cost, added = report.usage.cost_nanos or 0, 0 if spent is None else spent.cost_nanos or 0
    found, low = None, counted
    if event.facts.claimed is not None:
        found = _found(known, report, telling_of(effects, agent, event.told_at()))
        low = cost if found is None else found.low
    others = [one for one in known if one is not found]
    if found is not None and found.high > cost:
        others.append(msgspec.structs.replace(found, low=cost))
    low = max(low, cost - added)
    # What stands for an agent that nobody has named may go to another one with all that it has counted.
    if report.process_cost and low < cost and not may_be_named(run):
        _, hour, _, model, status = key_of(run, event, agent)
        told_at = event.told_at()
        at_ms, step = -1 if told_at is None else told_at, _step_of(effects)
        of = (run.run, agent, hour, model, status, arrived_of(event), at_ms, step, effects.model or "")
        others.append(CostPlace(low, cost, *of))
    places.pop(process, None)
    if others:
        places[process] = tuple(sorted(others, key=lambda one: one.high))[-MAX_COST_PLACES:]
    while len(_encode(places)) > MAX_COST_PLACES_BYTES:
        oldest = next(iter(places))
        places[oldest] = places[oldest][1:]
        if not places[oldest]:
            del places[oldest]
    return places


def _of(row: ThreadRow, report: UsageReport) -> tuple[CostPlace, ...]:
    return row.cost_places.get(report.process or "", ())


def _found(places: tuple[CostPlace, ...], report: UsageReport, telling: CostTelling) -> CostPlace | None:
    """The place of which a told cost is a part."""
    cost = report.usage.cost_nanos
    if not report.process_cost or cost is None:
        return None
    for one in places:
        if one.low < cost < one.high or (one.high == cost and telling < one.telling()):
            return one
    return None


def _step_of(effects: Effects) -> int:
    return -1 if effects.checkpoint is None else effects.checkpoint.step_index


def unfolded(row: ThreadRow) -> ThreadRow:
    """The row without what was folded from events: where a rebuild begins."""
    title, policy = row.title, row.policy
    return ThreadRow(row.org, row.thread_id, row.created_at, title, policy=policy, erased_at=row.erased_at)
