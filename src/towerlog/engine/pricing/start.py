"""The list of prices, read when the server has started or when something is to be priced: that takes a fifth of a
second, so it is read beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from towerlog.engine.pricing.book import PriceList
from towerlog.model.price import ListedPrice, PriceCard


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
        """Reads the list, unless that was done. It blocks: not for the event loop."""
        from towerlog.engine.pricing.price_list import ListedPrices

        with self._lock:
            if self._list is None:
                self._list = ListedPrices()

    async def read(self) -> None:
        """Reads the list in a thread, unless that was done."""
        if self._list is None:
            await asyncio.to_thread(self.load)

    def card(self, provider: str | None, model: str, at_ms: int, tier: str | None = None) -> PriceCard | None:
        """As of the list. Raises RuntimeError where it was not read."""
        return self._read().card(provider, model, at_ms, tier)

    def found(self, words: Sequence[str], after: tuple[str, str] | None, limit: int, at_ms: int) -> list[ListedPrice]:
        """As of the list. Raises RuntimeError where it was not read."""
        return self._read().found(words, after, limit, at_ms)

    def _read(self) -> PriceList:
        if self._list is None:
            raise RuntimeError("the list of prices is asked before it was read")
        return self._list
