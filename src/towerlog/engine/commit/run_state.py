"""What a group changes while it is placed: each run as last folded, with the plain events since; and tallies.

A plain event moves its run's place in the log, its clocks, its open tools and its clients' numbers: these are carried
forward here, and folded into the row at once when somebody wants it or the group is settled. What events add to agents
and to the roll-up cells is counted as they are placed, and folded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.event import TOOL_TYPES, Event, EventType
from towerlog.model.ledger import Ledger, within_all
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, UsageRow, add
from towerlog.projections import agents as agent_fold
from towerlog.projections import runs as run_fold
from towerlog.projections import usage as usage_fold
from towerlog.store.values import Changes

# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_MESSAGE_DELTA = EventType.MESSAGE_DELTA


class RunState(msgspec.Struct, eq=False):
    """A run of this group. Made as `RunState(before, row, row.last_seq, row.last_hash, row.open_tools, known_ids)`."""

    before: RunRow | None
    """The run's row in the store, None for one that begins here."""
    row: RunRow
    seq: int
    hash: bytes
    open_tools: tuple[tuple[str, str], ...]
    """The run's tool calls without a result."""
    known_ids: Set[int] | None = None
    """Hashes of the ids that its stored events have; None where they are not all known."""
    ids: dict[str, Event] = {}
    """The events of this group that have an id, by it."""
    counts: dict[tuple[str, int], int] = {}
    """(agent, hour) → how many plain events of it `row` does not know of yet."""
    _last_plain: Event | None = None
    _deltas: bool = False
    _ledgers: dict[str, Ledger] | None = None
    _uncounted: bool = False
    _first: tuple[str, int] | None = None
    """(client, number) that a row of numbers without a gap began with."""
    _last: int = 0

    def take_plain(self, event: Event, agent: str, hour: int) -> None:
        """One plain event more, of this hour since the epoch."""
        self._last_plain, self.seq, self.hash = event, event.seq, event.hash
        counted = (agent, hour)
        self.counts[counted] = self.counts.get(counted, 0) + 1
        kind = event.type
        if kind is _MESSAGE_DELTA:
            self._deltas = True
        elif kind in TOOL_TYPES:
            self.open_tools = run_fold.tools_after(self.open_tools, event)
        facts = event.facts
        if facts.client_id is not None and facts.client_seq is not None:
            self._count(facts.client_id, facts.client_seq, facts.client_dropped)

    def take(self, row: RunRow) -> None:
        """The row after an event that was folded by itself."""
        self.row, self.seq, self.hash, self.open_tools = row, row.last_seq, row.last_hash, row.open_tools

    def settled(self) -> RunRow:
        """The row, with all that has happened. Who calls this has taken note of `counts`."""
        last = self._last_plain
        if last is None:
            return self.row
        changes: dict[str, Any] = {}
        if self.open_tools is not self.row.open_tools:
            changes["open_tools"] = self.open_tools
        if self._first is not None:
            self._close_numbers()
        if self._ledgers is not None:
            changes["clients"] = self._ledgers
        if self._uncounted:
            changes["uncounted_clients"] = True
        self.row = run_fold.fold_plain(self.row, last, deltas=self._deltas, **changes)
        self.counts = {}
        self._deltas = self._uncounted = False
        self._last_plain = self._ledgers = None
        return self.row

    # A ledger is a frozen value of ranges: numbers that follow each other are brought into it as one range.

    def _count(self, client_id: str, seq: int, dropped: tuple[int, int] | None) -> None:
        first = self._first
        if first is not None and first[0] == client_id and seq == self._last + 1:
            self._last = seq
        else:
            self._close_numbers()
            self._first, self._last = (client_id, seq), seq
        if dropped is not None:
            ledgers = self._close_numbers()
            if client_id in ledgers:
                ledgers[client_id] = ledgers[client_id].with_dropped(*dropped)
                ledgers[client_id] = within_all(ledgers, client_id)

    def _close_numbers(self) -> dict[str, Ledger]:
        """Brings the row of numbers that is under way into its client's ledger."""
        ledgers = dict(self.row.clients) if self._ledgers is None else self._ledgers
        if self._first is not None:
            client_id, seq = self._first
            ledger = run_fold.ledger_of(ledgers, client_id)
            if ledger is None:
                self._uncounted = self._uncounted or not self.row.uncounted_clients
            else:
                ledgers[client_id] = ledger.with_all_received(seq, self._last)
                ledgers[client_id] = within_all(ledgers, client_id)
            self._ledgers, self._first = ledgers, None
        return ledgers


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
