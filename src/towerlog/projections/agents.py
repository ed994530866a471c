"""The fold of an agent: counters and totals over all its events, in whichever run; and the tallies of a group.

What the events of one commit add to agents and to roll-up cells is counted as they are placed, and folded once. A
rebuild adds event for event, by `fold` here and by those of `usage`: each is what the other is compared with (decision
33), so a column of `AgentRow` or `UsageRow` is told to both.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.computed_costs import merged_version
from towerlog.model.event import Event, EventType
from towerlog.model.liveness import NOT_FROM_AGENT
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, UsageRow, add
from towerlog.projections.computed_costs import Correction, UsageKey
from towerlog.projections.usage import counted, key_of, shifts, version_of


def fold(row: AgentRow, before: RunRow | None, now: RunRow, event: Event) -> AgentRow:
    """The row after one of the agent's events, given its run before and after."""
    failed = event.type is EventType.RUN_FAILED and not event.late
    beat_at = event.recorded_at if event.effects.beat else None
    usage = add(row.usage, counted(before, now, event))
    heard_at = event.recorded_at if _is_heard(now, event) else None
    folded = after(row, 1, before is None, failed, usage, heard_at, beat_at)
    version = merged_version(row.price_version, version_of(event))
    return folded if version == row.price_version else msgspec.structs.replace(folded, price_version=version)


def after(
    row: AgentRow, events: int, runs: int, errors: int, usage: Usage, heard_at: int | None, beat_at: int | None
) -> AgentRow:
    """The row after some events at once; `usage` is its new total, `heard_at` the time of those of the agent itself,
    `beat_at` of a heartbeat among them."""
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + runs,
        event_count=row.event_count + events,
        error_count=row.error_count + errors,
        usage=usage,
        last_event_at=row.last_event_at if heard_at is None else heard_at,
        last_heartbeat_at=row.last_heartbeat_at if beat_at is None else latest(row.last_heartbeat_at, beat_at),
    )


def _is_heard(now: RunRow, event: Event) -> bool:
    """Whether an event came from the agent or its worker: it has moved its run's last sign of life (`model.liveness`),
    which what comes after the end does not."""
    return now.process_at == event.recorded_at or (event.late and event.type not in NOT_FROM_AGENT)


def corrected(row: AgentRow, correction: Correction) -> AgentRow:
    """The row after a correction of one of its cells."""
    return msgspec.structs.replace(
        row,
        run_count=row.run_count + correction.began,
        usage=add(row.usage, correction.usage),
        price_version=merged_version(row.price_version, correction.version),
    )


def latest(known: int | None, at: int) -> int:
    """The later of two heartbeats. The wall clock may have been set back between them."""
    return at if known is None else max(known, at)


def unfolded(row: AgentRow) -> AgentRow:
    """The row without what was folded from events: where a rebuild begins. Heartbeats are not events, so they stay."""
    return AgentRow(row.agent, row.org, row.agent_id, row.name, row.created_at, last_heartbeat_at=row.last_heartbeat_at)


class _OfAgent(msgspec.Struct):
    """Of one agent; `usage` is its total, not what was added: sums that reached their bound depend on the order."""

    usage: Usage
    events: int = 0
    runs: int = 0
    errors: int = 0
    is_heard: bool = False
    """Whether an event is among them that the agent or its worker told, and neither a person nor the server."""
    beat_at: int | None = None
    version: str | None = None


class _OfCell(msgspec.Struct):
    events: int = 0
    began: int = 0
    ended: int = 0
    usage: Usage = NO_USAGE
    version: str | None = None


class Tallies(msgspec.Struct, eq=False):
    """Of one group, whose events all have the same time."""

    _now: int
    _agents: dict[tuple[int, str], _OfAgent] = {}
    _plain: dict[tuple[int, str], int] = {}
    """(org, agent) → its plain events."""
    _cells: dict[UsageKey, _OfCell] = {}

    def count(self, key: UsageKey, events: int) -> None:
        """Plain events of one cell."""
        org, _, agent, _, _ = key
        self._plain[org, agent] = self._plain.get((org, agent), 0) + events
        self._cell(key).events += events

    def take(self, agent: AgentRow, before: RunRow | None, now: RunRow, event: Event) -> None:
        """An event that was folded by itself; `before` None: it begins its run."""
        spent = counted(before, now, event)
        one = self._of(agent)
        one.events += 1
        one.is_heard = one.is_heard or _is_heard(now, event)
        one.runs += before is None
        one.errors += event.type is EventType.RUN_FAILED and not event.late
        if event.effects.beat:
            one.beat_at = event.recorded_at
        cell = self._cell(key_of(now, event, agent.name))
        cell.events += 1
        cell.began += before is None
        if spent is not NO_USAGE:
            one.usage, cell.usage = add(one.usage, spent), add(cell.usage, spent)
        version = version_of(event)
        if version is not None:
            one.version, cell.version = merged_version(one.version, version), merged_version(cell.version, version)
        for key, events, began, ended in shifts(before, now, event, agent.name):
            cell = self._cell(key)
            cell.events += events
            cell.began += began
            cell.ended += ended

    def correct(self, agent: AgentRow, correction: Correction) -> None:
        """What an event takes out of a cell of this agent."""
        one, cell = self._of(agent), self._cell(correction.key)
        one.usage, cell.usage = add(one.usage, correction.usage), add(cell.usage, correction.usage)
        one.runs += correction.began
        cell.began += correction.began
        if correction.version is not None:
            one.version = merged_version(one.version, correction.version)
            cell.version = merged_version(cell.version, correction.version)

    def beat(self, agent: AgentRow) -> None:
        """A sign of life outside any run."""
        self._of(agent).beat_at = self._now

    def _of(self, agent: AgentRow) -> _OfAgent:
        key = (agent.org, agent.name)
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = _OfAgent(agent.usage, version=agent.price_version)
        return found

    def _cell(self, key: UsageKey) -> _OfCell:
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = _OfCell()
        return found

    def settle(
        self,
        agents: Mapping[tuple[int, str], AgentRow],
        rows: dict[int, AgentRow],
        cells: dict[UsageKey, UsageRow],
    ) -> None:
        """Puts into `rows` and `cells` what comes of it; `agents`: each as it was before, by organisation and name."""
        for key in {**self._agents, **self._plain}:
            row = agents[key]
            one = self._agents.get(key) or _OfAgent(row.usage, version=row.price_version)
            plain = self._plain.get(key, 0)
            heard_at = self._now if plain or one.is_heard else None
            changed = after(row, one.events + plain, one.runs, one.errors, one.usage, heard_at, one.beat_at)
            if one.version != row.price_version:
                changed = msgspec.structs.replace(changed, price_version=one.version)
            rows[row.agent] = changed
        for cell_key, cell in self._cells.items():
            cells[cell_key] = UsageRow(*cell_key, cell.events, cell.began, cell.ended, cell.usage, cell.version)
