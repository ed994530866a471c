"""A plan of a test's own, on the store of a rig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.rig import Rig
from towerlog.engine.load.cache import Cache
from towerlog.engine.load.rows import Known, Needs, load
from towerlog.engine.plan.plan import Plan
from towerlog.engine.verbs import REACTIONS
from towerlog.store.values import Loaded, Wanted


class Counted:
    """A unit that notes what it is asked to load."""

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        self.loads: list[dict[str, int]] = []

    async def load(self, wanted: Wanted, now_ms: int) -> Loaded:
        self.loads.append({kind.value: len(keys) for kind, keys in wanted.items()})
        found: Loaded = await self._unit.load(wanted, now_ms)
        return found


async def plan_on(
    rig: Rig, unit: Any, ask: Callable[[Needs], Any] = lambda _: None, cache: Cache | None = None
) -> Plan:
    """A plan that knows what was asked for."""
    known = Known(Cache() if cache is None else cache)
    await load(unit, known, rig.clock.steady_ms(), [(ask,)], rig.engine._writer._in_steps)
    return Plan(known, rig.clock.now_ms(), rig.clock.steady_ms(), rig.ids, REACTIONS, int)
