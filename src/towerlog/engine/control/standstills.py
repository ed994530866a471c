"""For how long something has lasted, also by what was heard before the server could not hear.

A start and an outage begin anew what is not known to have lasted long enough. What was known before stays: a run that
had made no progress for so long when the server heard last has made none until it tells of some.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from towerlog.ambient import ServingTime


class Standstills:
    """What one process knows."""

    def __init__(self, serving: ServingTime) -> None:
        """It knows of nothing before its start."""
        self._serving = serving
        self.heard_until: int | None = None
        """When a process before this one has stored something last, wall ms."""

    def lasted(self) -> Callable[[int], int]:
        """From a stamp of the wall clock to the ms for which nothing came after it while somebody heard, as of now: the
        longest such time."""
        elapsed_ms, stretches = self._serving.elapsed_ms, self._heard()

        def lasted_ms(stamp_ms: int) -> int:
            return max([elapsed_ms(stamp_ms), *[until - max(since, stamp_ms) for since, until in stretches]])

        return lasted_ms

    def _heard(self) -> list[tuple[int, int]]:
        """(from, until) in wall ms, when something could be heard, before now; only what the clock has told once."""
        leaps = self._serving.leaps()
        found: list[tuple[int, int]] = []
        for (_, _, since), (_, until, ahead) in reversed(list(pairwise(leaps))):
            if ahead < until:
                return found
            found.append((since, until))
        if leaps and self.heard_until is not None and self.heard_until <= leaps[0][2]:
            found.append((0, self.heard_until))
        return found
