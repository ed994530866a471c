"""The gate: every check between a request's head and the engine, as synchronous steps over one `Exchange`.

The order is: host, route, key, scope, rate, room, body, decode. `Gate.advance` takes the steps until something must be
awaited, says what, and goes on from the same step once that is there: no step is ever taken twice. Telemetry that
needs nothing to be awaited is enlisted with the writer and answered from its callback, without a task; for everything
else `asgi/service.py` does the waiting. This is the hot path: one scan of the headers, look-ups instead of searches,
nothing logged, nothing built twice.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from towerlog.ambient import Clock
from towerlog.asgi.bodies import Bodies
from towerlog.asgi.faults import Rejection, explain
from towerlog.asgi.guard.addresses import Addresses, counted_as
from towerlog.asgi.guard.admission import Admission
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.heartbeats import Heartbeats
from towerlog.asgi.guard.hosts import Hosts
from towerlog.asgi.guard.limits import Limiter
from towerlog.asgi.guard.trace_ids import TraceIds
from towerlog.asgi.pages.meters import Meters
from towerlog.asgi.query_strings import parse_query
from towerlog.asgi.replies import Headers, Message, head_of
from towerlog.asgi.routes import Route, RouteTable
from towerlog.dialects.base import Call, DialectSettings, Endpoint, Reply
from towerlog.engine.core import Engine
from towerlog.errors import Forbidden, Internal, Invalid, RateLimited, TowerlogError
from towerlog.model.command import Append, Command, Idempotency, Report
from towerlog.model.outcome import KeyMinted, Outcome, Replayed
from towerlog.model.principal import Principal

LONGEST_IDEMPOTENCY_KEY = 255

Respond = Callable[[int, list[tuple[bytes, bytes]], bytes], None]
"""Sends a whole reply: status, headers, body."""

_log = structlog.get_logger("towerlog.gate")


class Missing(enum.Enum):
    """What has to be awaited before a request can go on."""

    KEY = enum.auto()
    """The caller's key, which was not seen lately."""
    BODY = enum.auto()
    """The rest of the body."""
    TEXT = enum.auto()
    """What is in a compressed body that is too large to be opened on the event loop."""
    PAGE = enum.auto()
    """The answer of a page, which checks for itself who asks."""


class Components(msgspec.Struct, frozen=True):
    """Everything that a gate works with; put together by `asgi/app.py`."""

    table: RouteTable
    engine: Engine
    auth: Authenticator
    bodies: Bodies
    admission: Admission
    limiters: Mapping[str, Limiter]
    """By dialect; a dialect without one is not limited."""
    addresses: Addresses
    hosts: Hosts
    heartbeats: Heartbeats
    meters: Meters
    traces: TraceIds
    clock: Clock
    settings: DialectSettings


