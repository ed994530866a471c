"""Retention: what is older than its policy says, or more than that, is erased; a few runs at a time, the organisations
in turns. Then pages that became free are given back, and old bytes in the others are overwritten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from towerlog.ambient import ServingTime
from towerlog.engine.commit.writer import Writer
from towerlog.engine.erasure.age_clock import AgeClock
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.erasure.policies import BY_AGE, BY_SIZE, mark
from towerlog.engine.erasure.removal import RemovedOrgs
from towerlog.engine.erasure.requests import ErasureRequests
from towerlog.engine.erasure.steps import Between, CarryingOut
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Rounds, TimedService, Upkeep, one_by_one
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.facts import Erases
from towerlog.model.retention import RetentionPolicy, holds
from towerlog.model.run import RunRow
from towerlog.store.base import Store, Unit
from towerlog.store.columns.order import advanced

RUNS_AT_ONCE = 20
"""Of one policy, before the next organisation has its turn."""
PASS_MS = 60_000
"""How often policies are looked at, unless they were changed or somebody asks for it."""
OVER_MS = 600_000
"""How often all pages are gone over, at most."""
ON_ITS_WAY_MS = 60_000
"""How long content may be stored before the event that it comes with."""
WIDEST_FIRST = (Erases.EVENTS, Erases.CHECKPOINTS, Erases.DELTAS)
"""So that nothing is erased twice."""


class Retention:
    """Carries out policies, and goes on with erasures that were broken off, and with those of removed organisations."""

    def __init__(
        self,
        store: Store,
        serving: ServingTime,
        upkeep: Upkeep,
        carrying_out: CarryingOut,
        held: HeldNow,
        requests: ErasureRequests,
        age: AgeClock,
        removed: RemovedOrgs,
        leads: Callable[[], bool],
    ) -> None:
        """`upkeep` commits between two groups, also where little room is left: it makes room. `leads`: whether it is
        this node that does it."""
        self._leads = leads
        self._store = store
        self._serving = serving
        self._upkeep = upkeep
        self._carrying_out = carrying_out
        self._held = held
        self._requests = requests
        self._age = age
        self._removed = removed
        self._policies: list[RetentionPolicy] = []
        self._looked_at: int | None = None

    async def sweep(self) -> None:
        """All that is due."""
        if not self._leads():
            return
        await self._removed.go_on()
        await self._carrying_out.go_on()
        now_ms, policies = self._serving.clock.steady_ms(), await self._store.policies_all()
        is_due = self._looked_at is None or now_ms - self._looked_at >= PASS_MS
        if not policies or not (is_due or self._requests.wanted or policies != self._policies):
            return
        self._looked_at, self._policies, self._requests.wanted = now_ms, policies, False
        waiting = sorted(policies, key=lambda one: (WIDEST_FIRST.index(one.kind), one.org))
        rounds = {(one.org, one.kind): Rounds("retention") for one in policies}
        while waiting:
            waiting = [one for one in waiting if await self._turn(one, rounds[one.org, one.kind])]

    async def _turn(self, policy: RetentionPolicy, rounds: Rounds) -> bool:
        """Erases of some runs; whether there may be more."""
        reason, runs = BY_AGE, list[RunRow]()
        if policy.max_age_ms is not None:
            before = await self._age.before(policy.max_age_ms)
            runs = await self._store.runs_held(policy.org, policy.kind, before, RUNS_AT_ONCE)
        if not runs and policy.max_bytes is not None:
            if await self._held.of(policy.org, policy.kind) <= policy.max_bytes:
                return False
            reason = BY_SIZE
            # One by one: how much it was is known afterwards. By the log and not by time: a clock may have been wrong.
            runs = await self._store.runs_held(policy.org, policy.kind, None, 1)
        if not runs or not rounds.advance([row.run for row in runs]):
            return False
        return await self._erase(runs, policy.kind, reason)

    async def _erase(self, runs: list[RunRow], kind: Erases, reason: str) -> bool:
        async def find(_unit: Unit, _heard_ms: int) -> list[RunRow]:
            return runs

        def place(plan: Plan, found: list[RunRow]) -> Steps[None]:
            yield from one_by_one(plan, found, lambda plan, row: _mark(plan, row, kind, reason))

        if await self._upkeep(find, _needs, place) is None:
            return False
        for row in runs:
            await self._carrying_out.finish(row.run)
        return True


def _needs(needs: Needs, found: list[RunRow]) -> Steps[None]:
    for row in found:
        needs.counters(row.org)
        needs.run_by_number(row.run)
        needs.agent(row.org, row.agent or DEFAULT_AGENT)
        yield


def _mark(plan: Plan, stored: RunRow, kind: Erases, reason: str) -> Steps[None]:
    """The row as this very group has left it."""
    row = plan.run_by_number(stored.run)
    if row is not None and kind in holds(row):
        mark(plan, row, kind, reason)
    yield


class FreePages:
    """After something was erased: gives pages back, at once where the disk is nearly full, and has old bytes in the
    others overwritten. A minute later the same of content that came with what was never stored; not while it may still
    be on its way to its event."""

    def __init__(
        self, store: Store, serving: ServingTime, between: Between, carrying_out: CarryingOut, held: HeldNow
    ) -> None:
        """`between` writes between two groups; `held` has to count anew what it takes out."""
        self._store = store
        self._held = held
        self._serving = serving
        self._between = between
        self._carrying_out = carrying_out
        self._began_at: int | None = None
        """Of the last time that all was gone over."""
        self._has_asked = False
        """Whether there is something left to do from before this start."""
        self._steps = 0
        """Of erasures, up to which all is being gone over; 0: it is not, or it was."""
        self._page = 0
        """From which on pages are to be gone over; 0: none."""
        self._content: tuple[int, int] | None = None
        """Up to which numbers content is to be looked at."""

    async def sweep(self) -> None:
        """Goes over all of them, unless somebody reads what is to be overwritten: then it goes on later."""
        if not self._has_asked and await self._store.unwiped():
            self._carrying_out.has_room_to_give_back = True
        self._has_asked = True
        now_ms, began_at = self._serving.clock.steady_ms(), self._began_at
        is_time = began_at is None or now_ms - began_at >= OVER_MS
        if self._carrying_out.has_room_to_give_back and is_time:
            self._carrying_out.has_room_to_give_back = False
            self._began_at = began_at = now_ms
            self._page, self._content = 1, await self._store.content_end()
            self._steps = await self._store.unwiped()
        if began_at is not None and self._content is not None and now_ms - began_at >= ON_ITS_WAY_MS:
            await self._sweep_content()
        await self._go_over()
        if self._steps and not self._page and self._content is None:
            await self._store.wiped(self._steps)
            self._steps = 0

    async def _sweep_content(self) -> None:
        while (before := self._content) is not None:
            left = await self._between(partial(_swept, before))
            self._held.forget_content()
            # Pages are gone over also where the sweep ends early.
            self._content, self._page = None, 1
            if left is not None:
                # The same where the step has only made ready to look.
                self._content = before if left == before else advanced("node or meta_list", before, left, falls=True)

    async def _go_over(self) -> None:
        is_wanted = self._page or (self._carrying_out.has_room_to_give_back and self._store.space.was_low)
        while is_wanted and await self._between(lambda unit: unit.give_back()):
            pass
        while self._page:
            page = await self._store.wipe(self._page)
            if page == self._page:
                return
            self._page = page


def _swept(before: tuple[int, int], unit: Unit) -> Awaitable[tuple[int, int] | None]:
    return unit.sweep_content(before)


def retention_services(
    store: Store,
    serving: ServingTime,
    writer: Writer,
    forget: Callable[[int, int], None],
    age: AgeClock,
    leads: Callable[[], bool],
    held: HeldNow,
) -> tuple[ErasureRequests, tuple[TimedService, ...]]:
    """What answers requests of erasure, and what time does about retention. `forget`: see `CarryingOut`; `leads`:
    whether policies are carried out here. Room is given back by whoever has erased something."""
    carrying_out = CarryingOut(store, writer.between, held, forget)
    requests = ErasureRequests(store, serving, carrying_out, held, age)
    upkeep = partial(writer.upkeep, makes_room=True)
    removed = RemovedOrgs(store, serving.clock, writer.between, carrying_out)
    retention = Retention(store, serving, upkeep, carrying_out, held, requests, age, removed, leads)
    return requests, (age, retention, FreePages(store, serving, writer.between, carrying_out, held))
