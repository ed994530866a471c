"""One client of live push: its subscriptions, the keys that allowed them, and what it is told.

A socket says nothing of its key. It subscribes with signatures that `/broadcasting/auth` gave to a key, and the key is
kept here beside the channel: what is not on that list is not subscribed to, however well it is signed, and where a key
is revoked the socket ends.
"""

from __future__ import annotations

import asyncio
import hmac
from functools import partial
from typing import Protocol

import msgspec

from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.ledger import HeldPlace, ShareLedger
from towerlog.asgi.push.websocket import WebSocket, text_frame
from towerlog.asgi.shares.share import Resource
from towerlog.dialects.base import FrameStyle
from towerlog.dialects.pusher import messages as pusher
from towerlog.engine.core import Engine
from towerlog.engine.follow.listener import Listener
from towerlog.engine.follow.subjects import Subject
from towerlog.errors import Overloaded
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

MAX_CHANNELS = 100
"""Channels of one socket."""
GRANT_S = 2.0
"""How long a channel that is signed for may wait for the node that has signed."""
PONG_MS = 30_000
"""How long the answer to a ping may take."""
_ACTIVITY_MS = pusher.ACTIVITY_TIMEOUT_S * 1000


class Fault(msgspec.Struct, frozen=True):
    """Why a socket is ended as soon as it has begun."""

    code: int
    why: str


class Grant(msgspec.Struct, frozen=True):
    """A channel that a key may have on a socket."""

    principal: Principal
    subject: Subject


class Owner(Protocol):
    """Registry that a socket joins and leaves."""

    engine: Engine
    auth: Authenticator
    ledger: ShareLedger
    steady_ms: int
    dropped: int
    is_closing: bool

    def sign(self, socket_id: str, channel: str) -> str:
        """What lets a socket subscribe to a channel."""
        ...

    def add(self, socket: PusherSocket) -> None:
        """One has begun."""
        ...

    def remove(self, socket: PusherSocket) -> None:
        """One is gone."""
        ...

    def note(self, socket: PusherSocket) -> None:
        """There may be something to deliver."""
        ...


