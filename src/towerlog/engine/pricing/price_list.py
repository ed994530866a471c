"""The list of prices that comes with the package `genai-prices`: which model is meant, and what it cost at a time.

The only door to that package, and no way out: nothing is fetched. Its own look-ups are not used, since they remember
every name they were asked for without a bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from math import inf

import msgspec
from genai_prices.data import providers
from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices

from towerlog.engine.pricing.book import AtHand
from towerlog.engine.pricing.memo import Memo
from towerlog.model.price import PriceCard, Rates, femtos_of, filled

MAX_KNOWN_BYTES = 4 * 1024 * 1024
"""Of what the list has of (provider, model), as it is remembered: to look that up takes up to 2 ms."""
MODEL_BYTES = 512
CARD_BYTES = 256
"""What a model, and each of its cards, takes of them besides its name, about."""
_SEPARATORS = "/:"
"""Between a provider and its model, where a sender gives both in one name."""
_PROVIDERS: list[Provider] = providers
"""As it is used here: the data themselves are not type-checked (pyproject.toml)."""


class _Listed(msgspec.Struct, frozen=True):
    """What the list has of a model."""

    cards: tuple[tuple[float, PriceCard | None], ...]
    """(wall ms from which on it holds, card), descending."""
    by_hour: ModelInfo | None
    """The model itself, where its prices depend on the time of day."""


class ListedPrices(AtHand):
    """Answers of the list."""

    def __init__(self) -> None:
        """Knows nothing yet; what it is asked for it remembers, up to MAX_KNOWN_BYTES."""
        self.version = f"genai-prices {version('genai-prices')}"
        self._models: Memo[tuple[str | None, str], _Listed | None] = Memo(
            MAX_KNOWN_BYTES, self._listed, _bytes_of, self._note
        )
        self.looked_up = 0

    def card(self, provider: str | None, model: str, at_ms: int) -> PriceCard | None:
        """The prices of a model at a time (wall ms); None where the list does not have it."""
        found = self._models[provider, model]
        if found is None:
            return None
        if found.by_hour is not None:
            return card_of(found.by_hour.get_prices(_moment(at_ms)), self.version)
        for since, card in found.cards:
            if at_ms >= since:
                return card
        return None

    def _note(self) -> None:
        self.looked_up += 1

    def _listed(self, asked: tuple[str | None, str]) -> _Listed | None:
        model = _find(*asked)
        if model is None:
            return None
        if isinstance(model.prices, ModelPrice):
            return _Listed(((-inf, card_of(model.prices, self.version)),), None)
        limits = [one.constraint for one in model.prices if one.constraint is not None]
        dates = {limit.start_date for limit in limits if isinstance(limit, StartDateConstraint)}
        if len([limit for limit in limits if isinstance(limit, StartDateConstraint)]) < len(limits):
            return _Listed((), model)
        starts = [-inf, *(datetime.combine(day, time(), UTC).timestamp() * 1000 for day in sorted(dates))]
        cards = [(at, card_of(model.get_prices(_moment(max(at, 0))), self.version)) for at in starts]
        return _Listed(tuple(reversed(cards)), None)


def _bytes_of(asked: tuple[str | None, str], found: _Listed | None) -> int:
    provider, model = asked
    cards = 0 if found is None else len(found.cards)
    return MODEL_BYTES + len(provider or "") + len(model) + CARD_BYTES * cards


def _moment(at_ms: float) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _find(named: str | None, model: str) -> ModelInfo | None:
    """The model that is meant. Rather none than one that only looks like it: a local model is not its namesake."""
    if named is not None:
        provider = find_provider_by_id(_PROVIDERS, named)
        if provider is None:
            return None
        own = _without_prefix(model, provider)
        return _model(provider, model) or (None if own is None else _model(provider, own))
    guessed = next((one for one in _PROVIDERS if one.model_match is not None and one.model_match.is_match(model)), None)
    at = min((found for found in map(model.find, _SEPARATORS) if found > 0), default=-1)
    if at > 0:
        provider = next((one for one in _PROVIDERS if one.id == model[:at].lower()), None)
        if provider is not None:
            return _model(provider, model[at + 1 :])
        # A name with a prefix that is no provider's is known only where the list has it letter by letter.
        return None if guessed is None else next((one for one in guessed.models if one.id == model), None)
    return None if guessed is None else _model(guessed, model)


def _without_prefix(model: str, provider: Provider) -> str | None:
    """The model without its provider in front; None where that does not stand there."""
    prefix = model[: len(provider.id) + 1].lower()
    return model[len(prefix) :] if prefix[:-1] == provider.id and prefix[-1:] in _SEPARATORS else None


def _model(provider: Provider, model: str) -> ModelInfo | None:
    return provider.find_model(model, all_providers=_PROVIDERS)


def card_of(price: ModelPrice, version_of_list: str) -> PriceCard | None:
    """The prices of the list as ours; None where it has none for tokens.

    A bucket without a price of its own is billed as the one that it is a part of.
    """
    told = [price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok]
    told += [price.output_reasoning_mtok, price.requests_kcount]
    if told[0] is None and told[3] is None:
        return None
    starts = sorted({tier.start for one in told if isinstance(one, TieredPrices) for tier in one.tiers})
    tiers = tuple((start, _rates(_at(one, start) for one in told)) for start in starts)
    return PriceCard(_rates(_at(one, None) for one in told), version_of_list, tiers)


def _rates(told: Iterable[Decimal | None]) -> Rates:
    prompt, cached, written, output, reasoning, calls = told
    # Requests are priced by the thousand, tokens by the million.
    of_request = None if calls is None else calls * 1000
    given = [
        None if one is None else femtos_of(one) for one in (prompt, cached, written, output, reasoning, of_request)
    ]
    return filled(Rates(given[0], given[1], given[2], given[3], given[4], given[5] or 0))


def _at(told: Decimal | TieredPrices | None, start: int | None) -> Decimal | None:
    """A price above so many tokens of input; None for the least."""
    if not isinstance(told, TieredPrices):
        return told
    reached = [tier.price for tier in told.tiers if start is not None and tier.start <= start]
    return reached[-1] if reached else told.base
