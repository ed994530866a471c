"""The prices of an organisation's own. Pure."""

from __future__ import annotations

from towerlog.model.price import PriceRow
from towerlog.projections.scopes.row_sets import RowSet


class PriceSet(RowSet[PriceRow]):
    """All of them."""

    ROW_BYTES = 1024

    def id_of(self, row: PriceRow) -> str:
        return row.price_id

    def bytes_of(self, row: PriceRow) -> int:
        return len(row.model) + len(row.provider or "")
