"""Roll-ups: what each event adds to its cell of hour × agent × model × status.

Totals are read from these cells and never counted from events. A run counts once, where it started and where it ended,
under the first model that it has named. An event stands under the model that it names, else under that of its agent;
what spent something before its agent named any stays without one, since nobody said what it was spent on.

`fold`, `shifted` and `corrected` are the reference, by which a rebuild adds event for event. A commit adds the same by
`agents.Tallies`. The two are written independently on purpose, so that comparing them finds errors of either (decision
33): a column of `UsageRow` is told to both.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.assumed import AssumedCell, less_assumed, with_assumed
from towerlog.model.computed_costs import (
    MAX_COMPUTED_CELLS,
    Priced,
    ToldTotal,
    ToldTotals,
    less_total,
    merged_version,
    with_model,
    with_total,
)
from towerlog.model.event import Event
from towerlog.model.facts import Effects
from towerlog.model.naming import may_be_named, named
from towerlog.model.run import RunRow
from towerlog.model.running_totals import point_of
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, UsageRow, add, subtract
from towerlog.projections.computed_costs import (
    Correction,
    UsageKey,
    arrived_of,
    cells_after,
    corrections_of_costs,
    model_of_total,
)

HOUR_MS = 3_600_000


def spent(before: RunRow | None, after: RunRow) -> Usage:
    """What an event added to its run's totals."""
    return after.usage if before is None else added(before.usage, after.usage)


def counted(before: RunRow | None, after: RunRow, event: Event) -> Usage:
    """What an event adds to the roll-ups: what was worked out when it was placed, if it told of usage."""
    told = event.facts.spent
    if told is None:
        return spent(before, after)
    # By value too: an event that was read back from the log must add the same as one that was just placed.
    return NO_USAGE if told == NO_USAGE else told


def added(before: Usage, after: Usage) -> Usage:
    """What was added to totals."""
    # By value too: a row that was read back from the store must give the same as one that was just folded.
    return NO_USAGE if before is after or before == after else subtract(after, before)


def key_of(after: RunRow, event: Event, agent: str | None) -> UsageKey:
    """The key of the cell that an event adds to. The status is the run's after it, the model what the event says, else
    that of its agent: what one agent spends never stands under the model of another. What is counted anew of a call
    stands where the call does.
    """
    effects = event.effects
    of = effects.repriced or effects.recount
    if of is None:
        model = effects.model or after.model_of(agent)
        return (event.org, hour_of(event), agent or "", model or "", after.status.value)
    recount = effects.recount
    return (event.org, of.hour, agent or "", of.model, after.status.value if recount is None else recount.status)


def hour_of(event: Event) -> int:
    """The hour, since the epoch, in which an event happened."""
    return event.happened_at() // HOUR_MS


Shift = tuple[UsageKey, int, int, int]
"""A cell, and what is added there: events, starts, ends."""


def shifts(before: RunRow | None, after: RunRow, event: Event, agent: str | None) -> list[Shift]:
    """What an event changes beside the cell that it is counted in: it ends its run, or names a model at last.

    Starts and ends go to the first model of the run, events that spent nothing to that of their agent. Hour, agent and
    status stay, so the sums by those do.
    """
    found: list[Shift] = []
    org = after.org
    before = None if before is None else named(before, event.facts, agent, late=event.late)
    if after.has_ended_since(before):
        key = (org, hour_of(event), agent or "", after.first_model or "", after.status.value)
        found.append((key, 0, 0, 1))
    if before is None:
        return found
    if before.first_model is None and after.first_model is not None:
        if before.start_cell is not None:
            found += _moved(org, before.start_cell, after.first_model, (0, 1, 0))
        if before.end_cell is not None:
            found += _moved(org, before.end_cell, after.first_model, (0, 0, 1))
    if before.unplaced and before.unplaced is not after.unplaced:
        for hour, name, status, events in before.unplaced:
            model = after.model_of(name)
            if model is not None:
                found += _moved(org, (hour, name, status), model, (events, 0, 0))
    return found


