"""What the audit says of each command about alerts; see `acts`. A rule's secrets are told as `states` does."""

from __future__ import annotations

from towerlog.engine.audit import states
from towerlog.engine.audit.hook import About
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import (
    AcknowledgeAlert,
    AlertNow,
    AlertRow,
    AlertRule,
    ChangeRule,
    CreateRule,
    DeleteRule,
    MuteAlert,
    RuleNow,
)
from towerlog.model.audit import Action
from towerlog.model.delivery import DeliveryNow, Redeliver, Redelivered, RedeliverFrom
from towerlog.model.principal import Principal
from towerlog.model.times import format_optional_ms


def create_rule(_plan: Plan, _principal: Principal, _command: CreateRule, outcome: RuleNow | None) -> About | None:
    """The new rule."""
    return None if outcome is None else _about(Action.RULE_CREATE, outcome.rule.rule_id, outcome.rule)


def change_rule(plan: Plan, principal: Principal, command: ChangeRule, _outcome: RuleNow | None) -> About:
    """The rule."""
    rule = plan.alerts.rule(principal.org, command.rule_id)
    return _about(Action.RULE_CHANGE, command.rule_id, rule)


def delete_rule(plan: Plan, principal: Principal, command: DeleteRule, _outcome: RuleNow | None) -> About:
    """The rule; afterwards there is none."""
    rule = plan.alerts.rule(principal.org, command.rule_id)
    return _about(Action.RULE_DELETE, command.rule_id, rule)


def _about(action: Action, rule_id: str, rule: AlertRule | None) -> About:
    return About(action, "rule", rule_id, None if rule is None else states.rule_state(rule))


def acknowledge(plan: Plan, principal: Principal, command: AcknowledgeAlert, _outcome: AlertNow | None) -> About | None:
    """The alert."""
    return _about_alert(Action.ALERT_ACKNOWLEDGE, plan.alerts.by_id(principal.org, command.alert_id))


def mute(plan: Plan, principal: Principal, command: MuteAlert, _outcome: AlertNow | None) -> About | None:
    """The alert."""
    return _about_alert(Action.ALERT_MUTE, plan.alerts.by_id(principal.org, command.alert_id))


def _about_alert(action: Action, alert: AlertRow | None) -> About | None:
    if alert is None:
        return None
    state = {
        "state": alert.state.value,
        "acknowledged_at": format_optional_ms(alert.acknowledged_at),
        "muted_until": format_optional_ms(alert.muted_until),
    }
    return About(action, "alert", alert.alert_id, state, {"rule_id": alert.rule_id, "subject": alert.subject})


def redeliver(plan: Plan, principal: Principal, command: Redeliver, _outcome: DeliveryNow | None) -> About | None:
    """The message."""
    row = plan.alerts.delivery(principal.org, command.delivery_id)
    if row is None:
        return None
    state = {"state": row.state.value, "next_attempt_at": format_optional_ms(row.due_at)}
    return About(Action.DELIVERY_REDELIVER, "delivery", row.delivery_id, state)


def redeliver_from(
    _plan: Plan, _principal: Principal, command: RedeliverFrom, outcome: Redelivered | None
) -> About | None:
    """How many messages."""
    if outcome is None or not outcome.count:
        return None
    return About(
        Action.DELIVERY_REDELIVER,
        "delivery",
        "deliveries",
        {"redelivered": outcome.count, "rule_id": command.rule_id, "after": command.after},
    )
