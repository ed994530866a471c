"""The fan-out: what is told of an alert, written as a delivery for each channel that it goes through.

An event may concern many rules of many channels, and whoever waits to write waits for all that is written of it. So a
commit writes a bounded number of deliveries. The others stand in their body, as channels that are `unwritten`, and are
written by further commits: the organisations in turn, each in the order in which it was told. What is told while some
of an organisation's are unwritten comes behind them. A body and what is left of it are written in one transaction, so
a kill neither loses a delivery nor writes one twice.
"""

from __future__ import annotations

from towerlog.engine.alerts.deliveries import write_deliveries
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.alerts import MAX_PLAN_NOTICES
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep, one_by_one
from towerlog.model.delivery import DeliveryBody
from towerlog.store.base import AlertStore, Unit
from towerlog.store.values import Kind

BODIES_AT_ONCE = MAX_PLAN_NOTICES
"""That one commit looks at: each of them has a delivery to be written."""


class FanOut:
    """Writes what commits had no room for."""

    def __init__(self, store: AlertStore, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups. What is to be written is in the store alone."""
        self._store = store
        self._upkeep = upkeep
        self._after = -1
        """The organisation whose turn it was last."""

    async def step(self) -> bool:
        """Writes some of one organisation's, the next in turn; whether there may be more to write now."""
        orgs = await self._store.bodies_waiting(self._after, 1) or await self._store.bodies_waiting(-1, 1)
        if not orgs:
            return False
        self._after = orgs[0]

        async def find(_unit: Unit, _heard_ms: int) -> int:
            return orgs[0]

        return await self._upkeep(find, _needs, _place) is not None


def _needs(needs: Needs, org: int) -> None:
    needs.counters(org)
    needs.want(Kind.OUTBOX_COUNTS, org)
    needs.want(Kind.BODIES_UNWRITTEN, (org, BODIES_AT_ONCE))


def _place(plan: Plan, org: int) -> Steps[None]:
    stored: list[DeliveryBody] = plan.loaded(Kind.BODIES_UNWRITTEN, (org, BODIES_AT_ONCE)) or []

    def write(plan: Plan, one: DeliveryBody) -> Steps[None]:
        write_deliveries(plan, one, is_stored=True)
        yield

    yield from one_by_one(plan, stored, write)
