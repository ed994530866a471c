"""The ASGI application: starts what it serves, hands requests to the gate, and shuts down in order.

Shutdown: not ready at once, streams ended with a time to reconnect, requests in flight finished, the engine last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.asgi.bodies import Bodies
from towerlog.asgi.components import Components
from towerlog.asgi.exchange import Exchange, Respond
from towerlog.asgi.gate import Gate
from towerlog.asgi.guard.addresses import Addresses
from towerlog.asgi.guard.arrivals import Arrivals
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.cors import Cors
from towerlog.asgi.guard.decoding import Decoding
from towerlog.asgi.guard.heartbeats import Heartbeats
from towerlog.asgi.guard.hosts import hosts_of
from towerlog.asgi.guard.ledger import MAX_POLLS, ShareLedger
from towerlog.asgi.guard.limits import Limiter, Sharing
from towerlog.asgi.guard.tickets import SignedTickets, StreamTickets, Tickets
from towerlog.asgi.guard.trace_ids import TraceIds
from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.health import Phase
from towerlog.asgi.pages.meters import Meters
from towerlog.asgi.pages.metrics import EngineCollector, LoopCollector, Metrics, PushCollector, TransportCollector
from towerlog.asgi.pages.sign_in.provider import ProviderConfig
from towerlog.asgi.process.loop_watch import LoopWatch
from towerlog.asgi.push.sockets import SECRET_CHARS, Sockets
from towerlog.asgi.push.streams import Streams
from towerlog.asgi.replies import Message, Receive, Send
from towerlog.asgi.routes import RouteTable
from towerlog.asgi.service import Service
from towerlog.asgi.shares.share import Resource
from towerlog.asgi.ticker import Ticker
from towerlog.dialects.base import Dialect, DialectSettings
from towerlog.dialects.native import NATIVE
from towerlog.engine.core import Engine
from towerlog.engine.nodes.messages import Counted
from towerlog.engine.nodes.peers import Peers
from towerlog.model.member import SESSION_MS
from towerlog.store.base import Store


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport is told by the composition root."""

    host: str = "127.0.0.1"
    public_url: str = ""
    allowed_hosts: str = ""
    trusted_proxies: str = ""
    cors_origins: str = ""
    push_app_key: str = "towerlog"
    push_secret: str = ""
    """Empty: the store's."""
    metrics_public: bool = False
    access_log: bool = False
    max_body_bytes: int = 16 * 1024 * 1024
    max_in_flight_bytes: int = 64 * 1024 * 1024
    max_streams: int = 12_000
    max_streams_per_key: int = 100
    max_streams_per_org: int = 1000
    max_connections: int = 13_000
    max_connections_per_address: int = 256
    """Of those that have shown no good key."""
    organisations_managed_by: str = ""
    """The organisation whose administrators make and rename organisations; empty: nobody does, over HTTP."""
    session_idle_ms: int = SESSION_MS
    """A session that is not used for so long is over."""
    provider: ProviderConfig | None = None
    """The identity provider that vouches for people, if any."""
    dashboard: Path | None = None
    """The folder that it was built to; None: the one in this package."""
    rates: Mapping[str, int] = {}
    """Requests a minute by the name of the setting that a dialect's limit refers to; 0 or absent: no limit."""
    dialect: DialectSettings = DialectSettings()


class OpenNode(Protocol):
    """The engine and the store behind the transport, started."""

    @property
    def engine(self) -> Engine:
        """Carries out commands."""
        ...

    @property
    def store(self) -> Store:
        """Asked for keys, and whether it answers."""
        ...

    def drain(self) -> None:
        """Lets those who wait for something to happen go with what there is."""
        ...

    async def stop(self) -> None:
        """Finishes what is under way and lets go of everything."""
        ...


