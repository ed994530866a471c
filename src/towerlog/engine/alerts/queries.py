"""Questions about rules, alerts and deliveries."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model.alert import AlertNow, GetAlert, GetRule, ListAlerts, ListRules, RuleNow
from towerlog.model.delivery import DeliveryNow, GetDelivery, ListDeliveries
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal


async def answer_rules(source: QueryContext, principal: Principal, command: ListRules | GetRule) -> Page | RuleNow:
    """One rule, or a page of them, each with how many of its alerts last. Raises NotFound."""
    store, org = source.store, principal.org
    is_open = await store.alerts_open(org)
    match command:
        case GetRule(rule_id):
            rule = await store.alert_rule(org, rule_id)
            if rule is None:
                raise NotFound("rule")
            return RuleNow(rule, open_alerts=is_open.get(rule_id, 0))
        case ListRules(limit, before):
            page, more = page_of(await store.alert_rules(org, limit + 1, before), limit)
            views = [RuleNow(rule, open_alerts=is_open.get(rule.rule_id, 0)) for rule in page]
            return Page(views, str(page[-1].number) if more else None)
        case _:
            assert_never(command)


async def answer_alerts(source: QueryContext, principal: Principal, command: ListAlerts | GetAlert) -> Page | AlertNow:
    """One alert, or a page of them. Raises NotFound."""
    store, org = source.store, principal.org
    match command:
        case GetAlert(alert_id):
            alert = await store.alert(org, alert_id)
            if alert is None:
                raise NotFound("alert")
            return AlertNow(alert)
        case ListAlerts(limit, before, rule_id, state):
            page, more = page_of(await store.alerts(org, limit + 1, before, rule_id, state), limit)
            return Page([AlertNow(alert) for alert in page], str(page[-1].number) if more else None)
        case _:
            assert_never(command)


async def answer_deliveries(
    source: QueryContext, principal: Principal, command: ListDeliveries | GetDelivery
) -> Page | DeliveryNow:
    """One delivery, or a page of them. Raises NotFound."""
    store, org = source.store, principal.org
    match command:
        case GetDelivery(delivery_id):
            row = await store.delivery(org, delivery_id)
            if row is None:
                raise NotFound("delivery")
            return DeliveryNow(row)
        case ListDeliveries(limit, before, rule_id, alert_id, state):
            found = await store.deliveries(org, limit + 1, before, rule_id, alert_id, state)
            page, more = page_of(found, limit)
            return Page([DeliveryNow(row) for row in page], str(page[-1].number) if more else None)
        case _:
            assert_never(command)
