"""What an identity provider has said of itself, kept for some minutes, so that strangers who begin a sign-in cost it no
request each. Asked for once at a time; what did not work is not tried again at once either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

KEPT_MS = 10 * 60 * 1000
FAILED_MS = 5000
"""For how long a fault is told again."""
MIN_AGE_MS = 30_000
"""How old an answer has to be before a newer one is asked for."""

T = TypeVar("T")


class Unavailable(Exception):
    """The provider did not answer, or not as OpenID Connect has it; the words are for the log."""


class KeptAnswer(Generic[T]):
    """One answer."""

    def __init__(self, ask: Callable[[Callable[[], int]], Awaitable[T]]) -> None:
        """`ask` asks the provider; it is handed the clock (steady ms)."""
        self._ask = ask
        self._lock = asyncio.Lock()
        self._answer: T | None = None
        self._fault = ""
        self._asked_ms: int | None = None

    async def get(self, steady_ms: Callable[[], int], oldest_ms: int = KEPT_MS) -> T:
        """The answer, asked for anew where it is older than `oldest_ms`. Raises Unavailable."""
        async with self._lock:
            if self._is_old(steady_ms(), oldest_ms):
                await self._renew(steady_ms)
            if self._answer is None:
                raise Unavailable(self._fault)
            return self._answer

    def _is_old(self, now_ms: int, oldest_ms: int) -> bool:
        bound = FAILED_MS if self._answer is None else oldest_ms
        return self._asked_ms is None or now_ms - self._asked_ms >= bound

    async def _renew(self, steady_ms: Callable[[], int]) -> None:
        self._answer = None
        try:
            self._answer = await self._ask(steady_ms)
        except Unavailable as error:
            self._fault = str(error)
        self._asked_ms = steady_ms()
