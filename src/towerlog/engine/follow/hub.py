"""All channels of this process. Listens to the wake: what is committed goes into the rings, then followers wake.

`Hub` keeps, for each subject and style that somebody follows, a ring of the newest frames, encoded once for all its
followers. A follower subscribes first and reads after its cursor then; what fell off the ring it reads from the store
in pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.channel import Channel, Reader
from towerlog.engine.follow.follower import Follower, Source
from towerlog.engine.follow.listener import Listener
from towerlog.engine.follow.pages import StorePages
from towerlog.engine.follow.subjects import RUN, Subject, subjects
from towerlog.model.principal import shard_org
from towerlog.wake.base import Commit, Wake

ALL_RINGS_BYTES = 64 * 1024 * 1024
"""All rings together; past it the largest are emptied, of the organisation that has most in them: their followers read
the store, and of push, which is never read back, something is lost."""


class Hub:
    """All channels of this process."""

    def __init__(self) -> None:
        """Without channels."""
        self._channels: dict[tuple[Subject, str], Channel] = {}
        """By subject and style."""
        self._by_subject: dict[Subject, list[Channel]] = {}
        self._held_bytes = 0
        """At most so much is in all rings; exact when it was counted last."""
        self._pages = StorePages()

    @property
    def followers(self) -> int:
        """How many followers there are."""
        return sum(len(channel.followers) for channel in self._channels.values())

    async def follow(
        self, subject: Subject, style: FrameStyle, source: Source, cursor: int, live: bool, preface: bytes = b""
    ) -> Follower:
        """Subscribes; the follower reads after `cursor`."""
        channel = self._channel_of(subject, style, source.epoch)
        follower = Follower(self.leave, self._pages, channel, source, cursor, live, preface)
        channel.followers.add(follower)
        try:
            await follower.prepare()
        except BaseException:
            follower.close()
            raise
        return follower

    def listen(self, subject: Subject, style: FrameStyle, epoch: str, told: Callable[[], None]) -> Listener:
        """Subscribes to what is committed from now on; `told` is called when there is something to read."""
        channel = self._channel_of(subject, style, epoch)
        listener = Listener(self.leave, channel, told)
        channel.followers.add(listener)
        return listener

    def _channel_of(self, subject: Subject, style: FrameStyle, epoch: str) -> Channel:
        channel = self._channels.get((subject, style.name))
        if channel is None:
            channel = Channel(subject, style, epoch)
            self._channels[channel.key] = channel
            self._by_subject.setdefault(subject, []).append(channel)
        return channel

    def leave(self, channel: Channel, follower: Reader) -> None:
        """Forgets a follower, and a channel that nobody follows."""
        channel.followers.discard(follower)
        if not channel.followers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]
            subject = channel.key[0]
            left = [other for other in self._by_subject.get(subject, []) if other is not channel]
            if left:
                self._by_subject[subject] = left
            else:
                self._by_subject.pop(subject, None)

    def listen_to(self, wake: Wake) -> None:
        """Hears of each commit while there is a channel."""
        wake.subscribe(self.committed, self._channels)

    def committed(self, commit: Commit) -> None:
        """Puts the events into the rings of their subjects, and wakes who follows them."""
        by_subject, runs, agents = self._by_subject, commit.runs, commit.agents
        touched: dict[Channel, None] = self._lost(commit.unknown) if commit.unknown else {}
        for event in commit.events:
            for subject in subjects(event, runs[event.run].after):
                for channel in by_subject.get(subject, ()):
                    self._held_bytes += channel.publish(event, runs, agents)
                    touched[channel] = None
        for channel in touched:
            kind, number = channel.key[0]
            change = runs.get(int(number)) if kind == RUN else None
            # A row that was read back may be ahead of the events that were read before it.
            if change is not None and change.after.is_terminal() and change.after.last_seq <= channel.newest:
                channel.ended = change.after
            channel.wake()
        if self._held_bytes > ALL_RINGS_BYTES:
            self._keep_bound()

    def _lost(self, orgs: Collection[int]) -> dict[Channel, None]:
        """What is kept of these organisations is void: whoever follows reads the store. Their channels."""
        found = [channel for channel in self._channels.values() if _may_be_of(channel.key[0], orgs)]
        for channel in found:
            channel.lose()
        return dict.fromkeys(found)

    def forget(self, run: int, org: int) -> None:
        """What was erased of a run is in no ring any more: of its own, and of those that have events of many runs."""
        for (subject, _), channel in self._channels.items():
            kind, number = subject
            if number == run if kind == RUN else _may_be_of(subject, (org,)):
                channel.forget()

    def forget_all(self) -> None:
        """The same of whatever run: all rings are empty, and their followers read the store."""
        for channel in self._channels.values():
            channel.forget()

    def _keep_bound(self) -> None:
        """Empties rings until all together are within their bound."""
        channels = sorted((one for one in self._channels.values() if one.size), key=lambda one: one.size)
        self._held_bytes = sum(channel.size for channel in channels)
        if self._held_bytes <= ALL_RINGS_BYTES:
            return
        rings: dict[int | str, list[Channel]] = {}
        held: Counter[int | str] = Counter()
        for channel in channels:
            whose = _whose(channel.key[0])
            rings.setdefault(whose, []).append(channel)
            held[whose] += channel.size
        while self._held_bytes > ALL_RINGS_BYTES // 2:
            whose = max(held, key=held.__getitem__)
            channel = rings[whose].pop()
            held[whose] -= channel.size
            self._held_bytes -= channel.size
            channel.forget()

    def stop_all(self) -> None:
        """Ends every stream."""
        for channel in list(self._channels.values()):
            for follower in list(channel.followers):
                follower.stop()


def _whose(subject: Subject) -> int | str:
    """Key by which subjects are dropped: the organisation, or the user, whose organisation is unknown here."""
    number = subject[1]
    return number if isinstance(number, str) else shard_org(number)


def _may_be_of(subject: Subject, orgs: Collection[int]) -> bool:
    """Whether a subject is of one of these organisations; of a user that is not known."""
    number = subject[1]
    return isinstance(number, str) or shard_org(number) in orgs
