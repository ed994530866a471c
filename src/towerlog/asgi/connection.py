"""One HTTP/1.1 connection: what comes in, who is served, and what is answered on it.

What comes passes the phases of `http1/phases.py`. A request whose body came whole is handed to the application before
there is a task for it. What uvicorn and httptools must offer is used here; `http1/fitness.py` says whether it is there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.server import ServerState

from towerlog.asgi.exchange import Exchange, Respond
from towerlog.asgi.guard.arrivals import Arrivals, Visit
from towerlog.asgi.guard.pace import BODY_PART_BYTES, COUNTED_FROM
from towerlog.asgi.http1 import heads, phases
from towerlog.asgi.http1.known import LENGTH, MAX_LENGTH_DIGITS, MAX_MISSES, METHOD, VERSION, KnownHead, known_head
from towerlog.asgi.http1.phases import ConnectionPhase, Phases
from towerlog.asgi.http1.pipeline import Pipeline, Refused
from towerlog.asgi.http1.request import JOINED_BYTES, STATUS_LINES, PendingRequest, plain_refusal
from towerlog.errors import EXHAUSTED, Overloaded

_HEAD, _BODY, _REPLY, _IDLE = ConnectionPhase.HEAD, ConnectionPhase.BODY, ConnectionPhase.REPLY, ConnectionPhase.IDLE


class Connection(Pipeline):
    """One connection. The parser calls its `on_…`, the event loop the rest."""

    __slots__ = ("_again", "_arrived", "_fed", "_headers", "_known", "_misses", "_take", "_trailers", "_url")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        visit: Visit | None = None,
    ) -> None:
        """As the server makes it. `visit`: one that has its place already; without one it looks for it itself."""
        if not config.loaded:
            config.load()
        super().__init__(_loop or asyncio.get_running_loop(), config.timeout_keep_alive, server_state)
        self._app: Any = config.loaded_app
        self._take: Callable[[Any, bytes, Respond], Exchange | None] | None = getattr(self._app, "take", None)
        self._parser = httptools.HttpRequestParser(self)
        self._arrived = visit
        self._fed = 0
        self._again: bytes | None = None
        """A head that is read once more, without its wish to go on in another protocol."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._trailers = 0
        """How many lines of trailers have come."""
        self._known: KnownHead | None = None
        self._misses = 0
        """Requests in a row whose head was not the known one."""

    # The event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head, where there is a place for the connection."""
        self.transport = transport
        # Whatever is written and not taken at once pauses: then it is counted, and its reader is watched.
        transport.set_write_buffer_limits(0)
        try:
            self._state.connections.add(self)
            self._visit = self._arrived or self._visit_of(transport.get_extra_info("peername"))
            self._pace = self._visit.pace
            self._visit.hand_over(self)
            self._visit.enter()
            self._await(_HEAD, phases.HEAD_DEADLINE_S)
        except Overloaded as refusal:
            self._ignores_input = True
            transport.write(plain_refusal(503, refusal.message, refusal.retry_after))
            self.close()
        except Exception:
            # Else it would stand as it is, with its place: the loop reads nothing of one that could not begin.
            self._ignores_input = True
            transport.abort()
            raise

    def _visit_of(self, peer: object) -> Visit:
        arrivals: Arrivals = getattr(self._app, "arrivals", None) or Arrivals.unbounded()
        return arrivals.visit(peer if isinstance(peer, tuple) else None, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nobody to answer any more."""
        self._state.connections.discard(self)
        self._ignores_input = True
        try:
            Phases.resume_writing(self)
            self._lose()
            self._disarm()
        finally:
            self._visit.leave()
            self._parser = None

    def data_received(self, data: bytes) -> None:
        """Reads on, serves what came whole, and watches what did not; later, where too much came in this turn."""
        if self._ignores_input:
            self._drop(len(data))
            return
        pace = self._pace
        if pace.left <= 0 or (pace.left_of_strangers <= 0 and self._visit.is_stranger):
            self._keep(data)
            return
        if self._phase is _IDLE and self._misses < MAX_MISSES:
            self._read_known(data)
        else:
            self._read_packet(data)
        if self._is_fresh:
            if self.is_write_paused:
                assert self._serving is not None
                self._count_body(self._serving)
            else:
                self._serve()

    def _read_known(self, data: bytes) -> None:
        """What comes behind a reply: the parser is asked only of a head that it has not read before."""
        known, visit = self._known, self._visit
        request = None
        if known is not None and visit.is_known and not visit.is_proxied:
            request = self._known_request(known, data)
        if request is None:
            self._read_unknown(data)
            return
        pace = self._pace
        pace.left -= 1 + len(data) // BODY_PART_BYTES
        if pace.left < COUNTED_FROM:
            pace.note(self._loop)
        self._misses = 0
        self._phase, self._due, self._count = _REPLY, math.inf, 0
        self._serving, self._is_fresh = request, True

    def _known_request(self, known: KnownHead, data: bytes) -> PendingRequest | None:
        """The request with these lines that is all of `data`; None of any other."""
        end = data.find(VERSION, 0, heads.PLAIN_HEAD_BYTES)
        start = end + len(VERSION)
        if end < 0 or not data.startswith(known.before, start) or not data.startswith(METHOD):
            return None
        start += len(known.before)
        stop = data.find(b"\r", start, start + MAX_LENGTH_DIGITS + 1)
        length, body_at = data[start:stop], stop + len(known.after)
        is_same = stop >= 0 and data.startswith(known.after, stop) and length.isdigit()
        target = data[len(METHOD) : end]
        if not is_same or len(data) - body_at != int(length) or heads.PLAIN_TARGET(target) is None:
            return None
        raw_path, _, query = target.partition(b"?")
        headers, given = known.headers.copy(), known.given.copy()
        headers[known.length_at], given[LENGTH] = (LENGTH, length), length
        scope = self._scope("1.1", "POST", (raw_path.decode("latin-1"), raw_path, query), headers, given)
        body = data[body_at:]
        return PendingRequest(self, self._visit, scope, True, body=body, received_bytes=len(body), is_whole=True)

    def _read_unknown(self, data: bytes) -> None:
        self._misses += 1
        self._read_packet(data)
        request = self._serving
        if request is not None and request.is_whole and not self._waiting:
            self._known = known_head(data, request) or self._known

    def _read(self, data: bytes) -> None:
        request = self._receiving
        before = self._before = 0 if request is None else request.received_bytes
        self._fed = size = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            rest = data[stopped.args[0] :]
            again, self._again = self._again, None
            if again is not None and not self._ignores_input:
                self._read(again)
                if rest and not self._ignores_input:
                    self._read(rest)
            elif self._ignores_input and self._asks_to_switch():
                self._hold_early(rest)
                self._pause_reading()
            elif rest and not self._ignores_input:
                # The request is served as it is, and what comes after it is the next one.
                self._read(rest)
            return
        except httptools.HttpParserError as error:
            self._refuse_unread(error)
        if self._ignores_input:
            return
        if self._phase is _HEAD:
            self._watch_head(size)
        elif self._phase is _BODY:
            # Where its head has ended only in this packet, what else was in that is not the body's to answer for.
            new = self._receiving is not request
            self._watch_body(0 if new else size, 0 if new else before)

    # The parser calls

    def on_message_begin(self) -> None:
        """A head begins."""
        if len(self._waiting) >= phases.MAX_PIPELINED:
            # It came in one piece with those before it, which no head does that ends as HTTP has it. Nothing is said
            # of what nobody will look at: its sender may send it again.
            self._waiting[-1].keep_alive, self._last_bytes = False, b""
            self._stop_listening()
            raise Refused
        self._phase, self._due, self._count = _HEAD, math.inf, 0
        self._url, self._headers, self._trailers = b"", [], 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, without the blanks around its value (RFC 9110, 5.5). Nobody reads those of a trailer."""
        if self._phase is _HEAD:
            if len(self._headers) == heads.MAX_HEADERS:
                self._refuse(400, heads.TOO_MANY)
                raise Refused
            self._headers.append((name.lower(), value.strip(b" \t")))
            return
        self._trailers += 1
        if self._trailers > heads.MAX_HEADERS:
            self._refuse(400, heads.TOO_MANY_TRAILERS)
            raise Refused

    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser, headers, url = self._parser, self._headers, self._url
        version, given = parser.get_http_version(), dict(headers)
        if b"upgrade" in given and parser.should_upgrade() and not heads.asks_for_websocket(parser.get_method(), given):
            # The parser takes what comes behind for another protocol. Who does not speak it is to read on as HTTP
            # (RFC 9110, 7.8): the head is read once more, without the wish.
            self._again = heads.without_upgrade(parser.get_method(), url, version, headers)
            return
        raw_path, _, query = url.partition(b"?")
        path = raw_path.decode("latin-1")
        # Nearly all heads are seen to be good at once; the others are looked at more closely.
        if (
            version != "1.1"
            or len(given) != len(headers)
            or b"host" not in given
            or b"transfer-encoding" in given
            or self._fed + self._count > heads.PLAIN_HEAD_BYTES
            or heads.PLAIN_TARGET(url) is None
        ):
            try:
                path, raw_path, query = heads.examined(version, url, headers)
            except heads.BadHead as fault:
                self._refuse(400, str(fault))
                raise
        method = parser.get_method().decode("ascii")
        scope = self._scope(version, method, (path, raw_path, query), headers, given)
        is_old = version == "1.0"
        if self._visit.is_proxied:
            self._begin_visit(scope)
        if not self._visit.is_known or self._visit.is_proxied:
            scope["known"] = self._visit.admit
        # A request to switch is the last of its connection, whatever becomes of it, and so is one for a tunnel.
        keep_alive = not is_old and parser.should_keep_alive() and not parser.should_upgrade()
        request = PendingRequest(self, self._visit, scope, keep_alive, is_old, b"expect" in given)
        self._receiving, self._phase, self._due, self._count = request, _BODY, math.inf, 0
        if self._serving is None:
            self._serving, self._is_fresh = request, True
        else:
            self._waiting.append(request)
            self._pause_reading()

    def _scope(
        self,
        version: str,
        method: str,
        target: tuple[str, bytes, bytes],
        headers: list[tuple[bytes, bytes]],
        given: dict[bytes, bytes],
    ) -> dict[str, Any]:
        """What the application is told of a request. `target`: its path, that as it was sent, and its query."""
        return {
            "type": "http",
            "http_version": version,
            "method": method,
            "path": target[0],
            "raw_path": target[1],
            "query_string": target[2],
            "headers": headers,
            "given": given,
            "client": self._visit.peer,
        }

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        request = self._receiving
        assert request is not None
        request.received_bytes += len(body)
        if request.fault is not None:
            return
        if not request.body:
            request.body = body
        elif isinstance(request.body, bytearray):
            request.body += body
        else:
            request.body = bytearray(request.body) + body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._again is not None:
            return
        request = self._receiving
        assert request is not None
        if b"transfer-encoding" in request.scope["given"] and self._has_too_much(request, self._fed, self._before):
            raise Refused
        self._receiving = None
        request.is_whole = True
        self._phase, self._due = _REPLY, math.inf
        if request.waiter is not None:
            request.hear()
        if request is not self._serving:
            self._count_body(request)
        if self._is_read_paused and not self._waiting:
            self._resume_reading()
        if not request.keep_alive:
            self._ignores_input = True

    # Who is served

    def _serve(self) -> None:
        """Lets the application take a request that is all here; has a task serve what it leaves, and any other."""
        self._is_fresh = False
        request, take = self._serving, self._take
        assert request is not None
        exchange = None
        if request.is_whole and request.fault is None and take is not None:
            body, request.body, request.is_told = bytes(request.body), b"", True
            if request.held_bytes:
                request.uncount()
            try:
                exchange = take(request.scope, body, partial(self.respond, request))
            except EXHAUSTED as fault:  # too little also for what refuses it
                request.make_up(fault)
                return
            if exchange is None:
                return
        self._start_task(request, exchange)

    def respond(self, request: PendingRequest, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Sends a whole reply now, whether or not there is room. What its sender did not wait for is dropped."""
        if request.is_gone or request.is_started:
            return
        parts = self.head_of(request, status, head)
        parts.append(b"\r\n")
        rest = b"" if request.scope["method"] == "HEAD" else body
        if len(rest) > JOINED_BYTES:
            text = b"".join(parts)
            self.given_bytes = len(text) + len(rest)
            self.transport.writelines((text, rest))
        else:
            parts.append(rest)
            text = b"".join(parts)
            self.given_bytes = len(text)
            self.transport.write(text)
        self.replied(request)

    def head_of(self, request: PendingRequest, status: int, head: list[tuple[bytes, bytes]]) -> list[bytes]:
        """The parts of a reply's head, its last line end not among them. The reply has begun.

        The names and values in `head` are ours, or were checked when they came: they are not searched for line ends.
        """
        request.is_started = True
        if not request.is_whole:
            # Nobody will read the rest of its body.
            request.keep_alive = False
            self._stop_listening()
        parts = [STATUS_LINES[status]]
        for name, value in (*self._state.default_headers, *head):
            parts += (name, b": ", value, b"\r\n")
        if not request.keep_alive:
            parts.append(b"connection: close\r\n")
        return parts

    def replied(self, request: PendingRequest) -> None:
        """The reply is whole: the next request, the last bytes, or the wait for another."""
        request.is_complete = True
        if request.waiter is not None:
            request.hear()
        self._state.total_requests += 1
        self._serving = None
        if self._visit.is_proxied:
            self._visit.end()
        if not request.keep_alive:
            (self.close if request.is_whole and self._last_bytes is None else self._linger)()
        elif self._waiting:
            self._serve_next()
        elif self._last_bytes is not None:
            self._linger()
        elif self._phase is _REPLY:
            self._phase, self._due = _IDLE, self._loop.time() + self._keep_alive_s
            if self._fires_at > self._due:
                self._arm()
