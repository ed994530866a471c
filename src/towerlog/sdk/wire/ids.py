"""Fresh ids: UUID version 7, which sort by time.

Randomness is read from the system for many ids at once: a call for each costs more than the rest of making an id. A
fork discards what was read, so that parent and child never share any of it.
"""

from __future__ import annotations

import os
import time

TAILS_AT_ONCE = 32
"""Many enough that most ids need no system call, few enough that the one that reads them is not slow."""
_RANDOM_BYTES = 10


class Source:
    """Makes ids, for any thread."""

    def __init__(self) -> None:
        """Reads nothing yet."""
        self._tails: list[str] = []
        # The first 32 of the 48 bits, which change every 65 s, and their text; one value, for any thread.
        self._high = (-1, "")
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Discards what was read. Makes a new list, as another thread may still use the old one."""
        self._tails = []

    def uuid7(self) -> str:
        """A UUID of version 7 of this moment."""
        return self.uuid7_at(time.time_ns() // 1_000_000)

    def uuid7_at(self, now_ms: int) -> str:
        """A UUID of version 7 in its usual text: 48 bits of milliseconds since 1970, 74 random bits (RFC 9562)."""
        high, text = self._high
        if high != now_ms >> 16:
            high, text = self._high = now_ms >> 16, f"{now_ms >> 16:08x}"
        while True:
            tails = self._tails
            try:
                # Atomic: no two threads get the same one.
                return f"{text}-{now_ms & 0xFFFF:04x}-{tails.pop()}"
            except IndexError:
                tails.extend(_fetched())


def _fetched() -> list[str]:
    """The random parts of some ids: version and 12 bits, variant and 62 bits."""
    made = []
    digits = os.urandom(_RANDOM_BYTES * TAILS_AT_ONCE).hex()
    for at in range(0, len(digits), 2 * _RANDOM_BYTES):
        # Of the twenty hex digits, 18 and two bits of another are used; the variant replaces its other two bits.
        one = digits[at : at + 2 * _RANDOM_BYTES]
        made.append(f"7{one[:3]}-{'89ab'[int(one[3], 16) & 3]}{one[4:7]}-{one[7:19]}")
    return made


_source = Source()
uuid7, uuid7_at = _source.uuid7, _source.uuid7_at
"""The source of this process."""