class App:
    """The application."""

    take: Callable[[Message, bytes, Respond], Exchange | None]
    """There once it is started. Takes a request whose body came whole; None: it is answered by `respond`, now or from
    its commit. An exchange is to be served by a task, as `towerlog.exchange` among the extensions of its scope."""

    def __init__(
        self,
        start: Callable[[], Awaitable[OpenNode]],
        dialects: tuple[Dialect, ...],
        config: Config,
        clock: Clock,
        ids: Ids,
    ) -> None:
        """`start` opens the store and starts the engine; it runs in the lifespan.

        Raises BadRoute, BadBuild, OSError.
        """
        self.pages = Pages(metrics_public=config.metrics_public, built=config.dashboard, provider=config.provider)
        self.table = RouteTable((*dialects, NATIVE), self.pages.routes(), NATIVE)
        self.streams: Streams | None = None
        self.sockets: Sockets | None = None
        self.arrivals = Arrivals(_ledger_of(config), Addresses(config.trusted_proxies), clock.steady_ms)
        """Asked by each connection for its place."""
        self._start = start
        self._config = config
        self._clock = clock
        self._ids = ids
        self._gate: Gate | None = None
        self._service: Service | None = None
        self._node: OpenNode | None = None
        self._ticker: Ticker | None = None
        self._loop_watch = LoopWatch(self.arrivals.ledger.is_idle, self.arrivals.pace.rest)
        self._decoding = Decoding(clock)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Any ASGI conversation."""
        kind = scope["type"]
        if kind == "http":
            assert self._service is not None
            stream = await self._service.serve(scope, receive, send)
            if stream is not None:
                await stream.run()
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no such socket"})

    async def start(self) -> None:
        """Opens everything. Raises what `start` raises."""
        node = self._node = await self._start()
        secret = await node.store.secret(self._ids.token(SECRET_CHARS))
        components = self._assemble(node, secret)
        streams = self.streams = Streams(components.auth, self._clock.steady_ms())
        self.sockets = self._open_push(node, components, secret)
        gate = self._gate = Gate(components)
        self.take = gate.take
        self._service = Service(gate, components, streams, node.store.epoch)
        watch = self._loop_watch
        node.engine.services.before_sweep = self.arrivals.pace.when_busy = watch.stir
        self._ticker = Ticker(
            self._clock,
            lambda _: watch.stir(),
            streams.tick,
            self.sockets.tick,
            components.auth.tick,
            components.ledger.tick,
        )
        self._ticker.start()
        watch.start()
        metrics = Metrics(
            TransportCollector(components.meters, streams, self.arrivals, components.limiters),
            PushCollector(self.sockets),
            EngineCollector(node.engine.figures, node.engine.waits),
            LoopCollector(watch),
        )
        self.pages.static.attach(self.table, components.settings.public_url)
        self.pages.metrics.attach(components.auth, metrics, node.store.stock, self._clock)
        self.pages.tickets.attach(components.auth)
        self.pages.mcp.attach(self.table, self._service.serve, components.cors)
        self.pages.links.attach(node.engine, node.store, secret)
        url, idle_ms = components.settings.public_url, self._config.session_idle_ms
        self.pages.sign_in.attach(node.engine, node.store, components.auth, self._clock, url, idle_ms)
        managed_by = self._config.organisations_managed_by
        self.pages.organisations.attach(node.store, node.engine.once, self._clock, self._ids, url, managed_by)
        self.pages.provider.attach(node.engine, node.store, self._clock, self._ids, url, secret, idle_ms)
        if (peers := node.engine.peers) is not None:
            tries = (self.pages.sign_in.attempts.limiters("sign-in"), self.pages.provider.attempts.limiters("provider"))
            self._share(peers, {**components.limiters, **tries[0], **tries[1]})
            peers.granted = self.sockets.granted
        self.pages.health.attach(node.store.ping, node.store.obstacle, node.engine.is_clock_off)
        self.pages.health.phase = Phase.READY

    def drain(self) -> None:
        """Says that it is not ready any more, and ends what would not end by itself. May be called twice."""
        if self.pages.health.phase is not Phase.FAILED:
            self.pages.health.phase = Phase.DRAINING
        if self._service is not None:
            self._service.is_stopping = True
        if self.streams is not None:
            self.streams.close()
        if self.sockets is not None:
            self.sockets.close()
        if self._node is not None:
            self._node.drain()

    def fail(self) -> None:
        """The storage can be trusted no more: not ready, for good."""
        self.pages.health.phase = Phase.FAILED

    async def stop(self) -> None:
        """Closes everything, the engine last."""
        self.drain()
        self._loop_watch.stop()
        if self._ticker is not None:
            await self._ticker.stop()
        await self.pages.mcp.stop()
        if self._node is not None:
            await self._node.stop()
            self._node = None
        self._decoding.close()
        self.pages.sign_in.close()

    def _open_push(self, node: OpenNode, components: Components, secret: str) -> Sockets:
        """Live push, which signs with the secret of the settings, else with that of the store."""
        config, ids = self._config, self._ids
        app = (config.push_app_key, config.push_secret or secret)
        sockets = Sockets(node.engine, components.auth, components.ledger, self._clock, ids, app)
        self.pages.push.attach(sockets, components.cors)
        return sockets

    def _assemble(self, node: OpenNode, secret: str) -> Components:
        config, clock = self._config, self._clock
        public_url = config.public_url.rstrip("/")
        return Components(
            table=self.table,
            engine=node.engine,
            auth=Authenticator(node.store, clock, self._tickets(node.store, secret), config.session_idle_ms),
            cors=Cors(config.cors_origins),
            bodies=Bodies(config.max_body_bytes),
            decoding=self._decoding,
            ledger=self.arrivals.ledger,
            pace=self.arrivals.pace,
            limiters=self._limiters(),
            addresses=self.arrivals.addresses,
            hosts=hosts_of(config.host, config.public_url, config.allowed_hosts),
            heartbeats=Heartbeats(),
            meters=Meters(),
            traces=TraceIds(self._ids),
            clock=clock,
            settings=msgspec.structs.replace(config.dialect, public_url=public_url, link_secret=secret),
            log_requests=config.access_log,
        )

    def _tickets(self, store: Store, secret: str) -> StreamTickets:
        """Stream tickets, which are good on all nodes of the store."""
        if store.nodes is None:
            return Tickets(self._ids)
        return SignedTickets(self._ids, self._clock, secret, store.nodes.spend)

    def _share(self, peers: Peers, limiters: Mapping[str, Limiter]) -> None:
        """Has limits count what other nodes let through."""
        for name, limiter in limiters.items():
            limiter.sharing = Sharing(lambda: 1 + len(peers.others), partial(peers.tell_counted, name))

        def hear(told: Counted) -> None:
            if (limiter := limiters.get(told.limit)) is not None:
                limiter.hear(told.who, told.count, self._clock.steady_ms())

        peers.counted = hear

    def _limiters(self) -> dict[str, Limiter]:
        """One for each dialect that has a limit which is not switched off."""
        found: dict[str, Limiter] = {}
        for dialect in self.table.dialects:
            limit = dialect.limit
            per_minute = 0 if limit is None else self._config.rates.get(limit.setting, 0)
            if limit is not None and per_minute > 0:
                # Whoever shares an address may hold a lease: he is told to look again before a third of it is over.
                soon = max(1, self._config.dialect.min_lease_seconds // 3)
                found[dialect.name] = Limiter(per_minute, soon if limit.per == "ip" else 60)
        return found

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _ledger_of(config: Config) -> ShareLedger:
    """The ledger with the bounds that the settings ask for."""
    places = {
        Resource.CONNECTION: config.max_connections,
        Resource.STREAM: config.max_streams,
        Resource.POLL: MAX_POLLS,
    }
    own = {
        "address": {Resource.CONNECTION: config.max_connections_per_address},
        "key": {Resource.STREAM: config.max_streams_per_key},
        "organisation": {Resource.STREAM: config.max_streams_per_org},
    }
    return ShareLedger(config.max_in_flight_bytes, places, own)