def _moved(org: int, cell: tuple[int, str, str], model: str, counts: tuple[int, int, int]) -> list[Shift]:
    (hour, agent, status), (events, began, ended) = cell, counts
    return [
        ((org, hour, agent, "", status), -events, -began, -ended),
        ((org, hour, agent, model, status), events, began, ended),
    ]


def shifted(cell: UsageRow | None, shift: Shift) -> UsageRow:
    """The cell after a shift; `cell` is None where there was none."""
    key, events, began, ended = shift
    cell = UsageRow(*key) if cell is None else cell
    return msgspec.structs.replace(
        cell,
        events=cell.events + events,
        runs_started=cell.runs_started + began,
        runs_ended=cell.runs_ended + ended,
    )


def fold(cell: UsageRow | None, key: UsageKey, before: RunRow | None, after: RunRow, event: Event) -> UsageRow:
    """The cell with one more event; `cell` is None for the first. What else the event changes is in `shifts`."""
    began = before is None
    usage, version = counted(before, after, event), version_of(event)
    if cell is None:
        return UsageRow(*key, 1, int(began), 0, usage, version)
    return UsageRow(
        *key,
        cell.events + 1,
        cell.runs_started + began,
        cell.runs_ended,
        cell.usage if usage is NO_USAGE else add(cell.usage, usage),
        merged_version(cell.price_version, version),
    )


def version_of(event: Event) -> str | None:
    """The prices that what an event adds was computed with."""
    spent, effects = event.facts.spent, event.facts.effects
    if spent is None or effects is None or (spent.computed_nanos is None and effects.repriced is None):
        return None
    return effects.version_computed_with()


def corrected(cell: UsageRow | None, correction: Correction) -> UsageRow:
    """The cell after a correction; `cell` is None where there was none."""
    cell = UsageRow(*correction.key) if cell is None else cell
    return msgspec.structs.replace(
        cell,
        usage=add(cell.usage, correction.usage),
        runs_started=cell.runs_started + correction.began,
        price_version=merged_version(cell.price_version, correction.version),
    )


def with_cells(before: RunRow, after: RunRow, event: Event, agent: str | None) -> RunRow:
    """The row after an event, with where it is counted what may be corrected."""
    after = _with_computed(before, after, event, agent)
    effects = event.facts.effects
    if effects is not None:
        if effects.calls or effects.below:
            after = _with_calls(after, event, agent)
        if effects.report is not None or effects.repriced is not None:
            after = _with_totals(before, after, event, effects, agent or "")
    if event.seq > 1 and event.facts.spent is None:
        return after
    return _with_assumed_cells(before, after, event, agent) if may_be_named(after) else after


def _with_calls(after: RunRow, event: Event, agent: str | None) -> RunRow:
    """The row after an event, with what is remembered of model calls; its own with the cell that it is counted in."""
    calls, effects = event.effects.calls, event.effects
    if calls and not calls[0].status:
        _, _, _, model, status = key_of(after, event, agent)
        own = msgspec.structs.replace(
            calls[0],
            priced=effects.priced,
            agent=agent or "",
            model=model,
            provider=effects.provider,
            status=status,
            at_ms=event.happened_at(),
            arrived=arrived_of(event),
        )
        calls = (own, *calls[1:])
    return msgspec.structs.replace(after, calls=after.calls.after(calls, effects.below))


