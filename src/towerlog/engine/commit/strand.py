"""One run while a group is placed: its row as last folded, and the plain events that have come since.

A plain event moves its run's place in the log, its clocks, its open tools and its clients' numbers: these are carried
forward here, and folded into the row at once when somebody wants it or the group is settled.
"""

from __future__ import annotations

from typing import Any

from towerlog.model.event import TOOL_TYPES, Event, EventType
from towerlog.model.ledger import Ledger
from towerlog.model.run import RunRow
from towerlog.projections import runs as run_fold


class Strand:
    """A run of this group."""

    __slots__ = (
        "_deltas",
        "_first",
        "_last",
        "_last_plain",
        "_ledgers",
        "_tools",
        "_uncounted",
        "before",
        "counts",
        "hash",
        "row",
        "seq",
    )

    def __init__(self, before: RunRow | None, row: RunRow) -> None:
        """`before` is the run's row in the store, None for one that begins here."""
        self.before = before
        self.row = row
        self.seq = row.last_seq
        self.hash = row.last_hash
        self.counts: dict[str, int] = {}
        """Agent → how many plain events of it `row` does not know of yet."""
        self._last_plain: Event | None = None
        self._deltas = False
        self._tools: tuple[tuple[str, str], ...] | None = None
        self._ledgers: dict[str, Ledger] | None = None
        self._uncounted = False
        self._first: tuple[str, int] | None = None
        """(client, number) that a row of numbers without a gap began with."""
        self._last = 0

    @property
    def open_tools(self) -> tuple[tuple[str, str], ...]:
        """The run's tool calls without a result."""
        return self.row.open_tools if self._tools is None else self._tools

    def take_plain(self, event: Event, agent: str) -> None:
        """One plain event more."""
        self._last_plain, self.seq, self.hash = event, event.seq, event.hash
        self.counts[agent] = self.counts.get(agent, 0) + 1
        kind = event.type
        if kind is EventType.MESSAGE_DELTA:
            self._deltas = True
        elif kind in TOOL_TYPES:
            self._tools = run_fold.tools_after(self.open_tools, event)
        facts = event.facts
        if facts.client_id is not None and facts.client_seq is not None:
            self._count(facts.client_id, facts.client_seq, facts.client_dropped)

    def take(self, row: RunRow) -> None:
        """The row after an event that was folded by itself."""
        self.row, self.seq, self.hash = row, row.last_seq, row.last_hash

    def settled(self) -> RunRow:
        """The row, with all that has happened. Who calls this has taken note of `counts`."""
        last = self._last_plain
        if last is None:
            return self.row
        changes: dict[str, Any] = {}
        if self._tools is not None:
            changes["open_tools"] = self._tools
        self._close_numbers()
        if self._ledgers is not None:
            changes["clients"] = self._ledgers
        if self._uncounted:
            changes["uncounted_clients"] = True
        self.row = run_fold.fold_plain(self.row, last, deltas=self._deltas, **changes)
        self.counts.clear()
        self._deltas = self._uncounted = False
        self._last_plain = self._tools = self._ledgers = None
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
            self._ledgers, self._first = ledgers, None
        return ledgers