class Exchange:
    """One request on its way through the gate: what is known of it by now."""

    __slots__ = (
        "body",
        "call",
        "command",
        "extra",
        "headers",
        "held_bytes",
        "now_ms",
        "over",
        "passed",
        "path",
        "principal",
        "repeat",
        "route",
        "scope",
        "sent",
        "trace_id",
    )

    def __init__(self, scope: Message, now_ms: int, sent: bytes | None) -> None:
        """`now_ms` is the steady time at its beginning; `sent` its whole body, None where that has not come yet."""
        self.scope = scope
        self.now_ms = now_ms
        self.sent = sent
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.trace_id = ""
        self.passed = 0
        """How many steps of the gate it has passed."""
        self.route: Route | None = None
        self.path: Mapping[str, str] = {}
        self.principal: Principal | None = None
        self.extra: Headers = ()
        """Headers that its reply must carry, whatever the reply is."""
        self.over: RateLimited | None = None
        """The limit that it is over, and passes only as a heartbeat."""
        self.held_bytes = 0
        """Bytes of its body that count against the bound of all bodies in flight."""
        self.body: bytes | None = None
        """The body's text: decompressed, checked."""
        self.call: Call | None = None
        """What the encoder gets of the request: all but its body."""
        self.command: Command | None = None
        self.repeat: Idempotency | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of its route, which is no page."""
        assert self.route is not None
        assert self.route.endpoint is not None
        return self.route.endpoint


class Gate:
    """Takes the requests of all routes of the table."""

    def __init__(self, components: Components) -> None:
        """`components` are shared with the rest of the transport."""
        self._hosts = components.hosts
        self._table = components.table
        self._recall = components.auth.recall
        self._limiters = components.limiters
        self._addresses = components.addresses
        self._heartbeats = components.heartbeats
        self._admission = components.admission
        self._bodies = components.bodies
        self._engine = components.engine
        self._meters = components.meters
        self._traces = components.traces
        self._clock = components.clock
        self._settings = components.settings
        self._steps: tuple[Callable[[Exchange], Missing | None], ...] = (
            self.find,
            self.identify,
            self.limit,
            self.admit,
            self.read,
            self.decode,
        )

    def begin(self, scope: Message, sent: bytes | None) -> Exchange:
        """A new request, with its trace id; `sent` is its body where that came whole."""
        exchange = Exchange(scope, self._clock.steady_ms(), sent)
        exchange.trace_id = self._traces.of(exchange.headers.get(b"traceparent"))
        return exchange

    def take(self, scope: Message, sent: bytes, respond: Respond) -> Exchange | None:
        """Takes a request that came whole as far as it goes without waiting.

        None: `respond` has been called, or the commit will call it. An exchange: for `Service.serve` to go on with.
        """
        exchange = self.begin(scope, sent)
        try:
            if self.advance(exchange) is not None or not self.enlist(exchange, respond):
                return exchange
        except Exception as fault:
            self.close(exchange, self.refusal(exchange, fault), respond)
        return None

    def advance(self, exchange: Exchange) -> Missing | None:
        """Takes the steps that are left; None: all are passed. Raises what the request is refused with."""
        for step in self._steps[exchange.passed :]:
            missing = step(exchange)
            if missing is not None:
                return missing
            exchange.passed += 1
        return None

    # The steps, in their order. Each raises what it refuses with: TowerlogError, Rejection.

    def find(self, exchange: Exchange) -> Missing | None:
        """Host and route."""
        scope = exchange.scope
        if exchange.route is None:
            self._hosts.check(exchange.headers.get(b"host"))
            exchange.route, exchange.path = self._table.find(scope["method"], scope["raw_path"])
        return Missing.PAGE if exchange.route.page is not None else None

    def identify(self, exchange: Exchange) -> Missing | None:
        """Whose key it is, and whether the key has one of the route's scopes."""
        principal = exchange.principal
        if principal is None:
            principal = exchange.principal = self._recall(exchange.headers, exchange.now_ms)
            if principal is None:
                return Missing.KEY
        assert exchange.route is not None
        if exchange.route.scopes.isdisjoint(principal.scopes):
            raise Forbidden
        return None

    def limit(self, exchange: Exchange) -> Missing | None:
        """Counts against the dialect's limit. Over it, only what may be a heartbeat goes on, to be decoded first."""
        route, principal = exchange.route, exchange.principal
        assert route is not None
        if not route.limited:
            return None
        limiter, rule = self._limiters.get(route.dialect.name), route.dialect.limit
        if limiter is None or rule is None:
            return None
        assert principal is not None
        by_key = rule.per == "key"
        who = principal.key_id if by_key else counted_as(self._addresses.of(exchange.scope))
        exchange.extra, exchange.over = limiter.take(who, exchange.now_ms, self._clock.now_ms())
        if exchange.over is not None and (by_key or not exchange.endpoint.ingests):
            raise exchange.over
        return None

    def admit(self, exchange: Exchange) -> Missing | None:
        """Finds room for the body that is declared; it stays admitted until `release`."""
        headers = exchange.headers
        if b"transfer-encoding" not in headers:
            if b"content-length" not in headers:
                exchange.sent = b""
                return None
            declared = self._bodies.declared_length(headers)
            if not declared:
                exchange.sent = b""
                return None
        else:
            declared = self._bodies.declared_length(headers)
        self._admission.take_bytes(declared)
        exchange.held_bytes = declared
        return None

    def read(self, exchange: Exchange) -> Missing | None:
        """Has the body's text: of a type that the endpoint takes, decompressed, UTF-8."""
        body = exchange.body
        if body is None:
            if exchange.sent is None:
                return Missing.BODY
            body = self._bodies.opened(exchange.sent, exchange.headers, exchange.endpoint.body)
            if body is None:
                return Missing.TEXT
            exchange.body = body
        exchange.sent = None
        if len(body) > exchange.held_bytes:
            self._admission.take_bytes(len(body) - exchange.held_bytes)
            exchange.held_bytes = len(body)
        return None

    def decode(self, exchange: Exchange) -> Missing | None:
        """Has the dialect say what is asked for."""
        principal, body, endpoint = exchange.principal, exchange.body, exchange.endpoint
        assert principal is not None
        assert body is not None
        query = parse_query(exchange.scope["query_string"])
        now_ms = self._clock.now_ms()
        path, headers, settings, trace_id = exchange.path, exchange.headers, self._settings, exchange.trace_id
        call = Call(principal, path, query, headers, body, settings, trace_id, now_ms)
        try:
            command = endpoint.decode(call)
        except TowerlogError as error:
            raise exchange.over or error from None
        if exchange.over is not None and not self._heartbeats.allows(command, exchange.now_ms):
            raise exchange.over
        exchange.command, exchange.body = command, None
        exchange.call = Call(principal, path, query, headers, b"", settings, trace_id, now_ms)
        key = headers.get(b"idempotency-key")
        if key is not None and exchange.scope["method"] == "POST":
            exchange.repeat = _idempotency(exchange, endpoint, key, body)
        return None

    def enlist(self, exchange: Exchange, respond: Respond) -> bool:
        """Hands telemetry to the writer, to be answered from its commit; False where the reply has to be awaited.

        Raises what refuses it at once.
        """
        principal, command, route = exchange.principal, exchange.command, exchange.route
        if not isinstance(command, Append | Report) or command.wait_ms or exchange.repeat is not None:
            return False
        assert principal is not None
        assert route is not None
        self._engine.enlist(principal, command, route.dialect.name, _Answer(self, exchange, respond))
        return True

    # The way out

    def reply(self, exchange: Exchange, outcome: Outcome) -> Reply:
        """The reply to an outcome."""
        route, call = exchange.route, exchange.call
        if route is not None and route.limited:
            self._heartbeats.note(outcome, exchange.now_ms)
        if isinstance(outcome, Replayed):
            return Reply(outcome.status, outcome.body)
        assert call is not None
        return exchange.endpoint.encode(outcome, exchange.command, call)

    def refusal(self, exchange: Exchange, fault: BaseException) -> Reply:
        """What went wrong, in the words of the dialect that was spoken to; what nobody foresaw is logged."""
        if not isinstance(fault, TowerlogError | Rejection):
            path = str(exchange.scope["path"])[:200]
            _log.error("a request failed", trace_id=exchange.trace_id, path=path, exc_info=fault)
            fault = Internal()
        table, route = self._table, exchange.route
        dialect = table.owner(exchange.scope["raw_path"]) if route is None else route.dialect
        try:
            return explain(dialect, fault, exchange.trace_id)
        except Exception:
            _log.exception("a dialect could not explain an error", trace_id=exchange.trace_id, dialect=dialect.name)
            return explain(table.fallback, Internal(), exchange.trace_id)

    def close(self, exchange: Exchange, reply: Reply, respond: Respond) -> None:
        """Sends the reply and gives everything back."""
        self.release(exchange)
        self.count(exchange, reply.status)
        respond(reply.status, head_of(reply, exchange.trace_id, exchange.extra), reply.body)

    def release(self, exchange: Exchange) -> None:
        """Gives back the room that the body was admitted to. May be called again."""
        if exchange.held_bytes:
            self._admission.give_bytes(exchange.held_bytes)
            exchange.held_bytes = 0

    def count(self, exchange: Exchange, status: int) -> None:
        """One more request answered."""
        name = "none" if exchange.route is None else exchange.route.dialect.name
        self._meters.of(name).add(status, self._clock.steady_ms() - exchange.now_ms)


