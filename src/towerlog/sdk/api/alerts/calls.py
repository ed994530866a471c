# Generated from async_calls.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""`Alerts`: the calls of `Client` about alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from towerlog.sdk.api.alerts import endpoints, shapes
from towerlog.sdk.api.caller import Caller


class Alerts(Caller):
    """A part of a client."""

    def list_alert_rules(self) -> Iterator[shapes.AlertRule]:
        """Rules, newest first."""
        return self._all(endpoints.list_alert_rules())

    def get_alert_rule(self, rule_id: str) -> shapes.AlertRule:
        """A rule and its state."""
        return self._send(endpoints.get_alert_rule(rule_id))

    def create_alert_rule(
        self, name: str, trigger: str, config: Mapping[str, Any] | None = None, **members: Any
    ) -> shapes.AlertRule:
        """Makes a rule: scope, channels, cooldown_minutes, renotify_minutes, act. A webhook's secret is told now."""
        given = {"name": name, "trigger": trigger, "config": dict(config or {}), **members}
        return self._send(endpoints.create_alert_rule(given))

    def change_alert_rule(self, rule_id: str, **members: Any) -> shapes.AlertRule:
        """Changes members of a rule, such as enabled; `channels` and `config` as a whole."""
        return self._send(endpoints.change_alert_rule(rule_id, members))

    def delete_alert_rule(self, rule_id: str) -> shapes.AlertRule:
        """Deletes a rule; its alerts stay."""
        return self._send(endpoints.delete_alert_rule(rule_id))

    def preview_alert_rule(
        self, trigger: str, config: Mapping[str, Any] | None = None, **members: Any
    ) -> shapes.RuleHistory:
        """When a rule would have fired over stored history: scope, cooldown_minutes, since, until."""
        return self._send(endpoints.preview_alert_rule({"trigger": trigger, "config": dict(config or {}), **members}))

    def list_alerts(self, **filters: Any) -> Iterator[shapes.Alert]:
        """Alerts, newest first. Filters: rule_id, state (OK or ALERT)."""
        return self._all(endpoints.list_alerts(**filters))

    def get_alert(self, alert_id: str) -> shapes.Alert:
        """An alert."""
        return self._send(endpoints.get_alert(alert_id))

    def acknowledge_alert(self, alert_id: str) -> shapes.Alert:
        """Says that somebody sees to it: nobody is reminded any more."""
        return self._send(endpoints.acknowledge_alert(alert_id))

    def mute_alert(self, alert_id: str, minutes: float = 60) -> shapes.Alert:
        """Tells nobody of it for so long; 0 ends that."""
        return self._send(endpoints.mute_alert(alert_id, minutes))

    def list_deliveries(self, **filters: Any) -> Iterator[shapes.AlertDelivery]:
        """Messages about alerts, newest first. Filters: rule_id, alert_id, state (pending, delivered, failed)."""
        return self._all(endpoints.list_deliveries(**filters))

    def get_delivery(self, delivery_id: str) -> shapes.AlertDelivery:
        """A message and its attempts."""
        return self._send(endpoints.get_delivery(delivery_id))

    def redeliver(self, delivery_id: str) -> shapes.AlertDelivery:
        """Sends a message anew, under its own id."""
        return self._send(endpoints.redeliver(delivery_id))

    def redeliver_from(self, cursor: str | None = None, limit: int = 100, **filters: Any) -> shapes.SentAnew:
        """Sends those anew that were given up, after a cursor. Filters: rule_id, state."""
        return self._send(endpoints.redeliver_from(cursor, limit, **filters))
