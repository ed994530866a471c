"""Where a caller gets a stream ticket for the key that it has sent."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.idempotency import checked_key
from towerlog.asgi.guard.tickets import Repeat
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Reply, reply_json, scopes
from towerlog.dialects.fields import decode
from towerlog.errors import IdempotencyMismatch, Invalid, Malformed, TooLarge
from towerlog.model.principal import Scope

_NO_STORE = ((b"cache-control", b"no-store"),)


class StreamTicket(msgspec.Struct, frozen=True):
    """A ticket that opens one stream, with the rights of the key that asked for it."""

    ticket: Annotated[
        str,
        v.said(
            "The ticket, for the query parameter `ticket` of one stream.", "h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk"
        ),
    ]
    expires_in_seconds: Annotated[int, v.said("How soon the stream has to be opened.", 60)]


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing may be said: an empty object, for clients that send one with every POST."""


_BODY = msgspec.json.Decoder(NoBody)


class TicketsPage:
    """`/api/v1/stream-tickets`. Nothing is stored: a repeated request is known by its `Idempotency-Key`
    for as long as its ticket is good.
    """

    def __init__(self) -> None:
        """Until `attach` there is nobody who gives any."""
        self._auth: Authenticator | None = None

    def attach(self, auth: Authenticator) -> None:
        """`auth` gives the tickets, and takes them back when a stream is opened."""
        self._auth = auth

    def route(self) -> PageRoute:
        """The page."""
        return PageRoute(
            "POST",
            "/api/v1/stream-tickets",
            "create_stream_ticket",
            "A ticket that opens one stream, for a browser's EventSource.",
            self.give,
            scopes(Scope.READ),
            reply=StreamTicket,
            reply_status=201,
            knows_repeats=True,
            refuses=(Malformed, Invalid, TooLarge, IdempotencyMismatch),
        )

    async def give(self, visit: PageVisit) -> Reply:
        """A ticket. Raises Overloaded, IdempotencyMismatch, and Invalid or Malformed for what is in the body."""
        assert self._auth is not None
        assert visit.principal is not None
        if visit.body.strip():
            decode(_BODY, visit.body)
        key = visit.headers.get(b"idempotency-key")
        repeat = None if key is None else Repeat(checked_key(key), hashlib.sha256(visit.body).digest())
        given = self._auth.ticket_for(visit.principal, repeat)
        return reply_json(StreamTicket(given.text, given.left_ms // 1000), 201, _NO_STORE)
