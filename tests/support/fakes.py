"""A clock and ids that a test holds in its hand: nothing moves unless it is told to, and the same seed gives the same.

`FakeClock` keeps wall and steady time apart, because people move the wall clock and nobody may move the other.
"""

from __future__ import annotations

import random

from towerlog.ambient import format_uuid7

START_MS = 1_700_000_000_000
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyzABCDEFGHJKMNPQRSTVWXYZ"


class FakeClock:
    """Both readings begin at the same moment; `advance` moves both, `jump` and `stand_still` the wall clock alone."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._wall_ms = start_ms
        self._steady_ms = start_ms
        self._stood_still_ms = 0
        self._slept_ms = 0

    def now_ms(self) -> int:
        """The wall clock."""
        return self._wall_ms

    def steady_ms(self) -> int:
        """The clock that only ever goes on."""
        return self._steady_ms

    def advance(self, by_ms: int) -> None:
        """Time passes."""
        assert by_ms >= 0, "time does not run backwards; `jump` moves the wall clock"
        self._wall_ms += by_ms
        self._steady_ms += by_ms

    def stood_still_ms(self) -> int:
        """Of all `stand_still`."""
        return self._stood_still_ms

    def passed_ms(self) -> int:
        """All time that has passed, in which the machine slept as well."""
        return self._steady_ms + self._stood_still_ms + self._slept_ms

    def sleep(self, by_ms: int) -> None:
        """The machine sleeps: the clock that only ever goes on does not notice."""
        self._wall_ms += by_ms
        self._slept_ms += by_ms

    def stand_still(self, by_ms: int) -> None:
        """Time passes while the process does not run: only the wall clock goes on, and this clock has noticed it."""
        self._wall_ms += by_ms
        self._stood_still_ms += by_ms

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._wall_ms += by_ms

    def restart(self) -> None:
        """A new process anchors its steady clock to the wall clock anew."""
        self._steady_ms = self._wall_ms


class SeededIds:
    """Ids that the seed alone decides; they look like the real ones."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def uuid(self) -> str:
        """A UUID of version 7 whose time part is a counter, so that later ones sort later."""
        self._count += 1
        return format_uuid7(START_MS + self._count, self._random.getrandbits(74))

    def token(self, length: int) -> str:
        """Letters and digits."""
        return "".join(self._random.choices(_LETTERS, k=length))
