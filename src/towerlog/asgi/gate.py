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
from collections.abc import Callable
from typing import Any

from towerlog.asgi.access_log import log_failure, log_request
from towerlog.asgi.bodies import OF_JSON, PLAIN_TYPES
from towerlog.asgi.components import Components
from towerlog.asgi.exchange import Exchange, Respond
from towerlog.asgi.faults import Rejection, explain
from towerlog.asgi.guard.addresses import counted_as
from towerlog.asgi.guard.cookies import for_session, origin_of, unless_said
from towerlog.asgi.guard.decoding import SHORT_UNSEEN_BYTES, Decoded, command_of, is_short
from towerlog.asgi.guard.heartbeats import HOLDER_OUTCOMES
from towerlog.asgi.guard.idempotency import idempotency
from towerlog.asgi.pages.preflight import PREFLIGHT
from towerlog.asgi.query_strings import NO_QUERY
from towerlog.asgi.replies import Headers, Message
from towerlog.asgi.routes import Route, opens_page
from towerlog.dialects.base import JSON, Call, Endpoint, Reply, stored_warnings, with_warnings
from towerlog.engine.commands.long_histories import MAX_MESSAGES_BESIDE, is_long
from towerlog.errors import Forbidden, OutOfMemory, TowerlogError, told_of, without_trace
from towerlog.model.command import TELEMETRY
from towerlog.model.event import FieldWarning
from towerlog.model.outcome import Appended, Outcome, Replayed, Reported
from towerlog.model.principal import Principal

_JSON_TYPE = (b"content-type", JSON.encode())
_BODILESS = frozenset({204, 304})


class Missing(enum.Enum):
    """What has to be awaited before a request can go on."""

    KEY = enum.auto()
    """The caller's key, which was not seen lately."""
    BODY = enum.auto()
    """The rest of the body."""
    TEXT = enum.auto()
    """What is in a compressed body that is too large to be opened on the event loop."""
    COMMAND = enum.auto()
    """What a body says that is too long to be decoded on the event loop."""
    PAGE = enum.auto()
    """The answer of a page: of one that answers anybody, at once; of any other, when it has its caller and its body."""


