"""Examples of alert rules, for the endpoints of both dialects."""

from __future__ import annotations

from typing import Any

RULE: dict[str, Any] = {
    "name": "failed writers",
    "trigger": "error",
    "scope": {"agent": "writer"},
    "channels": [{"type": "webhook", "target": "https://hooks.example.com/towerlog"}],
    "cooldown_minutes": 10,
}
MADE_RULE: dict[str, Any] = RULE | {
    "rule_id": "0196b2c4-7c00-7000-8000-000000000010",
    "config": {},
    "channels": [
        {
            "type": "webhook",
            "target": "https://hooks.example.com/towerlog",
            "secret": "whsec_c2VjcmV0IG9mIHRoZSBwYWdlIG9mIGV4YW1wbGVz",
        }
    ],
    "enabled": True,
    "renotify_minutes": 0,
    "act": None,
    "state": "OK",
    "open_alerts": 0,
    "suppressed": 0,
    "created_at": "2026-04-02T10:00:00.123Z",
    "warnings": [],
}
