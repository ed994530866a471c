"""One reader of what is committed from now on, out of a ring alone: nothing is read back from the store for him.

He is told that there is news and reads when he has room. The ring is all that is kept for him, and it is shared: who is
further behind than it reaches has lost something, is told so, and has to ask the log.
"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.engine.follow.channel import Channel, Reader

Leave = Callable[[Channel, Reader], None]
"""Takes a reader out of its channel."""


class Listener:
    """Made by `Hub.listen`."""

    __slots__ = ("_channel", "_cursor", "_leave", "_told")

    def __init__(self, leave: Leave, channel: Channel, told: Callable[[], None]) -> None:
        """Begins after what was published last. `told` is called after each commit with news; it must not raise."""
        self._leave = leave
        self._channel = channel
        self._told = told
        self._cursor = channel.newest

    @property
    def has_news(self) -> bool:
        """Whether there is something to read, or was."""
        return self._cursor < self._channel.newest

    @property
    def is_lost(self) -> bool:
        """Whether something that was not read has gone."""
        return self.has_news and not self._channel.reaches(self._cursor)

    def read(self) -> bytes | None:
        """The next frames, at most a chunk of them; b"" for none. None where something that was not read has gone."""
        if not self.has_news:
            return b""
        found = self._channel.after(self._cursor)
        if found is None:
            return None
        self._cursor, chunk = found
        return chunk

    def tell(self) -> None:
        """Something was committed."""
        self._told()

    def stop(self) -> None:
        """Nothing more will come: there is nothing to be done."""

    def close(self) -> None:
        """Leaves the channel. Call it always."""
        self._leave(self._channel, self)
