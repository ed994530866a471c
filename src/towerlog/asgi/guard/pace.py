"""How much is begun in one turn of the event loop, over all connections: more than that has its turn in the next.

Each piece of work alone is short: to read a packet, to decode a body and hand it on, to go on with a reply whose reader
has taken what there was. Those of many connections that come at the same time are not, and the loop looks at nothing
else, leases and timers among them, until it is through with all that came. Who waits has turns by whose the work is, so
that a crowd puts off its own and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

MAX_BEGUN = 100
"""Pieces of work that are begun in a turn; one counts once more for each `BODY_PART_BYTES` of what it reads."""
BODY_PART_BYTES = 8192
COUNTED_FROM = MAX_BEGUN - 10


class Beginner(Protocol):
    """What waits: a connection, or a task."""

    def begin(self) -> None:
        """Begins it, where it has not begun meanwhile and still can; says by `spend` how much it is."""
        ...


class Pace:
    """Of one process. Connections look at `left` themselves: nearly all that comes is begun at once."""

    __slots__ = ("_is_next", "_lines", "_whose", "left", "when_busy")

    def __init__(self) -> None:
        """Nothing is begun."""
        self.left = MAX_BEGUN
        """How much more may begin in this turn."""
        self.when_busy: Callable[[], None] = _nobody
        """Called when work begins after a `rest`, before it begins, and in every turn in which there is much of it."""
        self._is_next = False
        """The next turn has been asked for."""
        self._lines: OrderedDict[object, OrderedDict[Beginner, None]] = OrderedDict()
        """Whose → who waits, in their order; together as many as there are connections, and tasks of theirs."""
        self._whose: dict[Beginner, object] = {}
        """In whose line each stands."""

    def spend(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        """A piece of work begins that reads so many bytes."""
        self.count(loop, 1 + size // BODY_PART_BYTES)

    def count(self, loop: asyncio.AbstractEventLoop, pieces: int) -> None:
        """So many pieces of work begin, or have been found in one that has begun."""
        self.left -= pieces
        if self.left < COUNTED_FROM:
            self.note(loop)

    def note(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called where `left` has come below `COUNTED_FROM`: before that, turns are not told apart."""
        if not self._is_next:
            self._is_next = True
            loop.call_soon(self._turn, loop)
            self.when_busy()

    def rest(self) -> None:
        """Has `note` called by the next work, however little it is."""
        self.left = min(self.left, COUNTED_FROM)

    def wait(self, who: Beginner, whose: object) -> None:
        """Has `begin` called in one of the next turns. Nothing is left in this one."""
        if who not in self._whose:
            self._whose[who] = whose
            self._lines.setdefault(whose, OrderedDict())[who] = None

    def leave(self, who: Beginner) -> None:
        """It is not to begin any more."""
        whose = self._whose.pop(who, None)
        if whose is not None:
            line = self._lines[whose]
            del line[who]
            if not line:
                del self._lines[whose]

    async def turn(self, size: int, whose: object) -> None:
        """Returns when a task may do work that reads so many bytes."""
        loop = asyncio.get_running_loop()
        if self.left > 0:
            self.spend(loop, size)
            return
        waiting = _WaitingTask(self, loop, size)
        self.wait(waiting, whose)
        try:
            await waiting.turn
        finally:
            self.leave(waiting)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_next, self.left = False, MAX_BEGUN
        try:
            while self._lines and self.left > 0:
                whose, line = self._lines.popitem(last=False)
                who, _ = line.popitem(last=False)
                del self._whose[who]
                if line:
                    self._lines[whose] = line
                who.begin()
        finally:
            if self._lines:  # also where one has raised before it spent anything: the others wait for the next turn
                self.note(loop)


def _nobody() -> None:
    """Nobody wants to be told."""


class _WaitingTask:
    """A task that waits for its turn."""

    __slots__ = ("_loop", "_pace", "_size", "turn")

    def __init__(self, pace: Pace, loop: asyncio.AbstractEventLoop, size: int) -> None:
        self._pace = pace
        self._loop = loop
        self._size = size
        self.turn: asyncio.Future[None] = loop.create_future()

    def begin(self) -> None:
        """Wakes it."""
        if not self.turn.done():
            self._pace.spend(self._loop, self._size)
            self.turn.set_result(None)
