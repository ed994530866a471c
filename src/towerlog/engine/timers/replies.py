"""Replies kept for Idempotency-Keys: dropped after a day of time in which the server could hear."""

from __future__ import annotations

from towerlog.ambient import Hearing
from towerlog.store.base import Store

REPLY_LIFE_MS = 24 * 3600 * 1000
REPLY_SWEEP_MS = 3600 * 1000
DROPPED_AT_ONCE = 500
"""Replies that are dropped before a commit may come in between."""


class OldReplies:
    """Looks once an hour."""

    def __init__(self, store: Store, hearing: Hearing) -> None:
        """The first hour begins now."""
        self._store = store
        self._hearing = hearing
        self._swept_at = hearing.now().heard_ms

    async def sweep(self) -> None:
        """Drops them, if the hour is over."""
        now_ms = self._hearing.now().heard_ms
        if now_ms - self._swept_at > REPLY_SWEEP_MS:
            self._swept_at = now_ms
            while await self._store.replies_drop(now_ms - REPLY_LIFE_MS, DROPPED_AT_ONCE) == DROPPED_AT_ONCE:
                pass
