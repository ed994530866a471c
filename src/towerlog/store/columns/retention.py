"""The columns of a run by which retention finds it: when it ended, by time and in the log, and what it has left to
erase."""

from __future__ import annotations

from towerlog.model.facts import Erases
from towerlog.model.retention import holds
from towerlog.model.run import RunRow
from towerlog.store.values import RunChange

HELD = {Erases.DELTAS: 1, Erases.CHECKPOINTS: 2, Erases.EVENTS: 4}
"""Bits of the column `held`."""


def held_columns(row: RunRow) -> tuple[int | None, int | None, int | None]:
    """(ended_at, ended_position, held); all None where there is nothing to erase."""
    held = sum(HELD[kind] for kind in holds(row))
    return (row.ended_at, row.ended_position, held) if held else (None, None, None)


def holds_other(change: RunChange) -> bool:
    """Whether a run that has ended has other content than before: some again, or its first checkpoint."""
    return change.before is not None and holds(change.before) != holds(change.after)
