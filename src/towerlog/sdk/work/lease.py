"""When a worker has to believe that it holds a run no more, by its own steady clock.

A lease counts from the moment in which its renewal was sent: the server cannot have counted from an earlier one. At
four fifths of it the worker gives up, before the server would. The steady clock goes on while a process is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TRUSTED_SHARE = 0.8
"""The part of a lease in which its worker trusts it."""
RENEWALS = 3
"""How often a lease is renewed in its length."""
LONGEST_PAUSE_S = 1.0
"""A worker whose reports do not wait at the server asks at least this often what is wanted."""
LONGEST_WAIT_S = 20


class LeaseClock:
    """One lease as its holder knows it."""

    def __init__(self, lease_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Held from now on, as far as anybody knows."""
        self.lease_s = lease_s
        self._now = now
        self._from = now()

    def now(self) -> float:
        """The steady clock, in seconds; take it before a report is sent."""
        return self._now()

    def renewed(self, sent_at: float) -> None:
        """A report that was sent then has been acknowledged."""
        self._from = max(self._from, sent_at)

    @property
    def left_s(self) -> float:
        """For how long the lease is still trusted; 0 when it is lost."""
        return max(0.0, self._from + TRUSTED_SHARE * self.lease_s - self._now())

    @property
    def pause_s(self) -> float:
        """The longest time between two reports."""
        return min(LONGEST_PAUSE_S, self.lease_s / RENEWALS)

    @property
    def wait_s(self) -> int:
        """For how long a report may be held back at the server, in whole seconds; 0 where the lease is too short."""
        return min(LONGEST_WAIT_S, int(self.lease_s / RENEWALS))
