"""How much is begun in one turn of the event loop, over all connections: more than that has its turn in the next.

Each request alone is short. Those of many connections that come at the same time are not, and the loop looks at
nothing else, leases and timers among them, until it is through with all that came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

MAX_BEGUN = 100
"""Requests that are begun in a turn; one with a body counts once more for each `BODY_PART_BYTES` of it."""
BODY_PART_BYTES = 8192
COUNTED_FROM = MAX_BEGUN - 10


class Beginner(Protocol):
    """A connection with a request that can begin."""

    def begin(self) -> None:
        """Begins it, where it has not begun meanwhile and still can."""
        ...


class Pace:
    """Of one process. Connections look at `left` themselves: nearly all requests are begun at once."""

    __slots__ = ("_is_next", "_line", "left")

    def __init__(self) -> None:
        """Nothing is begun."""
        self.left = MAX_BEGUN
        """How many more may begin in this turn."""
        self._is_next = False
        """The next turn has been asked for."""
        self._line: OrderedDict[Beginner, None] = OrderedDict()
        """Who waits, in their order; as many as there are connections."""

    def note(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called where `left` has come below `COUNTED_FROM`: before that, turns are not told apart."""
        if not self._is_next:
            self._is_next = True
            loop.call_soon(self._turn, loop)

    def wait(self, who: Beginner) -> None:
        """Has `begin` called in one of the next turns. Nothing is left in this one."""
        self._line[who] = None

    def leave(self, who: Beginner) -> None:
        """Its connection is lost."""
        self._line.pop(who, None)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_next, self.left = False, MAX_BEGUN
        while self._line and self.left > 0:
            who, _ = self._line.popitem(last=False)
            who.begin()
