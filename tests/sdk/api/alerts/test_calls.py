"""The calls about alerts against a real server: what is made, listed, seen to and sent anew."""

from __future__ import annotations

from pathlib import Path

import towerlog
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.alerts.shapes import AlertRule


def test_a_rule_its_alert_and_its_message(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_WEBHOOK_RETRY_SECONDS": "600"}) as server,
        towerlog.Client(server.base_url, ADMIN_KEY) as client,
    ):
        channels = [{"type": "webhook", "target": "http://127.0.0.1:9999/"}, {"type": "in_app"}]
        rule = client.create_alert_rule("dear", "cost_threshold", {"amount_usd": 0.5}, channels=channels)
        assert str(rule.channels[0]["secret"]).startswith("whsec_")
        assert "whsec_" not in repr(rule)
        event = {"type": "model.call", "run_key": "r", "agent": "a", "data": {"cost_usd": 1}}
        client.send_events("c", [event | {"event_id": "e", "client_seq": 1}])
        [alert] = client.list_alerts(rule_id=rule.rule_id, state="ALERT")
        assert (alert.agent_name, alert.cost_usd) == ("a", 1)
        assert client.get_alert(alert.alert_id) == alert
        assert client.mute_alert(alert.alert_id, 5).muted_until is not None
        assert client.acknowledge_alert(alert.alert_id).state == "OK"
        sent = {one.channel: one for one in client.list_deliveries(alert_id=alert.alert_id)}
        assert sent["in_app"].state == "delivered"
        hook = client.get_delivery(sent["webhook"].delivery_id)
        assert client.redeliver(hook.delivery_id).webhook_id == hook.webhook_id
        assert client.redeliver_from(limit=10, state="delivered").redelivered == 0
        assert client.change_alert_rule(rule.rule_id, enabled=False).enabled is False
        assert [one.name for one in client.list_alert_rules()] == ["dear"]
        assert client.get_alert_rule(rule.rule_id).channels[0]["secret"] is None
        assert client.delete_alert_rule(rule.rule_id).rule_id == rule.rule_id


def test_what_is_no_list_of_channels_is_none() -> None:
    raw = {"rule_id": "r", "name": "n", "trigger": "error", "scope": {}, "config": {}, "channels": "x"}
    assert AlertRule.read(raw).channels == ()
