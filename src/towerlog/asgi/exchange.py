"""One request on its way through: what is known of it, what everything is made of, and what both ways through share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

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
from towerlog.asgi.push.streams import Streams
from towerlog.asgi.replies import Headers, Message
from towerlog.asgi.routes import Route, RouteTable
from towerlog.dialects.base import FrameStyle, Reply, Settings
from towerlog.engine.follow.follower import Follower
from towerlog.errors import Internal, RateLimited, TowerlogError
from towerlog.model.command import Append, Idempotency, Report, Write
from towerlog.model.outcome import Outcome
from towerlog.model.principal import Principal
from towerlog.model.question import FollowAgent, FollowRun, Read

_log = structlog.get_logger("towerlog.mount")


class Waiter(Protocol):
    """Who is told of an outcome: a future, or what stands for one."""

    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def done(self) -> bool:
        """Whether it has been told."""
        ...

    def set_result(self, outcome: Outcome, /) -> None:
        """It is durable."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """It was refused, or something broke."""
        ...


class Engine(Protocol):
    """What is asked of the engine here."""

    async def execute(
        self, principal: Principal, command: Write | Read, dialect: str, idempotency: Idempotency | None = None
    ) -> Outcome:
        """Carries a command out. Raises TowerlogError."""
        ...

    def enlist(self, principal: Principal, command: Append | Report, dialect: str, waiter: Waiter) -> None:
        """The same for telemetry, told to a waiter instead of awaited. Raises what refuses it at once."""
        ...

    def figures(self) -> Mapping[str, int]:
        """Counts for the metrics page."""
        ...

    async def follow(
        self,
        principal: Principal,
        command: FollowRun | FollowAgent,
        style: FrameStyle,
    ) -> Follower:
        """A place in the log."""
        ...


class Parts(msgspec.Struct, frozen=True):
    """Everything that a mount is made of; put together by `asgi/app.py`."""

    table: RouteTable
    engine: Engine
    auth: Authenticator
    bodies: Bodies
    admission: Admission
    streams: Streams
    limiters: Mapping[str, Limiter]
    """By dialect; a dialect without one is not limited."""
    addresses: Addresses
    hosts: Hosts
    heartbeats: Heartbeats
    meters: Meters
    traces: TraceIds
    clock: Clock
    settings: Settings
    epoch: str
    """Names the log, for streams' heads."""


class Exchange:
    """One request on its way through."""

    __slots__ = ("extra", "headers", "held_bytes", "now_ms", "route", "scope", "trace_id")

    def __init__(self, scope: Message, now_ms: int) -> None:
        """`now_ms` is the steady time at its beginning."""
        self.scope = scope
        self.now_ms = now_ms
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.trace_id = ""
        self.route: Route | None = None
        self.extra: Headers = ()
        """Headers that its reply must carry, whatever the reply is."""
        self.held_bytes = 0


def limit(parts: Parts, exchange: Exchange, route: Route, principal: Principal) -> RateLimited | None:
    """Counts against the dialect's limit. Raises RateLimited; where a heartbeat may pass, hands it back instead."""
    limiter, rule = parts.limiters.get(route.dialect.name), route.dialect.limit
    if limiter is None or rule is None:
        return None
    by_key = rule.per == "key"
    who = principal.key_id if by_key else counted_as(parts.addresses.of(exchange.scope))
    exchange.extra, refused = limiter.take(who, exchange.now_ms, parts.clock.now_ms())
    if refused is not None and by_key:
        raise refused
    return refused


def explain_to(parts: Parts, exchange: Exchange, fault: TowerlogError | Rejection) -> Reply:
    """What went wrong, in the words of the dialect that was spoken to."""
    table, route = parts.table, exchange.route
    dialect = table.owner(exchange.scope["raw_path"]) if route is None else route.dialect
    try:
        return explain(dialect, fault, exchange.trace_id)
    except Exception:
        _log.exception("a dialect could not explain an error", trace_id=exchange.trace_id, dialect=dialect.name)
        return explain(table.fallback, Internal(), exchange.trace_id)


def count(parts: Parts, exchange: Exchange, status: int) -> None:
    """One more request answered."""
    name = "none" if exchange.route is None else exchange.route.dialect.name
    parts.meters.of(name).add(status, parts.clock.steady_ms() - exchange.now_ms)
