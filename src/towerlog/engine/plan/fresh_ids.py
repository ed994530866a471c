"""Fresh names for a group that may have to be placed more than once: each time it is given the same."""

from __future__ import annotations

import msgspec

from towerlog.ambient import Ids


class DrawnIds(msgspec.Struct, eq=False):
    """`Ids` that remembers what it has given; made for every group, though few groups draw any."""

    ids: Ids
    """Where new ones come from."""
    drawn: list[tuple[int, str]] = []
    given: int = 0

    def again(self) -> None:
        """From the first one on."""
        self.given = 0

    def uuid(self) -> str:
        """A UUID."""
        return self._draw(0)

    def token(self, length: int) -> str:
        """A token."""
        return self._draw(length)

    def _draw(self, length: int) -> str:
        """A token of this length, 0 for a UUID. Another order than before ends the repetition."""
        if self.given < len(self.drawn) and self.drawn[self.given][0] != length:
            del self.drawn[self.given :]
        if self.given == len(self.drawn):
            self.drawn.append((length, self.ids.token(length) if length else self.ids.uuid()))
        self.given += 1
        return self.drawn[self.given - 1][1]
