"""Who is asking: the bearer's key becomes a `Principal`, remembered for two seconds; without a key, the session that a
browser's cookie names does.

A key that is malformed, unknown or revoked costs the same look-up and gets the same words. Open streams are asked for
again every two seconds, once per key, and stopped when their key has been revoked. A stream's caller may be known by a
ticket that its key was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from towerlog.ambient import Clock
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.cookies import session_of
from towerlog.asgi.guard.tickets import GivenTicket, Repeat, StreamTickets
from towerlog.asgi.query_strings import TICKET, parse_query
from towerlog.errors import Malformed, StorageFailed, Unauthenticated
from towerlog.model.key import KeyFound
from towerlog.model.member import SESSION_MS
from towerlog.model.principal import SCOPES_OF_ROLE, Principal, User
from towerlog.store.base import Store

REMEMBERED_MS = 2000
MAX_REMEMBERED = 10_000
RECHECK_MS = 2000
SEEN_MS = 60_000
"""How old the time may be at which a session was used last before it is written anew."""
MAX_KEY_BYTES = 200
MAX_CREDENTIAL_BYTES = 1024
"""The header that a key stands in, blanks and all."""
TWO_KEYS = "The headers Authorization and X-API-Key name two different keys; send one of them."
TICKET_OF_ANOTHER = "The ticket is not of the key that was sent; send one of them."

_K = TypeVar("_K")
_V = TypeVar("_V")


def signed_in(user: User, org_id: str) -> Principal:
    """A member who has just proved who it is; what it is known by afterwards is the session that follows."""
    scopes = SCOPES_OF_ROLE[user.role]
    return Principal(user.org, org_id, user.user_id, user.user_id, scopes, is_member=True)


class Authenticator:
    """Knows callers by their keys."""

    def __init__(self, store: Store, clock: Clock, tickets: StreamTickets, idle_ms: int = SESSION_MS) -> None:
        """`store` is asked for keys by digest, never by text. `idle_ms`: a session that is not used for so long is
        over."""
        self._store = store
        self._tickets = tickets
        self._clock = clock
        self._known: dict[bytes, tuple[int, Principal]] = {}
        """By the digest of a key, however it was spelled: one key takes one place."""
        self._asked: dict[bytes, asyncio.Task[KeyFound | None]] = {}
        """What the store is being asked: requests that come meanwhile with the same credential wait for one answer."""
        self._watched: dict[bytes, set[Callable[[], None]]] = {}
        """What is stopped with each key or session that has open streams, by its digest."""
        self._rechecked_ms = 0
        self._idle_ms = idle_ms
        self._seen: set[bytes] = set()
        """Sessions that were used, of which the store is to be told: at most MAX_REMEMBERED."""

    def recall(self, headers: Mapping[bytes, bytes], steady_ms: int) -> Principal | None:
        """The caller, when the same credential was good less than two seconds ago."""
        known = self._known.get(_digest_of(headers))
        return known[1] if known is not None and known[0] > steady_ms else None

    async def authenticate(self, headers: Mapping[bytes, bytes], steady_ms: int) -> Principal:
        """The caller. Raises Unauthenticated, in the same words whatever is wrong, and StorageFailed."""
        if not has_credential(headers) and b"cookie" not in headers:
            raise Unauthenticated
        digest = _digest_of(headers)
        try:
            principal = await self._principal(digest)
        except Unauthenticated:
            self._known.pop(digest, None)
            raise
        return self._remember(digest, principal, steady_ms)

    async def by_ticket(self, text: str, steady_ms: int, *, opens: bool = True) -> Principal:
        """The caller that a stream ticket stands for; it is used up if it `opens` a stream.

        Raises Unauthenticated, StorageFailed.
        """
        digest = await self._tickets.use(text, steady_ms) if opens else self._tickets.holder(text, steady_ms)
        if digest is None:
            raise Unauthenticated
        return await self._principal(digest)

    async def by_digest(self, digest: bytes) -> Principal:
        """The caller whose key or session another node has known by its digest. Raises Unauthenticated."""
        return await self._principal(digest)

    def check_ticket(self, query: bytes, headers: Mapping[bytes, bytes], steady_ms: int) -> None:
        """Of a request with a key as well, which goes before its ticket. Raises Rejection (400) where that is
        another key's, good or not: then it is open who asks. A ticket that is not good stands for nobody."""
        text = parse_query(query).get(TICKET) if has_credential(headers) else None
        holder = None if text is None else self._tickets.holder(text, steady_ms)
        if holder is not None and _key_of(headers) and holder != _digest_of(headers):
            raise Rejection(400, Malformed(TICKET_OF_ANOTHER))

    def ticket_for(self, principal: Principal, repeat: Repeat | None = None) -> GivenTicket:
        """A stream ticket for a caller who has just been known by its key. Raises Overloaded, IdempotencyMismatch.

        It is good from now on, however long the body took to come that asked for it.
        """
        return self._tickets.give(principal.digest, principal.org, self._clock.steady_ms(), repeat)

    def forget(self, principal: Principal) -> None:
        """Has the store asked anew, at once."""
        self._known.pop(principal.digest, None)
        self._asked.pop(principal.digest, None)

    def watch(self, principal: Principal, stop: Callable[[], None]) -> None:
        """Calls `stop` when the key has been revoked, at most `RECHECK_MS` and a tick later."""
        self._watched.setdefault(principal.digest, set()).add(stop)

    def unwatch(self, principal: Principal, stop: Callable[[], None]) -> None:
        """Takes a `watch` back; one that is not there is no error."""
        stops = self._watched.get(principal.digest)
        if stops is not None:
            stops.discard(stop)
            if not stops:
                del self._watched[principal.digest]

    async def tick(self, steady_ms: int) -> None:
        """Checks the keys of open streams when it is time again. A store that does not answer changes nothing."""
        if steady_ms - self._rechecked_ms < RECHECK_MS:
            return
        self._rechecked_ms = steady_ms
        with contextlib.suppress(StorageFailed):
            for digest, stops in list(self._watched.items()):
                if not self._is_good(await self._store.key_by_digest(digest)):
                    for stop in list(stops):
                        stop()
            if self._seen:
                seen, self._seen, now = self._seen, set(), self._clock.now_ms()
                await self._store.sessions_seen(seen, now, now + self._idle_ms)

    async def _principal(self, digest: bytes) -> Principal:
        """Whom a key or a session stands for. Raises Unauthenticated where it is unknown, revoked or over."""
        found = await self._found(digest)
        if found is None or not self._is_good(found):
            raise Unauthenticated
        return _principal_of(found, digest)

    async def _found(self, digest: bytes) -> KeyFound | None:
        """What the store has under a digest, asked once for all who want to know it at the same time."""
        asked = self._asked.get(digest)
        if asked is None:
            asked = self._asked[digest] = asyncio.ensure_future(self._store.key_by_digest(digest))
            asked.add_done_callback(partial(self._answered, digest))
        return await asyncio.shield(asked)  # who has asked first may go away

    def _answered(self, digest: bytes, asked: asyncio.Task[KeyFound | None]) -> None:
        if self._asked.get(digest) is asked:
            del self._asked[digest]
        if not asked.cancelled():
            asked.exception()  # whoever waits is told; nobody may be left who does

    def _is_good(self, found: KeyFound | None) -> bool:
        """Whether it lets in. A session that does was used now, by a request or by a stream that is open."""
        if found is None or found.key.revoked_at is not None:
            return False
        if found.expires_at is None:
            return True
        now = self._clock.now_ms()
        if found.expires_at > now and now - (found.seen_at or 0) >= SEEN_MS and len(self._seen) < MAX_REMEMBERED:
            self._seen.add(found.key.digest)
        return now < found.expires_at

    def _remember(self, digest: bytes, principal: Principal, steady_ms: int) -> Principal:
        known = self._known.pop(digest, None)
        if known is not None and known[1] == principal:
            principal = known[1]
        self._known[digest] = (steady_ms + REMEMBERED_MS, principal)
        _shrink(self._known)
        return principal


