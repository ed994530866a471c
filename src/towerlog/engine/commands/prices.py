"""Making and deleting prices of an organisation's own. They hold for what is placed from then on."""

from __future__ import annotations

from towerlog.engine.commands.quotas import check_quota
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict, NotFound
from towerlog.model.name_pattern import is_pattern
from towerlog.model.price import MAX_PATTERNS, CreatePrice, DeletePrice, PriceRow, PriceView
from towerlog.model.principal import Principal


def needs_of_prices(needs: Needs, principal: Principal, _command: CreatePrice | DeletePrice) -> None:
    """All prices."""
    needs.counters(principal.org)


def create_price(plan: Plan, principal: Principal, command: CreatePrice) -> PriceView:
    """A price. Raises Conflict for one too many, and past MAX_PATTERNS."""
    known = plan.prices.all_of(principal.org)
    check_quota(plan.reactions.quotas.prices, known, principal, "prices", "max_prices")
    if is_pattern(command.model):
        patterns = {one.model for one in known if is_pattern(one.model)}
        if len(patterns) >= MAX_PATTERNS and command.model not in patterns:
            raise Conflict(f"The organisation's prices have {MAX_PATTERNS} patterns already: name the models instead.")
    row = PriceRow(
        org=principal.org,
        price_id=plan.ids.uuid(),
        number=1 + max((one.number for one in known), default=0),
        model=command.model,
        rates=command.rates,
        created_at=plan.now_ms,
        provider=command.provider,
        since=command.since,
        created_by=principal.user_id,
        key_id=principal.key_id,
    )
    plan.prices.put(principal.org, row.price_id, row)
    return PriceView(row, created=True)


def delete_price(plan: Plan, principal: Principal, command: DeletePrice) -> PriceView:
    """The price that was there. Raises NotFound."""
    for row in plan.prices.all_of(principal.org):
        if row.price_id == command.price_id:
            plan.prices.put(principal.org, row.price_id, None)
            return PriceView(row)
    raise NotFound("price")
