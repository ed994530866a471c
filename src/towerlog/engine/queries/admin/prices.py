"""Prices of an organisation's own, read back; and those of the list that comes with the server."""

from __future__ import annotations

import asyncio
from typing import assert_never

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model.outcome import Page
from towerlog.model.price import FindListedPrices, GetPrice, ListPrices, PriceView
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


async def answer_listed_prices(source: QueryContext, principal: Principal, command: FindListedPrices) -> Page:
    """A page of the list, as its prices are now."""
    listed = source.price_list
    await listed.read()
    # A price takes a fifth of a millisecond to work out: of a page, that is too long for the event loop.
    asked = (command.words, command.after, command.limit + 1, source.clock.now_ms())
    found = await asyncio.to_thread(listed.found, *asked)
    page = found[: command.limit]
    last = page[-1] if len(found) > command.limit else None
    return Page(page, None if last is None else f"{last.provider}:{last.model}")
