"""What a run has spent before anything has named its agent: by roll-up cell, so that it can go to the agent's.

Children end before their parents, and usage may overtake the start that says whose it is. Until then it stands under
what stands for an agent (`default`, or the name of the service that reports).
"""

from __future__ import annotations

import msgspec

from towerlog.model.computed_costs import merged_version
from towerlog.model.usage import NO_USAGE, Usage, add

MAX_ASSUMED_CELLS = 64
"""Roll-up cells of a run that are remembered until its agent is known. What is in others stays where it is."""
HOUR_MINUTES = 60


class AssumedCell(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A roll-up cell of what stands for a run's agent, and what of this run was counted in it."""

    hour: int
    model: str
    status: str
    arrived: int
    """When the first of it arrived here, in minutes since the epoch. What arrived in another hour is a cell of its own:
    budgets count by arrival."""
    usage: Usage
    version: str | None = None
    """Of the prices that it was computed with."""


AssumedCells = tuple[AssumedCell, ...]


def with_assumed(cells: AssumedCells, added: AssumedCell) -> AssumedCells:
    """With what was counted in a cell."""
    if added.usage == NO_USAGE:
        return cells
    for index, cell in enumerate(cells):
        if _place(cell) == _place(added):
            version = merged_version(cell.version, added.version)
            usage, arrived = add(cell.usage, added.usage), min(cell.arrived, added.arrived)
            both = msgspec.structs.replace(cell, usage=usage, arrived=arrived, version=version)
            return (*cells[:index], both, *cells[index + 1 :])
    return cells if len(cells) >= MAX_ASSUMED_CELLS else (*cells, added)


def less_assumed(cells: AssumedCells, place: tuple[int, str, str], taken: Usage) -> AssumedCells:
    """After something was taken out of a roll-up cell of this hour, model and status; `taken`: figures of at most 0."""
    for index, cell in enumerate(cells):
        if (cell.hour, cell.model, cell.status) == place:
            less = msgspec.structs.replace(cell, usage=add(cell.usage, taken))
            return (*cells[:index], less, *cells[index + 1 :])
    return cells


def _place(cell: AssumedCell) -> tuple[int, str, str, int]:
    return (cell.hour, cell.model, cell.status, cell.arrived // HOUR_MINUTES)
