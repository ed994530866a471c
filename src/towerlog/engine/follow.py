"""Followers: a cursor and a wake-up each, nothing more. A wake-up is only a reason to read.

`Hub` keeps, for each channel somebody follows, a ring of the newest frames, encoded once for all its followers. A
follower subscribes first and reads after its cursor then; what fell off the ring it reads from the store in pages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import structlog

from towerlog.model.event import FEED_TYPES, Event

RING_FRAMES = 1000
PAGE_EVENTS = 500
RING_BYTES = 4 * 1024 * 1024
"""A ring holds at most so many frames and so many bytes; a follower further behind reads the store."""
MAX_CHUNK_BYTES = 256 * 1024
"""A follower takes at most about this much at a time."""
MAX_SHARED_CHUNKS = 32
ALL_RINGS_BYTES = 64 * 1024 * 1024
"""All rings together; past it the largest are emptied, and their followers read the store."""
COUNT_RINGS_EVERY = 16
"""Publications between two looks at that sum."""
RUN, AGENT = "run", "agent"
OTHER_LOG = b'event: gap\ndata: {"reason":"the cursor is of another log"}\n\n'
"""Tells a feed's follower that what it saw before is not what follows here."""

log = structlog.get_logger("towerlog.follow")
Frame = Callable[[Event, str], bytes | None]
Page = Callable[[int, int], Awaitable[list[Event]]]
"""(after, limit) → events in order, from the store."""
ChannelKey = tuple[str, int, str]
"""(`run` or `agent`, its number, style)."""


class Channel:
    """One run's (or agent's) newest frames in one style, and who waits for more."""

    __slots__ = ("_bytes", "_chunks", "_covered", "ended", "followers", "frame", "frames", "key")

    def __init__(self, key: ChannelKey, frame: Frame) -> None:
        """Empty: what came before its first follower is in the store."""
        self.key = key
        self.frame = frame
        self.frames: deque[tuple[int, bytes]] = deque(maxlen=RING_FRAMES)
        self.followers: set[Follower] = set()
        self.ended = False
        """True once the run's end was published."""
        self._bytes = 0
        self._covered: int | None = None
        """The ring holds everything after this cursor; None while it holds nothing."""
        self._chunks: dict[int, tuple[int, bytes]] = {}

    @property
    def size(self) -> int:
        """Bytes that the ring holds."""
        return self._bytes

    def forget(self) -> None:
        """Empties the ring; its followers read the store instead."""
        if self.frames:
            self._covered = self.frames[-1][0]
        self.frames.clear()
        self._chunks.clear()
        self._bytes = 0

    def _lose(self) -> None:
        """Holds nothing any more: what comes next begins anew."""
        self.forget()
        self._covered = None

    def publish(self, cursor: int, event: Event, epoch: str) -> None:
        """Adds a committed event; one without a frame still moves the cursor."""
        if self._covered is None:
            # A run's seq is dense; of a feed's positions only those behind this one are known.
            self._covered = cursor - 1 if self.key[0] == RUN else cursor
        try:
            frame = self.frame(event, epoch) or b""
        except Exception:  # it is committed all the same: whoever follows reads the store, and meets the defect alone
            log.exception("frame_failed", style=self.key[2], position=event.position)
            self._lose()
            return
        while self.frames and (len(self.frames) == RING_FRAMES or self._bytes + len(frame) > RING_BYTES):
            self._covered, dropped = self.frames.popleft()
            self._bytes -= len(dropped)
        self.frames.append((cursor, frame))
        self._bytes += len(frame)

    def wake(self) -> None:
        """Tells all followers that there is something to read."""
        self._chunks.clear()
        for follower in self.followers:
            follower.wake()

    def after(self, cursor: int) -> tuple[int, bytes] | None:
        """(new cursor, frames) after a cursor; None when the ring does not reach back that far.

        Joined once and shared by all followers that stand at the same place.
        """
        if self._covered is None or cursor < self._covered:
            return None
        known = self._chunks.get(cursor)
        if known is None:
            known = self._join(cursor)
            if len(self._chunks) < MAX_SHARED_CHUNKS:
                self._chunks[cursor] = known
        return known

    def _join(self, cursor: int) -> tuple[int, bytes]:
        newer: list[tuple[int, bytes]] = []
        for entry in reversed(self.frames):
            if entry[0] <= cursor:
                break
            newer.append(entry)
        taken: list[bytes] = []
        size = 0
        for position, frame in reversed(newer):
            taken.append(frame)
            cursor, size = position, size + len(frame)
            if size > MAX_CHUNK_BYTES:
                break
        return cursor, b"".join(taken)


class Source(msgspec.Struct, frozen=True):
    """What a follower follows: how to read its events and how to know its end."""

    page: Page
    cursor_of: Callable[[Event], int]
    ends_at: Callable[[], Awaitable[int | None]]
    """The last cursor there is, where nothing more will come; None while more may. Asked once, after subscribing."""
    gap: Callable[[int, int], bytes] | None = None
    """(requested, oldest left) → a frame telling of a hole, for dense cursors."""
    epoch: str = ""


