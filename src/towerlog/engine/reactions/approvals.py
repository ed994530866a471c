"""The inbox, when a run ends: whatever it has left open is not open any more."""

from __future__ import annotations

from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Event
from towerlog.model.run import RunRow


def close_ended(plan: Plan, _before: RunRow | None, after: RunRow, _event: Event) -> None:
    """Drops what the run has in the inbox, however many checkpoints wait there."""
    if after.is_terminal():
        plan.changes.ended.append(after.run)
