"""What people do with rules and alerts, and with messages that did not arrive."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from towerlog.ambient import Ids
from towerlog.egress.notices.webhooks import MAX_SECRETS, make_secret
from towerlog.engine.alerts.checks import check_channels, check_figures, no_such_run
from towerlog.engine.commands.quotas import check_quota
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict, NotFound
from towerlog.model.alert import (
    ABOUT_NO_RUN,
    FACTS,
    AcknowledgeAlert,
    AlertNow,
    AlertRow,
    AlertRule,
    AlertState,
    ChangeRule,
    CreateRule,
    DeleteRule,
    MuteAlert,
    RuleNow,
)
from towerlog.model.alert_channel import OLD_SECRET_MS, AlertChannel, ChannelSecret, ChannelType
from towerlog.model.delivery import (
    DeliveriesAfter,
    Delivery,
    DeliveryNow,
    Redeliver,
    Redelivered,
    RedeliverFrom,
    sent_anew,
)
from towerlog.model.event import RunById
from towerlog.model.principal import Principal
from towerlog.store.values import Kind

ROWS_AT_ONCE = 50
"""Deliveries, before the event loop may go on with something else."""
_replace = msgspec.structs.replace
T = TypeVar("T")


def needs_of_rule(needs: Needs, principal: Principal, command: CreateRule | ChangeRule | DeleteRule) -> None:
    """All rules, and the run of a tree."""
    needs.counters(principal.org)
    scope = None if isinstance(command, DeleteRule) else command.scope
    if scope is not None and scope.run_id is not None:
        needs.run(principal.org, RunById(scope.run_id))


def create_rule(plan: Plan, principal: Principal, command: CreateRule) -> RuleNow:
    """A rule, which looks at what happens from now on. Raises Conflict for one too many, Invalid for what is wrong."""
    org, known = principal.org, plan.alerts.rules(principal.org).all()
    check_quota(plan.reactions.quotas.rules, known, principal, "alert rules", "max_rules")
    rule = AlertRule(
        org=org,
        rule_id=plan.ids.uuid(),
        number=1 + max((one.number for one in known), default=0),
        name=command.name,
        trigger=command.trigger,
        created_at=plan.now_ms,
        scope=command.scope,
        config=command.config,
        channels=_channels(plan.ids, command.channels, (), plan.now_ms),
        enabled=command.enabled,
        cooldown_ms=command.cooldown_ms,
        renotify_ms=command.renotify_ms,
        act=command.act,
        created_by=principal.user_id,
        key_id=principal.key_id,
        window_state=AlertState.NO_DATA if command.trigger in ABOUT_NO_RUN else None,
    )
    _check(plan, rule)
    plan.alerts.put_rule(rule)
    return RuleNow(rule, created=True, new_secrets=_new_secrets(rule.channels, ()))


def change_rule(plan: Plan, principal: Principal, command: ChangeRule) -> RuleNow:
    """The rule with what was given. Raises NotFound, Invalid."""
    rule = _found(plan.alerts.rule(principal.org, command.rule_id), "rule")
    names = ("name", "scope", "config", "enabled", "cooldown_ms", "renotify_ms", "act")
    given = {name: value for name in names if (value := getattr(command, name)) is not None}
    if command.toggles:
        given["enabled"] = not rule.enabled
    if command.acts_no_more:
        given["act"] = None
    if command.channels is not None:
        given["channels"] = _channels(plan.ids, command.channels, rule.channels, plan.now_ms)
    after = _replace(rule, **given)
    if not after.enabled and after.window_state is not None:
        after = _replace(after, window_state=AlertState.NO_DATA)  # nobody looks: it begins anew when it is switched on
    _check(plan, after)
    plan.alerts.put_rule(after)
    return RuleNow(after, new_secrets=_new_secrets(after.channels, rule.channels))


def delete_rule(plan: Plan, principal: Principal, command: DeleteRule) -> RuleNow:
    """The rule as it was. Raises NotFound."""
    rule = _found(plan.alerts.rule(principal.org, command.rule_id), "rule")
    plan.alerts.drop_rule(rule)
    return RuleNow(rule)


def _check(plan: Plan, rule: AlertRule) -> None:
    """Raises Invalid for a rule that could not work."""
    if rule.scope.run_id is not None and plan.run(rule.org, RunById(rule.scope.run_id)) is None:
        raise no_such_run()
    check_figures(rule.trigger, rule.config, rule.act)


def _channels(
    ids: Ids, asked: tuple[AlertChannel, ...], before: tuple[AlertChannel, ...], now_ms: int
) -> tuple[AlertChannel, ...]:
    """Channels as they are kept: what they name is checked, a webhook has a secret, and a changed one keeps the old."""
    known = {(one.type, one.target): one for one in before}
    shown = {(one.type, one.shown()): one.target for one in before}
    # Whoever is not shown a target sends it back as it was shown: it stays as it is.
    whole = [_replace(one, target=shown.get((one.type, one.target), one.target)) for one in asked]
    check_channels(whole)
    return tuple(
        _replace(one, secrets=_secrets(ids, one, known.get((one.type, one.target)), now_ms))
        if one.type is ChannelType.WEBHOOK
        else one
        for one in whole
    )


def _secrets(ids: Ids, asked: AlertChannel, before: AlertChannel | None, now_ms: int) -> tuple[ChannelSecret, ...]:
    """What a webhook's messages are signed with."""
    known = () if before is None else before.secrets
    if not asked.secrets:
        return known or (ChannelSecret(make_secret(ids)),)
    text = asked.secrets[0].text
    if known and known[0].text == text:
        return known
    old = [_replace(one, until=one.until or now_ms + OLD_SECRET_MS) for one in known if one.text != text]
    return (ChannelSecret(text), *[one for one in old if (one.until or 0) > now_ms])[:MAX_SECRETS]


