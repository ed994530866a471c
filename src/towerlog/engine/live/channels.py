"""All channels of rows of this process: who watches which organisation, and where each reader begins."""

from __future__ import annotations

import asyncio

from towerlog.dialects.base import RowStyle
from towerlog.engine.live.channel import Changed, RowChannel, RowReader
from towerlog.engine.live.reader import MAX_CAUGHT_UP, WatchingReader
from towerlog.engine.live.rows import WATCHED, Missed
from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.events import position_of
from towerlog.errors import StorageFailed
from towerlog.model.principal import Principal
from towerlog.model.question import FollowRows, RowFilter
from towerlog.wake.base import Commit, Wake

MAX_BEHIND = 20_000
"""Events that a reader may have missed and still be sent what they have changed."""
MAX_LOOKS = 4
"""Readers for whom is looked up at a time what they have missed."""
ALL_RINGS_BYTES = 32 * 1024 * 1024
"""What all channels keep together; past it the largest keep nothing."""


class RowChannels:
    """All channels of rows."""

    def __init__(self, source: QueryContext) -> None:
        """`source`: where rows are read back from."""
        self._source = source
        self._channels: dict[int, RowChannel] = {}
        """By organisation."""
        self._looks = asyncio.Semaphore(MAX_LOOKS)

    @property
    def readers(self) -> int:
        """How many watch."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def listen_to(self, wake: Wake) -> None:
        """Hears of each commit while somebody watches."""
        wake.subscribe(self.committed, self._channels)

    def committed(self, commit: Commit) -> None:
        """Notes what has changed for those who watch it."""
        channels = self._channels
        for event in commit.events:
            if event.org in channels:
                moved = channels[event.org]
                moved.newest = max(moved.newest, event.position)
        for kind, watched in WATCHED.items():
            for org, key, change in watched.changed(commit):
                channel = channels.get(org)
                if channel is not None:
                    channel.note(kind, key, change)
        for org in commit.unknown:
            if org in channels:
                channels[org].lose()
        held = sum(channel.size for channel in channels.values())
        if held > ALL_RINGS_BYTES:
            max(channels.values(), key=lambda channel: channel.size).forget()

    async def follow(self, principal: Principal, command: FollowRows, style: RowStyle) -> WatchingReader:
        """A reader; whoever reads it closes it. Raises Invalid for what is no cursor."""
        epoch = self._source.store.epoch
        after = None if command.after is None else position_of(command.after, epoch)
        channel = self._channels.get(principal.org)
        if channel is None:
            channel = RowChannel(self._source, principal, style, command.credits_per_dollar)
            self._channels[principal.org] = channel
        reader = WatchingReader(self.leave, self.missed, channel, command.wanted, command.follow)
        channel.readers.add(reader)
        try:
            position = await channel.begin()
            if command.after is None:
                reader.begin_at(position)
            elif after is None or after > position:
                reader.begin_anew("the cursor is of another log", position)
            else:
                await reader.resume(after, position)
        except BaseException:
            reader.close()
            raise
        return reader

    async def missed(self, channel: RowChannel, wanted: RowFilter, after: int, until: int) -> list[Changed] | None:
        """Which rows may have changed between two positions; None where that is too much, or cannot be told."""
        if until - after > MAX_BEHIND:
            return None
        org = channel.principal.org
        found: list[Changed] = []
        async with self._looks:
            try:
                touched = await self._source.store.runs_touched(org, after, until) if until > after else []
                if touched is None:
                    return None
                for kind in sorted(wanted.kinds):
                    keys = await WATCHED[kind].missed(self._source, org, Missed(after, touched))
                    if keys is None or len(found) + len(keys) > MAX_CAUGHT_UP:
                        return None
                    found += ((kind, key) for key in keys)
            except StorageFailed:  # what lies there cannot be read; the lists may be whole
                return None
        return found

    def leave(self, channel: RowChannel, reader: RowReader) -> None:
        """Forgets a reader, and a channel that nobody reads."""
        channel.readers.discard(reader)
        if not channel.readers and self._channels.get(channel.principal.org) is channel:
            del self._channels[channel.principal.org]
            channel.end()

    def stop_all(self) -> None:
        """Ends every reader."""
        for channel in list(self._channels.values()):
            for reader in list(channel.readers):
                reader.stop()
