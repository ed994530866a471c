"""The ledgers of a run's clients: what an event that its client has numbered changes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event
from towerlog.model.ledger import MAX_CLIENTS, Ledger, put
from towerlog.model.run import RunRow

_replace = msgspec.structs.replace


def under(row: RunRow, reporter_key: str) -> dict[str, Any]:
    """What a key that reports the run from here on changes of its ledgers: those of the one before it are dropped."""
    if row.reporter_key in (None, reporter_key) or not (row.clients or row.uncounted_clients):
        return {}
    kept = {client_id: ledger for client_id, ledger in row.clients.items() if ledger.key is not None}
    return {"clients": kept, "uncounted_clients": False}


def with_number(row: RunRow, event: Event, ledgers: dict[str, Ledger]) -> dict[str, Any]:
    """What an event's number changes: the ledger of its client. Late events count like others: they have arrived."""
    facts, client_id = event.facts, event.facts.client_id
    if client_id is None or facts.client_seq is None:
        return {}
    ledgers = dict(ledgers)
    is_counted = count(ledgers, client_id, facts.client_key, facts.client_seq, facts.client_seq)
    if facts.client_dropped is not None:
        is_counted = drop(ledgers, client_id, facts.client_dropped) and is_counted
    if is_counted or row.uncounted_clients:
        return {"clients": ledgers}
    return {"clients": ledgers, "uncounted_clients": True}


def count(ledgers: dict[str, Ledger], client_id: str, key: str | None, first: int, last: int) -> bool:
    """Counts all numbers of a client from one to another, in their order. False where there was no room for some of
    them: nothing is told of those. `key`: `Facts.client_key`."""
    ledger = ledger_of(ledgers, client_id, key)
    if ledger is None:
        return False
    if first < last and put(ledgers, client_id, ledger.with_all_received(first, last)):
        return True
    has_room = True
    for seq in range(first, last + 1):
        ledger = ledger_of(ledgers, client_id, key)
        has_room = ledger is not None and put(ledgers, client_id, ledger.with_received(seq)) and has_room
    return has_room


def drop(ledgers: dict[str, Ledger], client_id: str, dropped: tuple[int, int]) -> bool:
    """Counts what a client has dropped, if its numbers are counted. False where there was no room for that."""
    ledger = ledgers.get(client_id)
    return ledger is None or put(ledgers, client_id, ledger.with_dropped(*dropped))


def ledger_of(ledgers: dict[str, Ledger], client_id: str, key: str | None) -> Ledger | None:
    """A client's ledger, a new one where there is room for it; None where there is not. `key`: `Facts.client_key`."""
    ledger = ledgers.get(client_id)
    if ledger is None:
        return Ledger(key=key) if len(ledgers) < MAX_CLIENTS else None
    return ledger if key is None else _replace(ledger, key=key)
