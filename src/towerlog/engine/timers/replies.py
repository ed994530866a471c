"""Replies kept for Idempotency-Keys: dropped after a day."""

from __future__ import annotations

from towerlog.ambient import Clock
from towerlog.store.base import Store

REPLY_LIFE_MS = 24 * 3600 * 1000
REPLY_SWEEP_MS = 3600 * 1000


class OldReplies:
    """Looks once an hour."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """The first hour begins now."""
        self._store = store
        self._clock = clock
        self._swept_at = clock.steady_ms()

    async def sweep(self) -> None:
        """Drops them, if the hour is over."""
        if self._clock.steady_ms() - self._swept_at > REPLY_SWEEP_MS:
            self._swept_at = self._clock.steady_ms()
            await self._store.replies_drop(self._clock.now_ms() - REPLY_LIFE_MS)
