"""The list of prices, read when it is first asked or when the server has started: that takes a fifth of a second."""

from __future__ import annotations

import threading

from towerlog.engine.pricing.book import PriceList
from towerlog.model.price import PriceCard


class DeferredPrices:
    """A `ListedPrices` that is made later. Of any thread."""

    def __init__(self) -> None:
        """Reads nothing yet."""
        self._lock = threading.Lock()
        self._list: PriceList | None = None

    @property
    def looked_up(self) -> int:
        """As of the list."""
        return 0 if self._list is None else self._list.looked_up

    def load(self) -> None:
        """Reads the list, unless that was done."""
        from towerlog.engine.pricing.listed import ListedPrices

        with self._lock:
            if self._list is None:
                self._list = ListedPrices()

    def card(self, provider: str | None, model: str, at_ms: int) -> PriceCard | None:
        """As of the list. Who asks before it is there waits for it, as for a start that reads it."""
        if self._list is None:
            self.load()
        assert self._list is not None
        return self._list.card(provider, model, at_ms)
