"""The organisations' own prices while a group is placed: as they are stored, and as this group has left them."""

from __future__ import annotations

from towerlog.engine.load.cache import OrgRows
from towerlog.engine.load.rows import Known
from towerlog.model.price import PriceRow
from towerlog.projections.scopes.prices import PriceSet
from towerlog.store.values import Changes, Kind


class PlacedPrices:
    """Those of one plan."""

    def __init__(self, known: Known, changes: Changes) -> None:
        self._changes = changes
        self._of: OrgRows[PriceSet] = OrgRows(known, Kind.PRICES, known.cache.prices)

    def all_of(self, org: int) -> tuple[PriceRow, ...]:
        """All of an organisation; most have none. Raises NotLoaded."""
        return self._of.of(org).all()

    def put(self, org: int, price_id: str, row: PriceRow | None) -> None:
        """Adds a price at the end; None: it is gone."""
        self._of.put(org, price_id, row)
        self._changes.prices[org, price_id] = row

    def keep(self) -> None:
        """The changes are on disk: the cache may know them."""
        self._of.keep()
