"""Passwords: hashed and checked with Argon2id, beside the event loop, a bounded number at a time and in turns.

A check takes as long for a member that is not there, or has no password, as for a wrong password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from towerlog.asgi.pages.sign_in.places import SharedPlaces
from towerlog.dialects.fields import invalid_field
from towerlog.threads import started_threads

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 200
AT_ONCE = 2
"""Hashes that are made at a time: each takes 19 MiB and a core."""
AT_ONCE_OF_ORGANISATION = 1
"""Of one organisation, or for callers who are not signed in."""
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$hDSab8kXuQurq6R4M5eM9g$dC1QVnVPzsq2IGH/x5QXtH+XWl73fJsC9MLtqHwggsg"
"""What is checked where there is no password."""

T = TypeVar("T")


def check_form(password: str, field: str = "password") -> None:
    """Raises Invalid for what is too short or too long to be kept as a password."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise invalid_field(field, f"must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        """Its threads are there before there is a hash to make."""
        self._threads = started_threads(AT_ONCE, "towerlog-password")
        self._places = SharedPlaces(AT_ONCE, AT_ONCE_OF_ORGANISATION, AT_ONCE_OF_ORGANISATION)

    def place(self, organisation: str, one: str) -> AbstractAsyncContextManager[None]:
        """Held while hashes are made for an address or a member. Raises Overloaded."""
        return self._places.place(organisation, one)

    async def hashed(self, password: str) -> str:
        """What is stored of a password."""
        return await self._aside(lambda: _HASHER.hash(password))

    async def are_good(self, password: str, stored: str | None) -> bool:
        """Whether it is the password of this hash; None: of nobody, so that it is not."""
        return await self._aside(lambda: _verify(password, stored or _NOBODYS)) and stored is not None

    def close(self) -> None:
        """Takes no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _verify(password: str, stored: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
