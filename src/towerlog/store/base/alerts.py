"""Rules, alerts and deliveries, as they are read. They are written by units alone.

Laws:

* They are state, no projection: the last one written stands, and a rebuild leaves it alone.
* There is one alert for each rule, subject and episode: writing a second one fails its unit.
* Numbers rise with each alert, and with each delivery, of an organisation.
* What happened in a minute of a rule's window is added to what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from towerlog.model.alert import AlertRow, AlertRule, AlertState, WindowCount
from towerlog.model.delivery import Delivery, DeliveryState, DueFound, DueWanted
from towerlog.store.values import Found


class AlertStore(Protocol):
    """Reads of rules, alerts and deliveries."""

    async def alert_rule(self, org: int, rule_id: str) -> AlertRule | None:
        """One rule."""
        ...

    async def alert_rules(self, org: int, limit: int, before: int | None) -> Found[AlertRule]:
        """Rules below a number, newest first."""
        ...

    async def alert_rules_timed(self, after: tuple[int, str], limit: int) -> list[AlertRule]:
        """Rules of all organisations that the timer looks at, after (org, rule id), in this order."""
        ...

    async def alert_window(self, org: int, rule_id: str, since_minute: int) -> WindowCount:
        """What a rule has added up from this minute since the epoch on."""
        ...

    async def alerts_open_of(self, org: int, rule_id: str, before: int | None, limit: int) -> list[AlertRow]:
        """Alerts of a rule that last, below a number, newest first."""
        ...

    async def alerts_unwatched(
        self, after: tuple[int, str], rules: int, limit: int
    ) -> tuple[list[AlertRow], tuple[int, str] | None]:
        """Alerts that last, of rules that are deleted or switched off, and of a trigger that would tell when they
        are over; about `limit`, of at most so many rules after (org, rule id) of which some alert lasts. And the last
        one of those; None: all were looked at."""
        ...

    async def alerts_newest(self, org: int, rule_id: str, subjects: Sequence[str]) -> dict[str, AlertRow]:
        """The last alert of a rule about each of these subjects; those without any are left out."""
        ...

    async def alerts_open(self, org: int) -> dict[str, int]:
        """Rule id → how many of its alerts last; rules without any are left out."""
        ...

    async def alert(self, org: int, alert_id: str) -> AlertRow | None:
        """One alert."""
        ...

    async def alerts(
        self, org: int, limit: int, before: int | None, rule_id: str | None, state: AlertState | None
    ) -> Found[AlertRow]:
        """Alerts below a number, newest first; of a rule, and in a state, where these are given."""
        ...

    async def alerts_since(self, org: int, position: int, limit: int) -> list[AlertRow]:
        """Alerts that have changed since the log had come so far, or while it was there; the longest unchanged
        first."""
        ...

    async def delivery(self, org: int, delivery_id: str) -> Delivery | None:
        """One delivery."""
        ...

    async def deliveries(
        self,
        org: int,
        limit: int,
        before: int | None,
        rule_id: str | None,
        alert_id: str | None,
        state: DeliveryState | None,
    ) -> Found[Delivery]:
        """Deliveries below a number, newest first; of a rule, of an alert, in a state, where these are given."""
        ...

    async def deliveries_waiting(self, after: int, limit: int) -> list[int]:
        """Organisations with messages that wait, whenever they are due, behind this one, in order; at most so many."""
        ...

    async def bodies_waiting(self, after: int, limit: int) -> list[int]:
        """Organisations with messages whose deliveries are not written yet, behind this one, in order; at most so
        many."""
        ...

    async def deliveries_due(self, wanted: DueWanted) -> DueFound:
        """Messages that are due by now, one receiver after the other. It reads no more than it is asked for."""
        ...

    async def alerts_drop(self, before_ms: int, kept: int, limit: int, before_minute: int) -> int:
        """Drops alerts and deliveries from before this, and of each organisation all but so many of the newest; of
        either at most `limit`. What waits to be written or delivered is kept. How many went. Minutes of windows
        before this one go as well."""
        ...
