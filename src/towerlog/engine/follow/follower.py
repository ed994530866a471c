"""One reader of one channel: a cursor and a wake-up, nothing more. A wake-up is only a reason to read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from towerlog.engine.follow.channel import MAX_CHUNK_BYTES, Channel
from towerlog.model.event import Event
from towerlog.model.run import RunRow

PAGE_EVENTS = 500

Page = Callable[[int, int], Awaitable[list[Event]]]
"""(after, limit) → events in order, from the store."""


class Source(msgspec.Struct, frozen=True):
    """What a follower follows: how to read its events from the store and how to know its end."""

    page: Page
    ended: Callable[[], Awaitable[RunRow | None]]
    """The row of the run, where it has ended; None while more may come. Asked once, after subscribing."""
    rows: Callable[[Sequence[int]], Awaitable[Mapping[int, RunRow]]]
    """Run numbers → their rows as they are now; asked only for a style that needs them."""
    epoch: str


Leave = Callable[[Channel, "Follower"], None]
"""Takes a follower out of its channel."""


class Follower:
    """One reader of one channel."""

    __slots__ = (
        "_channel",
        "_cursor_before",
        "_end",
        "_has_told_end",
        "_leave",
        "_pages",
        "_preface",
        "_source",
        "_stopped",
        "_waiter",
        "_woken",
        "cursor",
        "finished",
        "live",
    )

    def __init__(
        self,
        leave: Leave,
        pages: asyncio.Semaphore,
        channel: Channel,
        source: Source,
        cursor: int,
        live: bool,
        preface: bytes,
    ) -> None:
        """Made by `Hub.follow`. `live` False: ends at what is there. `preface` is sent before anything else."""
        self._leave = leave
        self._pages = pages
        self._preface = preface
        self._channel = channel
        self._source = source
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self._stopped = False
        self._end: RunRow | None = None
        """The run's row, where it had ended before this follower came."""
        self._has_told_end = False
        self.cursor = self._cursor_before = cursor
        self.live = live
        self.finished = False
        """True when nothing is there and nothing will come. Known once it was made."""

    def put_back(self) -> None:
        """What was read last is read again by the next read: it was too large to be kept until its reader has room."""
        self.cursor = self._cursor_before

    async def read(self) -> bytes | None:
        """Whole frames; b"" when woken without news; None at the stream's end."""
        self._cursor_before = self.cursor
        if self._preface and not self._stopped:
            preface, self._preface = self._preface, b""
            return preface
        while not self._stopped:
            chunk = self._from_ring()
            if chunk is None:
                chunk = await self._catch_up()
            if chunk:
                return chunk
            if self._woken:
                continue  # something was committed while the store was being read
            if not self.live or self._end is not None or self._channel.ended:
                return self._last_frame()
            await self._wait()
            if not self._stopped:
                chunk = self._from_ring()
                return await self._catch_up() if chunk is None else chunk
        return None

    def _last_frame(self) -> bytes | None:
        """Once all is read: what the style says of the run's end, one time; None where it says nothing."""
        ended, frame_of = self._channel.ended or self._end, self._channel.style.end
        if ended is None or frame_of is None or self._has_told_end:
            return None
        self._has_told_end = True
        return frame_of(ended)

    def _from_ring(self) -> bytes | None:
        """What is new, b"" for nothing; None where the ring does not reach back that far. Most reads end here."""
        self._woken = False
        found = self._channel.after(self.cursor)
        if found is None:
            return None
        self.cursor, chunk = found
        return chunk

    async def _catch_up(self) -> bytes:
        """What is new, b"" for nothing: by pages of the store until one has a frame or the ring reaches back."""
        while True:
            async with self._pages:
                before, (self.cursor, chunk) = self.cursor, await self._from_store()
            if chunk or self.cursor == before:
                return chunk
            found = self._from_ring()
            if found is not None:
                return found

    async def _from_store(self) -> tuple[int, bytes]:
        """A page of the log; (cursor, b"") at its end."""
        source, channel, cursor = self._source, self._channel, self.cursor
        style, cursor_of = channel.style, channel.cursor_of
        events = await source.page(cursor, PAGE_EVENTS)
        taken: list[bytes] = []
        size = 0
        if channel.is_dense:
            if events and cursor_of(events[0]) > cursor + 1:
                taken.append(style.gap(cursor, cursor_of(events[0])))
            if not events and self._end is not None and cursor < self._end.last_seq:
                # All that was left of an ended run is gone too: say so instead of ending as if there had been nothing.
                return self._end.last_seq, style.gap(cursor, self._end.last_seq + 1)
        rows = await source.rows(list({event.run for event in events})) if style.with_row and events else {}
        for event in events:
            frame = style.frame(event, source.epoch, rows.get(event.run)) or b""
            if size and size + len(frame) > MAX_CHUNK_BYTES:
                break
            taken.append(frame)
            cursor, size = cursor_of(event), size + len(frame)
        return cursor, b"".join(taken)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """There may be something to read, or a reason to say that one is still there."""
        self._woken = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def stop(self) -> None:
        """The next read gives None."""
        self._stopped = True
        self.wake()

    def close(self) -> None:
        """Leaves the channel. Call it always."""
        self._leave(self._channel, self)

    async def prepare(self) -> None:
        """Finds out whether there is anything to wait for."""
        end = self._end = await self._source.ended()
        self.finished = end is not None and self.cursor >= end.last_seq and not self._preface
