"""The schema: migrations, the name of the log, and the months that events are kept by.

Whoever opens the store brings the schema up to date, one at a time (`MIGRATING`), each migration in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from towerlog.errors import SchemaMismatch, StorageFailed
from towerlog.store.migrate import Migration, load_migrations, plan_migrations
from towerlog.store.postgres.failures import storage_error
from towerlog.store.postgres.locks import MIGRATING, MONTHS, PURPOSE, lock_purpose

MIGRATIONS = (
    "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)"
)
EPOCH_MS = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MONTH = (9999, 11)


async def migrate(connection: Any) -> int:
    """Brings the schema up to this version; returns its number.

    Raises SchemaMismatch for a newer one and for another program's database, StorageFailed, Overloaded.
    """
    await connection.execute(f"SELECT pg_advisory_lock({PURPOSE}, {MIGRATING})")
    try:
        await _refuse_foreign(connection)
        await connection.execute(MIGRATIONS)
        found = await connection.fetch("SELECT number, checksum FROM migration")
        known = load_migrations("postgres")
        name = await connection.fetchval("SELECT current_database()")
        for migration in plan_migrations({row[0]: row[1] for row in found}, known, f"the database {name}"):
            await _apply(connection, migration)
        return len(known)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise storage_error(error) from error
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({PURPOSE}, {MIGRATING})")


async def _apply(connection: Any, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO migration VALUES ($1, $2, $3)", migration.number, migration.name, migration.checksum
        )


async def _refuse_foreign(connection: Any) -> None:
    """Nothing is added to the tables of somebody else."""
    sql = "SELECT count(*), count(*) FILTER (WHERE tablename = 'migration') FROM pg_tables"
    tables, ours = await connection.fetchrow(f"{sql} WHERE schemaname = current_schema()")
    if tables and not ours:
        name = await connection.fetchval("SELECT current_database()")
        raise SchemaMismatch(f"the database {name} is another program's: it has tables, but none of towerlog's")


async def check_schema(connection: Any) -> None:
    """Refuses a database whose schema is not this version's, without changing it. Raises SchemaMismatch."""
    name = f"the database {await connection.fetchval('SELECT current_database()')}"
    try:
        found = await connection.fetch("SELECT number, checksum FROM migration")
    except asyncpg.UndefinedTableError:
        raise SchemaMismatch(f"{name} is not a towerlog database") from None
    if plan_migrations({row[0]: row[1] for row in found}, load_migrations("postgres"), name):
        raise SchemaMismatch(f"{name} has an older schema: start `towerlog serve` once, it brings it up to date")


async def ensure_epoch(connection: Any, fresh: str) -> str:
    """The name of this log; a new database gets `fresh`."""
    await connection.execute("INSERT INTO meta VALUES ('epoch', $1) ON CONFLICT DO NOTHING", fresh)
    return str(await connection.fetchval("SELECT value FROM meta WHERE name = 'epoch'"))


async def read_copied(connection: Any) -> dict[int, int] | None:
    """Organisation → the position at which the log was first copied; None for one that is no copy."""
    found = await connection.fetchval("SELECT value FROM meta WHERE name = 'copied'")
    return None if found is None else msgspec.json.decode(found, type=dict[int, int])


async def check_durable(connection: Any) -> None:
    """Refuses a database that acknowledges what it may lose. Raises StorageFailed."""
    for setting in ("fsync", "synchronous_commit"):
        if await connection.fetchval(f"SHOW {setting}") == "off":
            raise StorageFailed(f"the database has {setting} = off and may lose what it has acknowledged: switch it on")


Month = tuple[int, int]
"""(year, month from 0)."""


def month_of(wall_ms: int) -> Month:
    """The month of a time. Times beyond the calendar belong to its last month."""
    try:
        at = EPOCH_MS + timedelta(milliseconds=wall_ms)
    except OverflowError:
        return LAST_MONTH
    return min((at.year, at.month - 1), LAST_MONTH)


def month_bounds(month: Month) -> tuple[str, str]:
    """The first ms of a month and of the next, as SQL."""
    year, index = month
    begins = datetime(year, index + 1, 1, tzinfo=UTC)
    if month == LAST_MONTH:
        return str(_ms(begins)), "MAXVALUE"
    return str(_ms(begins)), str(_ms(datetime(year + (index + 1) // 12, (index + 1) % 12 + 1, 1, tzinfo=UTC)))


def _ms(at: datetime) -> int:
    return (at - EPOCH_MS) // timedelta(milliseconds=1)


def following(month: Month) -> Month:
    """The next month."""
    year, index = month
    return month if month == LAST_MONTH else (year + (index + 1) // 12, (index + 1) % 12)


async def make_months(connection: Any, months: Iterable[Month]) -> None:
    """Makes the tables of these months, unless they are there. Events of other months are read and written meanwhile.

    Raises what the driver raises.
    """
    for month in sorted(set(months)):
        name = f"event_{month[0]:04}{month[1] + 1:02}"
        begins, ends = month_bounds(month)
        async with connection.transaction():
            await connection.execute(lock_purpose(MONTHS))
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await connection.execute(
                    f"CREATE TABLE {name} (LIKE event INCLUDING DEFAULTS);"
                    f"ALTER TABLE event ATTACH PARTITION {name} FOR VALUES FROM ({begins}) TO ({ends})"
                )
