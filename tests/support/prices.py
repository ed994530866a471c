"""A list of prices whose figures are easy to work out: for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping

from towerlog.engine.pricing.book import AtHand
from towerlog.model.price import FEMTOS_PER_NANO, PriceCard, Rates

VERSION = "test 1"


def card(*nanos_a_token: int, version: str = VERSION) -> PriceCard:
    """Nano-dollars a token of input, cached input, cache write, output, reasoning; the last one stands for the rest."""
    given = (*nanos_a_token, *nanos_a_token[-1:] * 5)[:5]
    return PriceCard(Rates(*(nanos * FEMTOS_PER_NANO for nanos in given)), version)


class FixedPrices(AtHand):
    """The same at any time, whoever serves it."""

    looked_up = 0

    def __init__(self, cards: Mapping[str, PriceCard]) -> None:
        self.cards = dict(cards)

    def card(self, _provider: str | None, model: str, _at_ms: int, _tier: str | None = None) -> PriceCard | None:
        """The card of a model; None for one that it does not have."""
        return self.cards.get(model)
