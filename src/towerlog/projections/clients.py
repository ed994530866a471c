"""The ledgers of a run's clients: what an event that its client has numbered changes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event
from towerlog.model.ledger import MAX_CLIENTS, Ledger, within_all
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
    ledger = ledger_of(ledgers, client_id, facts.client_key)
    if ledger is None:
        return {} if row.uncounted_clients else {"uncounted_clients": True}
    ledger = ledger.with_received(facts.client_seq)
    if facts.client_dropped is not None:
        ledger = ledger.with_dropped(*facts.client_dropped)
    ledgers = {**ledgers, client_id: ledger}
    ledgers[client_id] = within_all(ledgers, client_id)
    return {"clients": ledgers}


def ledger_of(ledgers: dict[str, Ledger], client_id: str, key: str | None) -> Ledger | None:
    """A client's ledger, a new one where there is room for it; None where there is not. `key`: `Facts.client_key`."""
    ledger = ledgers.get(client_id)
    if ledger is None:
        return Ledger(key=key) if len(ledgers) < MAX_CLIENTS else None
    return ledger if key is None else _replace(ledger, key=key)
