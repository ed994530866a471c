"""Stream tickets: what opens one stream, for a reader that can send no headers (a browser's `EventSource`).

A ticket stands in a URL, which others log; so it is good for one stream only, has to be used within a minute, and is
no key: it is kept in this process alone, as a digest beside the digest of the key that it stands for. Only a request
with an `Idempotency-Key` has its text kept as well, for as long as it is good.

Where several nodes serve one store each takes what any of them has given: there a ticket is signed, so that none has to
be kept. It names the digest of its key and when it runs out. That it opens one stream only is known by the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.errors import IdempotencyMismatch, Overloaded

LIFETIME_MS = 60_000
MIN_LEFT_MS = 1000
"""A repeated request gets the same ticket while that is good for so long, then a new one."""
MAX_TICKETS = 100_000
"""Tickets that were given out and not used; with more, new ones are refused until the oldest have run out."""
MAX_TICKETS_OF_ORGANISATION = 10_000
MAX_TICKETS_OF_KEY = 1000
"""Limit per key; with the limit per organisation none takes the place of all others."""
H = TypeVar("H", bound=bytes | int)
_CHARS = 40
SKEW_MS = 5000
"""How far the clocks of two nodes may be apart."""
_NONCE_BYTES, _TIME_BYTES, _DIGEST_BYTES, _MAC_BYTES = 15, 6, 32, 16
_BYTES = _NONCE_BYTES + _TIME_BYTES + _DIGEST_BYTES + _MAC_BYTES
_PURPOSE = b"stream ticket "


class Repeat(msgspec.Struct, frozen=True):
    """By what a repeated request is known: its `Idempotency-Key`, and the digest of its body."""

    key: str
    body_digest: bytes


class GivenTicket(msgspec.Struct, frozen=True):
    """What a caller is given."""

    text: str
    left_ms: int
    """How long it is good for."""


class StreamTickets(Protocol):
    """Gives tickets and takes them back."""

    def give(self, key_digest: bytes, org: int, steady_ms: int, repeat: Repeat | None = None) -> GivenTicket:
        """A ticket for a key of an organisation. Raises Overloaded, IdempotencyMismatch."""
        ...

    def holder(self, text: str, steady_ms: int) -> bytes | None:
        """The digest of the key that a ticket stands for, as far as it is known here; the ticket stays good."""
        ...

    async def use(self, text: str, steady_ms: int) -> bytes | None:
        """The same; the ticket is used up. None: it is not good. Raises StorageFailed."""
        ...


class _Given(msgspec.Struct, frozen=True):
    """A ticket that was given out and not used."""

    due_ms: int
    key_digest: bytes
    org: int
    repeat: Repeat | None
    text: str
    """Empty unless a repeated request has to get it."""


class Tickets:
    """All tickets that were given out and not used."""

    def __init__(self, ids: Ids, text_of: Callable[[bytes], str] | None = None) -> None:
        """`ids` is asked for their text, unless `text_of` makes it of the digest of a key."""
        self._text_of = text_of or (lambda _: ids.token(_CHARS))
        self._given: dict[bytes, _Given] = {}
        """By their digests; the oldest first."""
        self._of_key: dict[bytes, dict[bytes, _Given]] = {}
        self._of_org: dict[int, dict[bytes, _Given]] = {}
        """The same of each key, and of each organisation, that has any."""
        self._repeats: dict[tuple[bytes, str], _Given] = {}
        """Those whose request had an `Idempotency-Key`, by the digest of the key and by that."""

    def give(self, key_digest: bytes, org: int, steady_ms: int, repeat: Repeat | None = None) -> GivenTicket:
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
        _check_room("This organisation", self._of_org.get(org, {}), MAX_TICKETS_OF_ORGANISATION, steady_ms)
        _check_room("The server", self._given, MAX_TICKETS, steady_ms)
        text = self._text_of(key_digest)
        made = _Given(steady_ms + LIFETIME_MS, key_digest, org, repeat, "" if repeat is None else text)
        digest = _digest(text)
        self._given[digest] = made
        self._of_key.setdefault(key_digest, {})[digest] = self._of_org.setdefault(org, {})[digest] = made
        if repeat is not None:
            self._repeats[key_digest, repeat.key] = made
        return GivenTicket(text, LIFETIME_MS)

    def holder(self, text: str, steady_ms: int) -> bytes | None:
        """Like `take`, without using the ticket up."""
        found = self._given.get(_digest(text))
        return found.key_digest if found is not None and steady_ms < found.due_ms else None

    async def use(self, text: str, steady_ms: int) -> bytes | None:
        """As `take`."""
        return self.take(text, steady_ms)

    def take(self, text: str, steady_ms: int) -> bytes | None:
        """The digest of the key that a ticket stands for; the ticket is used up. None: it is not good."""
        found = self._drop(_digest(text))
        return found.key_digest if found is not None and steady_ms < found.due_ms else None

    def _drop(self, ticket: bytes) -> _Given | None:
        found = self._given.pop(ticket, None)
        if found is not None:
            _leave(self._of_key, found.key_digest, ticket)
            _leave(self._of_org, found.org, ticket)
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


def _leave(shares: dict[H, dict[bytes, _Given]], holder: H, ticket: bytes) -> None:
    """Takes a ticket from its holder's, and the holder from those that have any."""
    share = shares[holder]
    del share[ticket]
    if not share:
        del shares[holder]


