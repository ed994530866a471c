"""Examples of the endpoints of alerts."""

from __future__ import annotations

from typing import Any

from towerlog.dialects import vocabulary as v
from towerlog.dialects.alerts.samples import MADE_RULE, RULE
from towerlog.dialects.base import Sample

KNOWN_RULE = MADE_RULE | {"channels": [MADE_RULE["channels"][0] | {"secret": None}]}
ALERT: dict[str, Any] = {
    "alert_id": "0196b2c4-7d00-7000-8000-000000000011",
    "rule_id": MADE_RULE["rule_id"],
    "rule_name": "failed writers",
    "trigger": "error",
    "state": "ALERT",
    "message": "A run of agent 'writer' has failed: no paper",
    "subject": f"run:{v.UUID}",
    "episode": 1,
    "agent_name": "writer",
    "run_id": v.UUID,
    "thread_id": "towers",
    "run_status": "failed",
    "cost_usd": 0.42,
    "total_tokens": 1200,
    "acted": None,
    "approval_id": None,
    "fired_at": "2026-04-02T10:00:03.200Z",
    "ended_at": None,
    "acknowledged_at": None,
    "acknowledged_by_user_id": None,
    "muted_until": None,
    "not_sent": 0,
}
DELIVERY: dict[str, Any] = {
    "delivery_id": "0196b2c4-7e00-7000-8000-000000000012",
    "webhook_id": "msg_0196b2c4-7e00-7000-8000-000000000012",
    "alert_id": ALERT["alert_id"],
    "rule_id": MADE_RULE["rule_id"],
    "kind": "alert.fired",
    "channel": "webhook",
    "target": "https://hooks.example.com/towerlog",
    "state": "delivered",
    "attempts": [
        {"at": "2026-04-02T10:00:03.210Z", "duration_ms": 12, "status": 503, "error": "answered with 503"},
        {"at": "2026-04-02T10:00:13.250Z", "duration_ms": 9, "status": 200, "error": None},
    ],
    "next_attempt_at": None,
    "created_at": "2026-04-02T10:00:03.200Z",
    "ended_at": "2026-04-02T10:00:13.259Z",
    "body": {
        "type": "alert.fired",
        "timestamp": "2026-04-02T10:00:03.200Z",
        "alert_id": ALERT["alert_id"],
        "alert_name": "failed writers",
        "rule_id": MADE_RULE["rule_id"],
        "trigger_type": "error",
        "state": "ALERT",
        "message": "A run of agent 'writer' has failed: no paper",
        "subject": f"run:{v.UUID}",
        "agent_name": "writer",
        "run_id": v.UUID,
        "thread_id": "towers",
        "status": "failed",
        "cost_usd": 0.42,
        "total_tokens": 1200,
        "fired_at": "2026-04-02T10:00:03.200Z",
        "ended_at": None,
        "acted": None,
        "approval_id": None,
        "run_url": None,
        "answer_url": None,
        "answer_expires_at": None,
    },
}
_ACKNOWLEDGED: dict[str, Any] = {
    "state": "OK",
    "ended_at": "2026-04-02T10:05:00.000Z",
    "acknowledged_at": "2026-04-02T10:05:00.000Z",
    "acknowledged_by_user_id": "0196b2c0-0000-7000-8000-000000000002",
}
_AGAIN: dict[str, Any] = {"state": "pending", "next_attempt_at": "2026-04-02T11:00:00.000Z", "ended_at": None}

ALERTS: dict[str, Sample] = {
    "list_alert_rules": Sample({"data": [KNOWN_RULE], "next": None}),
    "create_alert_rule": Sample(MADE_RULE, RULE),
    "preview_alert_rule": Sample(
        {
            "fired": [
                {
                    "at": "2026-04-02T10:00:03.200Z",
                    "subject": f"run:{v.UUID}",
                    "message": "A run of agent 'writer' has failed: no paper",
                    "agent_name": "writer",
                    "run_id": v.UUID,
                }
            ],
            "suppressed": 0,
            "runs": 120,
            "events": 4800,
            "since": "2026-04-01T00:00:00.000Z",
            "until": "2026-04-02T10:00:00.000Z",
            "whole": True,
        },
        {"trigger": "error", "scope": {"agent": "writer"}, "since": "2026-04-01T00:00:00Z"},
    ),
    "get_alert_rule": Sample(KNOWN_RULE | {"state": "ALERT", "open_alerts": 1}),
    "change_alert_rule": Sample(KNOWN_RULE | {"enabled": False}, {"enabled": False}),
    "delete_alert_rule": Sample(KNOWN_RULE),
    "list_alerts": Sample({"data": [ALERT], "next": None}),
    "get_alert": Sample(ALERT),
    "acknowledge_alert": Sample(ALERT | _ACKNOWLEDGED),
    "mute_alert": Sample(ALERT | {"muted_until": "2026-04-02T11:00:00.000Z"}, {"minutes": 60}),
    "list_deliveries": Sample({"data": [DELIVERY], "next": None}),
    "redeliver_deliveries": Sample({"redelivered": 3, "next": None}, {"limit": 100, "state": "failed"}),
    "get_delivery": Sample(DELIVERY),
    "redeliver": Sample(DELIVERY | _AGAIN),
}
"""Name of the endpoint → its example."""
