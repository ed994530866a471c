"""The short way for telemetry: a POST whose body came with its head is decoded at once and answered by its commit.

It does what `mount` does for such a request, in the same order and with the same words, but without a task of its own:
most requests are of this kind, and a task costs more than all that is asked here. Whatever is unusual (a key not seen
lately, an Idempotency-Key, a compressed body, a long poll, a defect) goes the long way, before anything has happened.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from towerlog.asgi.bodies import check_type, check_utf8
from towerlog.asgi.exchange import Exchange, Parts, count, explain_to, limit
from towerlog.asgi.faults import Rejection
from towerlog.asgi.query_strings import parse_query
from towerlog.asgi.replies import Message, head_of
from towerlog.asgi.routes import Route
from towerlog.dialects.base import Call, Endpoint, Reply
from towerlog.errors import Forbidden, Internal, TowerlogError
from towerlog.model.command import Append, Report
from towerlog.model.outcome import Outcome

Respond = Callable[[int, list[tuple[bytes, bytes]], bytes], None]
"""Sends a whole reply: status, headers, body."""

_UNUSUAL = frozenset({b"idempotency-key", b"content-encoding", b"transfer-encoding", b"expect"})

_log = structlog.get_logger("towerlog.shortcut")


class Shortcut:
    """Takes the requests that it can answer, and leaves the others alone."""

    def __init__(self, parts: Parts) -> None:
        """`parts` are those of the mount."""
        self._parts = parts
        self._find = parts.table.find
        self._recall = parts.auth.recall
        self._steady_ms = parts.clock.steady_ms

    def take(self, scope: Message, body: bytes, respond: Respond) -> bool:
        """True when `respond` has been or will be called once; False when nothing has happened."""
        exchange = Exchange(scope, self._steady_ms())
        headers = exchange.headers
        if not body or not _UNUSUAL.isdisjoint(headers):
            return False
        principal = self._recall(headers, exchange.now_ms)
        if principal is None:
            return False
        try:
            self._parts.hosts.check(headers.get(b"host"))
            route, path = self._find(scope["method"], scope["raw_path"])
            query = parse_query(scope["query_string"])
        except (TowerlogError, Rejection):
            return False
        endpoint = route.endpoint
        if endpoint is None or not endpoint.ingests or len(body) > self._parts.bodies.max_bytes:
            return False
        exchange.route = route
        exchange.trace_id = self._parts.traces.of(headers.get(b"traceparent"))
        now_ms = self._parts.clock.now_ms()
        call = Call(principal, path, query, headers, body, self._parts.settings, exchange.trace_id, now_ms)
        return self._carry_out(exchange, endpoint, call, respond)

    def _carry_out(self, exchange: Exchange, endpoint: Endpoint, call: Call, respond: Respond) -> bool:
        answer = _Answer(self._parts, exchange, endpoint, call, respond)
        route = exchange.route
        assert route is not None
        command: Append | Report | None = None
        wrong: TowerlogError | Rejection | None = None
        try:
            if route.scopes.isdisjoint(call.principal.scopes):
                raise Forbidden
            command = _command_of(endpoint, call)
        except (TowerlogError, Rejection) as fault:
            wrong = fault
        if wrong is None and command is None:
            return False
        try:
            self._admit(exchange, route, call, command, wrong)
            if command is not None:
                self._parts.engine.enlist(call.principal, command, route.dialect.name, answer)
        except (TowerlogError, Rejection) as fault:
            answer.explain(fault)
        return True

    def _admit(
        self,
        exchange: Exchange,
        route: Route,
        call: Call,
        command: Append | Report | None,
        wrong: TowerlogError | Rejection | None,
    ) -> None:
        """Counts the request against limit and room; raises what it is refused with, `wrong` at the latest."""
        if isinstance(wrong, Forbidden):
            raise wrong
        over = limit(self._parts, exchange, route, call.principal) if route.limited else None
        if wrong is not None:
            raise over or wrong
        if over is not None and (command is None or not self._parts.heartbeats.allows(command, exchange.now_ms)):
            raise over
        self._parts.admission.take_bytes(len(call.body))
        exchange.held_bytes = len(call.body)


def _command_of(endpoint: Endpoint, call: Call) -> Append | Report | None:
    """What the request asks for; None where that is not for here. Raises TowerlogError, Rejection."""
    check_type(call.headers.get(b"content-type"), endpoint.body_types)
    if not call.body.isascii():
        check_utf8(call.body)
    try:
        command = endpoint.decode(call)
    except TowerlogError:
        raise
    except Exception:
        _log.debug("left to the long way", exc_info=True)  # which meets the same defect, and reports it
        return None
    if isinstance(command, Append | Report) and not getattr(command, "wait_ms", 0):
        return command
    return None


class _Answer:
    """Stands where a future would: what the writer tells it is encoded and sent at once."""

    __slots__ = ("_call", "_done", "_endpoint", "_exchange", "_parts", "_respond")

    def __init__(self, parts: Parts, exchange: Exchange, endpoint: Endpoint, call: Call, respond: Respond) -> None:
        self._parts = parts
        self._exchange = exchange
        self._endpoint = endpoint
        self._call = call
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
        exchange = self._exchange
        try:
            if exchange.route is not None and exchange.route.limited:
                self._parts.heartbeats.note(outcome, exchange.now_ms)
            reply = self._endpoint.encode(outcome, self._call)
        except Exception as fault:  # one answer that cannot be written must not keep the others from theirs
            self.set_exception(fault)
        else:
            self._send(reply)

    def set_exception(self, error: BaseException) -> None:
        """It was refused, or something broke."""
        if isinstance(error, TowerlogError):
            self.explain(error)
            return
        path = str(self._exchange.scope["path"])[:200]
        _log.error("a request failed", trace_id=self._exchange.trace_id, path=path, exc_info=error)
        self.explain(Internal())

    def explain(self, fault: TowerlogError | Rejection) -> None:
        """Answers in the words of the dialect that was spoken to."""
        self._send(explain_to(self._parts, self._exchange, fault))

    def _send(self, reply: Reply) -> None:
        self._done = True
        exchange = self._exchange
        if exchange.held_bytes:
            self._parts.admission.give_bytes(exchange.held_bytes)
            exchange.held_bytes = 0
        count(self._parts, exchange, reply.status)
        self._respond(reply.status, head_of(reply, exchange.trace_id, exchange.extra), reply.body)
