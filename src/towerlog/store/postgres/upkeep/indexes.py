"""Indexes: those that the migrations make must be there and valid, and each must say what its table says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import asyncpg

from towerlog.errors import StoreLocked
from towerlog.store.damage import Damages
from towerlog.store.migrate import load_migrations
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.times import OwnTimes
from towerlog.store.postgres.upkeep.presence import take_alone

_MADE = re.compile(
    r"^CREATE (?:UNIQUE )?INDEX (\w+)|^CREATE TABLE (\w+) \((?:(?!;$).)*?PRIMARY KEY", re.MULTILINE | re.DOTALL
)
_TABLES = (
    "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
    " ORDER BY relname"
)
_TREES = (
    "SELECT index.oid, index.relname FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid"
    " JOIN pg_am ON pg_am.oid = index.relam WHERE index.relnamespace = current_schema()::regnamespace"
    " AND index.relkind = 'i' AND amname = 'btree' AND indisvalid ORDER BY index.relname"
)


def wanted_indexes() -> frozenset[str]:
    """The names of the indexes that the migrations make, those of primary keys among them."""
    found: set[str] = set()
    for migration in load_migrations("postgres"):
        for index, table in _MADE.findall(migration.sql):
            found.add(index or f"{table}_pkey")
    return frozenset(found)


async def index_faults(db: Db) -> list[str]:
    """Indexes that are missing or not valid, in words; and with the extension `amcheck` those that are wrong."""
    sql = (
        "SELECT relname, indisvalid AND indisready AND indislive FROM pg_index JOIN pg_class"
        " ON pg_class.oid = indexrelid WHERE relnamespace = current_schema()::regnamespace"
    )
    there = {str(row[0]): bool(row[1]) for row in await db.rows(sql)}
    faults = [f"index {name}: is not there" for name in sorted(wanted_indexes() - set(there))]
    faults += [
        f"index {name}: is not valid; make it anew with REINDEX" for name, good in sorted(there.items()) if not good
    ]
    return faults + await _disagreeing(db)


async def _disagreeing(db: Db) -> list[str]:
    """Indexes that do not say what their tables say, where the database can tell."""
    check = await db.value(
        "SELECT quote_ident(nspname) || '.bt_index_check' FROM pg_extension JOIN pg_namespace"
        " ON pg_namespace.oid = extnamespace WHERE extname = 'amcheck'"
    )
    if check is None:
        return []
    faults = []
    for index, name in await db.rows(_TREES):
        try:
            await db.value(f"SELECT {check}($1::oid::regclass, true)::text", index)
        except asyncpg.InsufficientPrivilegeError:
            return []
        except asyncpg.PostgresError as error:
            faults.append(f"index {name}: {error}")
    return faults


def make_anew(url: str, progress: Callable[[int], None]) -> None:
    """Makes the indexes of every table anew. Raises StoreLocked, StorageFailed, Overloaded."""

    async def anew() -> None:
        with storage_errors():
            connection: Any = await connections.connect(url, {})
            try:
                db = Db(connection, Damages(lambda: 0, is_logged=False), OwnTimes())
                await schema.check_schema(connection)
                await schema.refuse_unfinished(connection)
                if not await take_alone(db):
                    raise StoreLocked("a server or a command has the database open: stop it first")
                for number, (table,) in enumerate(await db.rows(_TABLES), 1):
                    await db.do(f"REINDEX TABLE {table}")
                    progress(number)
            finally:
                await connection.close()

    asyncio.run(anew())
