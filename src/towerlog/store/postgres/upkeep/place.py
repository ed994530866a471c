"""A database held for one command, to be filled with a backup: what a restore does.

The backup is loaded in one transaction, which also moves the tables that are there into a schema of their own and notes
that the new ones do not count yet. So there is at each moment the old store, or one that nobody opens, or the new one;
whatever breaks off, the next call goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from towerlog.errors import StoreLocked
from towerlog.model.audit import AuditEntry
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.subjects import audit
from towerlog.store.postgres.times import OwnTimes
from towerlog.store.postgres.upkeep import programs
from towerlog.store.postgres.upkeep.presence import take_alone

_OURS = (
    "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p')"
    " ORDER BY relispartition DESC, relname"
)
"""Tables of a schema, parts before the table that they are of."""


class Restoring(msgspec.Struct, frozen=True):
    """What is noted of a restore: where the tables are that were there before. Empty: there were none."""

    aside: str
    epoch: str


class SharedPlace:
    """A database that nobody else has open. Made by `held_place`; errors of the driver leave as ours."""

    def __init__(self, url: str, runner: asyncio.Runner, db: Db) -> None:
        """`runner` has the loop of the connection."""
        self._url = url
        self._runner = runner
        self._db = db
        self.size_bytes = 0

    def load(self, file: Path, fresh_epoch: str, aside: str) -> None:
        """Puts what a backup has here, where nobody opens it before `finish`; what is here is kept as schema `aside`.

        Raises FileNotFoundError where a program is missing, StorageFailed where the file is no backup; then nothing was
        changed. SchemaMismatch where a newer version has made it.
        """
        programs.read_whole(file)
        found = self._wait(self._found())
        here, tables, before = found
        kept = before.aside if before is not None else aside if tables else ""
        mark = Restoring(kept, fresh_epoch)
        moves = _dropped(here, tables) if before is not None else _moved(here, kept, tables)
        noted = msgspec.json.encode(mark).decode().replace("'", "''")
        note = f"INSERT INTO {here}.meta VALUES ('{schema.RESTORING}', '{noted}')"
        programs.load(self._url, here, file, f"{moves}; {_without_functions(here)}", note)
        self._wait(schema.migrate(self._db.connection))

    def undo(self) -> None:
        """After `load`: everything is as it was before. Nothing where `finish` was called."""

        async def undo() -> None:
            here, tables, mark = await self._found()
            if mark is None:
                return
            async with self._db.connection.transaction():
                await self._db.connection.execute(_dropped(here, tables))
                if mark.aside:
                    there = [row[0] for row in await self._db.rows(_OURS, mark.aside)]
                    await self._db.connection.execute(_back(here, mark.aside, there))

        self._wait(undo())

    def finish(self, told: Iterable[AuditEntry]) -> str:
        """From now on it is the store, and its log another one than went on. Where the old one is; empty for none."""

        async def finish() -> str:
            _, _, mark = await self._found()
            assert mark is not None
            async with self._db.connection.transaction():
                await schema.make_a_copy(self._db.connection, mark.epoch)
                await audit.write(self._db, told)
                await self._db.do("DELETE FROM meta WHERE name = $1", schema.RESTORING)
            self.size_bytes = await self._db.value("SELECT pg_database_size(current_database())")
            return mark.aside

        return str(self._wait(finish()))

    async def _found(self) -> tuple[str, list[str], Restoring | None]:
        """This schema, its tables, and what is noted of a restore."""
        here = str(await self._db.value("SELECT quote_ident(current_schema())"))
        tables = [str(row[0]) for row in await self._db.rows(_OURS, here)]
        if "meta" not in tables:
            return here, tables, None
        noted = await self._db.value("SELECT value FROM meta WHERE name = $1", schema.RESTORING)
        return here, tables, None if noted is None else msgspec.json.decode(str(noted), type=Restoring)

    def _wait(self, doing: Any) -> Any:
        with storage_errors():
            return self._runner.run(doing)


def _dropped(here: str, tables: list[str]) -> str:
    return f"DROP TABLE {', '.join(f'{here}.{table}' for table in tables)}" if tables else "SELECT 1"


def _without_functions(here: str) -> str:
    """A dump of a database that nodes without stamps may write has these as well (see its second migration)."""
    names = ", ".join(f"{here}.{name}()" for name in ("draw_own_stamp", "draw_stamp", "draw_stamps"))
    return f"DROP FUNCTION IF EXISTS {names} CASCADE"


def _moved(here: str, aside: str, tables: list[str]) -> str:
    if not tables:
        return "SELECT 1"
    moves = "; ".join(f"ALTER TABLE {here}.{table} SET SCHEMA {aside}" for table in tables)
    return f"CREATE SCHEMA {aside}; {moves}"


def _back(here: str, aside: str, tables: list[str]) -> str:
    moves = "; ".join(f"ALTER TABLE {aside}.{table} SET SCHEMA {here}" for table in tables)
    return f"{moves}; DROP SCHEMA {aside}"


@contextmanager
def held_place(url: str) -> Iterator[SharedPlace]:
    """The database, whatever is in it of ours. Raises SchemaMismatch for another program's, StoreLocked, Overloaded."""
    with asyncio.Runner() as runner, storage_errors():
        connection = runner.run(connections.connect(url, {}))
        try:
            db = Db(connection, Damages(lambda: 0, is_logged=False), OwnTimes())
            runner.run(schema.refuse_foreign(connection))
            if not runner.run(take_alone(db)):
                raise StoreLocked("a server or a command has the database open: stop it first")
            yield SharedPlace(url, runner, db)
        finally:
            runner.run(connection.close())
