"""Turns: so many at a time, and the others wait; the next one is for who has fewest. Who waits can do something else.

Who asks is a key of an organisation. Neither may have all turns, and the last ones are kept for organisations that have
none: those that are long at it leave one for whoever comes. Of equals, the one that asked first is next.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

KEPT_PART = (1, 4)
"""What part of the turns only those get who have none."""

_Line = OrderedDict[asyncio.Future[None], None]


class Turns:
    """Hands out so many turns at a time."""

    __slots__ = ("_asked", "_lines", "_max", "_max_of_key", "_max_of_organisation", "_of", "_of_key", "taken")

    def __init__(self, count: int, of_organisation: int, of_key: int) -> None:
        """`count` at a time, and how many of them one organisation and one key may have."""
        self._max, self._max_of_organisation, self._max_of_key = count, of_organisation, of_key
        self.taken = 0
        """How many have begun and not ended."""
        self._of: Counter[str] = Counter()
        self._of_key: Counter[str] = Counter()
        """The same by organisation, and by key."""
        self._asked: dict[asyncio.Future[None], tuple[str, str]] = {}
        """Who has asked for each turn that has not ended."""
        self._lines: OrderedDict[str, OrderedDict[str, _Line]] = OrderedDict()
        """Those that wait: by organisation, by key, and in their order. Who was next last stands at the end."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._asked) - self.taken

    def is_free(self, organisation: str, key: str) -> bool:
        """Whether who asks now need not wait."""
        kept = self._max * KEPT_PART[0] // KEPT_PART[1] if self._of[organisation] else 0
        return (
            self.taken < self._max - kept
            and self._of[organisation] < self._max_of_organisation
            and self._of_key[key] < self._max_of_key
        )

    def ask(self, organisation: str, key: str) -> asyncio.Future[None]:
        """A turn, which is done as soon as it has begun. It must be handed to `end`, begun or not."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[turn] = (organisation, key)
        if self.is_free(organisation, key):
            self._begin(turn)
        else:
            self._lines.setdefault(organisation, OrderedDict()).setdefault(key, OrderedDict())[turn] = None
        return turn

    def end(self, turn: asyncio.Future[None]) -> None:
        """Ends a turn, and with it begins that of whoever is next; one that has not begun leaves the line."""
        organisation, key = self._asked.pop(turn)
        if not turn.done():
            self._leave(organisation, key, turn)
            return
        self.taken -= 1
        for of, name in ((self._of, organisation), (self._of_key, key)):
            of[name] -= 1
            if not of[name]:
                del of[name]
        while (following := self._next()) is not None:
            self._begin(following)

    def _begin(self, turn: asyncio.Future[None]) -> None:
        self.taken += 1
        organisation, key = self._asked[turn]
        self._of[organisation] += 1
        self._of_key[key] += 1
        turn.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        """Takes out of its line the turn that is next; None where nobody's may begin."""
        able = (
            (self._of[organisation], self._of_key[key], organisation, key)
            for organisation, keys in self._lines.items()
            for key in keys
            if self.is_free(organisation, key)
        )
        found = min(able, key=lambda one: one[:2], default=None)
        if found is None:
            return None
        _, _, organisation, key = found
        turn = next(iter(self._lines[organisation][key]))
        self._leave(organisation, key, turn)
        if organisation in self._lines:
            self._lines.move_to_end(organisation)
            if key in self._lines[organisation]:
                self._lines[organisation].move_to_end(key)
        return turn

    def _leave(self, organisation: str, key: str, turn: asyncio.Future[None]) -> None:
        keys = self._lines[organisation]
        del keys[key][turn]
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._lines[organisation]
