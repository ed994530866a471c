"""Questions about rules, alerts and deliveries."""

from __future__ import annotations

import asyncio
from typing import assert_never

from towerlog.engine.alerts.ways_out import warnings_of
from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model.alert import AlertNow, AlertRule, GetAlert, GetRule, ListAlerts, ListRules, RuleNow
from towerlog.model.delivery import DeliveryNow, GetDelivery, ListDeliveries
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal

RULES_AT_ONCE = 2
"""Rules whose channels are looked at in one turn of the event loop; each has at most ten."""


async def answer_rules(source: QueryContext, principal: Principal, command: ListRules | GetRule) -> Page | RuleNow:
    """One rule, or a page of them, each with how many of its alerts last. Raises NotFound."""
    store, org = source.store, principal.org
    is_open = await store.alerts_open(org)
    match command:
        case GetRule(rule_id):
            rule = await store.alert_rule(org, rule_id)
            if rule is None:
                raise NotFound("rule")
            return _view(source, rule, is_open)
        case ListRules(limit, before):
            page, more = page_of(await store.alert_rules(org, limit + 1, before), limit)
            return Page(await _views(source, page, is_open), str(page[-1].number) if more else None)
        case _:
            assert_never(command)


async def _views(source: QueryContext, rules: list[AlertRule], is_open: dict[str, int]) -> list[RuleNow]:
    """In turns of the event loop: each channel's URL is read, and a page has up to 2,000 channels."""
    views = []
    for number, rule in enumerate(rules, 1):
        views.append(_view(source, rule, is_open))
        if not number % RULES_AT_ONCE:
            await asyncio.sleep(0)
    return views


def _view(source: QueryContext, rule: AlertRule, is_open: dict[str, int]) -> RuleNow:
    open_alerts = is_open.get(rule.rule_id, 0)
    return RuleNow(rule, open_alerts=open_alerts, warnings=warnings_of(source.ways_out, rule))


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
