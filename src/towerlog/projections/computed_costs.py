"""Computed costs in the totals of a run and in the roll-ups: what counts after a report, and what it takes back.

What a report adds stands in its own cell. Where a told cost takes the place of computed ones, the cells that count
these keep what the told cost has of them, and lose the rest; so no cell is ever negative, and all sums agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from towerlog.model.computed_costs import (
    MINUTE_MS,
    Computed,
    ComputedCell,
    ComputedCells,
    Priced,
    Recount,
    Repriced,
    TakenBack,
    take,
    with_computed,
)
from towerlog.model.event import Event
from towerlog.model.facts import Moved
from towerlog.model.naming import named
from towerlog.model.run import RunRow
from towerlog.model.run_agents import is_of_several_models, models_in
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, larger, subtract, summed

UsageKey = tuple[int, int, str, str, str]
"""Organisation, hour since the epoch, agent, model, status."""
_HOUR_MS = 60 * MINUTE_MS
_replace = msgspec.structs.replace


class Correction(NamedTuple):
    """What an event takes out of a cell in which an earlier one was counted, or brings from there into another."""

    key: UsageKey
    usage: Usage
    version: str | None = None
    """Of the prices that what it brings was computed with."""
    began: int = 0
    """Starts of runs."""


def model_of_total(row: RunRow, named_one: str | None, agent: str, *, whole_run: bool) -> str | None:
    """The model that a running total is priced by which names this one; `row`: its run before it. Of the whole run it
    must be the only one that was named in it."""
    if not whole_run:
        return named_one or row.model_of(agent)
    models = {named_one, *models_in(row)} - {None}
    several = is_of_several_models(row)
    return next(iter(models)) if len(models) == 1 and not several and row.retired is None else None


def left_of(
    computed: Computed, was: Usage, left: Usage, worth: Callable[[Usage], tuple[int | None, str | None]]
) -> Priced:
    """What changes of what was computed of a total of which so much is left.

    `worth`: what tokens with a split cost, and by which prices. Those without one have no price: as long as some are
    left their reports stay without.
    """
    has_left, was_unsplit, unsplit = any(msgspec.structs.astuple(left)), was.unsplit_tokens(), left.unsplit_tokens()
    if not has_left:
        return Priced(None if computed.nanos is None else -computed.nanos, None, -computed.unpriced)
    if computed.nanos is None:
        return Priced(None, None, 0)
    (before, _), (now, version) = worth(_split(was)), worth(_split(left))
    if now is not None and before == computed.nanos:
        return Priced(now - computed.nanos, version, -computed.unpriced if was_unsplit > 0 >= unsplit else 0)
    # Prices have changed since, or there are none any more: in the same proportion.
    is_worth = now is not None and before
    part, of = (now, before) if is_worth else (left.total_tokens, was.total_tokens)
    return Priced(computed.nanos * (part or 0) // max(1, of or 0) - computed.nanos, None, 0)


def _split(usage: Usage) -> Usage:
    """The tokens of which it is known what they are."""
    return _replace(usage, total_tokens=usage.split_tokens())


def totals_after(
    row: RunRow, target: Usage, agent: str, of: Repriced | Recount | None = None
) -> tuple[Usage, ComputedCells]:
    """What a run has spent after a report of an agent, and the cells that its computed cost is left in.

    `target`: what all reports add up to. The cost falls to it only as far as something can be taken back: of
    the hour and model of `of` first.
    """
    before = row.usage
    nanos, unpriced = _back(before, target)
    if not nanos and not unpriced:
        return target if target.cost_nanos is None else _at_least(target, before.cost_nanos), row.computed_cells
    left, taken = take(row.computed_cells, nanos, unpriced, agent, of)
    nanos, unpriced = sum(cell.nanos for cell in taken), sum(cell.unpriced for cell in taken)
    return _replace(
        target,
        cost_nanos=larger(target.cost_nanos, (before.cost_nanos or 0) - nanos or None),
        computed_nanos=larger(target.computed_nanos, (before.computed_nanos or 0) - nanos or None),
        unpriced_calls=larger(target.unpriced_calls, (before.unpriced_calls or 0) - unpriced or None),
    ), left


def totals_recounted(row: RunRow, target: Usage, change: Usage, agent: str, of: Recount) -> tuple[Usage, ComputedCells]:
    """The same after a change of what was counted of a call: what its sender has told may fall."""
    return totals_after(_replace(row, usage=add(row.usage, change)), target, agent, of)


def _back(before: Usage, target: Usage) -> tuple[int, int]:
    """What is to be taken back of the computed cost, and of the reports without a price."""
    nanos = (before.computed_nanos or 0) - (target.computed_nanos or 0)
    return max(0, nanos), max(0, (before.unpriced_calls or 0) - (target.unpriced_calls or 0))


def _at_least(target: Usage, cost_nanos: int | None) -> Usage:
    """No cost falls by itself: one that could not be taken back stays until others have reached it."""
    if cost_nanos is None or target.cost_nanos is None or target.cost_nanos >= cost_nanos:
        return target
    return _replace(target, cost_nanos=cost_nanos)


def told(report: UsageReport, before: Usage, after: Usage, *, is_free: bool = False) -> Usage:
    """What a report added to a run's totals. Who told no cost spent an unknown one, and not 0.

    `is_free`: it was priced at 0. The cost is below 0 where a told one is lower than what was computed.
    """
    if before is after or before == after:
        return _replace(NO_USAGE, cost_nanos=0, computed_nanos=0) if is_free else NO_USAGE
    found = subtract(after, before)
    if found.computed_nanos is None and found.unpriced_calls is None and report.usage.cost_nanos is not None:
        return found  # most reports that tell a cost
    cost, computed, unpriced = found.cost_nanos, found.computed_nanos, found.unpriced_calls
    if cost == 0 and report.usage.cost_nanos is None and not is_free:
        cost = None
    if computed is not None and (computed < 0 or (computed == 0 and not is_free)):
        computed = None
    if unpriced is not None and unpriced <= 0:
        unpriced = None
    return _replace(found, cost_nanos=cost, computed_nanos=computed, unpriced_calls=unpriced)


def corrections(before: RunRow | None, after: RunRow, event: Event, agent: str | None) -> list[Correction]:
    """What an event moves of what earlier ones have counted: it names the agent that they were of, or it tells a cost
    of what they were priced for."""
    claimed, found = event.facts.claimed, list[Correction]()
    if claimed is not None:
        key = (after.org, claimed.hour, claimed.agent, claimed.model, claimed.status)
        found.append(Correction(key, Usage(cost_nanos=-claimed.nanos)))
    if before is None:
        return found
    row = named(before, event.facts, agent, late=event.late)
    found += [] if row is before else _of_name(before, row)
    return found + corrections_of_costs(row, after, event, agent)


def _of_name(before: RunRow, row: RunRow) -> list[Correction]:
    """All that was counted for what stood for an agent goes to the agent; `row`: as it is named."""
    if row.agent is None or before.agent is None or row.agent == before.agent:
        return []
    found: list[Correction] = []
    if before.began_cell is not None:
        hour, was, status = before.began_cell
        model = before.first_model or ""
        found += _moved((row.org, hour, was, model, status), row.agent, NO_USAGE, None, 1)
    for cell in before.assumed_cells:
        key = (row.org, cell.hour, before.agent, cell.model, cell.status)
        found += _moved(key, row.agent, cell.usage, cell.version, 0)
    return found


def _moved(key: UsageKey, agent: str, usage: Usage, version: str | None, began: int) -> list[Correction]:
    org, hour, _, model, status = key
    less = subtract(NO_USAGE, usage)
    return [Correction(key, less, None, -began), Correction((org, hour, agent, model, status), usage, version, began)]


def money_of_name(before: RunRow | None, event: Event, agent: str | None) -> list[Moved]:
    """The money that goes with the name of an agent, each part with when it was counted."""
    row = before if before is None else named(before, event.facts, agent, late=event.late)
    if before is None or row is None or row.agent is None or before.agent is None or row.agent == before.agent:
        return []
    costs = [(cell.usage.cost_nanos or 0, cell.arrived * MINUTE_MS) for cell in before.assumed_cells]
    names = ((before.agent, -1), (row.agent, 1))
    return [Moved(name, sign * nanos, at_ms) for nanos, at_ms in costs if nanos for name, sign in names]


def moved_unpriced(corrected: list[Correction], event: Event, agent: str) -> list[Moved]:
    """The calls without a price that an event adds, and those that it takes from agents."""
    spent = event.facts.spent
    added = 0 if spent is None else spent.unpriced_calls or 0
    found = [Moved(agent, 0, None, added)] if added else []
    changes = ((key[2], key[1], usage.unpriced_calls) for key, usage, *_ in corrected)
    return found + [Moved(whose, 0, (hour + 1) * _HOUR_MS - 1, calls) for whose, hour, calls in changes if calls]


def corrections_of_costs(before: RunRow, after: RunRow, event: Event, agent: str | None) -> list[Correction]:
    """What an event takes out of the cells of earlier ones: it tells a cost of what they were priced for. `before`: as
    it has named the run's agent."""
    if event.facts.spent is None or not before.computed_cells:
        return []
    found: list[Correction] = []
    lost = sum(one.nanos for one in event.facts.taken_back)
    effects = event.effects
    for cell in taken(before, after.usage, agent or "", effects.repriced or effects.recount):
        gone = min(lost, cell.nanos)
        lost -= gone
        key = (after.org, cell.hour, cell.agent, cell.model, cell.status)
        found.append(Correction(key, Usage(**_less(gone, cell.nanos, cell.unpriced))))
    return found


