"""An organisation's own prices: which of them a call is billed by."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from operator import attrgetter

from towerlog.engine.pricing.memo import Memo
from towerlog.engine.pricing.spellings import ways_to_say
from towerlog.model.name_pattern import NamePattern, is_pattern
from towerlog.model.price import PriceCard, PriceRow

MAX_KNOWN_BYTES_OF_OWN = 256 * 1024
"""Of an organisation: which of its prices are of a (provider, model) that it has named."""
NAME_BYTES = 256
SERIES_BYTES = 8
"""What a name, and a series of prices that fits it, takes of them besides its text, about."""
MAX_ORGS_WITH_PRICES = 256
"""Organisations whose prices are kept ready to be looked up."""


class _Series:
    """The prices of one name or pattern and one provider (None: of any), which follow each other in time."""

    __slots__ = ("_cards", "_rows", "_since")

    def __init__(self, rows: list[PriceRow]) -> None:
        self._rows = sorted(rows, key=attrgetter("since", "number"))
        self._since = [row.since for row in self._rows]
        self._cards: list[PriceCard | None] = [None] * len(rows)

    def at(self, at_ms: int) -> int:
        """Index of the price valid at `at_ms`; -1 for none."""
        return bisect_right(self._since, at_ms) - 1

    def rank(self, index: int) -> tuple[int, bool, bool, int]:
        """The higher goes first: what holds since later; then what names the model; then what names the provider; then
        what was made last."""
        row = self._rows[index]
        return (row.since, not is_pattern(row.model), row.provider is not None, row.number)

    def card(self, index: int) -> PriceCard:
        """One of them, as calls are billed by it."""
        found = self._cards[index]
        if found is None:
            found = self._cards[index] = self._rows[index].card()
        return found


class OwnPrices:
    """The prices of one organisation, as they are until one is made or deleted."""

    def __init__(self, rows: tuple[PriceRow, ...], noted: Callable[[], None] = lambda: None) -> None:
        """`noted` is called with each name that has to be held against them."""
        self.rows = rows
        series: dict[str, dict[str | None, list[PriceRow]]] = {}
        for row in rows:
            series.setdefault(row.model, {}).setdefault(row.provider, []).append(row)
        self._named: dict[str, dict[str | None, _Series]] = {}
        """Those of one model, by its name and provider; a name is found without looking at the others."""
        self._patterns: list[tuple[NamePattern, dict[str | None, _Series]]] = []
        """Those of a pattern: each is compared once, however many prices it has."""
        for model, of in series.items():
            by_provider = {provider: _Series(some) for provider, some in of.items()}
            if is_pattern(model):
                self._patterns.append((NamePattern(model), by_provider))
            else:
                self._named[model] = by_provider
        self._known: Memo[tuple[str | None, str], tuple[_Series, ...]] = Memo(
            MAX_KNOWN_BYTES_OF_OWN, self._matching, _bytes_of, noted
        )

    def card(self, provider: str | None, model: str, at_ms: int) -> PriceCard | None:
        """The price of a model at a time (wall ms): the one that holds since the latest time before that."""
        holding = [(one, index) for one in self._known[provider, model] if (index := one.at(at_ms)) >= 0]
        if not holding:
            return None
        series, index = max(holding, key=lambda held: held[0].rank(held[1]))
        return series.card(index)

    def _matching(self, asked: tuple[str | None, str]) -> tuple[_Series, ...]:
        provider, model = asked
        found: list[_Series] = []
        for name, providers in ways_to_say(None if provider is None else provider.lower(), model.lower()).items():
            fitting = [self._named.get(name, {})]
            fitting += [of for pattern, of in self._patterns if pattern.fits(name)]
            found += [of[one] for of in fitting for one in providers if one in of]
        return tuple(dict.fromkeys(found))


def _bytes_of(asked: tuple[str | None, str], series: tuple[_Series, ...]) -> int:
    provider, model = asked
    return NAME_BYTES + len(provider or "") + len(model) + SERIES_BYTES * len(series)


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
