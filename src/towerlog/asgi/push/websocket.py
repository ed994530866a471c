"""One WebSocket (RFC 6455) on a connection that HTTP has handed over: messages in, frames out, within bounds.

The frames are the library's, which does no I/O. Nothing is compressed: a bomb would cost its sender nothing, and what
is sent to many could not be framed once. What messages mean is said in `pusher.py`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping

from websockets.datastructures import Headers as WireHeaders
from websockets.exceptions import InvalidHandshake, InvalidUpgrade
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.http1.phases import ConnectionPhase, Phases
from towerlog.asgi.replies import Headers
from towerlog.asgi.shares.allowance import Allowance
from towerlog.errors import Malformed, Overloaded

MAX_MESSAGE_BYTES = 16 * 1024
"""The longest message that is taken: a subscription has a few hundred bytes."""
MAX_BURST_FRAMES = 400
FRAMES_PER_SECOND = 20
"""Frames that a client may send at once, and after that in a second; a KiB of them counts as one more. Those of all
sockets of an address, or of a key, are bounded together (`shares/share.py`)."""
_FEED_BYTES = 2048
"""What is parsed at a time: frames of a few bytes cost far more than they bring. Each frame counts as a piece of work
in the turn of the event loop, which so has at most as many more than may begin in it as these bytes can hold."""
_UPGRADE_REQUIRED = 426
_UNSUPPORTED: Headers = ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"))

_BODY = frozenset({b"content-length", b"transfer-encoding"})
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

# The library's own words about each connection: nobody reads them.
_quiet = logging.getLogger("towerlog.websocket")
_quiet.setLevel(logging.ERROR)


def accepted(headers: Mapping[bytes, bytes]) -> Headers:
    """The headers of the reply that switches. Raises Rejection (400, 426) for what is no handshake."""
    if not _BODY.isdisjoint(headers):
        # Another server on the way could take for a body what is read here as frames.
        error = Malformed("A WebSocket handshake has no body: remove Content-Length and Transfer-Encoding.")
        raise Rejection(400, error, _UNSUPPORTED)
    given = WireHeaders([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()])
    try:
        accept, _, _ = ServerProtocol(logger=_quiet).process_request(Request("/", given))
    except InvalidUpgrade:
        error = Malformed("This is for WebSocket clients: send Upgrade: websocket and Connection: Upgrade.")
        raise Rejection(_UPGRADE_REQUIRED, error, _UNSUPPORTED) from None
    except InvalidHandshake as fault:
        raise Rejection(400, Malformed(f"The WebSocket handshake is wrong: {fault}."), _UNSUPPORTED) from None
    return ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accept.encode()))


def text_frame(text: bytes) -> bytes:
    """A message as a server sends it. It is the same for all who get it."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


