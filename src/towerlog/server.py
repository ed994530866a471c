"""The composition root: settings in, a serving process out, of what `storage`, `parts` and `asgi.app` make.

`build` makes everything for a process that is already running (tests, another ASGI server); `run` is the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import msgspec
import structlog
import uvicorn

from towerlog.ambient import Clock, Ids, ServerClock, SystemClock, SystemIds
from towerlog.asgi.app import App
from towerlog.asgi.connection import Connection
from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.http1.acceptor import Acceptor
from towerlog.asgi.http1.fitness import check_server
from towerlog.asgi.process.allocator import set_up_allocator
from towerlog.asgi.process.exit import Ending, run_in_loop
from towerlog.asgi.process.logs import open_standard_files, set_up_logging
from towerlog.asgi.process.sockets import listen, local_url, raise_descriptor_limit
from towerlog.asgi.process.stop_signals import StopSignals
from towerlog.asgi.process.workers import ServerProcesses
from towerlog.asgi.push.sockets import SECRET_CHARS
from towerlog.config import BadSetting, Settings, database_path, doubts
from towerlog.dialects import DIALECTS
from towerlog.dialects.native.admin.members import SIGN_IN_PATH
from towerlog.egress.outside import Outside, open_outside
from towerlog.engine.bootstrap import OrgMinted, first_start, warn_of_lost
from towerlog.engine.core import Engine
from towerlog.engine.nodes.peers import CannotJoin
from towerlog.engine.pricing.start import DeferredPrices
from towerlog.errors import StorageFailed
from towerlog.parts import DESCRIPTORS_BESIDE_STREAMS, engine_settings, provider_of, transport_config
from towerlog.storage import check_workers, keep_data_private, open_for_server, peers_of
from towerlog.store.base import Store
from towerlog.store.server_address import Listening
from towerlog.threads import ASIDE_THREADS, started_threads
from towerlog.wake.local import LocalWake

DRAIN_SECONDS = 7
"""How long requests in flight may take after SIGTERM."""
STOP_SECONDS = 9.0
"""How long the whole of the shutdown may take: impatient supervisors kill after ten seconds."""
LAST_WORDS_SECONDS = 0.25
"""How long waiting callers have to be told that the storage has failed."""
DATE_SECONDS = 1.0
"""After so long the `Date` of replies is made anew."""
GC_YOUNG_OBJECTS = 20_000
"""New objects between two runs of the cycle collector."""
SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter that another waits for. A commit gives it back and takes it again for every
statement, so beside a thread that decodes a large body each statement waits for so long."""
_log = structlog.get_logger("towerlog.server")
InWords = Callable[[Callable[[], int]], Callable[[], int]]
"""Makes of what serves what tells its known errors and raises SystemExit."""


class Started(msgspec.Struct, frozen=True):
    """What is announced once the server listens."""

    url: str
    data_dir: str
    admin_key: str | None
    """The admin key, if this start has created it; shown only now."""
    sign_in_url: str | None = None
    """Where the first member signs in, once, if this start has created it."""
    has_ended: bool = False
    """It ends before it has listened: this is told for the key alone."""


class StartEnded(Exception):
    """The process was told to stop before its store was begun."""


