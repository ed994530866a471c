"""Sessions and sign-in links that have expired: forgotten. Nobody is let in by them from the moment itself."""

from __future__ import annotations

from towerlog.ambient import Hearing
from towerlog.store.base import Store

SESSION_SWEEP_MS = 3600 * 1000
SESSIONS_AT_ONCE = 500
"""Of each that are dropped before a commit may come in between."""


class OldSessions:
    """Looks once an hour."""

    def __init__(self, store: Store, hearing: Hearing) -> None:
        """The first hour begins now."""
        self._store = store
        self._hearing = hearing
        self._swept_at = hearing.now().heard_ms

    async def sweep(self) -> None:
        """Drops them, if the hour is over."""
        now_ms = self._hearing.now().heard_ms
        if now_ms - self._swept_at > SESSION_SWEEP_MS:
            self._swept_at = now_ms
            while await self._store.signed_out_drop(self._hearing.clock.now_ms(), SESSIONS_AT_ONCE) >= SESSIONS_AT_ONCE:
                pass
