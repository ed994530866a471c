"""The fold of an agent: counts and totals over all its events, whichever run they belong to."""

from __future__ import annotations

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import add, subtract


def fold(row: AgentRow, before: RunRow | None, after: RunRow, event: Event) -> AgentRow:
    """The row after one of the agent's events, given its run before and after."""
    usage = row.usage
    if before is None:
        usage = add(usage, after.usage)
    elif before.usage is not after.usage and before.usage != after.usage:
        usage = add(usage, subtract(after.usage, before.usage))
    beat = row.last_heartbeat_at
    if event.effects.beat:
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
    """The later of two heartbeats: the wall clock may have been set back between them."""
    return at if known is None else max(known, at)


def fold_plain(row: AgentRow, events: int, recorded_at: int) -> AgentRow:
    """The row after some events at once that add nothing but themselves."""
    return msgspec.structs.replace(row, event_count=row.event_count + events, last_event_at=recorded_at)


def emptied(row: AgentRow) -> AgentRow:
    """What is left of an agent without its events; heartbeats are no events and stay."""
    return AgentRow(row.agent, row.org, row.agent_id, row.name, row.created_at, last_heartbeat_at=row.last_heartbeat_at)
