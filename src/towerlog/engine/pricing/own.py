"""An organisation's own prices: which of them a call is billed by."""

from __future__ import annotations

from collections.abc import Callable

from towerlog.engine.pricing.memo import Memo
from towerlog.model.name_pattern import NamePattern, is_pattern
from towerlog.model.price import PriceCard, PriceRow

MAX_KNOWN_BYTES_OF_OWN = 256 * 1024
"""Of an organisation: which of its prices are of a (provider, model) that it has named."""
NAME_BYTES = 256
PRICE_BYTES = 64
"""What a name, and a price that fits it, takes of them besides its text, about."""
MAX_ORGS_WITH_PRICES = 256
"""Organisations whose prices are kept ready to be looked up."""

Cards = tuple[tuple[int, PriceCard], ...]
"""(since, card), the one that counts first before the others."""


class OwnPrices:
    """The prices of one organisation, as they are until one is made or deleted."""

    def __init__(self, rows: tuple[PriceRow, ...], noted: Callable[[], None] = lambda: None) -> None:
        """`noted` is called with each name that has to be held against them."""
        self.rows = rows
        self._named: dict[str, list[PriceRow]] = {}
        """Those of one model, by its name; a name is found without looking at the others."""
        self._fitting: dict[str, tuple[NamePattern, list[PriceRow]]] = {}
        """Those of a pattern, by its text: each is compared once, however many prices it has."""
        for row in rows:
            if not is_pattern(row.model):
                self._named.setdefault(row.model, []).append(row)
            elif row.model in self._fitting:
                self._fitting[row.model][1].append(row)
            else:
                self._fitting[row.model] = (NamePattern(row.model), [row])
        self._card_of: dict[str, PriceCard] = {}
        """By the price's id, of those that some name has fitted."""
        self._cards: Memo[tuple[str | None, str], Cards] = Memo(
            MAX_KNOWN_BYTES_OF_OWN, self._matching, _bytes_of, noted
        )

    def card(self, provider: str | None, model: str, at_ms: int) -> PriceCard | None:
        """The price of a model at a time (wall ms): the one that holds since the latest time before that."""
        for since, card in self._cards[provider, model]:
            if since <= at_ms:
                return card
        return None

    def _matching(self, asked: tuple[str | None, str]) -> Cards:
        provider, model = (None if one is None else one.lower() for one in asked)
        model = model or ""
        found = list(self._named.get(model, ()))
        for pattern, rows in self._fitting.values():
            if pattern.fits(model):
                found += rows
        found = [row for row in found if row.provider is None or row.provider == provider]
        found.sort(key=_rank, reverse=True)
        return tuple((row.since, self._made(row)) for row in found)

    def _made(self, row: PriceRow) -> PriceCard:
        card = self._card_of.get(row.price_id)
        if card is None:
            card = self._card_of[row.price_id] = row.card()
        return card


def _bytes_of(asked: tuple[str | None, str], cards: Cards) -> int:
    provider, model = asked
    return NAME_BYTES + len(provider or "") + len(model) + PRICE_BYTES * len(cards)


def _rank(row: PriceRow) -> tuple[int, bool, bool, int]:
    """Of those that hold since the same time: one that names the model, then one that names the provider, then the one
    that was made last."""
    return (row.since, not is_pattern(row.model), row.provider is not None, row.number)


class KnownPrices:
    """Those of all organisations that have some."""

    def __init__(self) -> None:
        self._known: dict[int, OwnPrices] = {}
        self.looked_up = 0
        """Names that had to be held against prices, since the start: of many prices each takes a while."""

    def of(self, rows: tuple[PriceRow, ...]) -> OwnPrices:
        """The prices of these rows, which are all of one organisation."""
        org = rows[0].org
        known = self._known.get(org)
        if known is None or known.rows is not rows:
            if known is None and len(self._known) >= MAX_ORGS_WITH_PRICES:
                del self._known[next(iter(self._known))]
            known = self._known[org] = OwnPrices(rows, self._note)
        return known

    def _note(self) -> None:
        self.looked_up += 1
