"""Roll-ups: what each event adds to its cell of hour × agent × model × status.

Totals are read from these cells and never counted from events. A run counts once, where it started; under its model,
also when an event after its first one names it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, UsageRow, add, subtract

HOUR_MS = 3_600_000
UsageKey = tuple[int, int, str, str, str]


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


def told(report: UsageReport, before: Usage, after: Usage) -> Usage:
    """What a report added to totals. Who told no cost spent an unknown one, and not 0."""
    found = added(before, after)
    is_unknown = found.cost_nanos == 0 and report.usage.cost_nanos is None
    return msgspec.structs.replace(found, cost_nanos=None) if is_unknown else found


def key_of(after: RunRow, event: Event, agent: str | None) -> UsageKey:
    """The key of the cell that an event adds to. The status is the run's after it, the model what the event says, else
    that of its agent: what one agent spends never stands under the model of another.
    """
    model = event.effects.model or after.model_of(agent)
    return (event.org, hour_of(event), agent or "", model or "", after.status.value)


def hour_of(event: Event) -> int:
    """The hour, since the epoch, in which an event happened."""
    return event.happened_at() // HOUR_MS


def place_start(row: RunRow, event: Event, agent: str | None, changes: dict[str, Any]) -> None:
    """Adds to the changes of a run's row where its start is counted, as long as no model is known."""
    if changes.get("model", row.model) is not None:
        changes["start_cell"] = None
    elif event.seq == 1:
        changes["start_cell"] = (hour_of(event), agent or "", changes.get("status", row.status).value)


def moved(before: RunRow | None, after: RunRow) -> tuple[UsageKey, UsageKey] | None:
    """From which cell to which the start of a run moves: to that of its model, with the event that names it first."""
    if before is None or before.start_cell is None or after.model is None:
        return None
    hour, agent, status = before.start_cell
    return (after.org, hour, agent, "", status), (after.org, hour, agent, after.model, status)


def fold(cell: UsageRow | None, key: UsageKey, before: RunRow | None, after: RunRow, event: Event) -> UsageRow:
    """The cell with one more event; `cell` is None for the first."""
    began = before is None
    ended = after.is_terminal() and (before is None or not before.is_terminal())
    usage = counted(before, after, event)
    if cell is None:
        return UsageRow(*key, 1, int(began), int(ended), usage)
    return UsageRow(
        *key,
        cell.events + 1,
        cell.runs_started + began,
        cell.runs_ended + ended,
        cell.usage if usage is NO_USAGE else add(cell.usage, usage),
    )
