"""What the fold of a run makes of its clients' numbers: counted whatever else the event says, bounded, and no more."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from tests.support.factories import event, facts_of, run_row
from tests.support.tables import table
from towerlog.model.event import Event, EventType
from towerlog.model.ledger import MAX_CLIENTS, MAX_CLIENTS_BYTES, Ledger
from towerlog.model.run import RunRow, Status
from towerlog.projections import runs as run_fold
from towerlog.projections.clients import count

E = EventType


def numbered(row: RunRow, seq: int | None, client: str | None = "c", kind: EventType = E.STEP, **facts: Any) -> Event:
    """The next event of a run, with a client's number."""
    said = facts_of(client_id=client, client_seq=seq, **facts)
    late = row.is_terminal()
    known = {"type": kind, "facts": said, "facts_json": msgspec.json.encode(said), "late": late}
    return event(row.last_position + 1, row.last_seq + 1, **known)


def told(row: RunRow, *numbers: int, client: str = "c", kind: EventType = E.STEP, **facts: Any) -> RunRow:
    """The row after events with these numbers."""
    for number in numbers:
        row = run_fold.fold(row, numbered(row, number, client, kind, **facts), "a")
    return row


@table("status", [Status.RUNNING, Status.QUEUED, Status.COMPLETED, Status.LOST])
@table("kind", [E.STEP, E.RUN_STARTED, E.TOOL_CALL, E.RUN_COMPLETED])
def test_every_event_counts_late_or_not(status: Status, kind: EventType) -> None:
    row = told(run_row(status=status, agent="a"), 2, 1, 5, kind=kind)
    assert row.clients == {"c": Ledger(((1, 2), (5, 5)), highest=5)}


def test_clients_are_counted_apart() -> None:
    row = told(told(run_row(), 1, 2), 1, 3, client="other")
    assert {client: ledger.missing() for client, ledger in row.clients.items()} == {"c": (), "other": ((2, 2),)}


def test_what_was_dropped_is_told_by_an_event_that_counts_itself() -> None:
    row = told(told(run_row(), 1), 5, kind=E.OTHER, name="client.dropped", client_dropped=(2, 4))
    assert row.clients["c"] == Ledger(((1, 1), (5, 5)), ((2, 4),), 5)


def test_events_without_a_number_leave_the_ledger_alone() -> None:
    row = told(run_row(), 1)
    for half in (numbered(row, None), numbered(row, 2, None)):
        assert run_fold.fold(row, half, "a").clients == row.clients


def test_more_clients_than_are_counted_are_noted_and_not_kept() -> None:
    row = run_row()
    for number in range(MAX_CLIENTS):
        row = told(row, 1, client=f"c{number}")
    assert not row.uncounted_clients
    over = told(row, 1, 2, client="one too many")
    assert (over.uncounted_clients, over.clients) == (True, row.clients)
    assert told(over, 2, client="c0").clients["c0"].highest == 2, "those that are known are counted on"


def test_a_row_is_read_back_as_it_was_stored() -> None:
    row = told(told(run_row(), 1, 4, kind=E.OTHER, client_dropped=(2, 2)), 9)
    assert msgspec.json.decode(msgspec.json.encode(row), type=RunRow).clients == row.clients


def filled(spare: int) -> dict[str, Ledger]:
    """Ledgers that leave so many bytes of their room."""
    ledgers: dict[str, Ledger] = {}
    one = Ledger().with_received(1)
    while (left := MAX_CLIENTS_BYTES - spare - len(msgspec.json.encode({"clients": ledgers}))) > 400:
        ledgers[f"{len(ledgers)}".ljust(100, "c")] = one
    ledgers["l"] = one
    left = MAX_CLIENTS_BYTES - spare - len(msgspec.json.encode({"clients": ledgers}))
    del ledgers["l"]
    return ledgers | {"l" * (left + 1): one}


def test_numbers_without_a_gap_are_counted_at_once_as_they_are_one_by_one() -> None:
    """Also where there is no room for some of them: digits grow while they are counted."""
    found = set()
    for spare, known in itertools.product(range(30, 110), (False, True)):
        at_once, singly = filled(spare), filled(spare)
        if known:
            assert count(at_once, "more", None, 1, 2) is count(singly, "more", None, 1, 2)
        counted = count(at_once, "more", None, 8, 105)
        each = [count(singly, "more", None, seq, seq) for seq in range(8, 106)]
        assert (at_once, counted) == (singly, all(each))
        assert len(msgspec.json.encode({"clients": at_once})) <= MAX_CLIENTS_BYTES
        found.add(at_once["more"].highest if "more" in at_once else 0)
    assert found == {0, 2, 9, 99, 105}
