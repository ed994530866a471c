"""What fails: what passes is told as such, nothing is half stored, and what became of a commit is found out."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from tests.contract.test_append import append_next
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from tests.support.postgres import Cluster, cluster
from tests.support.wait import wait_until_async
from towerlog.errors import DiskFull, Overloaded, StorageFailed
from towerlog.store.postgres.failures import storage_error
from towerlog.store.postgres.store import PostgresStore, open_store
from towerlog.store.values import Kind

PASSING = (
    asyncpg.ConnectionDoesNotExistError, asyncpg.AdminShutdownError, asyncpg.CannotConnectNowError,
    asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError, asyncpg.IdleInTransactionSessionTimeoutError, asyncpg.QueryCanceledError,
    ConnectionRefusedError, TimeoutError,
)  # fmt: skip


@pytest.mark.parametrize("kind", PASSING, ids=lambda kind: kind.__name__)
def test_what_passes_is_told_as_such(kind: type[Exception]) -> None:
    found = storage_error(kind("gone"))
    assert isinstance(found, Overloaded)
    assert found.retry_after == 1


def test_what_does_not_pass_is_a_failure_of_the_storage() -> None:
    for kind in (asyncpg.UniqueViolationError, asyncpg.NotNullViolationError, asyncpg.UndefinedTableError):
        found = storage_error(kind("broken"))
        assert isinstance(found, StorageFailed)
        assert not found.fatal
    for kind, is_damage in (
        (asyncpg.DataCorruptedError, True),
        (asyncpg.IndexCorruptedError, True),
        (asyncpg.PostgresIOError, False),
    ):
        damaged = storage_error(kind("a page"))
        assert isinstance(damaged, StorageFailed)
        assert (damaged.fatal, damaged.is_damage) == (True, is_damage)
    assert isinstance(storage_error(asyncpg.DiskFullError("no room")), DiskFull)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A server that these tests end and start again."""
    return Cluster()


async def opened(own: Cluster) -> PostgresStore:
    name = own.fresh_name()
    own.create(name)
    return await open_store(own.url(name), FakeClock(), SeededIds())


async def test_a_server_that_goes_is_waited_for(own: Cluster) -> None:
    store = await opened(own)
    org = (await store.org_create(*identity(1))).org
    assert await append_next(store, org, 1) == 1
    own.stop(signal.SIGQUIT)
    with pytest.raises(Overloaded):
        await append_next(store, org, 1)
    with pytest.raises(Overloaded):
        await store.log(org, 0, 10)
    with pytest.raises(Overloaded):
        await store.ping()
    assert store.obstacle() == "writes_refused"
    own.start()

    async def again() -> bool:
        try:
            return await append_next(store, org, 1) == 2
        except Overloaded:
            return False

    await wait_until_async(again, "a commit")
    assert store.obstacle() is None
    assert [one.position for one in await store.log(org, 0, 10)] == [1, 2]
    await store.close()


async def test_a_connection_that_is_cut_in_a_unit_leaves_nothing(own: Cluster) -> None:
    store = await opened(own)
    org = (await store.org_create(*identity(1))).org

    async def cut_off() -> None:
        async with store.begin() as unit:
            await looked_up(unit, Kind.COUNTERS, org)
            pids = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            await asyncio.to_thread(own.sql, pids)
            await looked_up(unit, Kind.COUNTERS, org)

    with pytest.raises(Overloaded):
        await cut_off()
    assert await append_next(store, org, 1) == 1
    await store.close()


async def test_what_became_of_a_commit_is_found_out(own: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is cut as the answer to the commit is on its way, or before the commit has arrived."""
    store = await opened(own)
    org = (await store.org_create(*identity(1))).org
    for arrives in (True, False):
        before = len(await store.log(org, 0, 100))
        with monkeypatch.context() as cutting:
            cut_commits(cutting, store, arrives)
            if arrives:
                assert await append_next(store, org, 1) == before + 1
            else:
                with pytest.raises(Overloaded):
                    await append_next(store, org, 1)
        assert len(await store.log(org, 0, 100)) == before + arrives
    await store.close()


async def test_after_a_crash_a_number_may_be_that_of_another_commit(
    own: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash ends every connection, and gives the number of a transaction that was lost with it to the next."""
    monkeypatch.setattr("towerlog.store.postgres.store.ASK_S", 0.1)
    store = await opened(own)

    async def number() -> str:
        """Of a transaction that has committed."""
        connection = await asyncpg.connect(store.url)
        try:
            return str(await connection.fetchval("SELECT pg_current_xact_id()::text"))
        finally:
            await connection.close()

    assert await store.has_committed(await number())
    own.stop(signal.SIGQUIT)
    own.start()
    with pytest.raises(StorageFailed, match="unknown"):
        await store.has_committed(await number())
    await store.close()


def cut_commits(patch: pytest.MonkeyPatch, store: PostgresStore, arrives: bool) -> None:
    """The next commits lose their connection, behind the database or before it."""
    execute = asyncpg.Connection.execute

    async def cut(connection: asyncpg.Connection, query: str, *args: object, **more: object) -> str:
        if query != "COMMIT":
            return await execute(connection, query, *args, **more)
        if arrives:
            await execute(connection, query)
        connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    patch.setattr(asyncpg.Connection, "execute", cut)


async def test_no_database_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(Overloaded, match="cannot be used"):
        await open_store(f"postgresql://nobody@/none?host={tmp_path}", FakeClock(), SeededIds())


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit"])
async def test_what_may_lose_what_it_acknowledges_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = cluster()
    name = own.fresh_name()
    own.create(name)
    if setting == "synchronous_commit":
        own.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    else:
        fetch = asyncpg.Connection.fetchval

        async def said(connection: asyncpg.Connection, query: str, *args: object, **more: object) -> object:
            return "off" if query == "SHOW fsync" else await fetch(connection, query, *args, **more)

        monkeypatch.setattr(asyncpg.Connection, "fetchval", said)
    with pytest.raises(StorageFailed, match=f"{setting} = off"):
        await open_store(own.url(name), FakeClock(), SeededIds())
    assert own.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == [["0"]]
