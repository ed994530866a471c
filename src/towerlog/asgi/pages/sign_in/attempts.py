"""How often a password may be tried: from one address, and for one member, whether it is there or not."""

from __future__ import annotations

from towerlog.asgi.guard.addresses import counted_as
from towerlog.asgi.guard.limits import Limiter

TRIES_OF_ADDRESS = 30
TRIES_OF_MEMBER = 10
"""In any minute."""


class Attempts:
    """Counts them."""

    def __init__(self) -> None:
        """None yet."""
        self._of_address = Limiter(TRIES_OF_ADDRESS)
        self._of_member = Limiter(TRIES_OF_MEMBER)

    def count(self, address: str, member: str, now_ms: int, wall_ms: int) -> None:
        """One more try. Raises RateLimited."""
        for limiter, who in ((self._of_address, counted_as(address)), (self._of_member, member)):
            refusal = limiter.take(who, now_ms, wall_ms)[1]
            if refusal is not None:
                raise refusal
