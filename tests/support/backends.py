"""The backends that the laws of the store are tested on. A second one is one more class and one more entry below."""

from __future__ import annotations

import asyncio
import functools
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

import apsw

from tests.support.postgres import cluster
from towerlog.ambient import Clock, Ids
from towerlog.errors import StorageFailed
from towerlog.store.base import Store
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.postgres.store import open_store as open_postgres
from towerlog.store.postgres.times import OwnTimes
from towerlog.store.sqlite.connections.connection import migrate, open_connection
from towerlog.store.sqlite.store import SqliteStore, open_store


class Backend(Protocol):
    """A database of a test's own, which may be opened again and again."""

    location: str
    """What another process needs, with the backend's name, to open the same database."""
    loader: str
    """The function that this backend gets its migrations from, for tests that give it others."""

    def make(self) -> Backend:
        """Unless it is there: one with the schema of this version and nothing in it, faster than `open` makes it."""
        ...

    async def open(self, clock: Clock, ids: Ids) -> Store:
        """Opens it, made when new."""
        ...

    def tables(self) -> dict[str, list[str]]:
        """Every table with its columns, of a database that nobody has open."""
        ...


@functools.cache
def empty_database() -> bytes:
    """A SQLite file with the schema of this version; to make it anew for each test would be half of many tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "towerlog.db")
        with closing(open_connection(path)) as connection:
            migrate(connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path.read_bytes()


class SqliteBackend:
    """A file in a folder of the test's own."""

    loader = "towerlog.store.sqlite.connections.connection.load_migrations"

    def __init__(self, location: str) -> None:
        self.location = location

    @classmethod
    def fresh(cls, folder: Path) -> SqliteBackend:
        """A database that is not there yet."""
        return cls(str(folder / "towerlog.db"))

    def make(self) -> SqliteBackend:
        """Unless it is there: a copy of an empty one."""
        path = Path(self.location)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(empty_database())
        return self

    async def open(
        self, clock: Clock, ids: Ids, on_fatal: Callable[[StorageFailed], None] = lambda error: None
    ) -> SqliteStore:
        """Opens it, made when new."""
        return await open_store(Path(self.location), clock, ids, on_fatal)

    def tables(self) -> dict[str, list[str]]:
        """Every table with its columns, of a database that nobody has open."""
        with closing(apsw.Connection(self.location)) as db:
            names = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: [str(row[1]) for row in db.execute(f"PRAGMA table_info({name})")] for name in names}


TEMPLATE = "template_of_this_version"


@functools.cache
def made_template() -> str:
    """A PostgreSQL database with the schema of this version, of which others are copied."""

    async def make() -> None:
        connection = await connections.connect(cluster().url(TEMPLATE), {})
        try:
            await schema.migrate(connection)
        finally:
            await connection.close()

    cluster().create(TEMPLATE)
    # Tests have a loop of their own, and wait for this in it.
    making = threading.Thread(target=asyncio.run, args=(make(),))
    making.start()
    making.join()
    return TEMPLATE


class PostgresBackend:
    """A database of the test's own in the server of the test process."""

    loader = "towerlog.store.postgres.schema.load_migrations"

    def __init__(self, location: str, name: str = "") -> None:
        """`name` of a database that may have to be made."""
        self.location = location
        self.name = name

    @classmethod
    def fresh(cls, folder: Path) -> PostgresBackend:
        """A database that is not there yet."""
        name = cluster().fresh_name()
        return cls(cluster().url(name), name)

    def make(self) -> PostgresBackend:
        """Unless it is there: a copy of an empty one."""
        if not cluster().has(self.name):
            cluster().create(self.name, made_template())
        return self

    async def open(
        self, clock: Clock, ids: Ids, on_fatal: Callable[[StorageFailed], None] = lambda error: None
    ) -> PostgresStore:
        """Opens it, made when new. The clock of leases is the test's."""
        if self.name and not cluster().has(self.name):
            cluster().create(self.name)
        return await open_postgres(self.location, clock, ids, on_fatal, lambda database_ms, here_ms: OwnTimes())

    def tables(self) -> dict[str, list[str]]:
        """Every table with its columns, of a database that nobody has open."""
        sql = (
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " ORDER BY table_name, ordinal_position"
        )
        found: dict[str, list[str]] = {}
        for table, column in cluster().sql(sql, self.name):
            found.setdefault(table, []).append(column)
        return found


FRESH: Mapping[str, Callable[[Path], Backend]] = {"postgres": PostgresBackend.fresh, "sqlite": SqliteBackend.fresh}
"""How each backend gets a database of its own below a folder."""

AGAIN: Mapping[str, Callable[[str], Backend]] = {"postgres": PostgresBackend, "sqlite": SqliteBackend}
"""How each backend is found again by its location."""