class Follower:
    """One reader of one channel."""

    __slots__ = (
        "_channel",
        "_end",
        "_hub",
        "_preface",
        "_source",
        "_stopped",
        "_waiter",
        "_woken",
        "cursor",
        "finished",
        "live",
    )

    def __init__(self, hub: Hub, channel: Channel, source: Source, cursor: int, live: bool, preface: bytes) -> None:
        """Made by `Hub.follow`. `live` False: ends at what is there. `preface` is sent before anything else."""
        self._hub = hub
        self._preface = preface
        self._channel = channel
        self._source = source
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self._stopped = False
        self._end: int | None = None
        """The last cursor there is, where nothing more will come."""
        self.cursor = cursor
        self.live = live
        self.finished = False

    async def read(self) -> bytes | None:
        """Whole frames; b"" when woken without news; None at the stream's end."""
        if self._preface and not self._stopped:
            preface, self._preface = self._preface, b""
            return preface
        while not self._stopped:
            chunk = await self._take()
            if chunk:
                return chunk
            if self._woken:
                continue  # something was committed while the store was being read
            if not self.live or self._end is not None or self._channel.ended:
                return None
            await self._wait()
            if not self._stopped:
                return await self._take()
        return None

    async def _take(self) -> bytes:
        self._woken = False
        while True:
            found = self._channel.after(self.cursor)
            if found is None:
                found = await self._from_store()
            before, (self.cursor, chunk) = self.cursor, found
            if chunk or self.cursor == before:
                return chunk

    async def _from_store(self) -> tuple[int, bytes]:
        """A page of the log; (cursor, b"") at its end."""
        source, cursor = self._source, self.cursor
        events = await source.page(cursor, PAGE_EVENTS)
        taken: list[bytes] = []
        size = 0
        if events and source.gap is not None and source.cursor_of(events[0]) > cursor + 1:
            taken.append(source.gap(cursor, source.cursor_of(events[0])))
        if not events and source.gap is not None and self._end is not None and cursor < self._end:
            # All that was left of an ended run is gone too: say so instead of ending as if there had been nothing.
            return self._end, source.gap(cursor, self._end + 1)
        for event in events:
            taken.append(self._channel.frame(event, source.epoch) or b"")
            cursor, size = source.cursor_of(event), size + len(taken[-1])
            if size > MAX_CHUNK_BYTES:
                break
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
        self._hub.leave(self._channel, self)

    async def prepare(self) -> None:
        """Finds out whether there is anything to wait for."""
        end = self._end = await self._source.ends_at()
        self.finished = end is not None and self.cursor >= end and not self._preface


class Hub:
    """All channels of this process."""

    def __init__(self) -> None:
        """Without channels."""
        self._channels: dict[ChannelKey, Channel] = {}
        self._by_subject: dict[tuple[str, int], list[Channel]] = {}
        self._published = 0

    @property
    def followers(self) -> int:
        """How many followers there are."""
        return sum(len(channel.followers) for channel in self._channels.values())

    async def follow(
        self,
        kind: str,
        number: int,
        style: str,
        frame: Frame,
        source: Source,
        cursor: int,
        live: bool,
        preface: bytes = b"",
    ) -> Follower:
        """Subscribes; the follower reads after `cursor`."""
        key = (kind, number, style)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, frame)
            self._by_subject.setdefault((kind, number), []).append(channel)
        follower = Follower(self, channel, source, cursor, live, preface)
        channel.followers.add(follower)
        try:
            await follower.prepare()
        except BaseException:
            follower.close()
            raise
        return follower

    def leave(self, channel: Channel, follower: Follower) -> None:
        """Forgets a follower, and a channel that nobody follows."""
        channel.followers.discard(follower)
        if not channel.followers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]
            subject = (channel.key[0], channel.key[1])
            left = [other for other in self._by_subject.get(subject, []) if other is not channel]
            if left:
                self._by_subject[subject] = left
            else:
                self._by_subject.pop(subject, None)

    def publish(self, events: list[Event], ended: Iterable[int], epoch: str) -> None:
        """Committed events, in order, to the channels of their runs and, if they have a place there, their agents.

        `ended` are the numbers of runs that are over now.
        """
        if not self._channels:
            return
        touched: dict[ChannelKey, Channel] = {}
        for event in events:
            for channel in self._by_subject.get((RUN, event.run), ()):
                channel.publish(event.seq, event, epoch)
                touched[channel.key] = channel
            if event.agent and event.type in FEED_TYPES:
                for channel in self._by_subject.get((AGENT, event.agent), ()):
                    channel.publish(event.position, event, epoch)
                    touched[channel.key] = channel
        for row in ended:
            for channel in self._by_subject.get((RUN, row), ()):
                channel.ended = True
        for channel in touched.values():
            channel.wake()
        self._published += 1
        if self._published % COUNT_RINGS_EVERY == 0:
            self._keep_bound()

    def _keep_bound(self) -> None:
        """Empties rings until all together are within their bound."""
        held = sum(channel.size for channel in self._channels.values())
        if held <= ALL_RINGS_BYTES:
            return
        for channel in sorted(self._channels.values(), key=lambda channel: -channel.size):
            held -= channel.size
            channel.forget()
            if held <= ALL_RINGS_BYTES // 2:
                return

    def stop_all(self) -> None:
        """Ends every stream."""
        for channel in list(self._channels.values()):
            for follower in list(channel.followers):
                follower.stop()


def gap_frame(requested: int, oldest: int) -> bytes:
    """Tells a follower that events between its cursor and the oldest one left are gone. Carries no id."""
    text = f'{{"requested":{requested},"oldest_seq":{oldest},"missing":{oldest - requested - 1}}}'
    return b"event: gap\ndata: " + text.encode() + b"\n\n"
