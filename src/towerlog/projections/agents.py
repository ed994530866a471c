"""The fold of an agent: counters and totals over all its events, in whichever run."""

from __future__ import annotations

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import Usage, add
from towerlog.projections.usage import counted


def fold(row: AgentRow, before: RunRow | None, now: RunRow, event: Event) -> AgentRow:
    """The row after one of the agent's events, given its run before and after."""
    failed = event.type is EventType.RUN_FAILED and not event.late
    beat_at = event.recorded_at if event.effects.beat else None
    usage = add(row.usage, counted(before, now, event))
    return after(row, 1, before is None, failed, usage, event.recorded_at, beat_at)


def after(
    row: AgentRow, events: int, runs: int, errors: int, usage: Usage, last_event_at: int | None, beat_at: int | None
) -> AgentRow:
    """The row after some events at once; `usage` is its new total, `beat_at` the time of a heartbeat among them."""
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + runs,
        event_count=row.event_count + events,
        error_count=row.error_count + errors,
        usage=usage,
        last_event_at=row.last_event_at if last_event_at is None else last_event_at,
        last_heartbeat_at=row.last_heartbeat_at if beat_at is None else latest(row.last_heartbeat_at, beat_at),
    )


def latest(known: int | None, at: int) -> int:
    """The later of two heartbeats. The wall clock may have been set back between them."""
    return at if known is None else max(known, at)


def unfolded(row: AgentRow) -> AgentRow:
    """The row without what was folded from events: where a rebuild begins. Heartbeats are not events, so they stay."""
    return AgentRow(row.agent, row.org, row.agent_id, row.name, row.created_at, last_heartbeat_at=row.last_heartbeat_at)
