"""Removed organisations: what one held is erased step by step between two groups of the writer, until nothing is left.

The store has which of them are not done, so that what was broken off is gone on with after a restart.
"""

from __future__ import annotations

from towerlog.ambient import Clock
from towerlog.engine.erasure.steps import Between, CarryingOut
from towerlog.model.principal import Org
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.base import Store

STEPS_AT_ONCE = 100
"""Of one organisation, before the next one and the policies of others have their turn."""


class RemovedOrgs:
    """Of one engine."""

    def __init__(self, store: Store, clock: Clock, between: Between, carrying_out: CarryingOut) -> None:
        """`carrying_out` is told that pages have become free."""
        self._store = store
        self._clock = clock
        self._between = between
        self._carrying_out = carrying_out
        self._begun: set[int] = set()
        """Those of which this process has erased something."""

    async def go_on(self) -> None:
        """Some steps of each that is not done."""
        for removed in await self._store.orgs_erasing():
            for _ in range(STEPS_AT_ONCE):
                if not await self._step(removed.org):
                    break

    async def _step(self, org: int) -> int:
        """How many rows it has erased."""
        done = await self._between(lambda unit: unit.erase_org(org, self._clock.now_ms()), org not in self._begun)
        if done is None:
            return 0
        self._begun.add(org)
        removed, gone = done
        if removed.erased_at is not None:
            self._begun.discard(org)
        if gone:
            self._carrying_out.has_room_to_give_back = True
        return gone


def removed_now(org: Org, held: OrgHolds, now_ms: int) -> RemovedOrg:
    """An organisation that is removed at this moment (wall ms)."""
    return RemovedOrg(org.org, org.org_id, org.name, org.created_at, now_ms, held)
