"""How much content organisations hold, as it is stored: counted once, and then what was added; what is erased is taken
off. It is asked for where a policy has a bound of bytes, and is counted anew after a restart.

The law: the figure is what a scan of the store finds. What an erasure leaves (tombstones, and the events that tell of
it) is not counted, since nothing takes it away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing, FreedBytes
from towerlog.store.base import RetentionStore
from towerlog.store.columns.order import advanced

EVENTS_AT_ONCE = 5000
ROWS_AT_ONCE = 2000
MAX_COUNTS = 3
"""How often one question has all counted anew because something was erased in the midst of it."""


class _Held:
    """Of one organisation."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        """Held by whoever changes the figures."""
        self.is_wrong = False
        """Something was erased that may have been counted and may not: all is to be counted anew."""
        self.is_content_wrong = False
        """The same of the content store alone."""
        self.has_content = False
        """Whether the content store is counted: a policy of checkpoints asks for it."""
        self.begin()

    def begin(self) -> None:
        """Nothing is counted."""
        self.is_wrong = False
        self.position = 0
        self.deltas = self.checkpoints = self.events = 0
        self.begin_content()

    def begin_content(self) -> None:
        """Nothing of the content store is."""
        self.is_content_wrong = False
        self.place = (0, 0, 0)
        self.content = 0

    def take_off(self, freed: FreedBytes) -> None:
        """All of it was counted."""
        self.deltas -= freed.deltas
        self.checkpoints -= freed.checkpoints
        self.events -= freed.events
        self.content -= freed.content if self.has_content else 0

    def of(self, kind: Erases) -> int:
        """Bytes of a kind."""
        figures = {Erases.DELTAS: self.deltas, Erases.CHECKPOINTS: self.checkpoints + self.content}
        return figures.get(kind, self.events)


class HeldNow:
    """Of all organisations that have such a policy."""

    def __init__(self, store: RetentionStore) -> None:
        """Nothing is counted yet."""
        self._store = store
        self._orgs: dict[int, _Held] = {}
        self.content_forgotten: Callable[[], None] = _nobody
        """Called when others that count have to count content anew as well."""

    async def of(self, org: int, kind: Erases) -> int:
        """Bytes of a kind. Of events all that they have, whatever kind.

        0 where it cannot be said, because something was erased by others each time that it was counted.
        """
        held = self._orgs.setdefault(org, _Held())
        async with held.lock:
            held.has_content = held.has_content or kind is Erases.CHECKPOINTS
            for _ in range(MAX_COUNTS):
                if held.is_wrong:
                    held.begin()
                elif held.is_content_wrong:
                    held.begin_content()
                await self._count(org, held)
                if not held.is_wrong and not held.is_content_wrong:
                    return held.of(kind)
        return 0

    async def catch_up(self, org: int) -> None:
        """Counts what has come, before some of it is erased; nothing where nobody has asked."""
        held = self._orgs.get(org)
        if held is not None and not held.is_wrong:
            async with held.lock:
                await self._count(org, held)

    async def step(self, org: int, step: Callable[[], Awaitable[Erasing | None]]) -> Erasing | None:
        """Carries out a step of an erasure in a unit of work, so that nobody else writes meanwhile, and takes off what
        it has freed. What there is to count by then is little: see `catch_up`."""
        held = self._orgs.get(org)
        if held is None:
            return await step()
        if held.lock.locked() or held.is_wrong:  # a unit does not wait for somebody who counts the whole log
            held.is_wrong = True
            return await step()
        async with held.lock:
            await self._count(org, held)
            try:
                done = await step()
            except BaseException:
                held.is_wrong = True  # it may have been done all the same
                raise
            if done is not None:
                held.take_off(done.freed)
        return done

    def forget(self, org: int) -> None:
        """Something of an organisation was erased, and it is not known how much: it is counted anew."""
        if org in self._orgs:
            self._orgs[org].is_wrong = True

    def forget_all(self) -> None:
        """The same of whichever organisation, content and all."""
        for held in self._orgs.values():
            held.is_wrong = True

    def forget_content(self) -> None:
        """The same of the content store, of whichever organisation."""
        for held in self._orgs.values():
            held.is_content_wrong = held.has_content
        self.content_forgotten()

    async def _count(self, org: int, held: _Held) -> None:
        """What has come since."""
        while (found := await self._store.held_bytes(org, held.position, EVENTS_AT_ONCE)).until > held.position:
            held.position = found.until
            held.deltas += found.deltas
            held.checkpoints += found.checkpoints
            held.events += found.events
        while held.has_content and not held.is_content_wrong:
            *found_place, size = await self._store.content_bytes(org, held.place, ROWS_AT_ONCE)
            held.content += size
            place = (found_place[0], found_place[1], found_place[2])
            if place == held.place:
                return
            held.place = advanced("message, node or meta_list", held.place, place)


def _nobody() -> None:
    """Nobody else counts."""