class Gate:
    """Takes the requests of all routes of the table."""

    def __init__(self, components: Components) -> None:
        """`components` are shared with the rest of the transport."""
        self._hosts, self._cors = components.hosts, components.cors
        self._preflight = Route(components.table.fallback, None, PREFLIGHT)
        self._table, self._exact = components.table, components.table.exact
        self._recall, self._check_ticket = components.auth.recall, components.auth.check_ticket
        self._limiters, self._addresses = components.limiters, components.addresses
        self._heartbeats, self._ledger = components.heartbeats, components.ledger
        self._accounts, self._process = components.ledger.accounts, components.ledger.process
        self._bodies, self._decoding = components.bodies, components.decoding
        self._enlist = components.engine.enlist
        self._meters, self._traces = components.meters, components.traces
        self._clock, self._settings = components.clock, components.settings
        self._origin, self._log_requests = origin_of(self._settings.public_url), components.log_requests
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
        clock, traces = self._clock, self._traces
        # Our own connection has looked at the headers as well, and hands down what it has made of them.
        headers: dict[bytes, bytes] = scope["given"] if "given" in scope else dict(scope["headers"])
        traceparent = headers.get(b"traceparent")
        trace_id = traces.ready.pop() if traceparent is None and traces.ready else traces.of(traceparent)
        return Exchange(scope, clock.steady_ms(), clock.now_ms(), sent, headers, trace_id)

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
        passed = exchange.passed
        for step in self._steps[passed:] if passed else self._steps:
            missing = step(exchange)
            if missing is not None:
                exchange.passed = passed
                return missing
            passed += 1
        exchange.passed = passed
        return None

    # The steps, in their order. Each raises what it refuses with: TowerlogError, Rejection.

    def find(self, exchange: Exchange) -> Missing | None:
        """Host and route."""
        scope, route = exchange.scope, exchange.route
        if route is None:
            origin = exchange.headers.get(b"origin")
            if origin is not None:
                exchange.extra = self._cors.headers(origin)
            host = exchange.headers.get(b"host")
            if host not in self._hosts.names:
                self._hosts.check(host)
            route = self._exact.get((scope["method"], scope["raw_path"]))
            if route is None and self._cors.is_preflight(scope["method"], exchange.headers):
                route = self._preflight
            elif route is None:
                route, exchange.path = self._table.find_for(scope["method"], scope["raw_path"], exchange.headers)
            if route.shown is not None and opens_page(exchange.headers):
                route = route.shown
            exchange.route = route
        return Missing.PAGE if route.public else None

    def identify(self, exchange: Exchange) -> Missing | None:
        """Whose key or session it is, and whether it has one of the route's scopes."""
        principal, route = exchange.principal, exchange.route
        assert route is not None
        if principal is None:
            if route.is_stream:
                self._check_ticket(exchange.scope["query_string"], exchange.headers, exchange.steady_ms)
            principal = exchange.principal = self._recall(exchange.headers, exchange.steady_ms)
            if principal is None:
                return Missing.KEY
        self.open_account(exchange, principal)
        if principal.is_member:
            exchange.extra += for_session(exchange.scope["method"], exchange.headers, self._origin)
        if route.scopes.isdisjoint(principal.scopes):
            raise Forbidden.lacking(route.scopes, principal.scopes)
        return None

    def open_account(self, exchange: Exchange, principal: Principal) -> None:
        """From here on the request counts for its key, and so does its connection. Raises Overloaded."""
        account = exchange.account = self._accounts.get(principal.key_id) or self._ledger.account(principal)
        known = exchange.scope.get("known")
        if known is not None:
            known(account)

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
        extra, exchange.over = limiter.take(who, exchange.steady_ms, exchange.wall_ms)
        exchange.extra += extra
        if exchange.over is not None and (by_key or not exchange.endpoint.ingests):
            raise exchange.over
        return None

    def admit(self, exchange: Exchange) -> Missing | None:
        """Finds room for what has come of the body; it stays counted until `release`."""
        sent = exchange.sent
        if sent is None:
            headers = exchange.headers
            if not self._bodies.declared_length(headers) and b"transfer-encoding" not in headers:
                sent = exchange.sent = b""
        self.take_room(exchange, len(sent or b""))
        return None

    def take_room(self, exchange: Exchange, wanted: int) -> None:
        """Room for a body of so many bytes in all; it may have some already. Raises Overloaded."""
        account, more = exchange.account, wanted - exchange.held_bytes
        assert account is not None
        key, organisation, process = account.key, account.organisation, self._process
        if more > key.free_bytes or more > organisation.free_bytes or more > process.free_bytes:
            self._ledger.check_room(account.shares, more, exchange.held_bytes)
        key.free_bytes -= more
        organisation.free_bytes -= more
        process.free_bytes -= more
        exchange.held_bytes = wanted

    def read(self, exchange: Exchange) -> Missing | None:
        """Has the body's text: of a type that the endpoint takes, decompressed, UTF-8."""
        body = exchange.body
        if body is None:
            if exchange.sent is None:
                return Missing.BODY
            body, headers, bodies = exchange.sent, exchange.headers, self._bodies
            assert exchange.route is not None
            kind = exchange.route.body
            is_plain = b"content-encoding" not in headers and headers.get(b"content-type") in PLAIN_TYPES
            # Nearly all bodies: JSON as it is. What is not at once seen to be fit is looked at more closely.
            if not is_plain or not body.isascii() or len(body) > bodies.max_bytes or kind not in OF_JSON:
                opened = bodies.opened(body, headers, kind, exchange.route.repairs)
                if opened is None:
                    return Missing.TEXT
                body = opened
            exchange.body = body
        exchange.sent = None
        if len(body) > exchange.held_bytes:
            self.take_room(exchange, len(body))
        return None

    def decode(self, exchange: Exchange) -> Missing | None:
        """Has the dialect say what is asked for."""
        principal, body, route = exchange.principal, exchange.body, exchange.route
        assert route is not None
        endpoint = route.endpoint
        if endpoint is None:
            return Missing.PAGE
        assert principal is not None
        assert body is not None
        text, now_ms = exchange.scope["query_string"], exchange.wall_ms
        query = route.query_of(text) if text else NO_QUERY
        path, headers, settings, trace_id = exchange.path, exchange.headers, self._settings, exchange.trace_id
        decoded = exchange.decoded
        if decoded is None:
            call = Call(principal, path, query, headers, body, settings, trace_id, now_ms)
            decoded = self._decoded_at_once(exchange, endpoint, call)
            if decoded is None:
                exchange.call = call
                return Missing.COMMAND
        elif isinstance(decoded, TowerlogError):
            exchange.decoded = exchange.call = None
            try:
                raise exchange.over or decoded
            finally:
                del decoded  # else the error would hold this frame, and the frame the error
        command, exchange.warnings = decoded.command, decoded.warnings
        unused: tuple[FieldWarning, ...] = getattr(command, "warnings", ())
        if unused:
            exchange.warnings += unused
        if exchange.over is not None and not self._heartbeats.allows(principal.key_id, command, exchange.steady_ms):
            raise exchange.over
        exchange.command, exchange.body = command, None
        exchange.call = Call(principal, path, query, headers, b"", settings, trace_id, now_ms)
        key = headers.get(b"idempotency-key")
        if key is not None and exchange.scope["method"] == "POST":
            # Another API key has requests of its own: a reply may carry what is for its caller alone.
            name = f"POST {exchange.scope['raw_path'].decode('latin-1')} {principal.key_id}"

            def encode(outcome: Any) -> Reply:
                return self._encode(exchange, outcome)

            digest = decoded.digest or hashlib.sha256(body).digest()
            exchange.repeat = idempotency(name, key, digest, encode, endpoint.replay)
        exchange.decoded = None
        return None

    def _decoded_at_once(self, exchange: Exchange, endpoint: Endpoint, call: Call) -> Decoded | None:
        """What a short body says; None where it is for the thread."""
        if len(call.body) > SHORT_UNSEEN_BYTES and not is_short(endpoint, call):
            return None
        try:
            return Decoded(endpoint.decode(call) if call.body.isascii() else command_of(endpoint, call), b"")
        except TowerlogError as error:
            return self._decoding.after(error, endpoint, call, exchange.over)

    def enlist(self, exchange: Exchange, respond: Respond) -> bool:
        """Hands telemetry to the writer, to be answered from its commit; False where the reply has to be awaited.

        Raises what refuses it at once.
        """
        principal, command, route = exchange.principal, exchange.command, exchange.route
        if not isinstance(command, TELEMETRY) or command.wait_ms or exchange.repeat is not None:
            return False
        if exchange.held_bytes > MAX_MESSAGES_BESIDE and is_long(command):  # its histories are stored before
            return False
        assert principal is not None
        assert route is not None
        self._enlist(principal, command, route.dialect.name, _Answer(self, exchange, respond), exchange.held_bytes)
        return True

    # The way out

    def reply(self, exchange: Exchange, outcome: Outcome) -> Reply:
        """The reply to an outcome."""
        route = exchange.route
        if self._limiters and route is not None and route.limited and type(outcome) in HOLDER_OUTCOMES:
            self._heartbeats.note(outcome, exchange.steady_ms, is_counted=exchange.over is not None)
        if isinstance(outcome, Replayed):
            return Reply(outcome.status, outcome.body)
        return self._encode(exchange, outcome)

    def _encode(self, exchange: Exchange, outcome: Any) -> Reply:
        route = exchange.route
        assert exchange.call is not None
        assert route is not None
        assert route.endpoint is not None
        reply = route.endpoint.encode(outcome, exchange.command, exchange.call)
        warnings, command = exchange.warnings, exchange.command
        if type(outcome) in (Appended, Reported) and outcome.has_warnings and isinstance(command, TELEMETRY):
            warnings += stored_warnings(outcome, command)
        return with_warnings(reply, warnings) if warnings else reply

    def refusal(self, exchange: Exchange, fault: BaseException) -> Reply:
        """What went wrong, in the words of the dialect that was spoken to; what nobody foresaw is logged."""
        if not isinstance(fault, TowerlogError | Rejection):
            log_failure(exchange, fault)
            fault = told_of(fault)
        self._meters.out_of_memory += isinstance(fault, OutOfMemory)
        table, route = self._table, exchange.route
        dialect = table.owner(exchange.scope["raw_path"]) if route is None else route.dialect
        try:
            return explain(dialect, fault, exchange.trace_id, exchange.headers)
        except Exception as own:
            log_failure(exchange, own, "a dialect could not explain an error")
            return explain(table.fallback, told_of(own), exchange.trace_id)
        finally:
            without_trace(fault)

    def close(self, exchange: Exchange, reply: Reply, respond: Respond) -> None:
        """Sends the reply and gives everything back."""
        self.release(exchange)
        head = head_of(reply, exchange.trace_id, exchange.extra)
        self.count(exchange, reply.status)
        respond(reply.status, head, reply.body)

    def release(self, exchange: Exchange) -> None:
        """Gives back the room that the body was admitted to. May be called again."""
        held, account = exchange.held_bytes, exchange.account
        if held and account is not None:
            account.key.free_bytes += held
            account.organisation.free_bytes += held
            self._process.free_bytes += held
            exchange.held_bytes = 0

    def count(self, exchange: Exchange, status: int) -> None:
        """Counts an answered request."""
        name = "none" if exchange.route is None else exchange.route.dialect.name
        elapsed_ms = self._clock.steady_ms() - exchange.steady_ms
        meter = self._meters.of(name)
        meter.add(status, elapsed_ms)
        meter.warnings += len(exchange.warnings)
        if self._log_requests:
            log_request(exchange, self._addresses.of(exchange.scope), status, elapsed_ms)


