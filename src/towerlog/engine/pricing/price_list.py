"""The list of prices that comes with the package `genai-prices`: which model is meant, and what it cost at a time.

The only door to that package, and no way out: nothing is fetched. Its own look-ups are not used, since they remember
every name they were asked for without a bound.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from math import inf
from typing import Any, NamedTuple

import msgspec
from genai_prices.data import providers
from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseOr,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
)

from towerlog.engine.pricing.book import AtHand
from towerlog.engine.pricing.memo import Memo
from towerlog.engine.pricing.spellings import dated, is_front, is_version, spelled, split
from towerlog.model.price import ListedPrice, PriceCard, Rates, femtos_of, filled

MAX_KNOWN_BYTES = 4 * 1024 * 1024
"""Of what the list has of (provider, model), as it is remembered: to look that up takes up to 2 ms."""
MODEL_BYTES = 512
CARD_BYTES = 512
"""What a model, and each of its cards, takes of them besides its name, about."""
_NAMES = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok",
    "cached_image": "cache_image_read_mtok",
    "output_image": "output_image_mtok",
    "input_video": "input_video_mtok",
    "cached_video": "cache_video_read_mtok",
    "output_video": "output_video_mtok",
}
"""Our rates → the list's prices of a million tokens. Requests it prices by the thousand."""
_TERMS = ("service_tier", "processing", "speed")
"""What the list calls the terms of a call."""
_EMBEDDINGS = {"openai": ("text-embedding-3-", "text-embedding-ada-"), "cohere": ("embed-v",)}
"""How models begin that the list has, and of which it does not say whose such names are."""
_SPEECH = "tts"
"""In the names of models that speak."""
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
        self._models: Memo[tuple[str | None, str, str | None], _Listed | None] = Memo(
            MAX_KNOWN_BYTES, self._listed, _bytes_of, self._note
        )
        self.looked_up = 0
        models = ((provider.id, model) for provider in _PROVIDERS for model in provider.models)
        self._by_name = sorted((((of, one.id), one.name or one.id, one) for of, one in models), key=_key)

    def card(self, provider: str | None, model: str, at_ms: int, tier: str | None = None) -> PriceCard | None:
        """The prices of a model at a time (wall ms), on terms; None where the list does not have them."""
        found = self._models[provider, model, tier]
        if found is None:
            return None
        if found.by_hour is not None:
            return self._card(found.by_hour, at_ms, tier)
        for since, card in found.cards:
            if at_ms >= since:
                return card
        return None

    def found(self, words: Sequence[str], after: tuple[str, str] | None, limit: int, at_ms: int) -> list[ListedPrice]:
        """As of any list. Models without a price for tokens are left out."""
        found: list[ListedPrice] = []
        for key, name, model in self._by_name[0 if after is None else bisect_right(self._by_name, after, key=_key) :]:
            if len(found) == limit:
                break
            text = f"{key[0]} {key[1]} {name}".lower()
            card = self._card(model, at_ms, None) if all(word in text for word in words) else None
            if card is not None:
                found.append(ListedPrice(*key, name, card))
        return found

    def _note(self) -> None:
        self.looked_up += 1

    def _listed(self, asked: tuple[str | None, str, str | None]) -> _Listed | None:
        provider, named, tier = asked
        found = _find(provider, named)
        if found is None or (tier is not None and not found.is_own):
            return None
        model = found.model
        variants = [] if tier is None else _variants(model, tier)
        conditions = [] if isinstance(model.prices, ModelPrice) else [one.constraint for one in model.prices]
        limits = [one for one in (*conditions, *(one.constraint for one in variants)) if one is not None]
        dates = {limit.start_date for limit in limits if isinstance(limit, StartDateConstraint)}
        if any(not isinstance(limit, StartDateConstraint) for limit in limits):
            return _Listed((), model)
        starts = [-inf, *(datetime.combine(day, time(), UTC).timestamp() * 1000 for day in sorted(dates))]
        cards = [(at, self._card(model, max(at, 0), tier)) for at in starts]
        return _Listed(tuple(reversed(cards)), None)

    def _card(self, model: ModelInfo, at_ms: float, tier: str | None) -> PriceCard | None:
        at = _moment(at_ms)
        if tier is None:
            price = model.get_prices(at)
        elif any(one.constraint is None or one.constraint.active(at) for one in _variants(model, tier)):
            price = model.get_prices(at, _terms(tier))
        else:
            return None
        return card_of(price, self.version, is_speech=_SPEECH in model.id.split("-"))


def _key(entry: tuple[tuple[str, str], str, ModelInfo]) -> tuple[str, str]:
    return entry[0]


def _terms(tier: str) -> dict[str, str]:
    """Terms as the list may have them."""
    return dict.fromkeys(_TERMS, tier)


