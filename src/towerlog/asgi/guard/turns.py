"""Turns: so many at a time, and the others wait in the order in which they came. Who waits can do something else."""

from __future__ import annotations

import asyncio


class Turns:
    """Hands out so many turns at a time."""

    __slots__ = ("_count", "_free", "_line")

    def __init__(self, count: int) -> None:
        """`count` at a time."""
        self._count = self._free = count
        self._line: dict[asyncio.Future[None], None] = {}
        """Those who wait, the first one first."""

    @property
    def are_taken(self) -> bool:
        """Whether who asks now has to wait."""
        return not self._free

    @property
    def taken(self) -> int:
        """How many have begun and not ended."""
        return self._count - self._free

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def ask(self) -> asyncio.Future[None]:
        """A turn, which is done as soon as it has begun. It must be handed to `end`, begun or not."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            turn.set_result(None)
        else:
            self._line[turn] = None
        return turn

    def end(self, turn: asyncio.Future[None]) -> None:
        """Ends a turn, and with it begins that of the first who waits; one that has not begun leaves the line."""
        if not turn.done():
            del self._line[turn]
            return
        following = next(iter(self._line), None)
        if following is None:
            self._free += 1
        else:
            del self._line[following]
            following.set_result(None)
