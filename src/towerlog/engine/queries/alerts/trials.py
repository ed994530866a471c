"""Whose alert rules are being tried on what is stored: one of each key, and a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from towerlog.errors import Overloaded
from towerlog.model.principal import Principal

MAX_TRIALS = 2
"""At a time."""
MAX_WAITING_TRIALS = 16
"""Under way or waiting."""
RETRY_AFTER_SECONDS = 5


class Trials:
    """One for each engine."""

    def __init__(self) -> None:
        """None is under way."""
        self._keys: set[tuple[int, str]] = set()
        self._free = asyncio.Semaphore(MAX_TRIALS)

    @asynccontextmanager
    async def turn(self, principal: Principal) -> AsyncIterator[None]:
        """Waits for its turn. Raises Overloaded where the key has one already, or many wait."""
        key = (principal.org, principal.key_id)
        if key in self._keys or len(self._keys) >= MAX_WAITING_TRIALS:
            words = "A rule is being tried for this key already" if key in self._keys else "Many rules are being tried"
            raise Overloaded(f"{words}: try it again later.", retry_after=RETRY_AFTER_SECONDS)
        self._keys.add(key)
        try:
            async with self._free:
                yield
        finally:
            self._keys.discard(key)
