"""The only door to time and randomness: `Clock` and `Ids`, handed down from the composition root, and `ServingTime`.

Everything else takes them as arguments, so that a simulation can run the whole engine on a fake clock and seeded
ids. Nothing else that reads the outside world may be added here.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyzABCDEFGHJKMNPQRSTVWXYZ"
MAX_COMMIT_MS = 1000
"""So much of one act of writing counts as time in which the server could hear."""
GRACE_MS = 1000
"""So long after an outage the time still stands: what was sent during it is heard first."""
MIN_SERVED_MS = 1000
"""So long the time goes on between two outages, however close they are: whoever is there gets through in between."""
MIN_OUTAGE_MS = 5000
"""Senders bridge what is shorter by trying again; after a longer one silence is counted anew."""
JUMP_MS = 1000
"""By more than this the wall clock was set; what is less is drift."""
MAX_SPANS = 64
MAX_STAMP = 2**62


class Clock(Protocol):
    """Two clocks, both in integer milliseconds."""

    def now_ms(self) -> int:
        """Wall time since the Unix epoch, in ms. Shown to people; may jump either way, so nothing is ordered by it."""

    def steady_ms(self) -> int:
        """Wall time at the start of the process plus the monotonic time since, in ms. For deadlines; never jumps.

        A server's does not count the time in which its process stood still (`ServerClock`).
        """

    def stood_still_ms(self) -> int:
        """How much time the steady clock has left out so far because the process stood still."""

    def passed_ms(self) -> int:
        """Time since some moment of this process, in ms, whether or not it ran and the machine slept; never jumps."""


class Ids(Protocol):
    """A source of new ids."""

    def uuid(self) -> str:
        """A new UUID version 7 in its 36-character lower-case form."""

    def token(self, length: int) -> str:
        """`length` characters from an alphabet of 54, from the operating system's randomness."""


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
        """Always 0: this clock never stops."""
        return 0

    def passed_ms(self) -> int:
        """Monotonic time in ms, with that in which the machine slept, where it tells."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


class ServerClock(SystemClock):
    """The clocks of a process that reads the steady one all the time, at least once a second.

    When the thread that made it, which runs the event loop, has not read it for longer than MAX_UNREAD_MS, the process
    stood still (SIGSTOP, a frozen machine) or its loop did. Nobody was heard meanwhile, however often they called, so
    the steady clock leaves that time out. Of standstills that follow one another at once, MIN_SERVED_MS of each counts:
    between them somebody could be heard.
    """

    MAX_UNREAD_MS = 2000

    def __init__(self) -> None:
        """The time until the first reading counts as well."""
        super().__init__()
        self._read_ms = super().steady_ms()
        self._left_out_ms = 0
        self._goes_until_ms = self._read_ms  # no time is left out before
        self._thread = threading.get_ident()

    def stood_still_ms(self) -> int:
        """All standstills together, in ms."""
        return self._left_out_ms

    def steady_ms(self) -> int:
        """Anchored monotonic time in ms, without standstills.

        From any thread; one beside the loop is told of a standstill of the loop only once the loop has noticed it.
        """
        # Read several times for each request. One thread alone changes what is kept here, so no lock is needed.
        now_ms = self._anchor_ms + time.monotonic_ns() // 1_000_000 - self._left_out_ms
        if threading.get_ident() != self._thread:
            return now_ms
        if now_ms - self._read_ms > self.MAX_UNREAD_MS:
            stood_still_ms = max(now_ms - max(self._read_ms, self._goes_until_ms), 0)
            self._left_out_ms += stood_still_ms
            now_ms -= stood_still_ms
            self._goes_until_ms = now_ms + MIN_SERVED_MS
        self._read_ms = now_ms
        return now_ms


class Reading(NamedTuple):
    """Both clocks at one moment."""

    wall_ms: int
    serving_ms: int


class _Span(NamedTuple):
    """A time in which the wall clock was not set."""

    began_at: int
    """In serving ms; it lasts until the next one begins."""
    offset_ms: int
    """Wall time less serving time."""


class ServingTime:
    """Time during which requests could be received and stored: leases, silences and deadlines of cancels are measured
    by it alone, so that an outage of the server never counts as silence of an agent.

    * It stands still in an outage: while the process stands still, from MAX_COMMIT_MS after an act of writing began
      until that has ended, and from when one has failed until one succeeds.
    * It goes on GRACE_MS after an outage, when requests that waited in sockets have been taken; at once after an act
      that took less than MIN_OUTAGE_MS and succeeded, because what waited for that is in the next one.
    * Once it goes on, it does so for MIN_SERVED_MS, whatever happens meanwhile. So a disk that is slow, or fails every
      other write, does not stop it for ever: from one outage to the next a second counts.

    Stamps of the wall clock are found on it again, whichever way that clock was set since.
    One for each engine; used by its event loop alone.
    """

    def __init__(self, clock: Clock, *, hears_all: bool = True) -> None:
        """The server begins to hear now. `hears_all`: no other process stamps what is judged here."""
        self.clock, self._hears_all = clock, hears_all
        self.is_out = False
        """True from when nothing could be stored until something was."""
        self._left_out_ms = 0
        self._out_from = 0  # steady ms since when nothing can be stored, where `is_out`
        self._acts = 0
        self.long_acts = self.longest_act_ms = 0  # those that took more than MAX_COMMIT_MS, since the act before ended
        self._act_began_at: int | None = None
        """Steady ms at which the act under way began that has waited longest since the last one ended."""
        self._over: tuple[int, int] | None = None
        """Steady ms between which the time stands for an outage that is over, until its grace is."""
        self._stood_still_ms = clock.stood_still_ms()
        self._told_ms = self._listening_since = self._goes_until = clock.steady_ms()
        self._spans = deque([_Span(self._told_ms, clock.now_ms() - self._told_ms)], maxlen=MAX_SPANS)

    def now(self) -> Reading:
        """Wall time, and the time in which the server could hear: like wall time at the start, and never going back."""
        wall_ms, steady_ms = self.clock.now_ms(), self.clock.steady_ms()
        if self._over is not None and steady_ms >= self._over[1]:
            self._left_out_ms += self._over[1] - self._over[0]
            self._over = None
        still_ms = self.clock.stood_still_ms() - self._stood_still_ms
        if still_ms:
            self._stood_still_ms += still_ms
            if not self.is_out:
                self._end_outage(steady_ms, still_ms, GRACE_MS)
        stands_from = self._stands_from()
        if stands_from is not None and stands_from <= steady_ms:
            return Reading(wall_ms, self._told(stands_from))
        serving_ms = self._told(steady_ms)
        offset_ms = wall_ms - serving_ms
        if abs(offset_ms - self._spans[-1].offset_ms) > JUMP_MS:
            self._begin_span(_Span(serving_ms, offset_ms))
        return Reading(wall_ms, serving_ms)

    def _stands_from(self) -> int | None:
        """Steady ms from which the time stands, unless what is under way ends before; None when nothing is."""
        if self._over is not None:
            return self._over[0]
        began = [self._out_from] if self.is_out else []
        began += [] if self._act_began_at is None else [self._act_began_at + MAX_COMMIT_MS]
        return max(min(began), self._goes_until) if began else None

    def _begin_span(self, span: _Span) -> None:
        """Past the bound the two oldest become one, which takes its stamps for later than they were, never earlier."""
        if len(self._spans) == MAX_SPANS:
            first, second = self._spans.popleft(), self._spans.popleft()
            self._spans.appendleft(_Span(first.began_at, min(first.offset_ms, second.offset_ms)))
        self._spans.append(span)

    def begin(self) -> Reading:
        """An act of writing begins, and its wait for the place to write. Some overlap: one waits for the other."""
        reading = self.now()
        self._acts += 1
        if self._act_began_at is None:
            self._act_began_at = self.clock.steady_ms()
        return reading

    def end(self) -> None:
        """An act has ended, well unless `stop` was called; others that are under way count from now."""
        self.now()
        steady_ms, began_at = self.clock.steady_ms(), self._act_began_at
        self._acts -= 1
        self._act_began_at = steady_ms if self._acts else None
        if began_at is None:
            return
        lasted_ms = steady_ms - began_at
        self.longest_act_ms = max(self.longest_act_ms, lasted_ms)
        self.long_acts += lasted_ms > MAX_COMMIT_MS
        if not self.is_out and lasted_ms > MAX_COMMIT_MS:
            self._end_outage(began_at + MAX_COMMIT_MS, lasted_ms, GRACE_MS if lasted_ms >= MIN_OUTAGE_MS else 0)

    def stop(self) -> None:
        """Nothing can be stored any more, so nobody is heard until `go_on`."""
        if not self.is_out:
            self.now()
            self._out_from = self.clock.steady_ms()
            if self._act_began_at is not None:
                self._out_from = min(self._out_from, self._act_began_at + MAX_COMMIT_MS)
            self.is_out = True

    def go_on(self) -> None:
        """Something was stored."""
        if self.is_out:
            self.now()
            self.is_out = False
            self._end_outage(self._out_from, self.clock.steady_ms() - self._out_from, GRACE_MS)

    def _end_outage(self, began_at: int, lasted_ms: int, grace_ms: int) -> None:
        """Leaves out an outage that is over, and its grace: what of it lies where the time may stand. In steady ms."""
        steady_ms = self.clock.steady_ms()
        began_at = max(began_at, self._goes_until)
        if lasted_ms >= MIN_OUTAGE_MS:
            self._listening_since = self._told(self._over[0] if self._over is not None else min(began_at, steady_ms))
        if began_at <= steady_ms:
            self._over = (began_at, steady_ms + grace_ms)
            self._goes_until = steady_ms + grace_ms + MIN_SERVED_MS

    def elapsed_ms(self, stamp_ms: int) -> int:
        """For how long the server could have heard more since this stamp of the wall clock, as far as is known.

        No longer than it has listened since its start and since its last long outage, in which somebody's only word of
        that while may have been lost; or half of the time since the stamp, where that is more, so that outages which
        come again and again hide no silence. Where the stamp may mean several moments, the clock having been set back,
        it means the last: better late than to end a run that lives.
        """
        now_ms = self.now().serving_ms
        since = self._serving_at(stamp_ms, now_ms)
        return max(now_ms - max(since, self._listening_since), (now_ms - since) // 2, 0)

    def since_ms(self, stamp_ms: int) -> int:
        """How long ago this stamp of the wall clock was made, in serving time, however that clock was set since; of one
        from before this process, by the wall clock of its start."""
        now_ms = self.now().serving_ms
        first, at_ms = self._spans[0], self._serving_at(stamp_ms, now_ms)
        return now_ms - (min(stamp_ms - first.offset_ms, at_ms) if at_ms == first.began_at else at_ms)

    def wall_of(self, serving_ms: int) -> int:
        """A moment by the wall clock as that was set then, or is set now for one to come: for showing times of leases.

        The same moment is told the same each time, unless it is to come and the clock is set or an outage puts it off.
        """
        return self.walls()(serving_ms)

    def walls(self) -> Callable[[int], int]:
        """`wall_of` for several moments, as it tells them now: the clocks are read once for all of them."""
        self.now()
        return self.wall_as_read

    def wall_as_read(self, serving_ms: int) -> int:
        """`wall_of` by the clocks as they were read last: for who does all at one time, which `begin` has read."""
        span = self._spans[-1]
        if span.began_at > serving_ms:
            span = next((span for span in reversed(self._spans) if span.began_at <= serving_ms), self._spans[0])
        return serving_ms + span.offset_ms

    def latest_stamp(self, elapsed_ms: int) -> int | None:
        """No stamp up to now that is later has `elapsed_ms` behind it; None when none at all has."""
        now_ms = self.now().serving_ms
        at_ms = now_ms - elapsed_ms
        if self._listening_since > at_ms:
            at_ms = now_ms - 2 * elapsed_ms
        ends = [(span, min(end_ms, at_ms)) for span, end_ms in self._ended(now_ms) if span.began_at <= at_ms]
        return max((end_ms + span.offset_ms for span, end_ms in ends), default=None)

    def leaps(self) -> list[tuple[int, int, int]]:
        """At which moments, in serving ms, the wall clock went on from where to where: outages, what it was set ahead
        by, and the time before the start. While an outage lasts, its end is MAX_STAMP."""
        now, pairs = self.now(), pairwise([_Span(0, -MAX_STAMP), *self._spans])
        found = [(new.began_at, new.began_at + old.offset_ms, new.began_at + new.offset_ms) for old, new in pairs]
        stands_since = self.wall_as_read(now.serving_ms)
        return [*found, (now.serving_ms, stands_since, MAX_STAMP)] if now.wall_ms - stands_since > JUMP_MS else found

    def highest_stamp(self) -> int:
        """Later than whatever this process has stamped; what is past it was stamped by a wrong clock before."""
        now_ms = self.now().serving_ms
        return max(end_ms + span.offset_ms for span, end_ms in self._ended(now_ms)) + 2 * JUMP_MS

    def _told(self, steady_ms: int) -> int:
        self._told_ms = max(self._told_ms, steady_ms - self._left_out_ms)
        return self._told_ms

    def _ended(self, now_ms: int) -> list[tuple[_Span, int]]:
        """The spans with their ends, the oldest first."""
        spans = list(self._spans)
        return [(span, after.began_at) for span, after in pairwise(spans)] + [(spans[-1], now_ms)]

    def _serving_at(self, stamp_ms: int, now_ms: int) -> int:
        """When something was stamped, in serving ms; of what was stamped before all that is known, when that began."""
        known = self._ended(now_ms)
        if not self._hears_all and stamp_ms - known[-1][0].offset_ms > now_ms:
            return now_ms  # by the clock of another node, which is ahead of this one's
        for number in range(len(known) - 1, -1, -1):
            span, end_ms = known[number]
            at_ms = stamp_ms - span.offset_ms
            if span.began_at - JUMP_MS <= at_ms <= end_ms + JUMP_MS:
                return min(max(at_ms, span.began_at), end_ms)
            before, ended_at = known[number - 1] if number else known[0]
            if number and at_ms < span.began_at and stamp_ms - before.offset_ms > ended_at:
                return span.began_at  # in what was leapt over: an outage, or the clock set ahead
        return known[0][0].began_at


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
        return int(os.pread(self._waited, 128, 0).split()[1])  # of: on a processor, waiting for one, how often

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
        return format_uuid7(self._clock.now_ms(), int.from_bytes(os.urandom(10), "big"))

    def token(self, length: int) -> str:
        """`length` random characters from an alphabet of 54. Bytes past the largest multiple of 54 are drawn again:
        `byte % 54` would favour the first letters otherwise."""
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
