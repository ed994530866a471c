"""Prices of models: what a call costs by its tokens, from a list or by an organisation's own word.

Prices are integers of femto-dollars (10⁻¹⁵) a token, so that a call is rounded once, at its end, to nano-dollars. A
dollar for a million tokens is 10⁹ of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from towerlog.model.computed_costs import Repriced
from towerlog.model.usage import MAX_EVENT_NANOS, Usage
from towerlog.model.usage_parts import Modality, UsageParts

MAX_PATTERNS = 100
"""Different patterns of models among an organisation's prices: each is compared with every model that is new."""
MAX_PRICES = 2000
"""Of an organisation: all of them are held in memory while it reports."""

FEMTOS_PER_NANO = 1_000_000
FEMTOS_OF_DOLLAR_A_MILLION = 10**9
"""Of a token at a price of one dollar for a million tokens."""


class Rates(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a token of each bucket costs, in femto-dollars; None: there is no price for it."""

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    request: int = 0
    """Of a call, beside its tokens."""
    cache_write_1h: int | None = None
    """Of what is written to a cache for an hour."""
    input_audio: int | None = None
    cached_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    """Of images; None: that of text."""
    cached_image: int | None = None
    output_image: int | None = None
    input_video: int | None = None
    """Of video; None: that of text."""
    cached_video: int | None = None
    output_video: int | None = None

    def of_buckets(self) -> tuple[int | None, ...]:
        """Of each bucket, in the order of a call's."""
        return self.input, self.cached_input, self.cache_write, self.output, self.reasoning


class PriceCard(msgspec.Struct, frozen=True, gc=False):
    """The prices of one model at one time, and whose they are."""

    rates: Rates
    version: str
    tiers: tuple[tuple[int, Rates], ...] = ()
    """(tokens, rates), ascending: the rates of a call whose whole input has more tokens than that."""

    def cost_nanos(self, usage: Usage, parts: UsageParts | None = None, *, is_call: bool = True) -> int | None:
        """What these tokens cost, in nano-dollars; None where it cannot be told from them and these prices.

        `parts`: those of the tokens that may have other prices. `is_call` False: what several calls have used together,
        of which none need have reached a tier.
        """
        told = (
            usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens,
            usage.output_tokens, usage.reasoning_tokens,
        )  # fmt: skip
        total = usage.total_tokens
        # Of output alone the input is unknown.
        if told[:3] == (None, None, None):
            return None
        inputs = (told[0] or 0) + (told[1] or 0) + (told[2] or 0)
        # And of what a bare total says beyond the buckets, what those tokens were.
        if total is not None and total > inputs + (told[3] or 0) + (told[4] or 0):
            return None
        rates, femtos = self.rates, 0
        if is_call:
            for above, of_tier in self.tiers:
                if inputs > above:
                    rates = of_tier
            femtos = rates.request
        pieces = zip(told, rates.of_buckets(), strict=True) if parts is None else _pieces(told, parts, rates)
        for tokens, rate in pieces:
            if tokens:
                if rate is None:
                    return None
                femtos += tokens * rate
        nanos = _rounded(femtos)
        return None if nanos > MAX_EVENT_NANOS else nanos


_Piece = tuple[int | None, int | None]
"""Tokens, and what one of them costs."""
_NOBODY_KNOWS: tuple[_Piece, ...] = ((1, None),)


def _pieces(told: tuple[int | None, ...], parts: UsageParts, rates: Rates) -> Sequence[_Piece]:
    """The tokens of the buckets by price, those of the parts apart from the rest."""
    fresh, cached, written, visible, thought = (tokens or 0 for tokens in told)
    hour = parts.cache_write_1h_tokens or 0
    pieces: list[_Piece] = [(hour, rates.cache_write_1h)]
    for told_of, rate, of_cached, of_output, is_text in (
        (parts.audio(), rates.input_audio, rates.cached_audio, rates.output_audio, False),
        (parts.image(), rates.input_image, rates.cached_image, rates.output_image, rates.input_image is None),
        (parts.video(), rates.input_video, rates.cached_video, rates.output_video, rates.input_video is None),
    ):
        out = told_of.output or 0
        pieces.append((out, of_output))
        visible -= out
        # Pictures that are read cost what text does, wherever nothing else is said of them.
        if is_text or not (told_of.input or told_of.cached):
            continue
        kept = _of_cache(told_of, fresh, cached, written)
        if kept is None:
            return _NOBODY_KNOWS
        new = max(0, (told_of.input or 0) - kept)
        pieces += [(new, rate), (kept, of_cached)]
        fresh, cached = fresh - new, cached - kept
    left = (fresh, cached, written - hour, visible, thought)
    if parts.is_unclear or min(left) < 0:
        return _NOBODY_KNOWS
    return [*pieces, *zip(left, rates.of_buckets(), strict=True)]


def _of_cache(told: Modality, fresh: int, cached: int, written: int) -> int | None:
    """How many of such tokens came from a cache; None where that is not to be told."""
    whole = told.input or 0
    if told.cached is not None:
        return None if told.input and told.cached > whole else told.cached
    least, most = max(0, whole - fresh), min(whole, cached)
    return least if least == most and not written else None


class CardSince(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The prices of a model from a time on."""

    since: int
    """Wall ms."""
    card: PriceCard | None
    """None: nobody has any."""
    tier: str | None = None
    """For calls on these terms; None: on the standard ones."""
    model: str | None = None
    """Whose they are; None: of the model of the place."""


def _rounded(femtos: int) -> int:
    """Nano-dollars, half to even."""
    nanos, rest = divmod(femtos, FEMTOS_PER_NANO)
    half = FEMTOS_PER_NANO // 2
    return nanos + (rest > half or (rest == half and nanos % 2 == 1))


def femtos_of(dollars_a_million: Decimal) -> int:
    """Femto-dollars a token of a price for a million; digits past the ninth decimal are rounded half-even."""
    return int((dollars_a_million * FEMTOS_OF_DOLLAR_A_MILLION).to_integral_value())


class PriceRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A price of the organisation's own. It never changes: a newer one takes its place."""

    org: int
    price_id: str
    number: int
    """Rises with each creation in the organisation."""
    model: str
    """The model's name in lower case, or a pattern without a fault."""
    rates: Rates
    created_at: int
    """Wall ms."""
    provider: str | None = None
    """In lower case. None: whoever serves the model."""
    since: int = 0
    """Wall ms from which on it holds, by the time at which a call happened; 0: since ever."""
    created_by: str | None = None
    """A user id."""
    key_id: str = ""
    """Of the key that made it."""

    def card(self) -> PriceCard:
        """As prices to count with."""
        return PriceCard(filled(self.rates), f"price {self.price_id}")


def filled(rates: Rates) -> Rates:
    """With the price of what a bucket is a part of, where it has none of its own."""
    return msgspec.structs.replace(
        rates,
        cached_input=rates.input if rates.cached_input is None else rates.cached_input,
        cache_write=rates.input if rates.cache_write is None else rates.cache_write,
        reasoning=rates.output if rates.reasoning is None else rates.reasoning,
    )


# Commands, questions, outcomes


class CreatePrice(msgspec.Struct, frozen=True, gc=False):
    """Make a price of the organisation's own."""

    model: str
    rates: Rates
    provider: str | None = None
    since: int = 0


class DeletePrice(msgspec.Struct, frozen=True, gc=False):
    """Delete a price. What was computed with it stays as it is."""

    price_id: str


class ListPrices(msgspec.Struct, frozen=True, gc=False):
    """Prices, newest first. `before` is the number of the last one seen."""

    limit: int
    before: int | None = None


class FindListedPrices(msgspec.Struct, frozen=True, gc=False):
    """Prices of the list that comes with the server, by provider and model; those that have all these words, in lower
    case, in their provider, model or name. `after`: (provider, model) of the last one seen."""

    limit: int
    words: tuple[str, ...] = ()
    after: tuple[str, str] | None = None


class Reprice(msgspec.Struct, frozen=True, gc=False):
    """Compute anew what was computed of calls in whole hours, in some runs; the next ones are those before the last."""

    since: int
    """Wall ms; the hour of it is the first one."""
    until: int | None = None
    """Wall ms; the hour before it is the last one. None: until now."""
    model: str | None = None
    """In lower case; a name, or a pattern without a fault."""
    dry_run: bool = True
    """Only tell what would change."""
    before: int | None = None
    """Number of the last run that was looked at."""


class CostChange(msgspec.Struct, frozen=True, gc=False):
    """What computing anew changes of one agent's calls, of one model and one hour, in a run."""

    run_id: str
    agent: str
    provider: str | None
    calls: int
    """How many reports it is of."""
    old_nanos: int
    new_nanos: int
    repriced: Repriced
    cards: tuple[CardSince, ...] = ()
    """By which prices."""


class CorrectCosts(msgspec.Struct, frozen=True, gc=False):
    """Write such changes, if nothing was told since of what the run has spent."""

    run_id: str
    usage_seq: int
    """Of the last event that is known of which moved what the run has spent; 0 for none."""
    changes: tuple[CostChange, ...]


class PriceView(msgspec.Struct, frozen=True, gc=False):
    """A price of the organisation's own; `created`: whether this command created it."""

    row: PriceRow
    created: bool = False


class RepricedPage(msgspec.Struct, frozen=True, gc=False):
    """What computing costs anew changes in some runs; `next`: what the next page begins after, None for no more."""

    changes: list[CostChange]
    runs: int
    """How many runs were looked at."""
    next: str | None


class ListedPrice(msgspec.Struct, frozen=True, gc=False):
    """What a model costs now by the list."""

    provider: str
    model: str
    name: str
    """What people call the model."""
    card: PriceCard


PriceRows = list[PriceView] | list[ListedPrice]
PriceOutcome = PriceView | RepricedPage


class GetPrice(msgspec.Struct, frozen=True, gc=False):
    """One price."""

    price_id: str
