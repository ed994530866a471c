"""Pauses between tries: they grow, with jitter, so that many clients do not come back in step."""

from __future__ import annotations

import random

FIRST_S = 0.05
MOST_DOUBLINGS = 12


class Backoff:
    """The pauses of one thing that is tried again."""

    def __init__(self, longest_s: float) -> None:
        """Nothing has failed yet."""
        self._longest_s = longest_s
        # Its own source: a host program that has seeded the common one gets the numbers that it expects.
        self._random = random.Random()
        self._tries = 0

    def next_s(self, wanted_s: float | None) -> float:
        """The next pause, in seconds; not shorter than the server has asked for."""
        ceiling_s = min(self._longest_s, FIRST_S * (1 << self._tries))
        self._tries = min(self._tries + 1, MOST_DOUBLINGS)
        return max(wanted_s or 0.0, ceiling_s * self._random.uniform(0.5, 1.0))

    def reset(self) -> None:
        """All is well again."""
        self._tries = 0