def taken_back(
    row: RunRow, after: Usage, agent: str, of: Repriced | Recount | None, lost: int
) -> tuple[TakenBack, ...]:
    """From whom so much is taken back: in the order of `corrections`. `row`: the run before, `after`: its totals."""
    found: list[TakenBack] = []
    for cell in taken(row, after, agent, of):
        gone = min(lost, cell.nanos)
        lost -= gone
        if gone:
            found.append(TakenBack(cell.agent, cell.arrived, gone))
    return tuple(found)


def taken(row: RunRow, after: Usage, agent: str, of: Repriced | Recount | None = None) -> ComputedCells:
    """What an event of an agent takes out of the cells of a run, which is `row` before it and has spent `after`."""
    nanos, unpriced = _back(row.usage, after)
    return take(row.computed_cells, nanos, unpriced, agent, of)[1] if nanos or unpriced else ()


def moved_by(usage: Usage, change: Computed) -> Usage:
    """The totals with what a new pricing changes of them."""
    unpriced = max(0, (usage.unpriced_calls or 0) + change.unpriced) or None
    if change.nanos is None:
        return _replace(usage, unpriced_calls=unpriced)
    computed = max(0, (usage.computed_nanos or 0) + change.nanos)
    cost = summed(usage.cost_nanos or 0, -(usage.computed_nanos or 0), computed)
    return _replace(usage, cost_nanos=cost, computed_nanos=computed, unpriced_calls=unpriced)