class PusherSocket(WebSocket):
    """One client."""

    __slots__ = (
        "_channels",
        "_expected",
        "_fault",
        "_grants",
        "_is_asked",
        "_owner",
        "_place",
        "_watched",
        "heard_at",
        "socket_id",
    )

    def __init__(
        self, owner: Owner, socket_id: str, loop: asyncio.AbstractEventLoop, fault: Fault | None = None
    ) -> None:
        """With a `fault` it is told so, and ended."""
        super().__init__(loop)
        self.socket_id = socket_id
        self.heard_at = owner.steady_ms
        """Steady ms of the last whole frame that came."""
        self._owner = owner
        self._fault = fault
        self._channels: dict[str, Listener] = {}
        self._grants: dict[str, Grant] = {}
        self._expected: dict[str, str] = {}
        """Channels that are signed for it, and with what: another node is about to tell which key may have them."""
        self._watched: dict[str, Principal] = {}
        """By key: those that end it when they are revoked."""
        self._place: HeldPlace | None = None
        self._is_asked = False
        """It has been asked whether anybody is there, and has not answered."""

    # Its life

    def begun(self) -> None:
        """It has a place, or is ended."""
        if self._fault is not None:
            self.end(self._fault.code, self._fault.why)
            return
        try:
            self._place = self._owner.ledger.take_place(self._visit.shares, Resource.STREAM)
        except Overloaded as refusal:
            self.end(pusher.OVER_CAPACITY, refusal.message)
            return
        self._place.offer(self.make_place)
        self._owner.add(self)
        self.say(pusher.established(self.socket_id))

    def end(self, code: int, why: str) -> None:
        """Ends it in the words of the protocol."""
        self.close_with(code, why, pusher.error(code, why))
        self._forget()

    def shutdown(self) -> None:
        """The server ends. Called by the server."""
        self.end(pusher.RECONNECT, "The server goes down: connect again.")

    def _overdue(self) -> None:
        # A stop does not wait for who takes nothing.
        if self._owner.is_closing and self.is_write_paused:
            self.cut_reader()
        super()._overdue()

    def lost(self) -> None:
        """The connection is gone."""
        self._forget()

    def _forget(self) -> None:
        """Gives back what it has of others. May be called again."""
        self._owner.remove(self)
        for listener in self._channels.values():
            listener.close()
        for principal in self._watched.values():
            self._owner.auth.unwatch(principal, self.revoke)
        self._channels, self._grants, self._watched, self._expected = {}, {}, {}, {}
        if self._place is not None:
            self._place.give_back()

    # What others end it for

    @property
    def is_idle(self) -> bool:
        """Whether it is the first to go where places are short: it listens to nothing."""
        return not self._channels

    def make_place(self) -> None:
        """Another needs its place."""
        self.end(pusher.OVER_CAPACITY, "This was given up for somebody who holds less.")

    def revoke(self) -> None:
        """The key or session that allowed one of its channels is no longer good."""
        self.end(pusher.UNAUTHORISED, "The API key or session that allowed a channel has ended.")

    def flooded(self) -> None:
        """It says more than it may."""
        self._give_up("Too many messages.")

    def _give_up(self, why: str) -> None:
        self._owner.dropped += 1
        self.end(pusher.OVER_CAPACITY, why)

    def look(self) -> bool:
        """Asks a silent client whether it is there, and ends one that has not answered; whether it did either."""
        silent_ms = self._owner.steady_ms - self.heard_at
        if self._is_asked and silent_ms > _ACTIVITY_MS + PONG_MS:
            self.end(pusher.NO_PONG, "No pong came in time.")
        elif not self._is_asked and silent_ms > _ACTIVITY_MS:
            self._is_asked = True
            self.say(pusher.PING)
        else:
            return False
        return True

    # What it says

    def heard(self) -> None:
        """Somebody is there."""
        self.heard_at, self._is_asked = self._owner.steady_ms, False

    def hear(self, text: str) -> None:
        """A message."""
        said = pusher.read(text)
        if said is None:
            self.say(pusher.error(None, "A message is a JSON object with an event."))
            return
        match said.event:
            case "pusher:ping":
                self.say(pusher.PONG)
            case "pusher:pong":
                pass
            case "pusher:subscribe":
                self._subscribe(said.told("channel"), said.told("auth"))
            case "pusher:unsubscribe":
                self._unsubscribe(said.told("channel"))
            case event if event.startswith("client-"):
                self.say(pusher.error(pusher.REFUSED_EVENT, "Clients cannot send events here."))
            case _:
                self.say(pusher.error(None, "There is no such event."))

    def grant(self, channel: str, principal: Principal, subject: Subject) -> None:
        """A key has been given a signature for this channel on this socket."""
        self._grants.pop(channel, None)
        while len(self._grants) >= MAX_CHANNELS:
            del self._grants[next(iter(self._grants))]
        self._grants[channel] = Grant(principal, subject)
        if principal.key_id not in self._watched and len(self._watched) < MAX_CHANNELS:
            self._watched[principal.key_id] = principal
            self._owner.auth.watch(principal, self.revoke)
        if (auth := self._expected.pop(channel, None)) is not None:
            self._subscribe(channel, auth)

    def _subscribe(self, channel: str, auth: str) -> None:
        if channel in self._channels:
            self.say(pusher.succeeded(channel))
            return
        if len(self._channels) >= MAX_CHANNELS:
            self.say(
                pusher.refused(channel[:200], "LimitReached", f"A socket has at most {MAX_CHANNELS} channels.", 403)
            )
            return
        grant = self._grants.get(channel)
        signed = hmac.compare_digest(auth.encode(), self._owner.sign(self.socket_id, channel).encode())
        if grant is None and signed and self._owner.engine.peers is not None and len(self._expected) < MAX_CHANNELS:
            self._expected[channel] = auth
            asyncio.get_running_loop().call_later(GRANT_S, self._end_waiting, channel)
            return
        if grant is None or not signed or grant.principal.key_id not in self._watched:
            self._refuse(channel)
            return
        try:
            self._stand_in(grant.principal)
        except Overloaded as refusal:
            # A client whose socket stays would not ask for the channel again, and hear nothing for ever.
            self.end(pusher.OVER_CAPACITY, refusal.message)
            return
        told = partial(self._owner.note, self)
        self._channels[channel] = self._owner.engine.listen(grant.subject, style_of(channel), told)
        self.say(pusher.succeeded(channel))

    def _end_waiting(self, channel: str) -> None:
        if self._expected.pop(channel, None) is not None:
            self._refuse(channel)

    def _refuse(self, channel: str) -> None:
        self.say(pusher.refused(channel[:200], "AuthError", "The channel is not authorised on this socket.", 401))

    def _stand_in(self, principal: Principal) -> None:
        """From now on it counts for a key, as its streams do. Raises Overloaded."""
        if self._visit.is_known or self._place is None:
            return
        account = self._owner.ledger.account(principal)
        self._place.move(account.shares)
        self._visit.admit(account)

    def _unsubscribe(self, channel: str) -> None:
        listener = self._channels.pop(channel, None)
        if listener is not None:
            listener.close()

    # What it is told

    def has_room(self) -> None:
        """It has taken what was sent."""
        self._owner.note(self)

    def deliver(self) -> bool:
        """Sends a chunk of each channel's news, as far as they are taken at once; whether there is more to send now.

        One that does not take them, and has lost some, is ended.
        """
        for listener in self._channels.values():
            if not listener.has_news:
                continue
            chunk = None if listener.is_lost else b"" if self.is_write_paused else listener.read()
            if chunk is None:
                self._give_up("Events came faster than they were taken.")
                return False
            if chunk:
                self.put(chunk)
        return not self.is_write_paused and any(listener.has_news for listener in self._channels.values())


def style_of(channel: str) -> FrameStyle:
    """How events look on a channel; made once for all its sockets, whoever asks first."""

    def live(event: Event, row: RunRow, agent: AgentRow | None) -> bytes:
        return text_frame(pusher.event_message(channel, event, row, agent))

    return FrameStyle(channel, _nothing, b"", live=live)


def _nothing(event: Event, epoch: str, row: RunRow | None) -> bytes | None:
    """What is pushed is never read back."""
    return None
