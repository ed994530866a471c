"""What SQLite is asked about prices of an organisation's own, and their writing."""

from __future__ import annotations

from collections.abc import Mapping

import apsw

from towerlog.model.price import PriceRow
from towerlog.store.columns import rows, state
from towerlog.store.sqlite import reads
from towerlog.store.values import Found

_MAX_NUMBER = 2**62
_PRICE = "INSERT OR REPLACE INTO price (org, price_id, number, doc) VALUES (?, ?, ?, ?)"
_PRICE_GONE = "DELETE FROM price WHERE org = ? AND price_id = ?"


def write(db: apsw.Connection, prices: Mapping[tuple[int, str], PriceRow | None]) -> None:
    """What a unit has changed of them."""
    for key, row in prices.items():
        db.execute(*((_PRICE_GONE, key) if row is None else (_PRICE, state.price_row(row))))


def prices_of(db: apsw.Connection, org: int) -> tuple[PriceRow, ...]:
    """All of an organisation, oldest first."""
    found = db.execute("SELECT doc FROM price WHERE org = ? ORDER BY number", (org,))
    return tuple(state.decode_price(row[0]) for row in found)


def prices(db: apsw.Connection, org: int, limit: int, before: int | None) -> Found[PriceRow]:
    """Newest first, below a number."""
    sql = "SELECT doc FROM price WHERE org = ? AND number < ? ORDER BY number DESC LIMIT ?"
    found = db.execute(sql, (org, _MAX_NUMBER if before is None else before, limit))
    return rows.up_to_a_page(found, lambda row: state.decode_price(row[0]))


def price(db: apsw.Connection, org: int, price_id: str) -> PriceRow | None:
    """One."""
    doc = reads.one(db, "SELECT doc FROM price WHERE org = ? AND price_id = ?", (org, price_id))
    return None if doc is None else state.decode_price(doc)
