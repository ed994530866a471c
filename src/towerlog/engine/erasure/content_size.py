"""How much content organisations hold, as it is stored: counted once, and then what was added; what is erased is taken
off. It is asked for where a policy has a bound of bytes, and is counted anew after a restart."""

from __future__ import annotations

import msgspec

from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing
from towerlog.store.base import RetentionStore

EVENTS_AT_ONCE = 5000
ROWS_AT_ONCE = 2000
_OF_CHECKPOINTS = ("messages",)


class _Held(msgspec.Struct):
    """Of one organisation."""

    position: int = 0
    content: tuple[int, int, int] = (0, 0, 0)
    deltas: int = 0
    checkpoints: int = 0
    events: int = 0


class HeldNow:
    """Of all organisations that have such a policy."""

    def __init__(self, store: RetentionStore) -> None:
        """Nothing is counted yet."""
        self._store = store
        self._orgs: dict[int, _Held] = {}

    async def of(self, org: int, kind: Erases) -> int:
        """Bytes of a kind. Of events all that they have, whatever kind."""
        held = self._orgs.setdefault(org, _Held())
        while (found := await self._store.held_bytes(org, held.position, EVENTS_AT_ONCE)).until > held.position:
            held.position = found.until
            held.deltas += found.deltas
            held.checkpoints += found.checkpoints
            held.events += found.events
        if kind is Erases.CHECKPOINTS:
            await self._count_content(org, held)
        return {Erases.DELTAS: held.deltas, Erases.CHECKPOINTS: held.checkpoints, Erases.EVENTS: held.events}[kind]

    async def _count_content(self, org: int, held: _Held) -> None:
        while True:
            *found, size = await self._store.content_bytes(org, held.content, ROWS_AT_ONCE)
            held.checkpoints += size
            place = (found[0], found[1], found[2])
            if place == held.content:
                return
            held.content = place

    def take_off(self, erased: Erasing) -> None:
        """What is not held any more."""
        held = self._orgs.get(erased.org)
        if held is None:
            return
        sizes = {kind: size for kind, (_, size) in erased.counts.items()}
        held.deltas = max(0, held.deltas - sizes.get("deltas", 0))
        held.events = max(0, held.events - sizes.get("deltas", 0) - sizes.get("events", 0))
        whole = 0 if erased.scope is Erases.EVENTS else sizes.get("events", 0)
        held.checkpoints = max(0, held.checkpoints - whole - sum(sizes.get(kind, 0) for kind in _OF_CHECKPOINTS))
