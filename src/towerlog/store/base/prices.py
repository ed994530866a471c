"""Prices of an organisation's own, as they are read. They are written by units alone.

Laws:

* A price is state, no projection: a rebuild leaves it alone. It never changes.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.model.price import PriceRow
from towerlog.store.values import Found


class PriceStore(Protocol):
    """Reads of prices."""

    async def price(self, org: int, price_id: str) -> PriceRow | None:
        """One price."""
        ...

    async def prices(self, org: int, limit: int, before: int | None) -> Found[PriceRow]:
        """Prices below a number, newest first."""
        ...
