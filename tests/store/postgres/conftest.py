"""A database of the test's own, opened as often as the test wants: two of these are two nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.backends import PostgresBackend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.store.postgres.store import PostgresStore, open_store
from towerlog.store.postgres.times import DatabaseTimes, OwnTimes

Node = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
def backend(tmp_path: object) -> PostgresBackend:
    """An empty database with the schema of this version."""
    return PostgresBackend.fresh(tmp_path).make()  # type: ignore[arg-type]


@pytest.fixture
async def node(backend: PostgresBackend) -> AsyncIterator[Node]:
    """Opens the database once more; `shares_time`: leases go by the database's clock."""
    opened: list[PostgresStore] = []

    async def open_node(clock: FakeClock | None = None, *, shares_time: bool = False) -> PostgresStore:
        times = DatabaseTimes if shares_time else lambda database_ms, here_ms: OwnTimes()
        store = await open_store(backend.location, clock or FakeClock(), SeededIds(), times_of=times)
        opened.append(store)
        return store

    yield open_node
    for store in opened:
        await store.close()


@pytest.fixture
async def store(node: Node) -> PostgresStore:
    """One node."""
    return await node()


@pytest.fixture
async def org(store: PostgresStore) -> int:
    """An organisation."""
    return (await store.org_create(*identity(1, name="ours"))).org


@pytest.fixture
async def other(store: PostgresStore, org: int) -> int:
    """Another one."""
    return (await store.org_create(*identity(2, name="theirs"))).org
