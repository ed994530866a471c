"""One run while a group is placed: its row as last folded, and the plain events that have come since.

A plain event moves its run's place in the log, its clocks, its open tools and its clients' numbers: these are carried
forward here, and folded into the row at once when somebody wants it or the group is settled.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import msgspec

from towerlog.model.event import TIMED_TYPES, Event, EventType
from towerlog.model.facts import NO_FACTS, Facts
from towerlog.model.ledger import Ledger
from towerlog.model.run import OpenTool, RunRow, Status
from towerlog.projections import clients as client_fold
from towerlog.projections import runs as run_fold

# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_MESSAGE_DELTA, _STEP = EventType.MESSAGE_DELTA, EventType.STEP


class RunState(msgspec.Struct, eq=False):
    """A run of this group. Made as `RunState(before, row, row.last_seq, row.last_hash, row.open_tools, known_ids)`."""

    before: RunRow | None
    """The run's row in the store, None for one that begins here."""
    row: RunRow
    seq: int
    hash: bytes
    open_tools: tuple[OpenTool, ...]
    """The run's tool calls without a result."""
    known_ids: Set[int] | None = None
    """Hashes of the ids that its stored events have; None where they are not all known."""
    ids: dict[str, Event] = {}
    """The events of this group that have an id, by it."""
    counts: dict[tuple[str, int], int] = {}
    """(agent, hour) → how many plain events of it `row` does not know of yet."""
    moves: tuple[tuple[int, Status], ...] = ()
    """(seq, status from that event on) of each event of this group that has moved the status, or begun the run."""
    _last_plain: Event | None = None
    _deltas: bool = False
    _ledgers: dict[str, Ledger] | None = None
    _uncounted: bool = False
    _first: tuple[str, int, str | None] | None = None
    """(client, number, `Facts.client_key`) that a row of numbers without a gap began with."""
    _last: int = 0
    _is_busy: bool = False
    """Some of the plain events are of those whose run it is."""

    def may_have(self, event_id: str) -> bool:
        """Whether it may have an event under this id: False where that is known without looking it up."""
        known = self.known_ids
        return event_id in self.ids or (self.before is not None and (known is None or hash(event_id) in known))

    def take_plain(self, event: Event, agent: str, hour: int) -> None:
        """One plain event more, of this hour since the epoch."""
        self._last_plain, self.seq, self.hash = event, event.seq, event.hash
        counted = (agent, hour)
        self.counts[counted] = self.counts.get(counted, 0) + 1
        kind = event.type
        if kind is _MESSAGE_DELTA:
            self._deltas = True
        facts = event.facts
        if not facts.by_other:
            self._is_busy = True
            # What has no facts neither begins nor ends anything, nor does a mere step, and what is not open cannot end.
            ends = self.open_tools if facts.ends is not None else kind is not _STEP
            if kind in TIMED_TYPES and facts is not NO_FACTS and (ends or facts.begins is not None):
                self.open_tools = run_fold.tools_after(self.open_tools, event)
        if facts.client_id is not None and facts.client_seq is not None:
            self._count(facts.client_id, facts.client_seq, facts)

    def key_of_client(self, client_id: str) -> str | None:
        """Id of the API key that numbers under a client id; None for a client whose numbers are not counted yet."""
        first = self._first
        if first is not None and first[0] == client_id and first[2] is not None:
            return first[2]
        ledger = (self.row.clients if self._ledgers is None else self._ledgers).get(client_id)
        if ledger is None and (first is None or first[0] != client_id):
            return None
        return self.row.reporter_key if ledger is None or ledger.key is None else ledger.key

    def take(self, row: RunRow) -> None:
        """The row after an event that was folded by itself."""
        if row.status is not self.row.status or (self.before is None and not self.moves):
            self.moves = (*self.moves, (row.last_seq, row.status))
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
        if self._is_busy:
            changes["idle"] = False
        self.row = run_fold.fold_plain(self.row, last, self.counts, deltas=self._deltas, **changes)
        self.counts = {}
        self._deltas = self._uncounted = self._is_busy = False
        self._last_plain = self._ledgers = None
        return self.row

    # A ledger is a frozen value of ranges: numbers that follow each other are brought into it as one range.

    def _count(self, client_id: str, seq: int, facts: Facts) -> None:
        first, key = self._first, facts.client_key
        if first is not None and first[0] == client_id and seq == self._last + 1 and key is None:
            self._last = seq
        else:
            self._close_numbers()
            self._first, self._last = (client_id, seq, key), seq
        if facts.client_dropped is not None:
            ledgers = self._close_numbers()
            self._note_uncounted(client_fold.drop(ledgers, client_id, facts.client_dropped))

    def _close_numbers(self) -> dict[str, Ledger]:
        """Brings the row of numbers that is under way into its client's ledger."""
        ledgers = dict(self.row.clients) if self._ledgers is None else self._ledgers
        if self._first is not None:
            client_id, seq, key = self._first
            self._note_uncounted(client_fold.count(ledgers, client_id, key, seq, self._last))
            self._ledgers, self._first = ledgers, None
        return ledgers

    def _note_uncounted(self, is_counted: bool) -> None:
        self._uncounted = self._uncounted or not (is_counted or self.row.uncounted_clients)