def _shrink(memory: dict[_K, _V]) -> None:
    """Forgets the oldest entry of a memory that has grown past its bound."""
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def has_credential(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a key was sent, good or not."""
    return b"authorization" in headers or b"x-api-key" in headers


def _digest_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The digest of the key that was sent; without one that of the cookie's session; without either that of bytes that
    no key has. Raises Rejection (400) for two keys."""
    key = _key_of(headers)
    if not key and (session := session_of(headers)) is not None:
        return session
    if not key or len(key) > MAX_KEY_BYTES:
        key = b"\x00"
    return hashlib.sha256(key).digest()


def _key_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The key in `Authorization: Bearer KEY` or `X-API-Key`; empty without one.

    Raises Rejection (400) where the two name two keys, good or not: then it is open who asks. An empty one names none,
    and neither does an `Authorization` of another kind, as a proxy's password.
    """
    key, other = _bearers(headers.get(b"authorization", b"")), headers.get(b"x-api-key", b"")
    if key and other and other != key:
        raise Rejection(400, Malformed(TWO_KEYS))
    return key or other


def _bearers(sent: bytes) -> bytes:
    """The key in an `Authorization` header; empty without one.

    OTEL_EXPORTER_OTLP_HEADERS is percent-encoded, and some exporters send it as it is written.
    """
    if len(sent) > MAX_CREDENTIAL_BYTES:
        return b""
    for scheme in (b"bearer ", b"bearer%20"):
        if sent[: len(scheme)].lower() == scheme:
            return sent[len(scheme) :].strip()
    return b""


def _principal_of(found: KeyFound, digest: bytes) -> Principal:
    key = found.key
    is_member = found.expires_at is not None
    return Principal(key.org, found.org_id, key.user_id, key.key_id, frozenset(key.scopes), digest, is_member)
