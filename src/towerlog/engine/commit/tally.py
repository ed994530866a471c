"""What the events of a group add to agents and to the roll-up cells: counted as they are placed, folded once."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, UsageRow, add
from towerlog.projections import agents as agent_fold
from towerlog.projections import usage as usage_fold
from towerlog.store.values import Changes


class _OfAgent(msgspec.Struct):
    """Of one agent; `usage` is its total, not what was added: sums that reached their bound depend on the order."""

    usage: Usage
    events: int = 0
    runs: int = 0
    errors: int = 0
    beat_at: int | None = None


class _OfCell(msgspec.Struct):
    events: int = 0
    began: int = 0
    ended: int = 0
    usage: Usage = NO_USAGE


class Tallies(msgspec.Struct, eq=False):
    """Of one group, whose events all have the same time."""

    _now: int
    _agents: dict[tuple[int, str], _OfAgent] = {}
    _plain: dict[tuple[int, str], int] = {}
    """(org, agent) → its plain events."""
    _cells: dict[usage_fold.UsageKey, _OfCell] = {}

    def count(self, key: usage_fold.UsageKey, events: int) -> None:
        """Plain events of one cell."""
        org, _, agent, _, _ = key
        self._plain[org, agent] = self._plain.get((org, agent), 0) + events
        self._cell(key).events += events

    def take(self, agent: AgentRow, before: RunRow | None, after: RunRow, event: Event) -> None:
        """An event that was folded by itself; `before` None: it begins its run."""
        ended = after.is_terminal() and (before is None or not before.is_terminal())
        spent = usage_fold.counted(before, after, event)
        one = self._of(agent)
        one.events += 1
        one.runs += before is None
        one.errors += event.type is EventType.RUN_FAILED and not event.late
        if event.effects.beat:
            one.beat_at = event.recorded_at
        cell = self._cell(usage_fold.key_of(after, event, agent.name))
        cell.events += 1
        cell.began += before is None
        cell.ended += ended
        if spent is not NO_USAGE:
            one.usage, cell.usage = add(one.usage, spent), add(cell.usage, spent)

    def beat(self, agent: AgentRow) -> None:
        """A sign of life outside any run."""
        self._of(agent).beat_at = self._now

    def _of(self, agent: AgentRow) -> _OfAgent:
        key = (agent.org, agent.name)
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = _OfAgent(agent.usage)
        return found

    def _cell(self, key: usage_fold.UsageKey) -> _OfCell:
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = _OfCell()
        return found

    def settle(self, changes: Changes, agents: Mapping[tuple[int, str], AgentRow]) -> None:
        """Folds all of it into `changes`; `agents`: the row of each as it was before, by organisation and name."""
        for key in {**self._agents, **self._plain}:
            row = agents[key]
            one = self._agents.get(key) or _OfAgent(row.usage)
            events = one.events + self._plain.get(key, 0)
            changes.agents[row.agent] = agent_fold.after(
                row, events, one.runs, one.errors, one.usage, self._now if events else None, one.beat_at
            )
        for cell_key, cell in self._cells.items():
            changes.usage[cell_key] = UsageRow(*cell_key, cell.events, cell.began, cell.ended, cell.usage)
