"""Pages of the store that followers read back: few at a time, one of each channel, and that for all who wait for it.

A crowd that comes at once, or falls behind its ring, stands at nearly the same place. Were each of it to read a page of
its own, one after the other, the last would wait for a thousand pages and fall further behind meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from towerlog.engine.follow.channel import MAX_SHARED_CHUNKS, TOLD_AT_ONCE, Channel, first_chunk

MAX_PAGES = 4
"""Pages of the store that followers have in hand at a time; each may hold events of mebibytes."""


class ReadPage:
    """Frames of a page of the log, by their cursors."""

    __slots__ = ("_after", "_chunks", "_frames", "is_shared")

    def __init__(self, after: int, frames: Sequence[tuple[int, bytes]], is_shared: bool) -> None:
        """Read after the cursor `after`. `is_shared`: it tells of no gap, so it is the same for all."""
        self._after = after
        self._frames = frames
        self._chunks: dict[int, tuple[int, bytes]] = {}
        self.is_shared = is_shared

    def reaches(self, cursor: int, *, is_newer: bool) -> bool:
        """Whether it has what comes next after this cursor.

        `is_newer`: its read began after whoever asks had come. Only then does its end mean that there is nothing more.
        """
        if is_newer and cursor == self._after:
            return True
        return self._after <= cursor and bool(self._frames) and cursor < self._frames[-1][0]

    def chunk(self, cursor: int) -> tuple[int, bytes]:
        """(new cursor, frames) after a cursor, at most a chunk; those who stand at the same place share the bytes."""
        known = self._chunks.get(cursor)
        if known is None:
            known = first_chunk(cursor, (entry for entry in self._frames if entry[0] > cursor or cursor == self._after))
            if len(self._chunks) < MAX_SHARED_CHUNKS:
                self._chunks[cursor] = known
        return known


class _Reading:
    """A page that is being read, and who waits for it."""

    __slots__ = ("_page", "_waiters")

    def __init__(self) -> None:
        self._page: ReadPage | None = None
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> ReadPage | None:
        """The page; None where it is not for others."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
        return self._page

    def end(self, page: ReadPage | None) -> None:
        """Wakes who waits, `TOLD_AT_ONCE` in a turn of the event loop: each of them may then send a chunk."""
        self._page = page
        self._wake()

    def _wake(self) -> None:
        told, self._waiters = self._waiters[:TOLD_AT_ONCE], self._waiters[TOLD_AT_ONCE:]
        for waiter in told:
            if not waiter.done():
                waiter.set_result(None)
        if self._waiters:
            asyncio.get_running_loop().call_soon(self._wake)


class StorePages:
    """All pages that followers have in hand."""

    def __init__(self) -> None:
        """Without pages."""
        self._turns = asyncio.Semaphore(MAX_PAGES)
        self._readings: dict[Channel, _Reading] = {}

    async def after(self, channel: Channel, cursor: int, read: Callable[[], Awaitable[ReadPage]]) -> tuple[int, bytes]:
        """(new cursor, frames) after a cursor, at most a chunk of them; the cursor itself at the end of the log."""
        is_newer = False
        while (reading := self._readings.get(channel)) is not None:
            page = await reading.wait()
            # Meanwhile the ring may reach back that far.
            found = channel.after(cursor)
            if found is not None:
                return found
            if page is not None and page.reaches(cursor, is_newer=is_newer):
                return page.chunk(cursor)
            is_newer = True
        return await self._read(channel, cursor, read)

    async def _read(self, channel: Channel, cursor: int, read: Callable[[], Awaitable[ReadPage]]) -> tuple[int, bytes]:
        reading = self._readings[channel] = _Reading()
        page: ReadPage | None = None
        try:
            async with self._turns:
                found = channel.after(cursor)
                if found is not None:
                    return found
                page = await read()
            return page.chunk(cursor)
        finally:
            del self._readings[channel]
            reading.end(page if page is not None and page.is_shared else None)
