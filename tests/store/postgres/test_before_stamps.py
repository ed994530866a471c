"""Nodes of the build before stamps, beside newer ones: whatever they write, a newer node forgets what it remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.store.postgres.test_schema import name
from tests.store.postgres.test_stamps import commit, held
from tests.support.backends import PostgresBackend
from tests.support.fakes import FakeClock, SeededIds
from tests.support.postgres import cluster
from tests.support.wait import wait_until_async
from towerlog.store.migrate import load_migrations
from towerlog.store.postgres import schema
from towerlog.store.postgres.store import PostgresStore, open_store

WRITTEN = {
    "an event, or an entry of the audit": "UPDATE org_count SET position = position",
    "content": "UPDATE org_count SET contents = contents + 1",
    "a budget that counts": "UPDATE budget SET doc = '{}'",
    "a budget": "INSERT INTO budget SELECT org, 'more', 2, NULL, 0, '' FROM org_count",
    "a pause": "INSERT INTO budget_pause SELECT org, 'b', 1 FROM org_count",
    "a reservation": "INSERT INTO reservation SELECT org, 'r2', 'k', 1, 0, '' FROM org_count",
    "a reservation that has run out": "DELETE FROM reservation",
    "messages that are swept": "DELETE FROM message",
    "histories that are swept": "DELETE FROM node",
    "metas that are swept": "DELETE FROM meta_list",
}
"""What such a node writes that others remember, in the form in which it does."""
THERE = (
    "INSERT INTO budget SELECT org, 'b', 1, NULL, 0, '' FROM org_count;"
    "INSERT INTO reservation SELECT org, 'r', 'k', 1, 0, '' FROM org_count;"
    "INSERT INTO message SELECT org, 'm', 1, false, '' FROM org_count;"
    "INSERT INTO node (org, key, number, parent, message, block, length)"
    " SELECT org, 'n', 1, '', 'm', NULL, 1 FROM org_count;"
    "INSERT INTO meta_list (org, key, number, parent, packed, body) SELECT org, 'l', 1, '', false, '' FROM org_count"
)


@pytest.fixture
async def upgraded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[PostgresStore, int, str]]:
    """A store with an organisation from before stamps, its organisation, and its database."""
    database = cluster().fresh_name()
    cluster().create(database)
    with monkeypatch.context() as before:
        before.setattr(schema, "load_migrations", lambda kind: load_migrations(kind)[:1])
        first = await open_store(cluster().url(database), FakeClock(), SeededIds())
        await first.close()
    org = 1
    cluster().sql(
        f"INSERT INTO org (org, org_id, name, created_at) VALUES ({org}, 'one', 'one', 0);"
        f"INSERT INTO org_count (org) VALUES ({org})",
        database,
    )
    store = await open_store(cluster().url(database), FakeClock(), SeededIds())
    cluster().sql(THERE, database)
    yield store, org, database
    await store.close()


@pytest.mark.parametrize("what", WRITTEN)
async def test_what_a_node_without_stamps_writes_is_found(upgraded: tuple[PostgresStore, int, str], what: str) -> None:
    store, org, database = upgraded
    assert await held(store, org)
    await commit(store, org, 1)
    assert await held(store, org), "what a node with stamps writes draws none but its own"
    cluster().sql(WRITTEN[what], database)
    assert not await held(store, org)


async def test_a_migration_that_waits_for_a_backup_keeps_no_node_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It asks for the lock for a moment at a time, and is done when the backup is."""
    database = cluster().fresh_name()
    cluster().create(database)
    monkeypatch.setattr(schema, "MIGRATION_PAUSE_S", 0.2)
    with monkeypatch.context() as before:
        before.setattr(schema, "load_migrations", lambda kind: load_migrations(kind)[:1])
        await (await open_store(cluster().url(database), FakeClock(), SeededIds())).close()
    backup, node = [await asyncpg.connect(cluster().url(database)) for _ in range(2)]
    await backup.execute("BEGIN; LOCK TABLE org_count IN ACCESS SHARE MODE")
    with capture_logs() as said:
        opening = asyncio.create_task(open_store(cluster().url(database), FakeClock(), SeededIds()))
        await wait_until_async(lambda: len(said) >= 2, "two attempts")
        await node.execute("SET statement_timeout = 10000; UPDATE org_count SET position = position")
        assert not opening.done()
        await backup.execute("COMMIT")
        await (await opening).close()
    assert await node.fetchval("SELECT max(number) FROM migration") == len(load_migrations("postgres"))
    for connection in (backup, node):
        await connection.close()


async def test_a_new_database_has_no_triggers(backend: PostgresBackend, store: PostgresStore) -> None:
    del store
    assert cluster().sql("SELECT tgname FROM pg_trigger", name(backend)) == []
