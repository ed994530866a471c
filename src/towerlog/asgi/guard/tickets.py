"""Stream tickets: what opens one stream, for a reader that can send no headers (a browser's `EventSource`).

A ticket stands in a URL, which others log; so it is good for one stream only, has to be used within a minute, and is
no key: it is kept in this process alone, as a digest beside the digest of the key that it stands for.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from towerlog.ambient import Ids
from towerlog.errors import Overloaded

LIFETIME_MS = 60_000
MAX_TICKETS_OF_KEY = 1000
"""The same of one key, so that none takes the place of all others."""
MAX_TICKETS = 100_000
"""Tickets that were given out and not used; with more, new ones are refused until the oldest have run out."""
_CHARS = 40


class Tickets:
    """All tickets that were given out and not used."""

    def __init__(self, ids: Ids) -> None:
        """`ids` is asked for their text."""
        self._ids = ids
        self._given: dict[bytes, tuple[int, bytes]] = {}
        """Digest of a ticket → until when it is good, and the digest of its key; the oldest first."""
        self._of_key: Counter[bytes] = Counter()
        """How many of them each key has."""

    def give(self, key_digest: bytes, now_ms: int) -> str:
        """A new ticket for a key. Raises Overloaded."""
        self._forget_old(now_ms)
        if len(self._given) >= MAX_TICKETS or self._of_key[key_digest] >= MAX_TICKETS_OF_KEY:
            raise Overloaded
        text = self._ids.token(_CHARS)
        self._given[_digest(text)] = (now_ms + LIFETIME_MS, key_digest)
        self._of_key[key_digest] += 1
        return text

    def take(self, text: str, now_ms: int) -> bytes | None:
        """The digest of the key that a ticket stands for; the ticket is used up. None: it is not good."""
        due, key_digest = self._drop(_digest(text))
        return key_digest if now_ms < due else None

    def _drop(self, ticket: bytes) -> tuple[int, bytes]:
        due, key_digest = self._given.pop(ticket, (0, b""))
        if due:
            self._of_key[key_digest] -= 1
            if not self._of_key[key_digest]:
                del self._of_key[key_digest]
        return due, key_digest

    def _forget_old(self, now_ms: int) -> None:
        # All live equally long, so the oldest run out first.
        while self._given:
            oldest = next(iter(self._given))
            if now_ms < self._given[oldest][0]:
                return
            self._drop(oldest)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
