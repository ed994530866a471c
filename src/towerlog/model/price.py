"""Prices of models: what a call costs by its tokens, from a list or by an organisation's own word.

Prices are integers of femto-dollars (10⁻¹⁵) a token, so that a call is rounded once, at its end, to nano-dollars. A
dollar for a million tokens is 10⁹ of them.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from towerlog.model.computed_costs import Repriced
from towerlog.model.usage import MAX_EVENT_NANOS, Usage

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


class PriceCard(msgspec.Struct, frozen=True, gc=False):
    """The prices of one model at one time, and whose they are."""

    rates: Rates
    version: str
    tiers: tuple[tuple[int, Rates], ...] = ()
    """(tokens, rates), ascending: the rates of a call whose whole input has more tokens than that."""

    def cost_nanos(self, usage: Usage, *, is_call: bool = True) -> int | None:
        """What these tokens cost, in nano-dollars; None where it cannot be told from them and these prices.

        `is_call` False: what several calls have used together, of which none need have reached a tier.
        """
        fresh, cached, written = usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens
        visible, thought, total = usage.output_tokens, usage.reasoning_tokens, usage.total_tokens
        # Of output alone the input is unknown.
        if fresh is None and cached is None and written is None:
            return None
        inputs = (fresh or 0) + (cached or 0) + (written or 0)
        # And of what a bare total says beyond the buckets, what those tokens were.
        if total is not None and total > inputs + (visible or 0) + (thought or 0):
            return None
        rates, femtos = self.rates, 0
        if is_call:
            for above, of_tier in self.tiers:
                if inputs > above:
                    rates = of_tier
            femtos = rates.request
        for tokens, rate in (
            (fresh, rates.input),
            (cached, rates.cached_input),
            (written, rates.cache_write),
            (visible, rates.output),
            (thought, rates.reasoning),
        ):
            if tokens:
                if rate is None:
                    return None
                femtos += tokens * rate
        nanos = _rounded(femtos)
        return None if nanos > MAX_EVENT_NANOS else nanos


class CardSince(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The prices of a model from a time on."""

    since: int
    """Wall ms."""
    card: PriceCard | None
    """None: nobody has any."""


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
    return Rates(
        input=rates.input,
        cached_input=rates.input if rates.cached_input is None else rates.cached_input,
        cache_write=rates.input if rates.cache_write is None else rates.cache_write,
        output=rates.output,
        reasoning=rates.output if rates.reasoning is None else rates.reasoning,
        request=rates.request,
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


PriceOutcome = PriceView | RepricedPage


class GetPrice(msgspec.Struct, frozen=True, gc=False):
    """One price."""

    price_id: str
