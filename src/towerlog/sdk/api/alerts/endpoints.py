"""The endpoints of alerts as calls, as `endpoints` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towerlog.sdk.api.alerts import shapes
from towerlog.sdk.api.requests import (
    ApiRequest,
    Listing,
    api_request,
    given,
    known,
    listing,
)

PAGE = 200
"""Rows of a page, unless the caller says otherwise."""


def list_alert_rules(limit: int = PAGE) -> Listing[shapes.AlertRule]:
    """Rules, newest first."""
    return listing("/api/v1/alert-rules", shapes.AlertRule, {"limit": limit})


def get_alert_rule(rule_id: str) -> ApiRequest[shapes.AlertRule]:
    """A rule."""
    return api_request("GET", "/api/v1/alert-rules/{rule_id}", shapes.AlertRule.read, rule_id=rule_id)


def create_alert_rule(members: Mapping[str, Any]) -> ApiRequest[shapes.AlertRule]:
    """A rule."""
    return api_request("POST", "/api/v1/alert-rules", shapes.AlertRule.read, dict(members))


def change_alert_rule(rule_id: str, members: Mapping[str, Any]) -> ApiRequest[shapes.AlertRule]:
    """Changes a rule."""
    body = dict(members)
    return api_request("PATCH", "/api/v1/alert-rules/{rule_id}", shapes.AlertRule.read, body, rule_id=rule_id)


def delete_alert_rule(rule_id: str) -> ApiRequest[shapes.AlertRule]:
    """Deletes a rule."""
    return api_request("DELETE", "/api/v1/alert-rules/{rule_id}", shapes.AlertRule.read, rule_id=rule_id)


def preview_alert_rule(members: Mapping[str, Any]) -> ApiRequest[shapes.RuleHistory]:
    """When a rule would have fired."""
    return api_request("POST", "/api/v1/alert-rules:preview", shapes.RuleHistory.read, dict(members))


def list_alerts(limit: int = PAGE, /, **filters: Any) -> Listing[shapes.Alert]:
    """Alerts, newest first."""
    return listing("/api/v1/alerts", shapes.Alert, {"limit": limit, **known(filters, "alerts")})


def get_alert(alert_id: str) -> ApiRequest[shapes.Alert]:
    """An alert."""
    return api_request("GET", "/api/v1/alerts/{alert_id}", shapes.Alert.read, alert_id=alert_id)


def acknowledge_alert(alert_id: str) -> ApiRequest[shapes.Alert]:
    """Somebody has seen to it."""
    return api_request("POST", "/api/v1/alerts/{alert_id}:acknowledge", shapes.Alert.read, alert_id=alert_id)


def mute_alert(alert_id: str, minutes: float) -> ApiRequest[shapes.Alert]:
    """Nobody is told of it."""
    body = {"minutes": minutes}
    return api_request("POST", "/api/v1/alerts/{alert_id}:mute", shapes.Alert.read, body, alert_id=alert_id)


def list_deliveries(limit: int = PAGE, /, **filters: Any) -> Listing[shapes.AlertDelivery]:
    """Messages, newest first."""
    return listing("/api/v1/deliveries", shapes.AlertDelivery, {"limit": limit, **known(filters, "deliveries")})


def get_delivery(delivery_id: str) -> ApiRequest[shapes.AlertDelivery]:
    """A message."""
    return api_request("GET", "/api/v1/deliveries/{delivery_id}", shapes.AlertDelivery.read, delivery_id=delivery_id)


def redeliver(delivery_id: str) -> ApiRequest[shapes.AlertDelivery]:
    """Sends a message anew."""
    return api_request(
        "POST", "/api/v1/deliveries/{delivery_id}:redeliver", shapes.AlertDelivery.read, delivery_id=delivery_id
    )


def redeliver_from(cursor: str | None, limit: int, /, **filters: Any) -> ApiRequest[shapes.SentAnew]:
    """Sends those after a cursor anew."""
    body = given(cursor=cursor, limit=limit, **known(filters, "alerts"))
    return api_request("POST", "/api/v1/deliveries:redeliver", shapes.SentAnew.read, body)
