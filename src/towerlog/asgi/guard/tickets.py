"""Stream tickets: what opens one stream, for a reader that can send no headers (a browser's `EventSource`).

A ticket stands in a URL, which others log; so it is good for one stream only, has to be used within a minute, and is
no key: it is kept in this process alone, as a digest beside the digest of the key that it stands for. Only a request
with an `Idempotency-Key` has its text kept as well, for as long as it is good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from towerlog.ambient import Ids
from towerlog.errors import IdempotencyMismatch, Overloaded

LIFETIME_MS = 60_000
MIN_LEFT_MS = 1000
"""A repeated request gets the same ticket while that is good for so long, then a new one."""
MAX_TICKETS = 100_000
"""Tickets that were given out and not used; with more, new ones are refused until the oldest have run out."""
MAX_TICKETS_OF_KEY = 1000
"""The same of one key, so that none takes the place of all others."""
_CHARS = 40


class Repeat(msgspec.Struct, frozen=True):
    """By what a repeated request is known: its `Idempotency-Key`, and the digest of its body."""

    key: str
    body_digest: bytes


class GivenTicket(msgspec.Struct, frozen=True):
    """What a caller is given."""

    text: str
    left_ms: int
    """How long it is good for."""


class _Given(msgspec.Struct, frozen=True):
    """A ticket that was given out and not used."""

    due_ms: int
    key_digest: bytes
    repeat: Repeat | None
    text: str
    """Empty unless a repeated request has to get it."""


class Tickets:
    """All tickets that were given out and not used."""

    def __init__(self, ids: Ids) -> None:
        """`ids` is asked for their text."""
        self._ids = ids
        self._given: dict[bytes, _Given] = {}
        """By their digests; the oldest first."""
        self._of_key: dict[bytes, dict[bytes, _Given]] = {}
        """The same of each key that has any."""
        self._repeats: dict[tuple[bytes, str], _Given] = {}
        """Those whose request had an `Idempotency-Key`, by the digest of the key and by that."""

    def give(self, key_digest: bytes, steady_ms: int, repeat: Repeat | None = None) -> GivenTicket:
        """A new ticket for a key; for a repeated request the one that it was given, unless that was used meanwhile
        or is about to run out.

        Raises Overloaded, IdempotencyMismatch.
        """
        self._forget_old(steady_ms)
        known = None if repeat is None else self._repeats.get((key_digest, repeat.key))
        if known is not None:
            if known.repeat != repeat:
                raise IdempotencyMismatch
            if known.due_ms - steady_ms >= MIN_LEFT_MS:
                return GivenTicket(known.text, known.due_ms - steady_ms)
            self._drop(_digest(known.text))
        _check_room("This key", self._of_key.get(key_digest, {}), MAX_TICKETS_OF_KEY, steady_ms)
        _check_room("The server", self._given, MAX_TICKETS, steady_ms)
        text = self._ids.token(_CHARS)
        made = _Given(steady_ms + LIFETIME_MS, key_digest, repeat, "" if repeat is None else text)
        digest = _digest(text)
        self._given[digest] = self._of_key.setdefault(key_digest, {})[digest] = made
        if repeat is not None:
            self._repeats[key_digest, repeat.key] = made
        return GivenTicket(text, LIFETIME_MS)

    def holder(self, text: str, steady_ms: int) -> bytes | None:
        """The same as `take`, of a ticket that stays good."""
        found = self._given.get(_digest(text))
        return found.key_digest if found is not None and steady_ms < found.due_ms else None

    def take(self, text: str, steady_ms: int) -> bytes | None:
        """The digest of the key that a ticket stands for; the ticket is used up. None: it is not good."""
        found = self._drop(_digest(text))
        return found.key_digest if found is not None and steady_ms < found.due_ms else None

    def _drop(self, ticket: bytes) -> _Given | None:
        found = self._given.pop(ticket, None)
        if found is not None:
            of_key = self._of_key[found.key_digest]
            del of_key[ticket]
            if not of_key:
                del self._of_key[found.key_digest]
            if found.repeat is not None:
                del self._repeats[found.key_digest, found.repeat.key]
        return found

    def _forget_old(self, steady_ms: int) -> None:
        # All live equally long, so the oldest run out first.
        while self._given:
            oldest = next(iter(self._given))
            if steady_ms < self._given[oldest].due_ms:
                return
            self._drop(oldest)


def _check_room(holder: str, given: Mapping[bytes, _Given], bound: int, steady_ms: int) -> None:
    """Raises Overloaded until the oldest of them has run out."""
    if len(given) >= bound:
        left_ms = next(iter(given.values())).due_ms - steady_ms
        text = f"{holder} has as many stream tickets that were not used as it may have ({bound})."
        raise Overloaded(text, retry_after=-(-left_ms // 1000))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
