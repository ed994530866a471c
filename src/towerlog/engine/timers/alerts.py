"""What becomes of alerts with time: those that nobody watches end.

An alert whose rule is deleted or switched off ends, since nothing would tell that it is over. Nobody is told. What has
happened stays open until somebody acknowledges it.
"""

from __future__ import annotations

from towerlog.engine.alerts.firing import recover
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep, one_by_one
from towerlog.model.alert import AlertRow
from towerlog.store.base import AlertStore, Unit
from towerlog.store.values import Kind

RULES_AT_ONCE = 50
"""Rules with open alerts that one look takes; the next one goes on after them."""
ALERTS_AT_ONCE = 200


class UnwatchedAlerts:
    """Looks at the rules of which some alert lasts."""

    def __init__(self, store: AlertStore, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups."""
        self._store = store
        self._upkeep = upkeep
        self._after = (-1, "")

    async def sweep(self) -> None:
        """Ends some of them."""
        found, place = await self._store.alerts_unwatched(self._after, RULES_AT_ONCE, ALERTS_AT_ONCE)
        self._after = place or (-1, "")
        if not found:
            return

        async def find(_unit: Unit, _heard_ms: int) -> list[AlertRow]:
            return found

        await self._upkeep(find, _needs, lambda plan, rows: _placed(plan, rows))


def _placed(plan: Plan, rows: list[AlertRow]) -> Steps[None]:
    yield from one_by_one(plan, rows, _end)


def _needs(needs: Needs, rows: list[AlertRow]) -> Steps[None]:
    for one in rows:
        needs.counters(one.org)
        needs.want(Kind.ALERT_ID, (one.org, one.alert_id))
        yield


def _end(plan: Plan, found: AlertRow) -> Steps[None]:
    """The same once more, by the rows of this commit."""
    alert, rule = plan.alerts.by_id(found.org, found.alert_id), plan.alerts.rule(found.org, found.rule_id)
    if alert is not None and alert.is_open and (rule is None or not rule.enabled):
        recover(plan, alert, silently=True)
    yield
