"""The questions of `SqliteStore` about budgets and prices."""

from __future__ import annotations

from towerlog.store.sqlite.connections.pools import Ask, HasPools
from towerlog.store.sqlite.money import budgets as money
from towerlog.store.sqlite.money import prices as own_prices


class MoneyAsks(HasPools):
    """A part of the store; see `store/base` for what each method promises."""

    budget = Ask(money.budget)
    budgets = Ask(money.budgets)
    budgets_pausing = Ask(money.budgets_pausing)
    reservations = Ask(money.reservations)
    price = Ask(own_prices.price)
    prices = Ask(own_prices.prices)
