"""Rows that are too old: forgotten once an hour, some at a time, so that a commit may come in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from towerlog.ambient import Reading, ServingTime
from towerlog.engine.erasure.age_clock import AgeClock
from towerlog.model.alert import MAX_WINDOW_MINUTES, MINUTE_MS
from towerlog.store.base import Store

DROP_SWEEP_MS = 3600 * 1000
DROPPED_AT_ONCE = 500
"""Rows that are dropped before a commit may come in between."""
REPLY_LIFE_MS = 24 * 3600 * 1000
"""Of a reply kept for an Idempotency-Key: a day of time in which the server could hear."""
ALERT_LIFE_MS = 90 * 24 * 3600 * 1000
KEPT_ALERTS = 50_000
"""Alerts, and deliveries, of an organisation that are kept; of more the oldest go."""

Before = Callable[[int], Awaitable[int]]
"""What is stamped before this is as old as that: `AgeClock.before`."""
Drop = Callable[[Store, Reading, Before], Awaitable[int]]
"""Drops at most `DROPPED_AT_ONCE` of what is old at this time; how many went."""


def old_replies(store: Store, now: Reading, _before: Before) -> Awaitable[int]:
    """Replies kept for Idempotency-Keys."""
    return store.replies_drop(now.serving_ms - REPLY_LIFE_MS, DROPPED_AT_ONCE)


async def old_sessions(store: Store, _now: Reading, before: Before) -> int:
    """Sessions and sign-in links that have expired: nobody is let in by them from the moment itself."""
    return await store.signed_out_drop(await before(0), DROPPED_AT_ONCE)


async def old_alerts(store: Store, _now: Reading, before: Before) -> int:
    """Alerts, deliveries, and minutes that no window reaches back to."""
    minute = await before(2 * MAX_WINDOW_MINUTES * MINUTE_MS) // MINUTE_MS
    return await store.alerts_drop(await before(ALERT_LIFE_MS), KEPT_ALERTS, DROPPED_AT_ONCE, minute)


async def spent_links(store: Store, _now: Reading, before: Before) -> int:
    """Answer links that were used and have expired."""
    return await store.spent_links_drop(await before(0), DROPPED_AT_ONCE)


DROPS: tuple[Drop, ...] = (old_replies, old_sessions, old_alerts, spent_links)


class OldRows:
    """Looks for rows of one kind."""

    def __init__(self, store: Store, serving: ServingTime, age: AgeClock, drop: Drop) -> None:
        """The first hour begins now."""
        self._store = store
        self._serving = serving
        self._age = age
        self._drop = drop
        self._swept_at = serving.now().serving_ms

    async def sweep(self) -> None:
        """Drops them, if the hour is over."""
        now = self._serving.now()
        if now.serving_ms - self._swept_at > DROP_SWEEP_MS:
            self._swept_at = now.serving_ms
            # Heard time begins with the wall clock of the start, which may be ahead.
            now = now._replace(serving_ms=min(now.serving_ms, await self._age.passed_ms()))
            while await self._drop(self._store, now, self._age.before) >= DROPPED_AT_ONCE:
                pass