def _variants(model: ModelInfo, tier: str) -> list[PriceVariant]:
    """The prices of a model on terms."""
    asked = _terms(tier).items()
    return [one for one in model.price_variants or () if one.when.items() <= asked]


def _bytes_of(asked: tuple[str | None, str, str | None], found: _Listed | None) -> int:
    provider, model, tier = asked
    cards = 0 if found is None else len(found.cards)
    return MODEL_BYTES + len(provider or "") + len(model) + len(tier or "") + CARD_BYTES * cards


def _moment(at_ms: float) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


class _Found(NamedTuple):
    """A model of the list."""

    model: ModelInfo
    is_own: bool
    """It is of the provider who was asked for, and not of the one whose models that sells too."""


def _find(named: str | None, spelled_model: str) -> _Found | None:
    """The model that is meant. Rather none than one that only looks like it: a local model is not its namesake."""
    named, model = spelled(named, spelled_model)
    if named is not None:
        provider = find_provider_by_id(_PROVIDERS, named)
        if provider is None:
            return None
        front, behind = split(model)
        return _model(provider, model) or (_model(provider, behind) if front == provider.id else None)
    guessed = next((one for one in _PROVIDERS if _makes(one, model)), None)
    front, behind = split(model)
    if front:
        provider = next((one for one in _PROVIDERS if one.id == front), None)
        if provider is not None:
            return _model(provider, behind)
        # A name with a prefix that is no provider's is known only where the list has it letter by letter.
        listed = () if guessed is None else guessed.models
        return next((_Found(one, True) for one in listed if one.id.lower() == model), None)
    return None if guessed is None else _model(guessed, model)


def _makes(provider: Provider, model: str) -> bool:
    """Whether a model that is named alone is one of this provider's."""
    is_match = provider.model_match is not None and provider.model_match.is_match(model)
    return is_match or model.startswith(_EMBEDDINGS.get(provider.id, ()))


def _model(provider: Provider, model: str) -> _Found | None:
    sold = [one for name in provider.fallback_model_providers or () for one in _PROVIDERS if one.id == name]
    for name in dict.fromkeys((model, dated(model))):
        for seller in (provider, *sold):
            found = next((one for one in seller.models if one.id.lower() == name or _means(one.match, name)), None)
            if found is not None:
                return _Found(found, seller is provider)
    return None


def _means(clause: Any, name: str) -> bool:
    """Whether a name is of the model that has this clause. Most clauses say how such names begin: what stands behind
    that must not be more than a version."""
    match clause:
        case ClauseOr():
            return any(_means(one, name) for one in clause.or_)
        case ClauseAnd():
            return all(_means(one, name) for one in clause.and_)
        case ClauseStartsWith(starts_with=known):
            return name.startswith(known.lower()) and is_version(known.lower(), name[len(known) :])
        case ClauseEndsWith(ends_with=known):
            return name.endswith(known.lower()) and (known[:1] in "/." or is_front(name[: -len(known)]))
        case ClauseContains(contains=known):
            before, found, behind = name.partition(known.lower())
            return bool(found) and is_front(before) and is_version(found, behind)
        case _:
            return bool(clause.is_match(name))


def card_of(price: ModelPrice, version_of_list: str, *, is_speech: bool = False) -> PriceCard | None:
    """The prices of the list as ours; None where it has none for tokens.

    A bucket without a price of its own is billed as the one that it is a part of. `is_speech`: of a model that speaks.
    """
    if price.input_mtok is None and price.output_mtok is None:
        return None
    told = {ours: getattr(price, theirs) for ours, theirs in _NAMES.items()}
    if is_speech:
        # All that it puts out is audio, and that is what its price of output is.
        told["output_audio"] = told["output"]
    starts = sorted({tier.start for one in told.values() if isinstance(one, TieredPrices) for tier in one.tiers})
    of_request = 0 if price.requests_kcount is None else femtos_of(_at(price.requests_kcount, None) * 1000)
    tiers = tuple((start, _rates(told, start, of_request)) for start in starts)
    return PriceCard(_rates(told, None, of_request), version_of_list, tiers)


def _rates(told: Mapping[str, Decimal | TieredPrices | None], start: int | None, of_request: int) -> Rates:
    given = {name: femtos_of(_at(one, start)) for name, one in told.items() if one is not None}
    return filled(Rates(**given, request=of_request))


def _at(told: Decimal | TieredPrices, start: int | None) -> Decimal:
    """A price above so many tokens of input; None for the least."""
    if not isinstance(told, TieredPrices):
        return told
    reached = [tier.price for tier in told.tiers if start is not None and tier.start <= start]
    return reached[-1] if reached else told.base