def _check_room(holder: str, given: Mapping[bytes, _Given], bound: int, steady_ms: int) -> None:
    """Raises Overloaded until the oldest of them has run out."""
    if len(given) >= bound:
        left_ms = next(iter(given.values())).due_ms - steady_ms
        text = f"{holder} has as many stream tickets that were not used as it may have ({bound})."
        raise Overloaded(text, retry_after=-(-left_ms // 1000))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class SignedTickets:
    """Implements `StreamTickets` for several nodes."""

    def __init__(self, ids: Ids, clock: Clock, secret: str, spend: Callable[[str, int], Awaitable[bool]]) -> None:
        """`secret`: what the nodes of the store sign with. `spend` uses a name up for so many ms; False: it was."""
        self._ids = ids
        self._clock = clock
        self._secret = secret.encode()
        self._spend = spend
        self._repeats = Tickets(ids, self.signed)
        """Those whose request may be repeated here."""

    def give(self, key_digest: bytes, org: int, steady_ms: int, repeat: Repeat | None = None) -> GivenTicket:
        """A ticket for a key; for a repeated request the one that this node gave it. Raises IdempotencyMismatch."""
        if repeat is not None:
            return self._repeats.give(key_digest, org, steady_ms, repeat)
        return GivenTicket(self.signed(key_digest), LIFETIME_MS)

    def signed(self, key_digest: bytes) -> str:
        """The text of a new ticket."""
        nonce = self._ids.token(_NONCE_BYTES).encode()
        due = (self._clock.now_ms() + LIFETIME_MS).to_bytes(_TIME_BYTES, "big")
        told = nonce + due + key_digest
        return base64.urlsafe_b64encode(told + self._mac(told)).decode()

    def holder(self, text: str, steady_ms: int) -> bytes | None:
        """The digest of the key that a ticket stands for, whether or not it has been used."""
        found = self._opened(text)
        return None if found is None else found[1]

    async def use(self, text: str, steady_ms: int) -> bytes | None:
        """The same; the ticket is used up. Raises StorageFailed, Overloaded."""
        found = self._opened(text)
        if found is None or not await self._spend(f"ticket {found[0]}", LIFETIME_MS + 2 * SKEW_MS):
            return None
        self._repeats.take(text, steady_ms)
        return found[1]

    def _opened(self, text: str) -> tuple[str, bytes] | None:
        """(nonce, key digest) of a ticket; None for one that is not valid."""
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii"))
        except (ValueError, binascii.Error):
            return None
        told, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(raw) != _BYTES or not hmac.compare_digest(mac, self._mac(told)):
            return None
        due = int.from_bytes(told[_NONCE_BYTES : _NONCE_BYTES + _TIME_BYTES], "big")
        if not -SKEW_MS <= due - self._clock.now_ms() <= LIFETIME_MS + SKEW_MS:
            return None
        return told[:_NONCE_BYTES].decode(), told[_NONCE_BYTES + _TIME_BYTES :]

    def _mac(self, told: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + told, "sha256")[:_MAC_BYTES]
