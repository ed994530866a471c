"""All sockets of live push: who they are, who is next to be told something, and their end.

Delivery has its own pace. What is committed only notes who has news; rounds deliver it, and after each round there is a
rest of several times its length. So push costs the event loop a bounded part of its time, whatever is committed, and
those who cannot be told in that time fall behind and are dropped: the log is the truth, and push a courtesy.
"""

from __future__ import annotations

import asyncio

from towerlog.ambient import Clock, Ids
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.push.pusher import Fault, PusherSocket
from towerlog.dialects.pusher import messages as pusher
from towerlog.engine.core import Engine
from towerlog.engine.follow.subjects import Subject
from towerlog.engine.nodes.messages import Granted
from towerlog.errors import TowerlogError
from towerlog.model.principal import Principal

ROUND_MS = 4
"""How long a round of deliveries goes on before the event loop may look at something else."""
REST = 3
"""How many times as long as a round there is none: push has a quarter of the loop's time at most."""
MAX_ASKED = 500
"""Silent clients that are asked in one second whether they are there."""
SECRET_CHARS = 40
_ID_CHARS = 6


class Sockets:
    """All sockets."""

    def __init__(
        self, engine: Engine, auth: Authenticator, ledger: ShareLedger, clock: Clock, ids: Ids, app: tuple[str, str]
    ) -> None:
        """`app`: the key by which clients name the server, and the secret that signs."""
        self.engine = engine
        self.auth = auth
        self.ledger = ledger
        self.app_key, self._secret = app
        self.steady_ms = clock.steady_ms()
        """The steady time; from here on `tick` tells it."""
        self.opened = 0
        self.dropped = 0
        """Those that were ended because they took too little, or said too much."""
        self.is_closing = False
        self._clock = clock
        self._ids = ids
        self._open: dict[str, PusherSocket] = {}
        """By socket id."""
        self._news: dict[PusherSocket, None] = {}
        """Who may have something to deliver, in their turns."""
        self._is_round_due = False
        self._rests_until = 0
        self._grants: set[asyncio.Task[None]] = set()
        """Of other nodes, whose keys are looked up; no more than messages of the bus bring."""

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def make(self, fault: Fault | None) -> PusherSocket:
        """A socket for a connection that is to be handed over; with a `fault`, for one that is told so and ended."""
        if self.is_closing:
            fault = Fault(pusher.RECONNECT, "The server goes down: connect again.")
        return PusherSocket(self, self._new_id(), asyncio.get_running_loop(), fault)

    def _new_id(self) -> str:
        # Of the form that servers of the protocol check: two numbers and a dot.
        parts = (int.from_bytes(self._ids.token(_ID_CHARS).encode()) for _ in range(2))
        return ".".join(map(str, parts))

    def sign(self, socket_id: str, channel: str) -> str:
        """What lets a socket subscribe to a channel."""
        return pusher.signature(self.app_key, self._secret, socket_id, channel)

    def grant(self, socket_id: str, channel: str, principal: Principal, subject: Subject) -> str:
        """The signature for a key that may have this channel; its socket, on whichever node, is told of the key."""
        socket = self._open.get(socket_id)
        if socket is not None:
            socket.grant(channel, principal, subject)
        elif self.engine.peers is not None:
            digest = principal.digest.hex()
            self.engine.peers.tell_granted(Granted(socket_id, channel, digest, subject))
        return self.sign(socket_id, channel)

    def granted(self, told: Granted) -> None:
        """Another node has given a signature, maybe for a socket that is here."""
        socket = self._open.get(told.socket_id)
        if socket is not None:
            task = asyncio.get_running_loop().create_task(self._take_grant(socket, told))
            self._grants.add(task)
            task.add_done_callback(self._grants.discard)

    async def _take_grant(self, socket: PusherSocket, told: Granted) -> None:
        try:
            principal = await self.auth.by_digest(bytes.fromhex(told.digest))
        except TowerlogError:
            return  # it is not good any more, or cannot be looked up: the socket is told that it is not authorised
        if self._open.get(socket.socket_id) is socket:
            socket.grant(told.channel, principal, told.subject)

    def add(self, socket: PusherSocket) -> None:
        """One has begun."""
        self.opened += 1
        self._open[socket.socket_id] = socket

    def remove(self, socket: PusherSocket) -> None:
        """One is gone."""
        self._open.pop(socket.socket_id, None)
        self._news.pop(socket, None)

    def close(self) -> None:
        """The server goes down: all are told to connect again."""
        self.is_closing = True
        for socket in list(self._open.values()):
            socket.shutdown()

    def tick(self, steady_ms: int) -> None:
        """Looks after the silent."""
        self.steady_ms = steady_ms
        asked = 0
        for socket in list(self._open.values()):
            asked += socket.look()
            if asked >= MAX_ASKED:
                return

    # Deliveries

    def note(self, socket: PusherSocket) -> None:
        """There may be something to deliver to it."""
        if socket.socket_id in self._open:
            self._news[socket] = None
            self._ask_for_round()

    def _ask_for_round(self) -> None:
        if self._is_round_due:
            return
        self._is_round_due = True
        loop, rest_ms = asyncio.get_running_loop(), self._rests_until - self._clock.steady_ms()
        if rest_ms > 0:
            loop.call_later(rest_ms / 1000, self._round)
        else:
            loop.call_soon(self._round)

    def _round(self) -> None:
        self._is_round_due = False
        clock = self._clock
        began = now = clock.steady_ms()
        left = len(self._news)
        try:
            while left and self._news and now - began < ROUND_MS:
                socket = next(iter(self._news))
                del self._news[socket]
                if socket.deliver():
                    self._news[socket] = None
                left -= 1
                now = clock.steady_ms()
        finally:  # also where one of them has raised: the others still have their turn
            self._rests_until = now + (now - began) * REST
            if self._news:
                self._ask_for_round()
