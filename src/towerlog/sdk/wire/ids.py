"""Fresh ids, made where the event is made: UUID version 7, so that ids sort by their time.

Randomness is fetched from the system in advance, for many ids at once: asking for each costs the host program more
than all the rest of an id. A fork throws away what was fetched, so that parent and child never share any of it.
"""

from __future__ import annotations

import os
import time

TAILS_AT_ONCE = 32
"""Enough to spare most calls the system, few enough that fetching them is not felt in the one that does."""
_RANDOM_BYTES = 10


class Source:
    """Makes ids. Any thread may ask."""

    def __init__(self) -> None:
        """Fetches nothing yet."""
        self._tails: list[str] = []
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Throws away what was fetched. A new list: whoever is at work on the old one does so for nothing."""
        self._tails = []

    def uuid7(self) -> str:
        """A UUID of version 7 in its usual text: 48 bits of milliseconds since 1970, 74 random bits (RFC 9562)."""
        head = f"{time.time_ns() // 1_000_000:012x}"
        while True:
            tails = self._tails
            try:
                # Atomic: no two threads get the same.
                return f"{head[:8]}-{head[8:12]}-{tails.pop()}"
            except IndexError:
                tails.extend(_fetched())


def _fetched() -> list[str]:
    """The random parts of some ids: version and 12 bits, variant and 62 bits."""
    made = []
    digits = os.urandom(_RANDOM_BYTES * TAILS_AT_ONCE).hex()
    for at in range(0, len(digits), 2 * _RANDOM_BYTES):
        # Two hex digits of the twenty are spare; the variant takes two bits of a third.
        one = digits[at : at + 2 * _RANDOM_BYTES]
        made.append(f"7{one[:3]}-{'89ab'[int(one[3], 16) & 3]}{one[4:7]}-{one[7:19]}")
    return made


uuid7 = Source().uuid7
"""The one source of this process."""
