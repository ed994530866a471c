"""How often a sign-in may be tried: a password from one address, and for one member from one address and from all,
whether it is there or not; and the way to the identity provider and back, from one address."""

from __future__ import annotations

from collections.abc import Mapping

from towerlog.asgi.guard.addresses import counted_as
from towerlog.asgi.guard.limits import Limiter

TRIES_OF_ADDRESS = 30
TRIES_OF_MEMBER = 10
"""For one member, from one address."""
TRIES_OF_MEMBER_BY_ALL = 60
VISITS_OF_ADDRESS = 60
"""All in any minute."""


class Attempts:
    """Counts them."""

    def __init__(self) -> None:
        """None yet."""
        self._of_address = Limiter(TRIES_OF_ADDRESS)
        self._of_member = Limiter(TRIES_OF_MEMBER)
        self._of_member_by_all = Limiter(TRIES_OF_MEMBER_BY_ALL)
        self._visits = Limiter(VISITS_OF_ADDRESS)

    def limiters(self, name: str) -> Mapping[str, Limiter]:
        """All of them by names that begin with this one."""
        return {
            f"{name} address": self._of_address,
            f"{name} member": self._of_member,
            f"{name} member by all": self._of_member_by_all,
            f"{name} visits": self._visits,
        }

    def count(self, address: str, member: str, steady_ms: int, wall_ms: int) -> None:
        """One more try of a password. Raises RateLimited."""
        place = counted_as(address)
        self._take(self._of_address, place, steady_ms, wall_ms)
        self._take(self._of_member, f"{place}\n{member}", steady_ms, wall_ms)
        self._take(self._of_member_by_all, member, steady_ms, wall_ms)

    def count_visit(self, address: str, steady_ms: int, wall_ms: int) -> None:
        """One more step of a sign-in by the provider. Raises RateLimited."""
        self._take(self._visits, counted_as(address), steady_ms, wall_ms)

    def _take(self, limiter: Limiter, who: str, steady_ms: int, wall_ms: int) -> None:
        refusal = limiter.take(who, steady_ms, wall_ms)[1]
        if refusal is not None:
            raise refusal
