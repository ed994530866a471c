"""Pricing: what a report that tells tokens and no cost is worth, by the prices of the time at which it happened.

What comes of it is written into the event. So a rebuild asks for no price, and a newer list changes no older cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from towerlog.engine.pricing.own_prices import KnownPrices
from towerlog.model.computed_costs import Priced
from towerlog.model.facts import Effects
from towerlog.model.price import ListedPrice, PriceCard, PriceRow
from towerlog.model.run import RunRow
from towerlog.model.usage import NO_USAGE, Usage, UsageReport, subtract
from towerlog.model.usage_parts import UsageParts
from towerlog.projections.computed_costs import model_of_total

UNPRICED = Priced()


class PriceList(Protocol):
    """What knows the prices of models."""

    @property
    def looked_up(self) -> int:
        """Names that it has had to look for, since the start."""
        ...

    async def read(self) -> None:
        """Gets ready to be asked, without a block of the event loop. To be awaited before the first `card`."""

    def card(self, provider: str | None, model: str, at_ms: int, tier: str | None = None) -> PriceCard | None:
        """The prices of a model at a time (wall ms), on terms; None where it does not have them."""

    def found(self, words: Sequence[str], after: tuple[str, str] | None, limit: int, at_ms: int) -> list[ListedPrice]:
        """So many prices as of a time (wall ms), by provider and model, that have all these words, in lower case;
        after a (provider, model). It may take 50 ms: not for the event loop."""
        ...


class AtHand:
    """A part of a list that can be asked from the start."""

    async def read(self) -> None:
        """Nothing is left to do."""


class NoPrices(AtHand):
    """A list of nothing."""

    looked_up = 0

    def card(self, _provider: str | None, _model: str, _at_ms: int, _tier: str | None = None) -> PriceCard | None:
        """Finds no price."""
        return None

    def found(
        self, _words: Sequence[str], _after: tuple[str, str] | None, _limit: int, _at_ms: int
    ) -> list[ListedPrice]:
        """Finds no price."""
        return []


class PriceBook:
    """What is asked for a price: an organisation's own ones first, and then a list."""

    def __init__(self, listed: PriceList) -> None:
        self._listed = listed
        self._own = KnownPrices()

    @property
    def looked_up(self) -> int:
        """Names that were looked for among prices, since the start. Each takes up to some milliseconds, so whoever has
        many to ask for lets others go on in between."""
        return self._own.looked_up + self._listed.looked_up

    async def read(self) -> None:
        """As of the list."""
        await self._listed.read()

    def card(
        self, own: tuple[PriceRow, ...], provider: str | None, model: str, at_ms: int, tier: str | None = None
    ) -> PriceCard | None:
        """The prices of a model at a time (wall ms), on terms; `own`: the organisation's. None where nobody has any.

        An organisation's own price is of the standard terms.
        """
        card = self._own.of(own).card(provider, model, at_ms) if own else None
        if card is None:
            return self._listed.card(provider, model, at_ms, tier)
        return card if tier is None else None


def priced(
    book: PriceBook, own: tuple[PriceRow, ...], row: RunRow, effects: Effects, agent: str, at_ms: int
) -> Priced | None:
    """What a report is worth that happened at this time; None where there is nothing to price: it tells a cost, or no
    token. `row`: its run before it, `own`: the organisation's prices."""
    report, found = effects.report, to_price(row, effects, agent)
    if report is None or found is None:
        return None
    tokens, model = found
    told = report.parts_to_price()
    return worth(book, own, tokens, effects.provider, model, at_ms, told, is_call=report.is_of_one_call())


def worth(
    book: PriceBook,
    own: tuple[PriceRow, ...],
    tokens: Usage,
    provider: str | None,
    model: str | None,
    at_ms: int,
    parts: UsageParts | None = None,
    *,
    is_call: bool = True,
) -> Priced | None:
    """What figures with these parts are worth; None where there is nothing to price."""
    if tokens.cost_nanos is not None or not has_tokens(tokens):
        return None
    tier = None if parts is None else parts.tier
    card = None if model is None else book.card(own, provider, model, at_ms, tier)
    nanos = None if card is None else card.cost_nanos(tokens, parts, is_call=is_call)
    return UNPRICED if card is None or nanos is None else Priced(nanos, card.version)


def to_price(row: RunRow, effects: Effects, agent: str) -> tuple[Usage, str | None] | None:
    """The tokens of a report and their model; None where there is nothing to price. `row`: its run before it."""
    report = effects.report
    if report is None or report.usage.cost_nanos is not None or not has_tokens(report.usage):
        return None
    if report.is_of_one_call():
        return report.usage, effects.model or row.model_of(agent)
    checkpoint = effects.checkpoint
    added = _added_by_total(row, report, agent, None if checkpoint is None else checkpoint.step_index)
    if added is None:
        return None
    return added, model_of_total(row, effects.model, agent, whole_run=report.whole_run)


def _added_by_total(row: RunRow, report: UsageReport, agent: str, step_index: int | None) -> Usage | None:
    """The tokens that a running total adds; None for none, or where a cost was told of what it is of."""
    if row.process_cost is not None or row.run_total.cost_nanos is not None:
        return None
    spending = row.spending()
    after = spending.after(report, agent, step_index)
    if report.whole_run:
        before, now = spending.told(), after.told()
    else:
        known, now = spending.share(agent), after.shares[agent].counted()
        before = NO_USAGE if known is None else known.counted()
    added = now if before == NO_USAGE else subtract(now, before)
    return added if now.cost_nanos is None and has_tokens(added) else None


def has_tokens(usage: Usage) -> bool:
    """Whether there is anything to price."""
    # The two that nearly every report has come first.
    if usage.input_tokens or usage.output_tokens or usage.total_tokens:
        return True
    return bool(usage.cached_input_tokens or usage.cache_write_tokens or usage.reasoning_tokens)