class WebSocket(Phases):
    """One WebSocket. The event loop calls it, as it calls any connection."""

    __slots__ = ("_allowance", "_frames", "_is_inside", "_left", "_parts")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing has come. `take_over` begins."""
        super().__init__(loop, math.inf)
        self._frames = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES, logger=_quiet)
        self._parts = b""
        """The fragments of a message, of which more are to come."""
        self._is_inside = False
        """Whether there are any."""
        self._allowance = Allowance(MAX_BURST_FRAMES, FRAMES_PER_SECOND)
        self._left: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything may still be sent."""
        return not self._ignores_input

    @abstractmethod
    def begun(self) -> None:
        """It is open."""

    @abstractmethod
    def hear(self, text: str) -> None:
        """A message has come."""

    @abstractmethod
    def heard(self) -> None:
        """A whole frame of any kind has come: somebody is there."""

    @abstractmethod
    def has_room(self) -> None:
        """All that was sent has been taken."""

    @abstractmethod
    def flooded(self) -> None:
        """Its client sends more than it may: it is to be ended."""

    @abstractmethod
    def lost(self) -> None:
        """The connection is gone."""

    # Its life

    def take_over(self, transport: asyncio.Transport, visit: Visit, left: Callable[[], None]) -> None:
        """The connection is this one's from now on."""
        self.transport, self._visit, self._pace, self._left = transport, visit, visit.pace, left
        self._phase = ConnectionPhase.REPLY
        self.begun()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives everything back."""
        self._ignores_input = True
        self._disarm()
        self._pace.leave(self)
        self._take_kept()
        self.lost()
        self._visit.leave()
        if self._left is not None:
            self._left()
            self._left = None

    def close_with(self, code: int, reason: str, last: bytes = b"") -> None:
        """Ends it from our side, after a last message."""
        if self.is_open:
            if self._frames.state is State.OPEN:
                self._frames.send_close(code, reason)
            self._end((text_frame(last) if last else b"") + b"".join(self._frames.data_to_send()))

    def _end(self, last_bytes: bytes) -> None:
        self._last_bytes, self._parts = last_bytes, b""
        self._ignores_input = True
        self._pace.leave(self)
        if self._take_kept() and not self._is_read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._linger()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Parses it piece by piece, as long as somebody may speak; later, where too much came in this turn of the event
        loop, or where the answers are not taken."""
        for at in range(0, len(data), _FEED_BYTES):
            if self._ignores_input:
                self._drop(len(data) - at)
                return
            if self._is_turn_over() or self.is_write_paused:
                self._keep(data[at:])
                return
            self._spend(0)
            self._feed(data[at : at + _FEED_BYTES])

    def _keep(self, data: bytes) -> None:
        """This is looked at in one of the next turns; nothing more is read before that."""
        try:
            self._visit.keep(len(data))
        except Overloaded:
            self.flooded()
            return
        self._kept = data
        self.transport.pause_reading()
        if not self.is_write_paused:
            self._wait_for_turn()

    def begin(self) -> None:
        """Goes on with what waits for its turn, if it still does. Where the reader has first to take the answers, that
        begins it again."""
        if self._kept and not self.is_write_paused and not self.transport.is_closing():
            data = self._take_kept()
            if not self._is_read_paused:
                self.transport.resume_reading()
            self.data_received(data)
        elif self._ignores_input:
            self._go_on_dropping()

    def _feed(self, piece: bytes) -> None:
        frames = self._frames
        frames.receive_data(piece)
        found = frames.events_received()
        self._pace.count(self._loop, len(found), self._visit.is_stranger)
        if not self._may_send(len(found) + len(piece) / 1024):
            self.flooded()
            return
        for frame in found:
            self.heard()
            # Behind a close frame, or a fault, nothing is looked at any more.
            if frames.state is State.OPEN and isinstance(frame, Frame) and frame.opcode in _DATA:
                self._take(frame)
            if self._ignores_input:
                return
        answers = frames.data_to_send()
        if frames.state is not State.OPEN:
            # A close frame has come and is answered, or something is wrong and a close frame says what.
            self._end(b"".join(answers))
        elif answers:
            self._write(b"".join(answers))

    def _take(self, frame: Frame) -> None:
        data = frame.data if isinstance(frame.data, bytes) else bytes(frame.data)
        if frame.opcode is Opcode.BINARY:
            self._frames.fail(CloseCode.UNSUPPORTED_DATA, "messages are text")
            return
        if not frame.fin or self._is_inside:
            self._parts += data
            self._is_inside = not frame.fin
            if self._is_inside:
                return
            data, self._parts = self._parts, b""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._frames.fail(CloseCode.INVALID_DATA, "the text is not UTF-8")
            return
        self.hear(text)

    def _may_send(self, spent: float) -> bool:
        """Whether it may, and all sockets of its address, or of its key, together."""
        now = self._loop.time()
        return self._allowance.take(spent, now) and self._visit.shares[0].frames.take(spent, now)

    # What goes

    def say(self, text: bytes) -> None:
        """Sends a message, now."""
        self.put(text_frame(text))

    def put(self, frames: bytes) -> None:
        """Sends whole frames, now; nothing once it is ended."""
        if self.is_open:
            self._write(frames)

    def _write(self, data: bytes) -> None:
        self.given_bytes = len(data)
        self.transport.write(data)

    def pause_writing(self) -> None:
        """There is more for the reader than it takes: until it has, nothing of it is read that would have to be
        answered. Called by the transport, from within the write."""
        super().pause_writing()
        self._pause_reading()

    def resume_writing(self) -> None:
        """It has taken all of it. Called by the transport."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._resume_reading()
        if self._kept:
            if self._is_turn_over():
                self._wait_for_turn()
            else:
                self.begin()
        if self.is_open:
            self.has_room()

    # What Phases asks of a connection that has heads and bodies

    def _head_overdue(self) -> None:
        """There are no heads any more."""

    def _body_overdue(self) -> None:
        """There are no bodies any more."""
