"""The acceptor: how many are taken in a turn of the loop, in whose turn each is begun, what becomes of the others."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from tests.asgi.http1.hand import Taking, get
from tests.support.wait import wait_until_async
from towerlog.asgi.connection import Connection
from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.guard.pace import MAX_OF_STRANGERS
from towerlog.asgi.http1.acceptor import ACCEPTED_AT_ONCE, BACKLOG, Acceptor
from towerlog.asgi.http1.phases import ConnectionPhase
from towerlog.asgi.shares.share import Resource

CROWD = ACCEPTED_AT_ONCE * 2
CROWDED, ALONE = "127.0.0.2", "127.0.0.3"


def in_uvloop(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 60))


class Door:
    """An acceptor of an application that takes all, and who has come through it."""

    def __init__(self, app: Taking) -> None:
        self.app = app
        self.begun: list[str] = []
        """From which address each was whose connection was made, in this order."""
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(BACKLOG)
        self.config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        self.state = ServerState()
        self.acceptor = Acceptor(app.arrivals, self._connect)

    def _connect(self, visit: Visit) -> Connection:
        assert visit.peer is not None
        self.begun.append(visit.peer[0])
        return Connection(self.config, self.state, {}, visit=visit)

    def come(self, count: int, address: str = CROWDED) -> list[socket.socket]:
        """So many connect, and wait in the kernel's queue."""
        address_of_server = self.listener.getsockname()
        return [socket.create_connection(address_of_server, source_address=(address, 0)) for _ in range(count)]

    @property
    def accepted(self) -> int:
        """How many have their place."""
        return self.app.ledger.process.places[Resource.CONNECTION]


@asynccontextmanager
async def door(app: Taking | None = None) -> AsyncIterator[Door]:
    made = Door(app or Taking(connections=10_000))
    try:
        yield made
    finally:
        await made.acceptor.close()
        made.listener.close()
        for connection in list(made.state.connections):
            connection.transport.abort()
        await wait_until_async(lambda: not made.state.connections, "all connections to end")


async def turns_until(condition: Callable[[], Any]) -> int:
    """After how many turns of the loop it holds."""
    for turn in range(10_000):
        if condition():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("not within 10,000 turns")


def close(links: list[socket.socket]) -> None:
    for link in links:
        link.close()


def test_a_crowd_is_accepted_in_few_turns_of_the_loop() -> None:
    async def run() -> None:
        async with door() as made:
            links = made.come(CROWD)
            made.acceptor.open([made.listener])
            turns = await turns_until(lambda: made.accepted == CROWD)
            assert turns <= CROWD // ACCEPTED_AT_ONCE + 4
            assert len(made.begun) <= MAX_OF_STRANGERS * turns, "who waits to be begun has turns as strangers do"
            await wait_until_async(lambda: len(made.begun) == CROWD, "all to be begun")
            close(links)

    in_uvloop(run())


def test_who_comes_last_from_an_address_of_his_own_does_not_wait_for_a_crowd() -> None:
    async def run() -> None:
        async with door() as made:
            links = [*made.come(CROWD - 1), *made.come(1, ALONE)]
            made.acceptor.open([made.listener])
            await wait_until_async(lambda: len(made.begun) == CROWD, "all to be begun")
            turns_until_accepted = CROWD // ACCEPTED_AT_ONCE + 2
            assert made.begun.index(ALONE) <= MAX_OF_STRANGERS * turns_until_accepted < CROWD // 2
            close(links)

    in_uvloop(run())


def test_who_was_accepted_is_served_and_his_small_replies_do_not_wait_for_more() -> None:
    async def run() -> None:
        async with door() as made:
            made.acceptor.open([made.listener])
            host, port = made.listener.getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(get("/do"))
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            (connection,) = made.state.connections
            served = connection.transport.get_extra_info("socket")
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.transport.get_extra_info("peername")[1] == writer.get_extra_info("sockname")[1]
            writer.close()
            await wait_until_async(lambda: made.app.ledger.process.is_idle, "all places to be given back")

    in_uvloop(run())


def bounded(own: int) -> Taking:
    """An application that lets an address have so many connections."""
    app = Taking()
    places = {Resource.CONNECTION: 1000}
    app.ledger = app.arrivals.ledger = ShareLedger(400_000, places, {"address": {Resource.CONNECTION: own}})
    return app


