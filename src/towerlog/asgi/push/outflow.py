"""How much goes out to streams in one turn of the event loop, over all of them: what is more has its turn in the next.

One commit wakes all who follow it, and each would take at once what its kernel takes. To hand that over is work of the
loop, by the byte. Who waits has turns by organisation, in it by key, and of one key in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

MAX_TURN_BYTES = 8 * 1024 * 1024
"""Bytes that go out in a turn; one chunk may exceed it."""
SMALL_BYTES = 64 * 1024
"""What is no longer counts and never waits: of one channel no more readers are told in a turn than make a whole one of
it, and to have them wait would cost more than to send it."""
COUNTED_FROM_BYTES = MAX_TURN_BYTES * 3 // 4
"""Before so little is left, turns are not told apart: small frames need no more than a subtraction."""

_Line = OrderedDict[asyncio.Future[None], int]
"""Who waits, with how many bytes."""


class Outflow:
    """Paces live push of one process, by the bytes that wait."""

    __slots__ = ("_is_next", "_lines", "_whose", "left_bytes")

    def __init__(self) -> None:
        """Nothing has gone out."""
        self.left_bytes = MAX_TURN_BYTES
        """How much more may go out in this turn."""
        self._is_next = False
        """The next turn has been asked for."""
        self._lines: OrderedDict[str, OrderedDict[str, _Line]] = OrderedDict()
        """Those that wait: by organisation, by key. Who had a turn last stands at the end."""
        self._whose: dict[asyncio.Future[None], tuple[str, str]] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._whose)

    def spend(self, size: int) -> None:
        """So many bytes go out now."""
        self.left_bytes -= size
        if self.left_bytes < COUNTED_FROM_BYTES:
            self.note()

    def ask(self, org_id: str, key_id: str, size: int) -> asyncio.Future[None]:
        """Done as soon as so many bytes may go out; they are counted then. One that is given up must `leave`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.left_bytes > 0:
            self.spend(size)
            turn.set_result(None)
        else:
            self._whose[turn] = (org_id, key_id)
            self._lines.setdefault(org_id, OrderedDict()).setdefault(key_id, OrderedDict())[turn] = size
        return turn

    def leave(self, turn: asyncio.Future[None]) -> None:
        """Nothing is to go out any more; nothing happens where it has."""
        whose = self._whose.pop(turn, None)
        if whose is not None:
            org_id, key_id = whose
            keys = self._lines[org_id]
            del keys[key_id][turn]
            if not keys[key_id]:
                del keys[key_id]
            if not keys:
                del self._lines[org_id]

    def note(self) -> None:
        """Called where `left_bytes` has come below `COUNTED_FROM_BYTES`."""
        if not self._is_next:
            self._is_next = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_next, self.left_bytes = False, MAX_TURN_BYTES
        while self._lines and self.left_bytes > 0:
            org_id, keys = next(iter(self._lines.items()))
            key_id, line = next(iter(keys.items()))
            turn, size = next(iter(line.items()))
            self._lines.move_to_end(org_id)
            keys.move_to_end(key_id)
            self.leave(turn)
            if not turn.done():
                turn.set_result(None)
                self.left_bytes -= size
        if self._lines or self.left_bytes < COUNTED_FROM_BYTES:
            self.note()
