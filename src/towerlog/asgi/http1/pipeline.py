"""The requests in hand on one connection, in their order: received, served, or waiting behind the one that is served.

What the parser and the application say of them is the connection's (`asgi/connection.py`), and so is all that nearly
every request comes through.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections import deque
from typing import Any

from towerlog.asgi.exchange import Exchange, Successor
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.pace import BODY_PART_BYTES, LINES_PART
from towerlog.asgi.http1 import heads, phases
from towerlog.asgi.http1.phases import ConnectionPhase, Phases
from towerlog.asgi.http1.request import NO_PLACE, NO_PLACE_RETRY_S, STATUS_LINES, PendingRequest, plain_refusal
from towerlog.errors import EXHAUSTED, Malformed, OutOfMemory, Overloaded

_BETWEEN = frozenset({ConnectionPhase.HEAD, ConnectionPhase.IDLE})
_MIN_HEAD_BYTES = 16
"""No head is shorter: `GET / HTTP/1.1`, and the end of a line."""


class Refused(Exception):
    """Stops the parser."""


class Pipeline(Phases):
    """The requests of one connection."""

    __slots__ = ("_app", "_before", "_early", "_is_fresh", "_parser", "_receiving", "_serving", "_state", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, keep_alive_s: float, server_state: Any) -> None:
        """None yet. `server_state` is the server's: its connections, its tasks, the headers of all replies."""
        super().__init__(loop, keep_alive_s)
        self._state = server_state
        self._app: Any
        self._parser: Any
        self._receiving: PendingRequest | None = None
        self._serving: PendingRequest | None = None
        self._waiting: deque[PendingRequest] = deque(maxlen=phases.MAX_PIPELINED)
        self._before = 0
        """Bytes of the body that is being received which had come before what is being read."""
        self._is_fresh = False
        """Whoever is served has not begun: there may be more of it in what is being read, or its reader has still to
        take the reply before it, or too much has begun in this turn of the event loop."""
        self._early: bytes | None = None
        """What has come behind a request to switch to WebSocket, for whoever takes the connection over."""

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Something has come. Called by the transport, and in its turn with what was kept."""

    @abstractmethod
    def _read(self, data: bytes) -> None:
        """Has the parser look at what has come."""

    @abstractmethod
    def _serve(self) -> None:
        """Lets the application take a request that is all here, or has a task serve it."""

    def _start_task(self, request: PendingRequest, exchange: Exchange | None) -> None:
        """Has the application serve it, from where `exchange` stands or from the beginning."""
        if request is self._receiving:
            self._expect(ConnectionPhase.BODY, phases.BODY_DEADLINE_S)
        task = self._loop.create_task(request.serve(self._app, exchange))
        self._state.tasks.add(task)
        task.add_done_callback(request.served)
        task.add_done_callback(self._state.tasks.discard)

    def switch(self, request: PendingRequest, head: list[tuple[bytes, bytes]], successor: Successor) -> bool:
        """Says that it switches, and hands everything over; False where its request has not asked for that."""
        early = self._early
        if early is None or request is not self._serving or self._waiting or self.transport.is_closing():
            return False
        lines = [b"%s: %s\r\n" % header for header in (*self._state.default_headers, *head)]
        self.given_bytes = 0
        self.transport.write(b"".join((STATUS_LINES[101], *lines, b"\r\n")))
        request.is_started = request.is_complete = True
        self._state.total_requests += 1
        self._serving = self._parser = None
        self._disarm()
        self._pace.leave(self)
        self._visit.unkeep()
        connections: set[Any] = self._state.connections
        connections.discard(self)
        connections.add(successor)
        self._visit.hand_over(successor)
        self.transport.resume_reading()
        self.transport.set_protocol(successor)  # type: ignore[arg-type]  # a protocol of asyncio, named by what it adds
        successor.take_over(self.transport, self._visit, lambda: connections.discard(successor))
        if early:
            successor.data_received(early)
        return True

    def shutdown(self) -> None:
        """The server ends: what is in hand is the last. Called by the server."""
        newest = self._waiting[-1] if self._waiting else self._serving
        if newest is None:
            self.close()
        else:
            newest.keep_alive = False
            self._ignores_input = self._ignores_input or newest.is_whole

    def _lose(self) -> None:
        """There is nobody to answer any more."""
        for request in (self._serving, self._receiving, *self._waiting):
            if request is not None:
                request.is_gone = request.is_gone or not request.is_complete
                request.uncount()
                request.body = b""  # a connection and its transport are a cycle: what they hold stays a while
                request.hear()
        self._waiting.clear()
        self._before = 0
        self._is_fresh = False
        self._pace.leave(self)
        self._take_kept()
        self._go_on_writing()

    # What comes

    def _read_packet(self, data: bytes) -> None:
        """Has the parser look at it, at once where it is short."""
        if len(data) <= phases.LINES_STEP_BYTES and data.count(heads.END) < phases.MAX_PIPELINED:
            self._spend(len(data))
            self._count_lines(data)
            self._read(data)
        else:
            self._read_in_pieces(data)

    def _read_in_pieces(self, data: bytes) -> None:
        """What may hold many requests, or is long. Once as many wait as may, the rest is kept until they do not; a
        stranger's, until it is wanted; and lines, once this turn of the event loop is over, until the next."""
        at = 0
        while at < len(data) and not self._ignores_input:
            if len(self._waiting) == phases.MAX_PIPELINED:
                self._keep_rest(data[at:])
                return
            if at and self._is_unwanted():
                self._pause_reading()
                self._keep_rest(data[at:])
                return
            body_end = at + self._body_left()
            if at > 0 and at >= body_end and self._is_turn_over():
                self._keep(data[at:])
                return
            end = piece_end(data, at, body_end)
            piece = data[at:end]
            self._pace.count(self._loop, (at == 0) + len(piece) // BODY_PART_BYTES, self._visit.is_stranger)
            if at >= body_end:
                self._count_lines(piece)
            self._read(piece)
            at = end
        if self._early is not None and at < len(data):
            self._hold_early(self._early + data[at:])

    def _count_lines(self, data: bytes) -> None:
        """Counts what a piece costs beyond its bytes. It is no part of a body of known length: that has no lines."""
        lines = data.count(b"\n")
        if lines >= LINES_PART:
            self._pace.count(self._loop, lines // LINES_PART, self._visit.is_stranger)

    def _is_unwanted(self) -> bool:
        """Whether what comes is a body in chunks from somebody who has shown no key, and nobody has asked for it: to
        read it costs far more than to refuse it."""
        request = self._receiving
        return (
            request is not None
            and not request.is_wanted
            and self._visit.is_stranger
            and b"transfer-encoding" in request.scope["given"]
        )

    def _body_left(self) -> int:
        """How many of the bytes to come are certainly of the body that is being received."""
        request = self._receiving
        length = None if request is None else request.scope["given"].get(b"content-length")
        return 0 if request is None or length is None else int(length) - request.received_bytes

    def _asks_to_switch(self) -> bool:
        """Whether the last request of all asks to go on as WebSocket, as HTTP has it."""
        newest = self._waiting[-1] if self._waiting else self._serving
        return newest is not None and not newest.is_old and b"upgrade" in newest.scope["given"]

    def _begin_visit(self, scope: Any) -> None:
        """A proxy's connection carries a request of somebody else, for whom it counts until the reply.

        One that waits behind another is left out: no proxy sends any.
        """
        if self._serving is not None:
            return
        try:
            self._visit.begin(scope)
        except Overloaded as refusal:
            self._refuse(503, refusal.message, refusal.retry_after)
            raise Refused from None

    def _watch_head(self, size: int) -> None:
        """A head that is not whole."""
        self._count += size
        if self._due == math.inf:
            self._expect(ConnectionPhase.HEAD, phases.HEAD_DEADLINE_S)
        # With it a body may have come: how large the head is exactly is seen at its end.
        if self._count > heads.MAX_HEAD_BYTES + phases.STEP_BYTES:
            self._refuse(400, heads.TOO_LARGE)

    def _watch_body(self, size: int, before: int) -> None:
        """A body that is not whole, `before` bytes of which had come before this packet."""
        request = self._receiving
        assert request is not None
        if self._has_too_much(request, size, before):
            return
        self._count_body(request)
        if len(request.body) > phases.MAX_WAITING_BODY_BYTES:
            self._pause_reading()

    def _has_too_much(self, request: PendingRequest, size: int, before: int) -> bool:
        """Counts what came in a packet of so many bytes beside the body; too much is refused."""
        self._count += max(0, size - 2 * (request.received_bytes - before))
        if self._count <= phases.MAX_IDLE_BODY_BYTES:
            return False
        self._refuse(400, "Too much came with the request's body that is no part of it.")
        return True

    def _count_body(self, request: PendingRequest) -> None:
        """Counts what has come of a body that nobody has taken yet; where there is no room, it is given up."""
        try:
            request.note_body()
        except Overloaded as refusal:
            request.fail(refusal)

    def want_body(self, request: PendingRequest) -> None:
        """Reads on; the sender may wait to be asked for its body."""
        if request is self._receiving and not self.transport.is_closing():
            request.is_wanted = True
            if request.expects and not request.received_bytes:
                request.expects = False
                self.given_bytes = 0
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._resume_reading()

    def _serve_next(self) -> None:
        """What waited behind a reply is served by a task, so that no depth of them nests; and not before there is room
        for another reply: what is built for a reader who takes nothing would be kept, and is counted nowhere."""
        self._serving = self._waiting.popleft()
        if self.is_write_paused:
            self._is_fresh = True
        elif self._is_turn_over():
            self._is_fresh = True
            self._wait_for_turn()
        else:
            self._spend(len(self._serving.body))
            self._start_task(self._serving, None)
        if not self._waiting and not self._ignores_input:
            self._resume_reading()

    # Turns of the event loop

    def _keep(self, data: bytes) -> None:
        """Too much has been begun in this turn of the event loop: this is looked at in one of the next."""
        try:
            self._visit.keep(len(data))
        except Overloaded as refusal:
            self._refuse(503, refusal.message, refusal.retry_after)
            return
        self._kept = data
        self.transport.pause_reading()
        self._wait_for_turn()

    def _keep_rest(self, data: bytes) -> None:
        """This is looked at once reading goes on, and until then nothing more is read."""
        try:
            self._visit.keep(len(data))
        except Overloaded as refusal:
            self._refuse(503, refusal.message, refusal.retry_after)
        else:
            self._kept = data

    def _hold_early(self, data: bytes) -> None:
        """Counts it as what waits for its turn, for it may wait as long as the replies before it are not taken."""
        self._visit.unkeep()
        self._early = data
        if data:
            try:
                self._visit.keep(len(data))
            except Overloaded:
                # Clients wait for the reply before they send more (RFC 6455, 4.1), so there is nothing to be said.
                self._early = None
                self.transport.abort()

    def resume_writing(self) -> None:
        """The reader has taken what there was: more may be written, or the next begin. Called by the transport."""
        super().resume_writing()
        if self._drained is not None or self._is_fresh:
            if self._is_turn_over():
                self._wait_for_turn()
            else:
                self.begin()

    def begin(self) -> None:
        """Goes on with what waits for its turn, if it still does: a reply, the next request, what was kept."""
        if self.is_write_paused:
            pass
        elif self._go_on_writing():
            self._spend(0)
        elif self._is_fresh:
            assert self._serving is not None
            self._spend(len(self._serving.body))
            self._serve()
        if self._ignores_input:
            if self._kept:
                self._take_kept()
            self._go_on_dropping()
            return
        if not self._kept or self._waiting or self._is_read_paused:
            return
        if self._is_turn_over():
            self._wait_for_turn()
            return
        data = self._take_kept()
        self.transport.resume_reading()
        self.data_received(data)

    # What it gives up for others

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come and no reply is owed."""
        if self._serving is not None or self.is_write_paused:
            return False
        return self._phase is ConnectionPhase.IDLE or (self._phase is ConnectionPhase.HEAD and not self._count)

    def make_place(self) -> None:
        """Ends it: another needs its place. Whoever is in the middle of something is cut off."""
        if self._serving is not None or self.is_write_paused or self._phase not in _BETWEEN:
            self.transport.abort()
            return
        if self._phase is ConnectionPhase.HEAD:
            self.transport.write(plain_refusal(503, NO_PLACE, NO_PLACE_RETRY_S))
        self.close()

    # How it ends

    def _refuse(self, status: int, message: str, retry_after: int | None = None) -> None:
        """What comes is no request. Those before it get their replies first."""
        request, self._receiving = self._receiving, None
        self._stop_listening()
        self._last_bytes = plain_refusal(status, message, retry_after)
        if request is not None:
            # It will never be whole, so nobody has done anything for it.
            request.is_gone = True
            request.uncount()
            request.hear()
            if request is self._serving:
                self._serving, self._is_fresh = None, False
                if request.is_started:
                    self.close()
                    return
            else:
                self._waiting.remove(request)
        if self._serving is None:
            self._linger()

    def _refuse_unread(self, error: Exception) -> None:
        """The parser could not read what came. Where this connection will not hear more, it was only stopped."""
        if self._ignores_input:
            return
        if isinstance(error.__context__, EXHAUSTED):
            self._visit.lack()
            self._refuse(503, OutOfMemory().message, 1)
        else:
            self._refuse(400, "The request is not one of HTTP/1.1.")

    def _head_overdue(self) -> None:
        if self._count:
            self._refuse(408, "The request's head took too long.")
        else:
            # Browsers open connections before they need them: a reply that nobody has asked for would be taken for
            # that of the first request which is sent on it.
            self.close()

    def _body_overdue(self) -> None:
        assert self._receiving is not None
        error = Malformed(f"The body did not arrive within {phases.BODY_DEADLINE_S:g} s.")
        self._receiving.fail(Rejection(408, error))


def piece_end(data: bytes, at: int, body_end: int) -> int:
    """Where a piece of what came ends that begins at `at`. One head ends in it at most, and none before `body_end`."""
    last = min(len(data), at + phases.STEP_BYTES, max(at + phases.LINES_STEP_BYTES, body_end))
    begin = body_end if at < body_end else at + _MIN_HEAD_BYTES * (at > 0)
    found = data.find(heads.END, begin, last)
    return last if found < 0 else found + len(heads.END)
