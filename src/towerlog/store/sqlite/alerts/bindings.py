"""The questions of `SqliteStore` about rules, alerts and deliveries."""

from __future__ import annotations

from towerlog.store.sqlite.alerts import alerts as told
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Where


class AlertAsks(HasPools):
    """A part of the store; see `store/base/alerts` for what each method promises."""

    alert_rule = Ask(told.rule)
    alert_rules = Ask(told.rules)
    alert_rules_timed = Ask(told.rules_timed)
    alert_window = Ask(told.windows_of)
    alerts_open = Ask(told.alerts_open)
    alerts_open_of = Ask(told.alerts_open_of)
    alerts_unwatched = Ask(told.alerts_unwatched)
    alerts_newest = Ask(told.alerts_newest)
    alert = Ask(told.alert)
    alerts = Ask(told.alerts)
    alerts_since = Ask(told.alerts_since)
    delivery = Ask(told.delivery)
    deliveries = Ask(told.deliveries)
    deliveries_waiting = Ask(told.deliveries_waiting)
    bodies_waiting = Ask(told.bodies_waiting)
    deliveries_due = Ask(told.deliveries_due)
    alerts_drop = Ask(told.drop_old, Where.BETWEEN_UNITS)
