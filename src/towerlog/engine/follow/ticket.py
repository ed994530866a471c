"""One waiting caller."""

from __future__ import annotations

import asyncio


class Ticket:
    """One waiting caller. Whoever finds a reason for it to look again sets `woken`; it clears it before it looks."""

    __slots__ = ("woken",)

    def __init__(self) -> None:
        """Not woken yet."""
        self.woken = asyncio.Event()
