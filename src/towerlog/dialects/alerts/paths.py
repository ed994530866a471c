"""The paths under `/alerts` of the system that `steps` comes from: its alerts are our rules."""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.alerts.rules import (
    NewRuleBody,
    RuleChangeBody,
    RuleDetail,
    decode_change,
    decode_create,
    path_rule,
    rule_of,
    sees_targets,
)
from towerlog.dialects.alerts.samples import MADE_RULE, RULE
from towerlog.dialects.base import Call, Endpoint, Reply, Sample, reply_json, scopes
from towerlog.model.alert import MAX_RULES, ChangeRule, DeleteRule, GetRule, ListRules, RuleNow
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope

READ, CONTROL = scopes(Scope.READ), scopes(Scope.CONTROL)


class AllRules(msgspec.Struct, frozen=True):
    """All alert rules."""

    data: Annotated[list[RuleDetail], v.said("The rules, newest first.")]


def _decode_list(_call: Call) -> ListRules:
    return ListRules(MAX_RULES)


def _decode_get(call: Call) -> GetRule:
    return GetRule(path_rule(call))


def _decode_delete(call: Call) -> DeleteRule:
    return DeleteRule(path_rule(call))


def _decode_toggle(call: Call) -> ChangeRule:
    return ChangeRule(path_rule(call), toggles=True)


def _encode_rule(outcome: RuleNow, command: object, call: Call) -> Reply:
    return reply_json(rule_of(outcome, whole=sees_targets(call.principal)), 201 if outcome.created else 200)


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    whole = sees_targets(call.principal)
    return reply_json(AllRules([rule_of(view, whole=whole) for view in outcome.rows if isinstance(view, RuleNow)]))


PATHS = (
    Endpoint(
        "GET", "/alerts", "steps.list_alerts", "All alert rules, newest first", READ, _decode_list, _encode_list,
        reply=AllRules,
    ),
    Endpoint(
        "POST", "/alerts", "steps.create_alert", "Make an alert rule", CONTROL, decode_create, _encode_rule,
        request=NewRuleBody, reply=RuleDetail, reply_status=201, replay=False, refuses=(errors.Conflict,),
        sample=Sample(MADE_RULE, RULE),
    ),
    Endpoint(
        "GET", "/alerts/{rule_id}", "steps.get_alert", "An alert rule", READ, _decode_get, _encode_rule,
        reply=RuleDetail,
    ),
    Endpoint(
        "PATCH", "/alerts/{rule_id}", "steps.change_alert", "Change an alert rule", CONTROL, decode_change,
        _encode_rule, request=RuleChangeBody, reply=RuleDetail,
    ),
    Endpoint(
        "PATCH", "/alerts/{rule_id}/toggle", "steps.toggle_alert", "Switch an alert rule on or off", CONTROL,
        _decode_toggle, _encode_rule, reply=RuleDetail,
    ),
    Endpoint(
        "DELETE", "/alerts/{rule_id}", "steps.delete_alert", "Delete an alert rule; its alerts stay", CONTROL,
        _decode_delete, _encode_rule, reply=RuleDetail,
    ),
)  # fmt: skip
"""Endpoints of the dialect `steps`."""