def _new_secrets(channels: tuple[AlertChannel, ...], before: tuple[AlertChannel, ...]) -> dict[str, str]:
    known = {secret.text for one in before for secret in one.secrets}
    told = {one.target: one.secrets[0].text for one in channels if one.secrets}
    return {target: text for target, text in told.items() if text not in known}


# Alerts


def needs_of_alert(needs: Needs, principal: Principal, command: AcknowledgeAlert | MuteAlert) -> None:
    """The alert, and the rules."""
    needs.counters(principal.org)
    found: AlertRow | None = needs.want(Kind.ALERT_ID, (principal.org, command.alert_id))
    if found is not None:
        needs.want(Kind.ALERT, (principal.org, found.rule_id, found.subject))


def acknowledge(plan: Plan, principal: Principal, command: AcknowledgeAlert) -> AlertNow:
    """The alert, of which nobody is reminded any more; one about what has happened is over. Raises NotFound."""
    alert = _found(plan.alerts.by_id(principal.org, command.alert_id), "alert")
    if alert.acknowledged_at is not None:
        return AlertNow(alert)
    alert = _replace(alert, acknowledged_at=plan.now_ms, acknowledged_by=principal.user_id)
    if alert.is_open and (alert.trigger in FACTS or plan.alerts.rule(alert.org, alert.rule_id) is None):
        alert = _replace(alert, state=AlertState.OK, ended_at=plan.now_ms)
    plan.alerts.put(alert)
    return AlertNow(alert)


def mute(plan: Plan, principal: Principal, command: MuteAlert) -> AlertNow:
    """The alert, of which nobody is told for so long. Raises NotFound."""
    alert = _found(plan.alerts.by_id(principal.org, command.alert_id), "alert")
    alert = _replace(alert, muted_until=plan.now_ms + command.mute_ms if command.mute_ms else None)
    plan.alerts.put(alert)
    return AlertNow(alert)


# Deliveries


def needs_of_redeliver(needs: Needs, principal: Principal, command: Redeliver) -> None:
    """The delivery."""
    needs.counters(principal.org)
    needs.want(Kind.DELIVERY, (principal.org, command.delivery_id))


def redeliver(plan: Plan, principal: Principal, command: Redeliver) -> DeliveryNow:
    """The delivery, due now. Raises NotFound, Conflict for one that nobody receives."""
    row = _found(plan.alerts.delivery(principal.org, command.delivery_id), "delivery")
    if row.channel.type is ChannelType.IN_APP:
        raise Conflict("An in_app message is sent nowhere: it shows in the application.")
    after = sent_anew(row, plan.now_ms)
    plan.alerts.put_delivery(row, after)
    return DeliveryNow(after)


def needs_of_redeliver_from(needs: Needs, principal: Principal, command: RedeliverFrom) -> None:
    """The deliveries."""
    needs.counters(principal.org)
    needs.want(Kind.DELIVERIES_AFTER, _after(principal, command))


def redeliver_from(plan: Plan, principal: Principal, command: RedeliverFrom) -> Steps[Redelivered]:
    """Those deliveries, due now, and where to go on."""
    found: list[Delivery] = plan.loaded(Kind.DELIVERIES_AFTER, _after(principal, command)) or []
    sent = 0
    for index, stored in enumerate(found):
        if index and not index % ROWS_AT_ONCE:
            yield
        if stored.channel.type is not ChannelType.IN_APP:
            plan.alerts.put_delivery(stored, sent_anew(plan.alerts.current(stored), plan.now_ms))
            sent += 1
    is_more = len(found) == command.limit
    return Redelivered(sent, found[-1].number if is_more else None)


def _after(principal: Principal, command: RedeliverFrom) -> DeliveriesAfter:
    state = "" if command.state is None else command.state.value
    return DeliveriesAfter(principal.org, command.after, command.rule_id or "", state, command.limit)


def _found(row: T | None, noun: str) -> T:
    if row is None:
        raise NotFound(noun)
    return row
