"""The fold of an agent: counters and totals over all its events, in whichever run."""

from __future__ import annotations

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.event import HEARTBEAT, Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import add, subtract


def fold(row: AgentRow, before: RunRow | None, after: RunRow, event: Event) -> AgentRow:
    """The row after one of the agent's events, given its run before and after."""
    usage = row.usage
    # Identity first: a fold that leaves the usage alone hands the same object on, and most events do.
    if before is None:
        usage = add(usage, after.usage)
    elif before.usage is not after.usage and before.usage != after.usage:
        usage = add(usage, subtract(after.usage, before.usage))
    beat = row.last_heartbeat_at
    if event.facts.name == HEARTBEAT:
        beat = latest(beat, event.recorded_at)
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + (before is None),
        event_count=row.event_count + 1,
        error_count=row.error_count + (event.type is EventType.RUN_FAILED and not event.late),
        usage=usage,
        last_event_at=event.recorded_at,
        last_heartbeat_at=beat,
    )


def latest(known: int | None, at: int) -> int:
    """The later of two heartbeats. The wall clock may have been set back between them."""
    return at if known is None else max(known, at)


def fold_plain(row: AgentRow, events: int, recorded_at: int) -> AgentRow:
    """The row after several plain events at once: they add to the count and to nothing else."""
    return msgspec.structs.replace(row, event_count=row.event_count + events, last_event_at=recorded_at)


def emptied(row: AgentRow) -> AgentRow:
    """The row without what was folded from events: where a rebuild begins. Heartbeats are not events, so they stay."""
    return AgentRow(row.agent, row.org, row.agent_id, row.name, row.created_at, last_heartbeat_at=row.last_heartbeat_at)