class _Answer:
    """A `Waiter` of the writer's: what it is told is encoded and sent at once."""

    __slots__ = ("_done", "_exchange", "_gate", "_respond")

    def __init__(self, gate: Gate, exchange: Exchange, respond: Respond) -> None:
        self._gate = gate
        self._exchange = exchange
        self._respond = respond
        self._done = False

    def cancelled(self) -> bool:
        """Never: what has been taken is carried out."""
        return False

    def done(self) -> bool:
        """Whether it has been told."""
        return self._done

    def set_result(self, outcome: Outcome) -> None:
        """It is durable."""
        try:
            reply = self._gate.reply(self._exchange, outcome)
        except Exception as fault:  # one answer that cannot be written must not keep the others from theirs
            reply = self._gate.refusal(self._exchange, fault)
        self._done = True
        self._gate.close(self._exchange, reply, self._respond)

    def set_exception(self, error: BaseException) -> None:
        """It was refused, or something broke."""
        self._done = True
        self._gate.close(self._exchange, self._gate.refusal(self._exchange, error), self._respond)


def _idempotency(exchange: Exchange, endpoint: Endpoint, key: bytes, body: bytes) -> Idempotency:
    """What the engine needs to know a repeat by. Raises Invalid."""
    if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY or not key.isascii() or not key.decode("ascii").isprintable():
        raise Invalid(
            f"Idempotency-Key must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters.",
            field="Idempotency-Key",
        )
    call, command = exchange.call, exchange.command
    assert call is not None

    def encode(outcome: Any) -> tuple[int, bytes]:
        if not endpoint.replay and isinstance(outcome, KeyMinted):
            outcome = msgspec.structs.replace(outcome, text="")
        reply = endpoint.encode(outcome, command, call)
        return reply.status, reply.body

    route = f"POST {exchange.scope['raw_path'].decode('latin-1')}"
    return Idempotency(route, key.decode("ascii"), hashlib.sha256(body).digest(), encode)
