"""Followers: a cursor and a wake-up each, nothing more. A wake-up is only a reason to read.

`Hub` keeps, for each channel somebody follows, a ring of the newest frames, encoded once for all its followers. A
follower subscribes first and reads after its cursor then; what fell off the ring it reads from the store in pages.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from towerlog.engine.follow.channel import AGENT, RUN, Channel, ChannelKey, Frame
from towerlog.engine.follow.follower import Follower, Source
from towerlog.model.event import FEED_TYPES, Event

ALL_RINGS_BYTES = 64 * 1024 * 1024
"""All rings together; past it the largest are emptied, and their followers read the store."""
COUNT_RINGS_EVERY = 16
"""Publications between two looks at that sum."""
OTHER_LOG = b'event: gap\ndata: {"reason":"the cursor is of another log"}\n\n'
"""Tells a feed's follower that what it saw before is not what follows here."""

log = structlog.get_logger("towerlog.follow")


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
        follower = Follower(self.leave, channel, source, cursor, live, preface)
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
