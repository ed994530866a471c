"""Admission: what is worked on at a time has a bound, and what is over it is refused before it costs anything."""

from __future__ import annotations

from towerlog.errors import Overloaded

RETRY_SECONDS = (1, 2, 3)
"""Handed out in turn, so that those who were refused together do not come back together."""


class Admission:
    """Counts the bytes of bodies in flight and the open streams."""

    def __init__(self, max_bytes: int, max_streams: int) -> None:
        """`max_bytes` bounds the bodies being read or worked on; one body alone is always let in."""
        self.free_bytes = max_bytes
        """What may still be taken; below zero while one body that is larger than the bound is alone."""
        self.streams = 0
        self.refused = 0
        self._max_bytes = max_bytes
        self._max_streams = max_streams

    @property
    def bytes_in_flight(self) -> int:
        """What is taken now."""
        return self._max_bytes - self.free_bytes

    def take_bytes(self, count: int) -> None:
        """Raises Overloaded when there is no room for so many more. They are given back by adding to `free_bytes`."""
        if count > self.free_bytes:
            self.overdraw(count)
        self.free_bytes -= count

    def overdraw(self, count: int) -> None:
        """Says whether more than what is free may be taken: by one body that is alone. Raises Overloaded."""
        if self.bytes_in_flight:
            raise self._overloaded("The server has more bodies in hand than it can hold; nothing was stored.")

    def take_stream(self) -> None:
        """Raises Overloaded when as many streams are open as may be."""
        if self.streams >= self._max_streams:
            raise self._overloaded("The server has as many open streams as it can hold.")
        self.streams += 1

    def give_stream(self) -> None:
        """Gives a stream's place back."""
        self.streams -= 1

    def _overloaded(self, message: str) -> Overloaded:
        self.refused += 1
        return Overloaded(message, retry_after=RETRY_SECONDS[self.refused % len(RETRY_SECONDS)])
