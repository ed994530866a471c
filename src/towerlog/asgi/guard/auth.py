"""Who is asking: the bearer's key becomes a `Principal`, remembered for two seconds.

A key that is malformed, unknown or revoked costs the same look-up and gets the same words. Open streams are asked for
again every two seconds, once per key, and stopped when their key has been revoked. A stream's caller may be known by a
ticket that its key was given.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from towerlog.ambient import Clock
from towerlog.asgi.guard.tickets import Repeat, Tickets
from towerlog.errors import StorageFailed, Unauthenticated
from towerlog.model.principal import Principal
from towerlog.store.base import Store
from towerlog.store.values import KeyFound

REMEMBERED_MS = 2000
MAX_REMEMBERED = 10_000
RECHECK_MS = 2000
MAX_KEY_BYTES = 200
MAX_CREDENTIAL_BYTES = 1024
"""The header that a key stands in, blanks and all."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Authenticator:
    """Knows callers by their keys."""

    def __init__(self, store: Store, clock: Clock, tickets: Tickets) -> None:
        """`store` is asked for keys by digest, never by text."""
        self._store = store
        self._tickets = tickets
        self._clock = clock
        self._known: dict[bytes, tuple[int, Principal]] = {}
        """By the digest of a key, however it was spelled: one key takes one place."""
        self._digests: dict[str, bytes] = {}
        self._watched: dict[str, _Watch] = {}
        self._rechecked_ms = 0

    def recall(self, headers: Mapping[bytes, bytes], now_ms: int) -> Principal | None:
        """The caller, when the same credential was good less than two seconds ago."""
        known = self._known.get(_digest_of(headers))
        return known[1] if known is not None and known[0] > now_ms else None

    async def authenticate(self, headers: Mapping[bytes, bytes], now_ms: int) -> Principal:
        """The caller. Raises Unauthenticated, in the same words whatever is wrong, and StorageFailed."""
        if not has_credential(headers):
            raise Unauthenticated
        digest = _digest_of(headers)
        try:
            principal = await self._principal(digest)
        except Unauthenticated:
            self._known.pop(digest, None)
            raise
        return self._remember(digest, principal, now_ms)

    async def by_ticket(self, text: str, now_ms: int) -> Principal:
        """The caller that a stream ticket stands for; it is used up. Raises Unauthenticated, StorageFailed."""
        digest = self._tickets.take(text, now_ms)
        if digest is None:
            raise Unauthenticated
        return await self._principal(digest)

    def ticket_for(self, principal: Principal, now_ms: int, repeat: Repeat | None = None) -> str:
        """A stream ticket for a caller who has just been known by its key. Raises Overloaded, IdempotencyMismatch."""
        return self._tickets.give(self._digests[principal.key_id], now_ms, repeat)

    def watch(self, principal: Principal, stop: Callable[[], None]) -> None:
        """Calls `stop` when the key has been revoked, at most `RECHECK_MS` and a tick later."""
        watch = self._watched.get(principal.key_id)
        if watch is None:
            watch = self._watched[principal.key_id] = _Watch(self._digests[principal.key_id])
        watch.stops.add(stop)

    def unwatch(self, principal: Principal, stop: Callable[[], None]) -> None:
        """Takes a `watch` back; one that is not there is no error."""
        watch = self._watched.get(principal.key_id)
        if watch is not None:
            watch.stops.discard(stop)
            if not watch.stops:
                del self._watched[principal.key_id]

    async def tick(self, now_ms: int) -> None:
        """Checks the keys of open streams when it is time again. A store that does not answer changes nothing."""
        if now_ms - self._rechecked_ms < RECHECK_MS:
            return
        self._rechecked_ms = now_ms
        with contextlib.suppress(StorageFailed):
            for watch in list(self._watched.values()):
                found = await self._store.key_by_digest(watch.digest)
                if found is None or found.key.revoked_at is not None:
                    for stop in list(watch.stops):
                        stop()

    async def _principal(self, digest: bytes) -> Principal:
        """Whom a key stands for. Raises Unauthenticated where it is unknown or revoked."""
        found = await self._store.key_by_digest(digest)
        if found is None or found.key.revoked_at is not None:
            raise Unauthenticated
        key_id = found.key.key_id
        # Anew, as the youngest of those that are remembered.
        self._digests.pop(key_id, None)
        self._digests[key_id] = digest
        _shrink(self._digests)
        return _principal_of(found)

    def _remember(self, digest: bytes, principal: Principal, now_ms: int) -> Principal:
        known = self._known.pop(digest, None)
        if known is not None and known[1] == principal:
            principal = known[1]
        self._known[digest] = (now_ms + REMEMBERED_MS, principal)
        _shrink(self._known)
        return principal


class _Watch:
    """A key with open streams."""

    __slots__ = ("digest", "stops")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.stops: set[Callable[[], None]] = set()


def _shrink(memory: dict[_K, _V]) -> None:
    """Forgets the oldest entry of a memory that has grown past its bound."""
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def has_credential(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a key was sent, good or not."""
    return b"authorization" in headers or b"x-api-key" in headers


def _digest_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The digest of the key in `Authorization: Bearer KEY` or `X-API-Key`; of bytes that no key has, without one."""
    key = headers.get(b"authorization")
    if key is None:
        key = headers.get(b"x-api-key", b"")
    elif len(key) <= MAX_CREDENTIAL_BYTES and key[:7].lower() == b"bearer ":
        key = key[7:].strip()
    else:
        key = b""
    if not key or len(key) > MAX_KEY_BYTES:
        key = b"\x00"
    return hashlib.sha256(key).digest()


def _principal_of(found: KeyFound) -> Principal:
    key = found.key
    return Principal(
        org=key.org, org_id=found.org_id, user_id=key.user_id, key_id=key.key_id, scopes=frozenset(key.scopes)
    )
