"""How much may be said at once, and after that in a second: an allowance that fills up again by itself."""

from __future__ import annotations


class Allowance:
    """What is left of one."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: int, per_second: int) -> None:
        """All of it is left."""
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = 0.0

    def take(self, spent: float, now: float) -> bool:
        """Whether so much may be said at this time, in seconds of the event loop; where not, nothing is taken."""
        left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._left, self._at = left, now
        if spent > left:
            return False
        self._left -= spent
        return True