def _less(cost: int, computed: int, unpriced: int) -> dict[str, int]:
    told = {"cost_nanos": cost, "computed_nanos": computed, "unpriced_calls": unpriced}
    return {name: -figure for name, figure in told.items() if figure}


def repriced(before: Usage, after: Usage) -> Usage:
    """What a new pricing adds to a run's totals; its cost is below 0 where less counts than before."""
    cost = (after.cost_nanos or 0) - (before.cost_nanos or 0)
    computed = (after.computed_nanos or 0) - (before.computed_nanos or 0)
    return Usage(cost_nanos=cost or None, computed_nanos=computed if computed > 0 else None)


def recounted(before: Usage, after: Usage) -> tuple[Usage, int]:
    """What a recount adds to the cell of its call, and how much computed cost is taken back from the cells that have
    it."""
    found = subtract(after, before)
    lost = -min(0, found.computed_nanos or 0)
    if lost:
        found = _replace(found, cost_nanos=(found.cost_nanos or 0) + lost or None, computed_nanos=None)
    return (found if (found.unpriced_calls or 0) > 0 else _replace(found, unpriced_calls=None)), lost


def cells_after(
    cells: ComputedCells, before: Usage, after: Usage, place: tuple[int, str, str, str], arrived: int
) -> ComputedCells:
    """The cells of a run with what an event added in its own; `cells`: what was left in them, `arrived`: see there."""
    nanos = max(0, (after.computed_nanos or 0) - (before.computed_nanos or 0))
    unpriced = max(0, (after.unpriced_calls or 0) - (before.unpriced_calls or 0))
    return with_computed(cells, ComputedCell(*place, nanos, unpriced, arrived))


def arrived_of(event: Event) -> int:
    """When what an event counts arrived, in minutes since the epoch: of what is counted anew, when that did."""
    effects = event.effects
    of = effects.repriced or effects.recount
    return event.recorded_at // MINUTE_MS if of is None else of.arrived
