"""Places for work of which little is done at a time: each caller has a share of what is done and of what waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from towerlog.asgi.shares.turns import Turns
from towerlog.errors import Overloaded

MAX_WAITING = 256
MAX_WAITING_OF_ORGANISATION = 128
"""Callers without a key count as one."""
MAX_WAITING_OF_ONE = 4
"""For one address, or one member."""
BUSY = "Too many people sign in at this moment."


class SharedPlaces:
    """Hands them out."""

    def __init__(self, count: int, of_organisation: int, of_one: int) -> None:
        """`count` at a time, and how many of them one organisation, and one address or member, may have."""
        self._turns = Turns(count, of_organisation, of_one)
        self._under_way: Counter[str] = Counter()
        self._bounds = (count + MAX_WAITING, of_organisation + MAX_WAITING_OF_ORGANISATION, of_one + MAX_WAITING_OF_ONE)

    @asynccontextmanager
    async def place(self, organisation: str, one: str) -> AsyncIterator[None]:
        """One of them, as soon as it is this caller's turn. Raises Overloaded."""
        names = ("all", f"organisation {organisation}", f"one {one}")
        if any(self._under_way[name] >= bound for name, bound in zip(names, self._bounds, strict=True)):
            raise Overloaded(BUSY, retry_after=2)
        self._under_way.update(names)
        turn = self._turns.ask(organisation, one)
        try:
            await asyncio.shield(turn)  # one that is cancelled could not be told from one that has begun
            yield
        finally:
            self._turns.end(turn)
            self._under_way.subtract(names)
            for name in names:
                if not self._under_way[name]:
                    del self._under_way[name]
