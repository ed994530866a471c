"""Real servers for the acceptance tests: one that all share, and fresh ones for what cannot be shared."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx2
import pytest

from tests.support.readback import ReadBack
from tests.support.server import NO_LIMITS, Server

FreshServer = Callable[..., Server]
Unique = Callable[..., str]
Scoped = Callable[..., httpx2.Client]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that get along: no rate limits, leases as short as a second; stopped cleanly."""
    shared = Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS)
    try:
        shared.start()
        yield shared
        shared.stop()
    finally:
        shared.close()


@pytest.fixture
def fresh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshServer]:
    """Makes a started server of this test's own: `fresh_server(TOWERLOG_X="1")`; without limits unless told so."""
    made: list[Server] = []

    def start(*, limits: bool = False, **env: str) -> Server:
        settings = env if limits else {**NO_LIMITS, **env}
        made.append(Server(tmp_path_factory.mktemp("fresh") / "data", settings))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def client(server: Server) -> httpx2.Client:
    """The shared server, spoken to with its admin key."""
    return server.client()


@pytest.fixture(scope="session")
def anonymous(server: Server) -> httpx2.Client:
    """The shared server, spoken to without a key."""
    return server.client(None)


@pytest.fixture(scope="session")
def scoped(server: Server) -> Scoped:
    """Makes a client whose key has exactly the scopes given: `scoped("read")`."""

    @functools.cache
    def with_scopes(*scopes: str) -> httpx2.Client:
        return server.client(server.make_key(*scopes))

    return with_scopes


@pytest.fixture(scope="session")
def other_org(server: Server) -> httpx2.Client:
    """The admin of another organisation on the shared server."""
    _, key = server.make_org(f"other-{uuid4().hex[:8]}")
    return server.client(key)


@pytest.fixture(scope="session")
def back(client: httpx2.Client) -> ReadBack:
    """What others see of a run, read with the admin key."""
    return ReadBack(client)


@pytest.fixture(scope="session")
def unique() -> Unique:
    """Makes an id that no other test uses: `unique("thread")`."""
    numbers = itertools.count(1)

    def make(prefix: str = "id") -> str:
        return f"{prefix}-{next(numbers)}-{uuid4().hex[:8]}"

    return make
