"""One reader of rows: which it wants, up to where it has them, and what it has missed. No queue: see `RowChannel`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from towerlog.engine.follow.channel import MAX_CHUNK_BYTES
from towerlog.engine.follow.follower import Take
from towerlog.engine.live.channel import Changed, RowChannel, RowReader
from towerlog.engine.live.rows import WATCHED, fits
from towerlog.model.question import RowFilter

MAX_CAUGHT_UP = 2000
"""Rows that are sent to a reader that comes back; where more may have changed, it has to read the lists."""
BACKLOG_ROWS = 25
"""Rows that a reader which comes back has in hand at a time."""

Missed = Callable[[RowChannel, RowFilter, int, int], Awaitable[list[Changed] | None]]
"""(channel, filter, after a position, up to another) → what may have changed between; None for too much."""


class WatchingReader:
    """Made by `RowChannels.follow`. A stream reads it as it reads a `Follower`."""

    __slots__ = (
        "_at",
        "_backlog",
        "_before",
        "_channel",
        "_follow",
        "_frames",
        "_goal",
        "_leave",
        "_missed",
        "_preface",
        "_reached",
        "_sent",
        "_stopped",
        "_told",
        "_waiter",
        "_wanted",
        "finished",
        "take",
    )

    def __init__(
        self,
        leave: Callable[[RowChannel, RowReader], None],
        missed: Missed,
        channel: RowChannel,
        wanted: RowFilter,
        follow: bool,
    ) -> None:
        """Begins with the next batch; `begin_at` says what came before. `follow` False: ends with that."""
        self._follow = follow
        self._leave = leave
        self._missed = missed
        self._channel = channel
        self._wanted = wanted
        self._at = channel.number
        """The batch that it has had last."""
        self._reached = self._told = 0
        """The position up to which it has everything, and the one that it was told last."""
        self._preface = b""
        self._backlog: deque[Changed] = deque(maxlen=MAX_CAUGHT_UP)
        self._frames: deque[tuple[Changed, bytes]] = deque(maxlen=BACKLOG_ROWS)
        """Of the backlog, what is read and not sent."""
        self._goal: int | None = None
        """The position that it has reached with the last of its backlog; None while it has none."""
        self._before: tuple[int, int, int, int | None] = (self._at, 0, 0, None)
        self._sent: list[Changed] = []
        """Where it was before the last read, and what that took from its backlog."""
        self._waiter: asyncio.Future[None] | None = None
        self._stopped = False
        self.take: Take | None = None
        """How a batch goes to its reader without a read, while this one waits."""
        self.finished = False
        """There is no end to what changes."""

    # Where it begins

    def begin_at(self, position: int) -> None:
        """Whoever reads the lists from here on has everything up to this position."""
        channel = self._channel
        self._reached = self._told = position
        cursor = channel.cursor_of(position)
        self._preface += channel.style.place(cursor) + channel.style.snapshot(cursor, False, ())

    def begin_anew(self, reason: str, position: int) -> None:
        """The same, for a reader that had something else before."""
        self._preface = self._channel.style.gap(reason)
        self.begin_at(position)

    async def resume(self, after: int, position: int) -> None:
        """Sends what has changed after one position, up to another, or says that this is too much."""
        channel = self._channel
        missed = await self._missed(channel, self._wanted, after, position)
        if missed is None:
            self.begin_anew("more has changed than is sent again: read the lists", position)
            return
        self._reached = self._told = after
        # Its id is that of before: whoever is cut off meanwhile has to begin there once more.
        place, cursor = channel.cursor_of(after), channel.cursor_of(position)
        whole = [kind for kind in sorted(self._wanted.kinds) if WATCHED[kind].may_go]
        self._preface = channel.style.place(place) + channel.style.snapshot(cursor, True, whole)
        self._goal = position
        self._backlog.extend(missed)

    # What a stream asks

    async def read(self) -> bytes | None:
        """Whole frames; b"" when woken without news; None once it is stopped."""
        while not self._stopped:
            if self._preface:
                preface, self._preface = self._preface, b""
                return preface
            if not self._follow and self._goal is None:
                return None
            self._note_place()
            chunk = self._from_ring() if self._goal is None else await self._from_backlog()
            if chunk:
                return chunk
            if chunk is None:
                # Its reader was too slow for what is kept: it gets what has changed as if it had come back.
                self._at = self._channel.number
                await self.resume(self._reached, self._channel.newest)
            elif self._goal is None and self._at == self._channel.number:
                await self._wait()
                if self._at == self._channel.number and not self._stopped:
                    return self._position()
        return None

    def _position(self) -> bytes:
        """Up to where it has everything, if it was not told; b"" otherwise."""
        if self._reached == self._told:
            return b""
        self._told = self._reached
        cursor = self._channel.cursor_of(self._told)
        return self._channel.style.place(cursor) + self._channel.style.position(cursor)

    def _from_ring(self) -> bytes | None:
        """What is new, b"" for nothing; None where a batch that it has not had is kept no more."""
        found = self._channel.after(self._at)
        if found is None:
            return None
        taken: list[bytes] = []
        for batch in found:
            chunk = batch.chunk(self._wanted)
            taken.append(chunk)
            if batch.reached is not None:
                self._reached = max(self._reached, batch.reached)
                self._told = batch.reached if chunk else self._told
        self._at += len(found)
        return b"".join(taken)

    async def _from_backlog(self) -> bytes:
        """The next rows of what it has missed; after the last, a place to come back to."""
        if not self._frames and self._backlog:
            keys = [self._backlog.popleft() for _ in range(min(BACKLOG_ROWS, len(self._backlog)))]
            anyhow = msgspec.structs.replace(self._wanted, statuses=None)  # what it was before, nobody knows
            found, left = await self._channel.load(keys)
            self._backlog.extendleft(reversed(left))
            self._frames.extend((key, frame) for key, frame, now in found if fits(anyhow, key[0], now, ()))
        taken: list[bytes] = []
        size = 0
        while self._frames and (not taken or size + len(self._frames[0][1]) <= MAX_CHUNK_BYTES):
            key, frame = self._frames.popleft()
            self._sent.append(key)
            taken.append(frame)
            size += len(frame)
        if not self._frames and not self._backlog and self._goal is not None:
            # Said even where nothing has come: a reader of whole kinds has to know where they end.
            self._reached, self._goal, self._told = self._goal, None, -1
            taken.append(self._position())
        return b"".join(taken)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _note_place(self) -> None:
        self._before, self._sent = (self._at, self._reached, self._told, self._goal), []

    def put_back(self) -> None:
        """What was read last is read again: it was too large to be kept until its reader has room."""
        self._at, self._reached, self._told, self._goal = self._before
        self._backlog.extendleft(self._sent)

    def tell(self) -> None:
        """There is another batch: it goes to a reader who waits for it and has room, else he is woken."""
        waiter = self._waiter
        if waiter is None or self.take is None or waiter.done() or self._stopped:
            self.wake()
            return
        self._note_place()
        chunk = self._from_ring()
        if chunk is None or (chunk and not self.take(chunk)):
            self.put_back()  # nothing was sent, and its backlog is sent: only its place is moved
            self.wake()
        elif self._at < self._channel.number:
            self.wake()

    def wake(self) -> None:
        """There may be something to read, or a reason to say that one is still there."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self) -> None:
        """The next read gives None."""
        self._stopped = True
        self.wake()

    def close(self) -> None:
        """Leaves the channel. Call it always."""
        self._leave(self._channel, self)