def test_who_waits_to_be_begun_counts_for_his_address_and_gives_way_to_the_next_from_it() -> None:
    own = MAX_OF_STRANGERS + 10  # so that some have begun when others come, and some have not

    async def run() -> None:
        async with door(bounded(own)) as made:
            links = made.come(own * 2)
            made.acceptor.open([made.listener])
            for link in links[:own]:
                link.settimeout(30)
                assert await asyncio.to_thread(link.recv, 12) == b"HTTP/1.1 503"
            await wait_until_async(lambda: len(made.state.connections) == own, "the others to be begun")
            assert made.accepted == own
            close(links)

    in_uvloop(run())


def test_where_nobody_gives_way_the_newcomer_is_told_and_closed() -> None:
    async def run() -> None:
        async with door(bounded(1)) as made:
            made.acceptor.open([made.listener])
            (first,) = made.come(1)
            first.sendall(b"GET / HT")
            await wait_until_async(
                lambda: any(not link.is_idle for link in made.state.connections), "a head to have begun"
            )
            (second,) = made.come(1)
            second.settimeout(30)
            assert (await asyncio.to_thread(second.recv, 4096)).startswith(b"HTTP/1.1 503 ")
            assert await asyncio.to_thread(second.recv, 4096) == b""
            assert made.accepted == 1
            close([first, second])

    in_uvloop(run())


class NeverBegins(Connection):
    """One that finds no memory as it begins."""

    def _await(self, phase: ConnectionPhase, seconds: float) -> None:
        raise MemoryError


def fails(*_: Any, **__: Any) -> Any:
    raise MemoryError


@pytest.mark.parametrize("what", ["the newcomer", "its visit", "its place", "its turn", "its task", "it", "it begins"])
def test_whatever_fails_on_the_way_to_a_connection_gives_its_place_back(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with door() as made:
            loop, arrivals = asyncio.get_running_loop(), made.app.arrivals
            errors: list[Any] = []
            loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
            acceptor: Any = made.acceptor
            with monkeypatch.context() as patch:
                match what:
                    case "the newcomer":
                        patch.setattr("towerlog.asgi.http1.acceptor.Newcomer", fails)
                    case "its visit":
                        patch.setattr(Visit, "_stand_in", fails)
                    case "its place":
                        patch.setattr("towerlog.asgi.guard.ledger.HeldPlace.offer", fails)
                    case "its turn":
                        patch.setattr("towerlog.asgi.guard.pace.Pace.spend", fails)
                    case "its task":
                        patch.setattr(acceptor, "_make", fails)
                    case "it":
                        patch.setattr(acceptor, "_connect", fails)
                    case _:
                        patch.setattr(
                            acceptor, "_connect", lambda visit: NeverBegins(made.config, made.state, {}, visit=visit)
                        )
                made.acceptor.open([made.listener])
                links = made.come(3)
                for link in links:
                    link.settimeout(30)
                    with contextlib.suppress(ConnectionResetError):
                        assert await asyncio.to_thread(link.recv, 1) == b""
                await wait_until_async(lambda: arrivals.ledger.process.is_idle, "all places to be given back")
                close(links)
            assert all(isinstance(error, MemoryError) for error in errors)
            links = made.come(3)
            await wait_until_async(lambda: len(made.begun) == 3, "the next to be begun")
            close(links)

    in_uvloop(run())


def test_closing_lets_go_of_those_who_wait_and_accepts_nobody_more() -> None:
    async def run() -> None:
        async with door() as made:
            links = made.come(CROWD)
            made.acceptor.open([made.listener])
            await turns_until(lambda: made.accepted)
            await made.acceptor.close()
            assert made.accepted == len(made.begun) <= MAX_OF_STRANGERS * 2
            close(links)
            await wait_until_async(lambda: made.app.ledger.process.is_idle, "all places to be given back")

    in_uvloop(run())


def test_without_files_nobody_is_accepted_until_there_are_some_again() -> None:
    async def run() -> None:
        async with door() as made:
            links = made.come(3)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.socket() as spare:
                next_file = spare.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_file, hard))
            try:
                made.acceptor.open([made.listener])
                await wait_until_async(lambda: made.acceptor._pauses, "the acceptor to find no file")
                assert not made.accepted
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await wait_until_async(lambda: len(made.begun) == 3, "all to be begun")
            close(links)

    in_uvloop(run())
