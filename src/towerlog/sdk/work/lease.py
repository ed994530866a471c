"""Whether a worker still holds its lease, by its own monotonic clock.

A lease counts from the time at which its renewal was sent: the server cannot have counted from an earlier time. The
worker gives up after four fifths of it, before the server does. The clock keeps running while a process is suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TRUSTED_SHARE = 0.8
"""The share of a lease during which the worker relies on it."""
RENEWALS = 3
"""Renewals within the length of a lease."""
MAX_PAUSE_S = 1.0
"""The longest pause between two reports that do not wait at the server: commands arrive with them."""
MAX_WAIT_S = 20


class LeaseClock:
    """The remaining time of a lease, as its holder knows it."""

    def __init__(self, lease_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Starts now."""
        self.lease_s = lease_s
        self._now = now
        self._from = now()

    def now(self) -> float:
        """The monotonic clock in seconds, to be read before a report is sent."""
        return self._now()

    def renewed(self, sent_at: float) -> None:
        """A report that was sent at this time has been acknowledged."""
        self._from = max(self._from, sent_at)

    @property
    def left_s(self) -> float:
        """For how long the lease can still be relied on; 0 when it is lost."""
        return max(0.0, self._from + TRUSTED_SHARE * self.lease_s - self._now())

    @property
    def pause_s(self) -> float:
        """The longest time between two reports."""
        return min(MAX_PAUSE_S, self.lease_s / RENEWALS)

    @property
    def wait_s(self) -> int:
        """How long a report may wait at the server, in whole seconds; 0 if the lease is too short for it."""
        return min(MAX_WAIT_S, int(self.lease_s / RENEWALS))
