"""One request on its way: what is known of it by now, from its head until its reply is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.guard.decoding import Decoded
from towerlog.asgi.guard.ledger import Account
from towerlog.asgi.replies import Headers, Message
from towerlog.asgi.routes import NO_PARAMETERS, Route
from towerlog.dialects.base import Call, Endpoint, Reply
from towerlog.errors import RateLimited, TowerlogError
from towerlog.model.command import Command, Idempotency
from towerlog.model.event import FieldWarning
from towerlog.model.principal import Principal

Respond = Callable[[int, list[tuple[bytes, bytes]], bytes], None]
"""Sends a whole reply: status, headers, body."""


class Successor(Protocol):
    """What takes a connection over that switches to another protocol: an `asyncio.Protocol` from then on."""

    @property
    def is_idle(self) -> bool:
        """Whether it is the first to go where places are short."""
        ...

    def make_place(self) -> None:
        """Ends it: another needs its place."""
        ...

    def cut_reader(self) -> None:
        """Cuts it off: its reader does not take what there is."""
        ...

    def take_over(self, transport: asyncio.Transport, visit: Visit, left: Callable[[], None]) -> None:
        """Begins; `left` is called once the connection is lost."""
        ...

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        ...

    def shutdown(self) -> None:
        """The server ends."""
        ...


class Switch(Reply, frozen=True):
    """The reply that the connection switches to another protocol, with who speaks that. Never without `successor`."""

    successor: Successor | None = None


class Exchange(msgspec.Struct, eq=False):
    """One request. Made by `Gate.begin`, filled in step by step."""

    scope: Message
    steady_ms: int
    """Steady time at its beginning."""
    wall_ms: int
    """Wall time at its beginning."""
    sent: bytes | None
    """Its whole body as it was sent; None where that has not come yet, and once it is read."""
    headers: dict[bytes, bytes]
    trace_id: str
    passed: int = 0
    """How many steps of the gate it has passed."""
    route: Route | None = None
    path: Mapping[str, str] = NO_PARAMETERS
    principal: Principal | None = None
    account: Account | None = None
    """The shares that count for its key; there once that is known."""
    extra: Headers = ()
    """Headers that its reply must carry, whatever the reply is."""
    over: RateLimited | None = None
    """The limit that it is over, and passes only as a heartbeat."""
    held_bytes: int = 0
    """Bytes of its body that are counted in its account."""
    body: bytes | None = None
    """The body's text: decompressed, checked."""
    decoded: Decoded | TowerlogError | None = None
    """What came of decoding the body beside the event loop, until the gate has taken note of it."""
    call: Call | None = None
    """What the encoder gets of the request: all but its body."""
    command: Command | None = None
    repeat: Idempotency | None = None
    warnings: tuple[FieldWarning, ...] = ()
    """What was repaired or could not be used of its body, for the reply and the metrics."""

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of its route, which is no page."""
        assert self.route is not None
        assert self.route.endpoint is not None
        return self.route.endpoint
