"""Fresh names for a group that may have to be placed more than once: each time it is given the same."""

from __future__ import annotations

from towerlog.ambient import Ids


class DrawnIds:
    """`Ids` that remembers what it has given."""

    def __init__(self, ids: Ids) -> None:
        """Draws from `ids`."""
        self._ids = ids
        self._drawn: list[tuple[int, str]] = []
        self._next = 0

    def again(self) -> None:
        """From the first one on."""
        self._next = 0

    def uuid(self) -> str:
        """A UUID."""
        return self._draw(0)

    def token(self, length: int) -> str:
        """A token."""
        return self._draw(length)

    def _draw(self, length: int) -> str:
        """A token of this length, 0 for a UUID. Another order than before ends the repetition."""
        if self._next < len(self._drawn) and self._drawn[self._next][0] != length:
            del self._drawn[self._next :]
        if self._next == len(self._drawn):
            self._drawn.append((length, self._ids.token(length) if length else self._ids.uuid()))
        self._next += 1
        return self._drawn[self._next - 1][1]
