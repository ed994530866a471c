"""How much is begun in one turn of the event loop, over all connections: more than that has its turn in the next.

Each piece of work alone is short: to read a packet, to decode a body and hand it on, to go on with a reply whose reader
has taken what there was. Those of many connections that come at the same time are not, and the loop looks at nothing
else, leases and timers among them, until it is through with all that came. Who waits has turns by whose the work is, so
that a crowd puts off its own and nobody else's. Strangers, who have shown no key, have a small part of each turn, from
however many addresses they come; newcomers are strangers (`http1/acceptor.py`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

MAX_BEGUN = 100
"""Pieces of work that are begun in a turn; one counts once more for each `BODY_PART_BYTES` of what it reads."""
MAX_OF_STRANGERS = 20
"""How many of them are begun for all who have shown no key; the others are for those who have. One piece may exceed it.
More than `MAX_BEGUN - COUNTED_FROM`."""
TURN_MS = 5
"""A turn ends as well once it has lasted so long: pieces differ, and whoever waits for several turns waits for all that
is begun in each of them."""
STRANGERS_MS = 1
"""And as much longer for strangers, so that they have their part of it."""
BODY_PART_BYTES = 8192
LINES_PART = 256
"""A piece counts once more for so many line ends: a chunk of a byte, or the line of a trailer, costs the parser as much
as some hundred bytes do."""
DROPPED_PART_BYTES = 64 * 1024
"""And once for so much that is read and dropped."""
COUNTED_FROM = MAX_BEGUN - 10


class Beginner(Protocol):
    """What waits: a connection, or a task."""

    def begin(self) -> None:
        """Begins it, where it has not begun meanwhile and still can; says by `spend` how much it is."""
        ...


_Lines = OrderedDict[object, OrderedDict[Beginner, None]]


class Pace:
    """Of one process. Connections look at `left` themselves: nearly all that comes is begun at once."""

    __slots__ = (
        "_ends_at",
        "_is_next",
        "_lines",
        "_steady_ms",
        "_stranger_lines",
        "_whose",
        "left",
        "left_of_strangers",
        "when_busy",
    )

    def __init__(self, steady_ms: Callable[[], int] | None = None) -> None:
        """Nothing is begun. Without a clock turns end by what is begun alone."""
        self._steady_ms = steady_ms or _no_time
        self._ends_at = 0
        """When the turn has lasted long enough, by that clock."""
        self.left = MAX_BEGUN
        """How much more may begin in this turn."""
        self.left_of_strangers = MAX_OF_STRANGERS
        """The same for strangers; `left` holds for them as well."""
        self.when_busy: Callable[[], None] = _nobody
        """Called when work begins after a `rest`, before it begins, and in every turn in which there is much of it."""
        self._is_next = False
        """The next turn has been asked for."""
        self._lines: _Lines = OrderedDict()
        """Whose → who waits, in their order; together as many as there are connections, and tasks of theirs."""
        self._stranger_lines: _Lines = OrderedDict()
        """The same of strangers."""
        self._whose: dict[Beginner, tuple[_Lines, object]] = {}
        """In whose line each stands."""

    def is_over(self, is_stranger: bool) -> bool:
        """Whether nothing more may begin in this turn, for a stranger or somebody else."""
        return self.left <= 0 or (is_stranger and self.left_of_strangers <= 0)

    def spend(self, loop: asyncio.AbstractEventLoop, size: int, is_stranger: bool = False) -> None:
        """A piece of work begins that reads so many bytes."""
        self.count(loop, 1 + size // BODY_PART_BYTES, is_stranger)

    def count(self, loop: asyncio.AbstractEventLoop, pieces: int, is_stranger: bool = False) -> None:
        """So many pieces of work begin, or have been found in one that has begun."""
        self.left -= pieces
        if is_stranger:
            self.left_of_strangers -= pieces
        if self.left < COUNTED_FROM:
            self.note(loop)

    def note(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called where `left` has come below `COUNTED_FROM`: before that, turns are not told apart."""
        if self._is_next:
            if self.left > 0 and self._steady_ms() >= self._ends_at:
                self.left = 0
            return
        self._ends_at = self._steady_ms() + TURN_MS
        loop.call_soon(self._turn, loop)
        self._is_next = True  # not before it is: without a turn nobody would be read again
        self.when_busy()

    def rest(self) -> None:
        """Has `note` called by the next work, however little it is."""
        self.left = min(self.left, COUNTED_FROM)

    def wait(self, who: Beginner, whose: object, is_stranger: bool = False) -> None:
        """Has `begin` called in one of the next turns. Nothing is left in this one, or `note` is called as well."""
        if who not in self._whose:
            lines = self._stranger_lines if is_stranger else self._lines
            self._whose[who] = (lines, whose)
            lines.setdefault(whose, OrderedDict())[who] = None

    def leave(self, who: Beginner) -> None:
        """It is not to begin any more."""
        found = self._whose.pop(who, None)
        if found is not None:
            lines, whose = found
            line = lines[whose]
            del line[who]
            if not line:
                del lines[whose]

    async def turn(self, size: int, whose: object) -> None:
        """Returns when a task may do work that reads so many bytes."""
        loop = asyncio.get_running_loop()
        if self.left > 0:
            self.rest()  # what a task does is not done in here: how long it took is seen with the next one
            self.spend(loop, size)
            return
        waiting = _WaitingTask(self, loop, size)
        self.wait(waiting, whose)
        try:
            await waiting.turn
        finally:
            self.leave(waiting)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self.left, self.left_of_strangers = MAX_BEGUN, MAX_OF_STRANGERS
        try:
            self._ends_at = self._steady_ms() + TURN_MS
            self._go_on(loop)
        except BaseException:
            self._is_next = False
            raise

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins what waits. Behind a task it goes on once that has worked: only then is known how long it took."""
        is_behind_task = False
        try:
            is_behind_task = self._begin_all(MAX_OF_STRANGERS if self._stranger_lines else 0)
        finally:
            self._is_next = is_behind_task
            if is_behind_task:
                loop.call_soon(self._go_on, loop)
            elif self._whose or self.left < COUNTED_FROM:  # also where one has raised before it spent anything
                self.note(loop)

    def _begin_all(self, kept: int) -> bool:
        """Whether it has begun a task. `kept`: how much of the turn is for strangers."""
        ends_at = self._ends_at
        while self._lines and self.left > kept and self._steady_ms() < ends_at:
            if self._begin_next(self._lines):
                return True
        self.left = max(self.left, kept)
        ends_at = max(ends_at, self._steady_ms() + STRANGERS_MS)
        while self._stranger_lines and not self.is_over(True) and self._steady_ms() < ends_at:
            self._begin_next(self._stranger_lines)
        while self._lines and self.left > 0 and self._steady_ms() < ends_at:
            if self._begin_next(self._lines):
                return True
        if self._whose and self._steady_ms() >= ends_at:
            self.left = 0
        return False

    def _begin_next(self, lines: _Lines) -> bool:
        """Begins what is first in the first line, which is the last one then. Whether that is a task."""
        whose, line = lines.popitem(last=False)
        who, _ = line.popitem(last=False)
        del self._whose[who]
        if line:
            lines[whose] = line
        who.begin()
        return isinstance(who, _WaitingTask)


def _no_time() -> int:
    """Stands still."""
    return 0


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
