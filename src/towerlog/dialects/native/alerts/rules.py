"""Native endpoints of alert rules."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.alerts.rules import (
    NewRuleBody,
    PreviewBody,
    RuleChangeBody,
    RuleDetail,
    decode_change,
    decode_create,
    decode_preview,
    path_rule,
    rule_of,
    sees_targets,
)
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number
from towerlog.model.alert import DeleteRule, GetRule, ListRules, RuleNow
from towerlog.model.alert_preview import RulePreview
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.times import format_ms

READ, CONTROL = scopes(Scope.READ), scopes(Scope.CONTROL)


class FiringDetail(msgspec.Struct, frozen=True):
    """One alert that would have been."""

    schema_name: ClassVar[str] = "Firing"
    at: Annotated[str, v.time("When it would have begun.")]
    subject: Annotated[str, v.said("What it would have been about.", f"run:{v.UUID}")]
    message: Annotated[str, v.said("What the matter was, for people.", "A run of agent 'writer' has failed")]
    agent_name: v.AgentName | None
    run_id: v.RunId | None


class PreviewDetail(msgspec.Struct, frozen=True):
    """When a rule would have fired."""

    schema_name: ClassVar[str] = "RulePreview"
    fired: Annotated[list[FiringDetail], v.said("The firings, oldest first.")]
    suppressed: Annotated[int, v.said("Those that its cool-down would have kept quiet.", 0)]
    runs: Annotated[int, v.said("How many runs were looked at.", 120)]
    events: Annotated[int, v.said("How many of their events.", 4800)]
    since: Annotated[str, v.time("The beginning of the time that was looked at.")]
    until: Annotated[str, v.time("Its end.")]
    whole: Annotated[bool, v.said("Whether that is all of the time, and all firings are told.", True)]


def _decode_list(call: Call) -> ListRules:
    return ListRules(limit_of(call), read_number("alert-rules", call.query.get("cursor")) or None)


def _decode_get(call: Call) -> GetRule:
    return GetRule(path_rule(call))


def _decode_delete(call: Call) -> DeleteRule:
    return DeleteRule(path_rule(call))


def _encode_rule(outcome: RuleNow, command: object, call: Call) -> Reply:
    return reply_json(rule_of(outcome, whole=sees_targets(call.principal)), 201 if outcome.created else 200)


def _encode_preview(outcome: RulePreview, command: object, call: Call) -> Reply:
    fired = [FiringDetail(format_ms(one.at), one.subject, one.message, one.agent, one.run_id) for one in outcome.fired]
    span = (format_ms(outcome.since), format_ms(outcome.until))
    return reply_json(PreviewDetail(fired, outcome.suppressed, outcome.runs, outcome.events, *span, outcome.whole))


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    whole = sees_targets(call.principal)
    return page_reply("alert-rules", outcome, lambda view: rule_of(view, whole=whole))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/alert-rules", "list_alert_rules", "Alert rules, newest first.", READ,
        _decode_list, _encode_list, query=CursorQuery, reply=Listing[RuleDetail],
    ),
    Endpoint(
        "POST", "/api/v1/alert-rules", "create_alert_rule",
        "Make an alert rule; a webhook without a secret gets one, which is shown now.", CONTROL,
        decode_create, _encode_rule, request=NewRuleBody, reply=RuleDetail, reply_status=201, replay=False,
        refuses=(errors.Conflict,),
    ),
    Endpoint(
        "POST", "/api/v1/alert-rules:preview", "preview_alert_rule",
        "When a rule would have fired over stored history; nothing is stored, and nobody is told.", READ,
        decode_preview, _encode_preview, request=PreviewBody, reply=PreviewDetail, refuses=(errors.Overloaded,),
    ),
    Endpoint(
        "GET", "/api/v1/alert-rules/{rule_id}", "get_alert_rule", "An alert rule and its state.", READ,
        _decode_get, _encode_rule, reply=RuleDetail,
    ),
    Endpoint(
        "PATCH", "/api/v1/alert-rules/{rule_id}", "change_alert_rule",
        "Change an alert rule; a webhook's old secret signs beside the new one for a day.", CONTROL,
        decode_change, _encode_rule, request=RuleChangeBody, reply=RuleDetail,
    ),
    Endpoint(
        "DELETE", "/api/v1/alert-rules/{rule_id}", "delete_alert_rule", "Delete an alert rule; its alerts stay.",
        CONTROL, _decode_delete, _encode_rule, reply=RuleDetail,
    ),
)  # fmt: skip
"""The endpoints of alert rules."""
