"""One reader of one channel: a cursor and a wake-up, nothing more. A wake-up is only a reason to read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from towerlog.engine.follow.channel import Channel
from towerlog.engine.follow.pages import ReadPage, StorePages
from towerlog.errors import StorageFailed
from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.run import RunRow
from towerlog.store.columns.order import OutOfOrder

PAGE_EVENTS = 500

Page = Callable[[int, int], Awaitable[list[Logged]]]
"""(after, limit) → events in order, from the store."""


class Source(msgspec.Struct, frozen=True):
    """What a follower follows: how to read its events from the store and how to know its end."""

    page: Page
    ended: Callable[[], Awaitable[RunRow | None]]
    """The row of the run, where it has ended; None while more may come. Asked once, after subscribing."""
    rows: Callable[[Sequence[int]], Awaitable[Mapping[int, RunRow]]]
    """Run numbers → their rows as they are now; asked only for a style that needs them."""
    unreadable: Callable[[int], Awaitable[list[Logged]]]
    """What stands for all that there is now after a cursor, where the store cannot even tell what there is."""
    epoch: str
    end_event: Callable[[RunRow], Awaitable[Event | None]] | None = None
    """The event that has ended the run of this row; None where nobody asks for it."""


Leave = Callable[[Channel, "Follower"], None]
"""Takes a follower out of its channel."""
Take = Callable[[bytes], bool]
"""Hands frames to a reader at once; False where they are to be read in his own time."""


class StreamReader(Protocol):
    """What a stream reads: a follower of events, or a reader of rows."""

    take: Take | None
    """How what is new goes to whoever reads, without a read, while this waits in one; None: not at all."""

    @property
    def finished(self) -> bool:
        """Whether nothing is there and nothing will come. Known once it was made."""
        ...

    async def read(self) -> bytes | None:
        """Whole frames; b"" when woken without news; None at the stream's end."""
        ...

    def put_back(self) -> None:
        """What was read last is read again by the next read."""
        ...

    def wake(self) -> None:
        """There may be a reason to say that one is still there."""
        ...

    def stop(self) -> None:
        """The next read gives None."""
        ...

    def close(self) -> None:
        """Leaves what it reads. Call it always."""
        ...


def _begins(found: Logged, cursor_of: Callable[[Logged], int]) -> int:
    """The first place that an event takes, or that a stretch without events does."""
    return found.first_seq if isinstance(found, DamagedEvent) else cursor_of(found)


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
        "take",
    )

    def __init__(
        self,
        leave: Leave,
        pages: StorePages,
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
        self.take: Take | None = None
        """How what is committed while this one waits goes to its reader without a read."""
        self.finished = False
        """True when nothing is there and nothing will come. Known once it was made."""

    def put_back(self) -> None:
        """What was read last is read again by the next read: it was too large to be kept until its reader has room."""
        self.cursor, self._has_told_end = self._cursor_before, False

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
                return await self._last_frame()
            await self._wait()
            if not self._stopped:
                chunk = self._from_ring()
                return await self._catch_up() if chunk is None else chunk
        return None

    async def _last_frame(self) -> bytes | None:
        """Once all is read: what the style says of the run's end, one time; None where it says nothing."""
        ended, frame_of, event_of = self._channel.ended or self._end, self._channel.style.end, self._source.end_event
        if ended is None or frame_of is None or self._has_told_end:
            return None
        self._has_told_end = True
        return frame_of(ended, None if event_of is None else await event_of(ended))

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
            before = self.cursor
            self.cursor, chunk = await self._pages.after(self._channel, before, self._from_store)
            if chunk or self.cursor == before:
                return chunk
            found = self._from_ring()
            if found is not None:
                return found

    async def _from_store(self) -> ReadPage:
        """A page of the log as frames, none at its end."""
        source, channel, cursor = self._source, self._channel, self.cursor
        style, cursor_of = channel.style, channel.cursor_of
        events = await self._page(cursor)
        frames: list[tuple[int, bytes]] = []
        if channel.is_dense:
            if events and _begins(events[0], cursor_of) > cursor + 1:
                frames.append((cursor, style.gap(cursor, _begins(events[0], cursor_of))))
            if not events and self._end is not None and cursor < self._end.last_seq:
                # All that was left of an ended run is gone too: say so instead of ending as if there had been nothing.
                frames.append((self._end.last_seq, style.gap(cursor, self._end.last_seq + 1)))
        damaged = [event.run for event in events if isinstance(event, DamagedEvent)]
        named = {event.run for event in events} if style.with_row else set(damaged)
        rows = await source.rows(list(named)) if named else {}
        is_shared = not frames and not damaged
        for event in events:
            row = rows.get(event.run)
            if isinstance(event, DamagedEvent):
                frame = style.damaged(event, None if row is None else row.run_id)
            else:
                frame = channel.frame(event, row if style.with_row else None)
            frames.append((cursor_of(event), frame))
        return ReadPage(cursor, frames, is_shared)

    async def _page(self, cursor: int) -> list[Logged]:
        """A page of the store. Where it cannot be read, what stands for it: the next try would meet the same."""
        try:
            return await self._source.page(cursor, PAGE_EVENTS)
        except StorageFailed as error:
            if not (error.fatal or isinstance(error, OutOfOrder)):
                raise
            return await self._source.unreadable(cursor)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def tell(self) -> None:
        """Something was committed: it goes to a reader who waits for it and has room, else he is woken."""
        waiter, channel = self._waiter, self._channel
        if waiter is None or self.take is None or waiter.done() or self._stopped or channel.ended is not None:
            self.wake()
            return
        found = channel.after(self.cursor)
        if found is None or (found[1] and not self.take(found[1])):
            self.wake()
            return
        self.cursor = self._cursor_before = found[0]
        if self.cursor < channel.newest:
            self.wake()

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
