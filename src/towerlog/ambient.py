"""The only door to time and randomness: `Clock` and `Ids`, handed down from the composition root.

Everything else takes them as arguments, so that a simulation can run the whole engine on a fake clock and seeded
ids. Nothing else that reads the outside world may be added here.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyzABCDEFGHJKMNPQRSTVWXYZ"


class Clock(Protocol):
    """Two clocks, both in integer milliseconds."""

    def now_ms(self) -> int:
        """Wall time since the Unix epoch, in ms. Shown to people; may jump either way, so nothing is ordered by it."""
        ...

    def steady_ms(self) -> int:
        """Wall time at the start of the process plus the monotonic time since, in ms. For deadlines; never jumps.

        A server's does not count the time in which its process stood still (`ServerClock`).
        """
        ...

    def stood_still_ms(self) -> int:
        """How much time the steady clock has left out so far because the process stood still."""
        ...


class Ids(Protocol):
    """A source of new ids."""

    def uuid(self) -> str:
        """A new UUID version 7 in its 36-character lower-case form."""
        ...

    def token(self, length: int) -> str:
        """`length` characters from an alphabet of 54, from the operating system's randomness."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        """Reads both clocks once, so that steady times look like wall times in rows and logs."""
        self._anchor_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        """Wall time in ms."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """Anchored monotonic time in ms."""
        return self._anchor_ms + time.monotonic_ns() // 1_000_000

    def stood_still_ms(self) -> int:
        """None: this clock leaves nothing out."""
        return 0


class ServerClock(SystemClock):
    """The clocks of a process that reads the steady one all the time, at least once a second.

    When the thread that made it, which runs the event loop, has not read it for longer than MAX_UNREAD_MS, the process
    stood still (SIGSTOP, a frozen machine) or its loop did. Nobody was heard meanwhile, however often they called, so
    the steady clock leaves that time out.
    """

    MAX_UNREAD_MS = 2000

    def __init__(self) -> None:
        """The time until the first reading counts as well."""
        super().__init__()
        self._lock = threading.Lock()
        self._read_ms = super().steady_ms()
        self._left_out_ms = 0
        self._thread = threading.get_ident()

    def stood_still_ms(self) -> int:
        """All standstills together, in ms."""
        return self._left_out_ms

    def steady_ms(self) -> int:
        """Anchored monotonic time in ms, without standstills.

        From any thread; one beside the loop is told of a standstill of the loop only once the loop has noticed it.
        """
        with self._lock:
            now_ms = super().steady_ms() - self._left_out_ms
            if threading.get_ident() != self._thread:
                return now_ms
            unread_ms = now_ms - self._read_ms
            if unread_ms > self.MAX_UNREAD_MS:
                self._left_out_ms += unread_ms
                now_ms = self._read_ms
            self._read_ms = now_ms
            return now_ms


class ProcessorClock:
    """What the processor has done, in integer nanoseconds: tells a block from a busy machine."""

    def __init__(self) -> None:
        """For the thread that makes it, which must be the one that reads it."""
        try:
            self._waited: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._waited = None

    def steady_ns(self) -> int:
        """Monotonic time."""
        return time.monotonic_ns()

    def spent_ns(self) -> int:
        """Processor time of all threads of this process."""
        return time.process_time_ns()

    def waited_ns(self) -> int:
        """How long this thread was ready to run and had no processor; 0 on a machine that does not tell."""
        if self._waited is None:
            return 0
        # Three figures: on a processor, waiting for one, how often.
        return int(os.pread(self._waited, 128, 0).split()[1])

    def close(self) -> None:
        """Lets go of the file."""
        if self._waited is not None:
            os.close(self._waited)
            self._waited = None


class SystemIds:
    """Ids from the operating system's randomness."""

    def __init__(self, clock: Clock) -> None:
        """`clock` gives the time part of version 7 UUIDs."""
        self._clock = clock

    def uuid(self) -> str:
        """A UUID version 7: 48 bits of milliseconds, 74 random bits (RFC 9562)."""
        random = int.from_bytes(os.urandom(10), "big")
        return format_uuid7(self._clock.now_ms(), random)

    def token(self, length: int) -> str:
        """`length` random characters from an alphabet of 54.

        Bytes past the largest multiple of 54 are drawn again: `byte % 54` would favour the first letters otherwise.
        """
        limit = 256 - 256 % len(_CROCKFORD)
        letters: list[str] = []
        while len(letters) < length:
            letters += [_CROCKFORD[byte % len(_CROCKFORD)] for byte in os.urandom(length) if byte < limit]
        return "".join(letters[:length])


def format_uuid7(time_ms: int, random: int) -> str:
    """The text of a version 7 UUID from a time in ms and at least 74 random bits."""
    # Layout of RFC 9562: 48 bits of time, version 7, 12 random bits, variant 10, 62 random bits.
    rand_a, rand_b = (random >> 62) & 0xFFF, random & 0x3FFF_FFFF_FFFF_FFFF
    value = (time_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