class _Answer:
    """A `Waiter` of the writer's: what it is told is encoded and sent at once."""

    __slots__ = ("_done", "_exchange", "_gate", "_respond")

    def __init__(self, gate: Gate, exchange: Exchange, respond: Respond) -> None:
        self._gate = gate
        self._exchange = exchange
        self._respond = respond
        self._done = False

    def done(self) -> bool:
        """Whether it has been told."""
        return self._done

    def set_result(self, outcome: Outcome) -> None:
        """Called when the command is durable."""
        try:
            reply = self._gate.reply(self._exchange, outcome)
        except Exception as fault:  # one answer that cannot be written must not keep the others from theirs
            reply = self._gate.refusal(self._exchange, fault)
        self._done = True
        self._gate.close(self._exchange, reply, self._respond)

    def set_exception(self, error: BaseException) -> None:
        """Called when the command was refused or failed."""
        self._done = True
        self._gate.close(self._exchange, self._gate.refusal(self._exchange, error), self._respond)


def head_of(reply: Reply, trace_id: str, extra: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of a whole reply. Without `content-length` where HTTP forbids it."""
    said = reply.headers
    head = [(b"x-trace-id", trace_id.encode("ascii")), *(unless_said(extra, said) if said else extra), *said]
    if reply.status not in _BODILESS:
        typed = _JSON_TYPE if reply.content_type == JSON else (b"content-type", reply.content_type.encode("latin-1"))
        head += (typed, (b"content-length", b"%d" % len(reply.body)))
    return head
