"""Where live push begins: what a client has to know, the signature for a channel, and the connection itself."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from towerlog.asgi.exchange import Switch
from towerlog.asgi.guard.cors import Cors
from towerlog.asgi.push.pusher import Fault
from towerlog.asgi.push.sockets import Sockets
from towerlog.asgi.push.websocket import accepted
from towerlog.asgi.query_strings import parse_query
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import steps
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Reply, reply_json, scopes
from towerlog.dialects.fields import invalid_field
from towerlog.dialects.pusher import messages as pusher
from towerlog.errors import Forbidden, Invalid, Malformed, NotFound, TooLarge
from towerlog.model.principal import Scope

PATH, AUTH_PATH = "/app/{app_key}", "/broadcasting/auth"
MAX_FORM_BYTES = 4096
_SOCKET_ID = re.compile(r"[0-9]{1,40}\.[0-9]{1,40}", re.ASCII)


class PushInfo(msgspec.Struct, frozen=True):
    """How a client of the Pusher Channels protocol connects here."""

    app_key: Annotated[str, v.said("The key of the application that its client names.", "towerlog")]
    path: Annotated[str, v.said("Where the WebSocket is.", PATH)]
    auth_endpoint: Annotated[str, v.said("Where a channel is authorised, with an API key.", AUTH_PATH)]
    channels: Annotated[
        dict[str, str],
        v.said("How channels are named, by what they are about.", {"user": pusher.CHANNELS[pusher.ListenKind.USER]}),
    ]


class ChannelRequest(msgspec.Struct, frozen=True):
    """Asks for a channel on a socket, as clients of the protocol do by themselves."""

    socket_id: Annotated[str, v.said("The socket, as it was told when it connected.", "123.456")]
    channel_name: Annotated[str, v.said("The channel.", f"private-user.{v.UUID}")]


class ChannelAuth(msgspec.Struct, frozen=True):
    """The signature with which the socket subscribes to the channel."""

    auth: Annotated[str, v.said("The key of the application and the signature.", f"towerlog:{'0f' * 32}")]


class PushPages:
    """The pages of live push."""

    def __init__(self) -> None:
        """Served after `attach`."""
        self._sockets: Sockets | None = None
        self._cors: Cors | None = None

    def attach(self, sockets: Sockets, cors: Cors) -> None:
        """`cors` says of which origins pages may connect."""
        self._sockets, self._cors = sockets, cors

    def routes(self) -> tuple[PageRoute, ...]:
        """What a client of the protocol asks for, and what tells it where."""
        return (
            PageRoute("GET", PATH, "push_socket", "Live push.", self.connect, public=True, is_described=False),
            PageRoute(
                "POST",
                AUTH_PATH,
                "authorise_channel",
                "Sign a channel of live push for a socket.",
                self.authorise,
                scopes(Scope.READ),
                reply=ChannelAuth,
                request=ChannelRequest,
                body="form",
                refuses=(Malformed, Invalid, TooLarge),
                dialect=steps.DIALECT,
            ),
            PageRoute(
                "GET",
                "/api/v1/push",
                "push",
                "How to connect to live push.",
                self.show,
                scopes(Scope.READ),
                reply=PushInfo,
            ),
        )

    async def show(self, visit: PageVisit) -> Reply:
        """What a client has to know."""
        assert self._sockets is not None
        names = {kind.value: name for kind, name in pusher.CHANNELS.items()}
        return reply_json(PushInfo(self._sockets.app_key, PATH, AUTH_PATH, names))

    async def authorise(self, visit: PageVisit) -> Reply:
        """The signature. Raises Invalid, Malformed; Forbidden for any channel that the caller may not have."""
        sockets, principal = self._sockets, visit.principal
        assert sockets is not None
        assert principal is not None
        if len(visit.body) > MAX_FORM_BYTES:
            raise TooLarge(f"The form is larger than {MAX_FORM_BYTES} bytes.")
        form = parse_query(visit.body, once=True)
        for name in ("socket_id", "channel_name"):
            if not form.get(name):
                raise invalid_field(name, "is required")
        if _SOCKET_ID.fullmatch(form["socket_id"]) is None:
            raise invalid_field("socket_id", "must be two numbers with a dot between them")
        channel = form["channel_name"]
        meant = pusher.listen_of(channel)
        try:
            subject = None if meant is None else await sockets.engine.subject_of(principal, meant)
        except NotFound:
            subject = None
        if subject is None:
            raise Forbidden("This channel is not yours.")
        return reply_json(ChannelAuth(sockets.grant(form["socket_id"], channel, principal, subject)))

    async def connect(self, visit: PageVisit) -> Reply:
        """Switches to WebSocket. What is wrong with the application or the protocol is said there, in its words.

        Raises Rejection for what is no handshake, and for a page of an origin that may not connect.
        """
        assert self._sockets is not None
        assert self._cors is not None
        head = accepted(visit.headers)
        if not self._cors.lets_in(visit.headers):
            raise Forbidden("Pages of this origin may not connect: name it in TOWERLOG_CORS_ORIGINS.")
        fault = None
        if visit.path["app_key"] != self._sockets.app_key:
            fault = Fault(pusher.UNKNOWN_APP, "There is no application with this key.")
        elif visit.query.get("protocol", "7") not in pusher.VERSIONS:
            fault = Fault(pusher.BAD_VERSION, "Only versions 5 to 7 of the protocol are spoken.")
        return Switch(101, b"", headers=head, successor=self._sockets.make(fault))