class Node:
    """The store and the engine of one process, opened and closed together."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids, on_fatal: Callable[[StorageFailed], None]) -> None:
        """`on_fatal` is called when the store must not be written any more."""
        self.minted: OrgMinted | None = None
        """The organisation that this start has created, if any."""
        self.outside = outside_of(settings, clock)
        self.prices = DeferredPrices()
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._on_fatal = on_fatal
        self.is_asked_to_stop: Callable[[], bool] = lambda: False
        """Looked at before the first organisation is made."""
        self._store: Store | None = None
        self._engine: Engine | None = None
        self._reading: asyncio.Future[None] | None = None

    @property
    def store(self) -> Store:
        """The open store."""
        assert self._store is not None
        return self._store

    @property
    def engine(self) -> Engine:
        """The started engine."""
        assert self._engine is not None
        return self._engine

    async def start(self) -> Node:
        """Opens the store, creates the first organisation if there is none, starts the engine.

        Raises what `open_for_server` raises, and StartEnded.
        """
        settings, clock, ids = self._settings, self._clock, self._ids
        asyncio.get_running_loop().set_default_executor(started_threads(ASIDE_THREADS, "towerlog-aside"))
        keep_data_private(settings)
        store = self._store = await open_for_server(settings, clock, ids, self._on_fatal)
        try:
            if self.is_asked_to_stop():
                raise StartEnded
            self.minted = await first_start(store, clock, ids, settings.bootstrap_key, with_link=True)
            await warn_of_lost(store)
            secret = await store.secret(ids.token(SECRET_CHARS))
            bounds = engine_settings(settings, secret)
            peers = peers_of(settings, store, clock, ids.uuid(), secret)
            wake = LocalWake() if peers is None else peers.wake
            outside = self.outside
            self._engine = Engine(store, wake, clock, ids, bounds, outside, self.prices, peers, outside.collector)
            await self._engine.start()
        except CannotJoin as error:
            await store.close()
            raise BadSetting(str(error)) from None
        except BaseException:
            await store.close()
            raise
        return self

    def read_prices(self) -> None:
        """Begins to read the list of prices, beside the requests: a start need not wait for it."""

        def read() -> None:
            self.prices.load()
            # It lives as long as the process: the collector need not look at it.
            gc.freeze()

        self._reading = asyncio.get_running_loop().run_in_executor(None, read)

    def drain(self) -> None:
        """Answers long polls at once with what there is."""
        self.engine.drain()

    async def stop(self) -> None:
        """Finishes every command that was accepted, then closes the files."""
        await self.engine.stop()
        await self.store.close()


def build(
    settings: Settings, clock: Clock, ids: Ids, on_fatal: Callable[[StorageFailed], None] = lambda error: None
) -> tuple[App, Node]:
    """The application and its node, both not started. Raises BadRoute, BadBuild, BadSetting, ValueError, OSError."""
    node = Node(settings, clock, ids, on_fatal)
    config = msgspec.structs.replace(
        transport_config(settings), provider=provider_of(settings, node.outside.to_provider)
    )
    return App(node.start, DIALECTS, config, clock, ids), node


def outside_of(settings: Settings, clock: Clock) -> Outside:
    """The ways out that the settings describe. Raises BadSetting."""
    try:
        return open_outside(
            clock,
            egress_allow=settings.egress_allow,
            smtp_url=settings.smtp_url,
            oidc_issuer=settings.oidc_issuer,
            forward_otlp_url=settings.forward_otlp_url,
            forward_otlp_headers=settings.forward_otlp_headers,
        )
    except ValueError as error:
        raise BadSetting(str(error)) from None


def run(settings: Settings, announce: Callable[[Started], None], in_words: InWords = lambda serve: serve) -> int:
    """Serves until SIGTERM or SIGINT; the exit code. `announce` is called once, when the server listens. What a process
    of several fails with is told there, by what `in_words` makes of it.

    Raises what opening the store raises, OSError when the address is taken, UnfitServer for the wrong uvicorn.
    """
    open_standard_files()
    if settings.workers > 1:
        return _run_workers(settings, announce, in_words)
    return _run_one(settings, announce, None)


def _run_workers(settings: Settings, announce: Callable[[Started], None], in_words: InWords) -> int:
    """Several processes on one port, each a node. The first of them says that they listen. Raises BadSetting."""
    check_workers(settings)
    listener = listen(settings.host, settings.port)

    def announced(number: int, started: Started) -> None:
        if number == 0 or started.admin_key is not None or started.sign_in_url is not None:
            announce(started)

    def serve(number: int) -> int:
        one = partial(_run_one, settings, partial(announced, number), listener, tells_where=number == 0)
        return in_words(one)()

    with listener:
        return ServerProcesses(settings.workers, serve, SystemClock().steady_ms).run()


def _run_one(
    settings: Settings, announce: Callable[[Started], None], shared: socket.socket | None, *, tells_where: bool = True
) -> int:
    """One process. `shared`: a socket on which others listen as well. `tells_where`: commands are to find this one."""
    set_up_logging(settings.log_level)
    set_up_allocator()
    ending = Ending()
    ending.begin()
    for doubt in doubts():
        _log.warning("doubtful setting", doubt=doubt)
    raise_descriptor_limit(settings.max_streams + DESCRIPTORS_BESIDE_STREAMS)
    sys.setswitchinterval(SWITCH_SECONDS)
    return run_in_loop(_serve(settings, announce, shared, ending, tells_where=tells_where))


async def _serve(
    settings: Settings,
    announce: Callable[[Started], None],
    shared: socket.socket | None,
    ending: Ending,
    *,
    tells_where: bool,
) -> int:
    clock = ServerClock()
    failed: list[StorageFailed] = []

    def on_fatal(error: StorageFailed) -> None:
        # No orderly end: every step of one may write, and what the disk has taken is known only after a restart.
        failed.append(error)
        app.fail()
        why = "the process ends, with the files as they are"
        ending.end_in(LAST_WORDS_SECONDS, StorageFailed.exit_code, why, telling.tell_key)

    app, node = build(settings, clock, SystemIds(clock), on_fatal)
    listener = shared or listen(settings.host, settings.port)
    telling = _Telling(settings, node, url_of(settings, listener), announce)
    stops = StopSignals(ending, STOP_SECONDS, telling.tell_key)
    stops.listen()
    node.is_asked_to_stop = lambda: stops.is_asked
    try:
        await check_server(Connection)
        await app.start()
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # No request leaves its body in a reference cycle, so the collector need not run every few requests.
        gc.set_threshold(GC_YOUNG_OBJECTS, 20, 50)
        try:
            if not stops.is_asked:
                where = partial(_listening, settings, listener) if tells_where else lambda: None
                await _Server(app, settings.keep_alive_seconds, where, telling.tell, stops).serve([listener])
        finally:
            await app.stop()
    except StartEnded:
        return 0
    finally:
        listener.close()
        # However it ended: only this process knows it.
        telling.tell_key()
    return StorageFailed.exit_code if failed else 0


def _listening(settings: Settings, listener: socket.socket) -> Listening:
    return Listening(database_path(settings), local_url(listener))


class _Telling:
    """Tells once that the server listens; where it ends before that, the key that this start has made."""

    def __init__(self, settings: Settings, node: Node, url: str, announce: Callable[[Started], None]) -> None:
        self._settings = settings
        self._node = node
        self._url = url
        self._announce = announce
        self._is_told = False

    def tell(self) -> None:
        """It listens: where, and the key. Then the list of prices is read."""
        self._tell(has_ended=False)
        self._node.read_prices()

    def tell_key(self) -> None:
        """It ends: the key, unless that was told or there is none."""
        if not self._is_told and self._node.minted is not None:
            self._tell(has_ended=True)

    def _tell(self, *, has_ended: bool) -> None:
        self._is_told = True
        minted = self._node.minted
        key = minted.text if minted is not None and not self._settings.bootstrap_key else None
        sign_in_url = None if minted is None else f"{self._url}{SIGN_IN_PATH}{minted.link}"
        self._announce(Started(self._url, self._settings.data_dir, key, sign_in_url, has_ended))


class _Server(uvicorn.Server):
    """uvicorn, but streams are ended in an orderly way before connections are closed, and SIGTERM exits with 0."""

    def __init__(
        self,
        app: App,
        keep_alive_seconds: int,
        tell_where: Callable[[], Listening | None],
        when_listening: Callable[[], None],
        stops: StopSignals,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                loop="uvloop",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=keep_alive_seconds,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._towerlog = app
        self._acceptor = Acceptor(app.arrivals, self._connection)
        self._tell_where = tell_where
        self._listening: Listening | None = None
        self._when_listening = when_listening
        self._stops = stops
        self._loop = asyncio.get_running_loop()
        self._is_over = asyncio.Event()

    def _connection(self, visit: Visit) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, visit=visit)

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether it is to end: this one is told."""
        # One that came before this class took signals was heard there.
        self.should_exit = self.should_exit or self._stops.is_asked
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), DATE_SECONDS)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """However it ends, the loop watches none of the sockets then: libuv aborts where one is closed before that."""
        try:
            await super().serve(sockets)
        finally:
            await self._leave()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # It is given no sockets: the acceptor has them.
        await super().startup([])
        self._acceptor.open(sockets or [])
        self._listening = self._tell_where()
        self._when_listening()

    async def _leave(self) -> None:
        if self._listening is not None:
            # While the port is still taken: another program may have it next.
            self._listening.close()
        await self._acceptor.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._towerlog.drain()
        await self._leave()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins an orderly shutdown, the second ends the process at once."""
        self._stops.note()
        self.force_exit = self.should_exit
        self.should_exit = True
        # A signal comes between any two steps of the loop, and may find it asleep.
        self._loop.call_soon_threadsafe(self._is_over.set)


def url_of(settings: Settings, listener: socket.socket) -> str:
    """The URL that users see."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"
