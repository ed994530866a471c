"""Prices of an organisation's own, read back."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model.outcome import Page
from towerlog.model.price import GetPrice, ListPrices, PriceView
from towerlog.model.principal import Principal


async def answer_prices(source: QueryContext, principal: Principal, command: ListPrices | GetPrice) -> Page | PriceView:
    """One price, or a page of them. Raises NotFound."""
    match command:
        case GetPrice(price_id):
            row = await source.store.price(principal.org, price_id)
            if row is None:
                raise NotFound("price")
            return PriceView(row)
        case ListPrices(limit, before):
            page, more = page_of(await source.store.prices(principal.org, limit + 1, before), limit)
            return Page([PriceView(row) for row in page], str(page[-1].number) if more else None)
        case _:
            assert_never(command)
