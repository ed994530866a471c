"""Serves any `Dialect` on raw ASGI: from the route table to the engine and back, with no request object between.

This is the hot path: one scan of the headers, look-ups instead of searches, nothing logged, nothing built twice. The
order is: trace, route, host, key, scope, rate, room, body, decode, engine, encode. What goes wrong anywhere leaves in
the words of the dialect that was spoken to.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import structlog

from towerlog.asgi.bodies import Disconnected
from towerlog.asgi.exchange import Exchange, Parts, count, explain_to, limit
from towerlog.asgi.faults import Rejection
from towerlog.asgi.push.sse import SseSink, stream_head
from towerlog.asgi.push.streams import Stream
from towerlog.asgi.query_strings import parse_query
from towerlog.asgi.replies import NO_EXTENSIONS, Message, Receive, Send, send_reply
from towerlog.asgi.routes import Route, Visit
from towerlog.dialects.base import Call, Endpoint, Reply
from towerlog.errors import Forbidden, Internal, Invalid, TowerlogError, Unauthenticated
from towerlog.model.command import Idempotency, Write
from towerlog.model.outcome import KeyMinted, Outcome, Replayed
from towerlog.model.principal import Principal
from towerlog.model.question import FollowAgent, FollowRun, Read

LONGEST_IDEMPOTENCY_KEY = 255
_NO_CONTENT = Reply(204, b"")

_log = structlog.get_logger("towerlog.mount")


class _Exchange(Exchange):
    """One request that goes the long way, with the means to hear more of it and to answer it."""

    __slots__ = ("receive", "send")

    def __init__(self, scope: Message, receive: Receive, send: Send, now_ms: int) -> None:
        super().__init__(scope, now_ms)
        self.receive = receive
        self.send = send


class Mount:
    """Serves all routes of the table."""

    def __init__(self, parts: Parts) -> None:
        """`parts` are shared with the rest of the transport."""
        self._parts = parts
        self._find = parts.table.find
        self._recall = parts.auth.recall
        self._execute = parts.engine.execute
        self._steady_ms = parts.clock.steady_ms
        self._traces = parts.traces

    async def serve(self, scope: Message, receive: Receive, send: Send) -> Stream | None:
        """Answers a request. A stream is opened, not run: that is the caller's, when all of this is off the stack."""
        exchange = _Exchange(scope, receive, send, self._steady_ms())
        parent = exchange.headers.get(b"traceparent")
        exchange.trace_id = self._traces.fresh() if parent is None else self._traces.of(parent)
        try:
            reply = await self._answer(exchange)
        except (TowerlogError, Rejection) as fault:
            reply = explain_to(self._parts, exchange, fault)
        except Disconnected:
            return None
        except Exception:
            _log.exception("a request failed", trace_id=exchange.trace_id, path=str(scope["path"])[:200])
            reply = explain_to(self._parts, exchange, Internal())
        finally:
            if exchange.held_bytes:
                self._parts.admission.give_bytes(exchange.held_bytes)
        count(self._parts, exchange, 200 if isinstance(reply, Stream) else reply.status)
        if isinstance(reply, Stream):
            return reply
        await send_reply(scope, send, reply, exchange.trace_id, exchange.extra)
        return None

    async def _answer(self, exchange: _Exchange) -> Reply | Stream:
        parts, headers, scope = self._parts, exchange.headers, exchange.scope
        parts.hosts.check(headers.get(b"host"))
        route, path = self._find(scope["method"], scope["raw_path"])
        exchange.route = route
        endpoint = route.endpoint
        if endpoint is None:
            return await self._show(exchange, route)
        principal = self._recall(headers, exchange.now_ms)
        if principal is None:
            principal = await parts.auth.authenticate(headers, exchange.now_ms)
        if route.scopes.isdisjoint(principal.scopes):
            raise Forbidden
        over = limit(parts, exchange, route, principal) if route.limited else None
        body = await self._read(exchange, endpoint)
        query = parse_query(scope["query_string"])
        now_ms = parts.clock.now_ms()
        call = Call(principal, path, query, headers, body, parts.settings, exchange.trace_id, now_ms)
        try:
            command = endpoint.decode(call)
        except TowerlogError as error:
            raise over or error from None
        if over is not None and not parts.heartbeats.allows(command, exchange.now_ms):
            raise over
        if isinstance(command, FollowRun | FollowAgent):
            return await self._follow(exchange, endpoint, principal, command)
        key = headers.get(b"idempotency-key")
        repeat = None if key is None else _idempotency(exchange, endpoint, key, call)
        if getattr(command, "wait_ms", 0):
            outcome = await self._attended(exchange, principal, command, repeat)
        else:
            outcome = await self._execute(principal, command, route.dialect.name, repeat)
        if route.limited:
            parts.heartbeats.note(outcome, exchange.now_ms)
        if isinstance(outcome, Replayed):
            return Reply(outcome.status, outcome.body)
        return endpoint.encode(outcome, call)

    async def _attended(
        self, exchange: _Exchange, principal: Principal, command: Write | Read, repeat: Idempotency | None
    ) -> Outcome:
        """A long poll: given up when its caller leaves or its key is revoked, so that nothing is done for nobody."""
        assert exchange.route is not None
        work = asyncio.ensure_future(self._execute(principal, command, exchange.route.dialect.name, repeat))
        left = asyncio.ensure_future(_departure(exchange.receive))
        revoked: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def stop() -> None:
            if not revoked.done():
                revoked.set_result(None)

        self._parts.auth.watch(principal, stop)
        try:
            await asyncio.wait((work, left, revoked), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise Unauthenticated if revoked.done() else Disconnected
        finally:
            self._parts.auth.unwatch(principal, stop)
            for task in (work, left):
                task.cancel()

    async def _show(self, exchange: _Exchange, route: Route) -> Reply:
        """Answers with a page."""
        page, parts = route.page, self._parts
        assert page is not None
        principal = None
        if not page.public:
            principal = await parts.auth.authenticate(exchange.headers, exchange.now_ms)
            if page.scopes.isdisjoint(principal.scopes):
                raise Forbidden
        scope = exchange.scope
        return await page.answer(
            Visit(
                headers=exchange.headers,
                query=parse_query(scope["query_string"]),
                is_local=parts.addresses.is_local(scope),
                now_ms=exchange.now_ms,
                principal=principal,
            )
        )

    async def _read(self, exchange: _Exchange, endpoint: Endpoint) -> bytes:
        """The body, which stays admitted until the request has been answered."""
        headers, parts = exchange.headers, self._parts
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            return b""
        declared = parts.bodies.declared_length(headers)
        if not declared and b"transfer-encoding" not in headers:
            return b""
        parts.admission.take_bytes(declared)
        exchange.held_bytes = declared
        at_once = exchange.scope.get("extensions", NO_EXTENSIONS).get("towerlog.body", _later)
        body = await parts.bodies.read(exchange.receive, headers, endpoint.body_types, declared, at_once)
        if len(body) > declared:
            parts.admission.take_bytes(len(body) - declared)
            exchange.held_bytes = len(body)
        return body

    async def _follow(
        self, exchange: _Exchange, endpoint: Endpoint, principal: Principal, command: FollowRun | FollowAgent
    ) -> Reply | Stream:
        style, parts = endpoint.stream, self._parts
        if style is None:
            raise Internal
        parts.admission.take_stream()
        try:
            follower = await parts.engine.follow(principal, command, style)
        except BaseException:
            parts.admission.give_stream()
            raise
        head = stream_head(exchange.trace_id, parts.epoch, exchange.extra)
        if follower.finished or exchange.scope["method"] == "HEAD":
            follower.close()
            parts.admission.give_stream()
            return _NO_CONTENT if follower.finished else _head_only(head)
        sink = SseSink(exchange.scope, exchange.receive, exchange.send, head, style)
        return parts.streams.open(follower, sink, principal)


async def _departure(receive: Receive) -> None:
    """Ends when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _later() -> None:
    """A server that cannot tell whether a body is whole: it is waited for."""


def _idempotency(exchange: _Exchange, endpoint: Endpoint, key: bytes, call: Call) -> Idempotency | None:
    """What the engine needs to know a repeat by. Only a POST has one."""
    method = exchange.scope["method"]
    if method != "POST":
        return None
    if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY or not key.isascii() or not key.decode("ascii").isprintable():
        raise Invalid(
            f"Idempotency-Key must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters.",
            field="Idempotency-Key",
        )

    def encode(outcome: Any) -> tuple[int, bytes]:
        if not endpoint.replay and isinstance(outcome, KeyMinted):
            outcome = msgspec.structs.replace(outcome, text="")
        reply = endpoint.encode(outcome, call)
        return reply.status, reply.body

    route = f"{method} {exchange.scope['raw_path'].decode('latin-1')}"
    return Idempotency(route, key.decode("ascii"), hashlib.sha256(call.body).digest(), encode)


def _head_only(head: list[tuple[bytes, bytes]]) -> Reply:
    """What a stream would begin with."""
    kept = tuple(header for header in head if header[0] not in (b"content-type", b"x-trace-id"))
    return Reply(200, b"", "text/event-stream; charset=utf-8", kept)