def _with_totals(before: RunRow, after: RunRow, event: Event, effects: Effects, agent: str) -> RunRow:
    """The row after an event, with what is remembered of running totals."""
    totals, report, of, anew = after.told_totals, effects.report, effects.recount, effects.repriced
    if anew is not None:
        for whole_run, change in ((False, anew.totals), (True, anew.run_totals)):
            told = (agent, whole_run, anew.hour, anew.model, effects.provider)
            fitting = [one for one in totals if one.kind() == told]
            totals = less_total(totals, fitting[-1].place(), NO_USAGE, change) if fitting else totals
    elif report is not None and of is not None and of.of_total:
        place = (agent, report.whole_run, of.hour, of.model, of.status, of.provider, of.priced_by)
        totals = less_total(totals, place, report.usage, (effects.priced or Priced()).as_computed())
        if of.now_priced_by is not msgspec.UNSET:
            totals = with_model(totals, place, of.now_priced_by)
    elif report is not None and of is None and not report.is_of_one_call():
        _, hour, _, model, status = key_of(after, event, agent)
        tokens = msgspec.structs.replace(
            event.facts.spent or NO_USAGE, cost_nanos=None, computed_nanos=None, unpriced_calls=None
        )
        if any(msgspec.structs.astuple(tokens)):
            told_ms, arrived = event.happened_at(), arrived_of(event)
            by = model_of_total(before, effects.model, agent, whole_run=report.whole_run)
            place = (agent, report.whole_run, hour, model, status, effects.provider, by)
            made = ToldTotal(*place, told_ms, arrived, tokens, parts=report.parts_to_price(), number=event.seq)
            if effects.priced is not None:
                made = made.plus(NO_USAGE, effects.priced.as_computed())
            totals = with_total(totals, made)
            return _with_places(after, totals, report, agent)
    return after if totals is after.told_totals else msgspec.structs.replace(after, told_totals=totals)


def _with_places(after: RunRow, totals: ToldTotals, report: UsageReport, agent: str) -> RunRow:
    """The row with these totals, of which a report of this agent has told the last; its running totals know by which
    of them they are counted."""
    spending = after.spending()
    oldest = after.told_totals[0] if len(totals) == MAX_COMPUTED_CELLS == len(after.told_totals) else None
    if oldest is not None and all(one.place() != oldest.place() for one in totals):
        # It is forgotten, and what it counts cannot be taken back any more.
        spending = spending.with_running(oldest.agent, lambda running: running.above(oldest.number))
    point = point_of(report, None) if report.by_size else None
    if point is not None:
        spending = spending.with_running(agent, lambda running: running.in_place(point.total, totals[-1].number))
    return msgspec.structs.replace(after, told_totals=totals, shares=spending.shares, dormant=spending.dormant)


def _with_computed(before: RunRow, after: RunRow, event: Event, agent: str | None) -> RunRow:
    """The row after an event, with where its computed cost is counted."""
    usage, was = after.usage, before.usage
    if usage is was or (usage.computed_nanos is was.computed_nanos and usage.unpriced_calls is was.unpriced_calls):
        return after
    # The cell as the roll-ups have it, so it is asked of the row as it is then.
    place, arrived = key_of(after, event, agent)[1:], arrived_of(event)
    cells = cells_after(after.computed_cells, before.usage, after.usage, place, arrived)
    return after if cells is after.computed_cells else msgspec.structs.replace(after, computed_cells=cells)


def _with_assumed_cells(before: RunRow, after: RunRow, event: Event, agent: str | None) -> RunRow:
    """The row after an event of a run whose agent nobody has named, with what that has counted for what stands for it.

    `before`: the row before it, as the event has named it.
    """
    changes: dict[str, Any] = {}
    if event.seq == 1:
        changes["began_cell"] = (hour_of(event), agent or "", after.status.value)
    cells = after.assumed_cells
    if event.facts.spent is not None and after.agent is not None:
        for taken in corrections_of_costs(before, after, event, agent):
            if taken.key[2] == after.agent:
                cells = less_assumed(cells, (taken.key[1], *taken.key[3:]), taken.usage)
        if agent == after.agent:
            _, hour, _, model, status = key_of(after, event, agent)
            one = AssumedCell(hour, model, status, arrived_of(event), event.facts.spent, version_of(event))
            cells = with_assumed(cells, one)
    if cells is not after.assumed_cells:
        changes["assumed_cells"] = cells
    return msgspec.structs.replace(after, **changes) if changes else after
