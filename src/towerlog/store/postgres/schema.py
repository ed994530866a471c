"""The schema: migrations, the name of the log, and the months that events are kept by.

Whoever opens the store brings the schema up to date, one at a time (`MIGRATING`), each migration in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import structlog

from towerlog.errors import SchemaMismatch, StorageFailed
from towerlog.store.migrate import Migration, load_migrations, plan_migrations
from towerlog.store.postgres.failures import storage_error
from towerlog.store.postgres.locks import MIGRATING, MONTHS, PURPOSE, lock_purpose

log = structlog.get_logger("towerlog.store")

MIGRATIONS = (
    "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)"
)
EPOCH_MS = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MONTH = (9999, 11)
MIGRATION_LOCK_MS = 500
"""How long a migration is in the way of other nodes while it waits for a lock."""
MIGRATION_PAUSE_S = 5.0
MOVING, RESTORING = "moving", "restoring"
"""Rows of `meta` that are there while a store moves here, and while a backup is put here."""


async def migrate(connection: Any, note: tuple[str, str] | None = None) -> int:
    """Brings the schema up to this version; returns its number. `note`: a row of `meta` that a new database has from
    the first moment, so that nobody takes it for one to begin with.

    Raises SchemaMismatch for a newer one and for another program's database, StorageFailed, Overloaded.
    """
    await connection.execute(f"SELECT pg_advisory_lock({PURPOSE}, {MIGRATING})")
    try:
        await refuse_foreign(connection)
        await connection.execute(MIGRATIONS)
        found = await connection.fetch("SELECT number, checksum FROM migration")
        known = load_migrations("postgres")
        name = await connection.fetchval("SELECT current_database()")
        for migration in plan_migrations({row[0]: row[1] for row in found}, known, f"the database {name}"):
            await _apply(connection, migration, None if found or migration.number > 1 else note)
        return len(known)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise storage_error(error) from error
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({PURPOSE}, {MIGRATING})")


async def _apply(connection: Any, migration: Migration, note: tuple[str, str] | None) -> None:
    """Waits for its turn, however long: a backup may be reading the tables that are to be changed."""
    values = (migration.number, migration.name, migration.checksum)
    while True:
        try:
            async with connection.transaction():
                # Whoever comes behind a lock that is waited for waits as well: all other nodes would.
                await connection.execute(f"SET LOCAL lock_timeout = {MIGRATION_LOCK_MS}")
                await connection.execute(migration.sql)
                await connection.execute("INSERT INTO migration VALUES ($1, $2, $3)", *values)
                if note is not None:
                    await connection.execute("INSERT INTO meta VALUES ($1, $2)", *note)
            return
        except asyncpg.LockNotAvailableError:
            log.warning("the migration waits for whoever reads the tables, a backup above all", name=migration.name)
            await asyncio.sleep(MIGRATION_PAUSE_S)


async def refuse_foreign(connection: Any) -> None:
    """Nothing is added to the tables of somebody else. Raises SchemaMismatch."""
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
        if found:
            await refuse_unfinished(connection)  # `serve` would not bring it up to date either
        raise SchemaMismatch(f"{name} has an older schema: start `towerlog serve` once, it brings it up to date")


async def refuse_unfinished(connection: Any) -> None:
    """Refuses a database that is not all there yet. Raises SchemaMismatch."""
    sql = "SELECT name FROM meta WHERE name = ANY($1)"
    found = await connection.fetchval(sql, [MOVING, RESTORING])
    if found is not None:
        name = await connection.fetchval("SELECT current_database()")
        command = "migrate" if found == MOVING else "restore"
        raise SchemaMismatch(
            f"the database {name} is not complete: `towerlog {command}` is filling it, or has broken off: call it"
            " again, and it goes on"
        )


async def read_epoch(connection: Any) -> str:
    """The name of this log; empty for one that has none yet."""
    return str(await connection.fetchval("SELECT value FROM meta WHERE name = 'epoch'") or "")


async def ensure_epoch(connection: Any, fresh: str) -> str:
    """The name of this log; a new database gets `fresh`."""
    await connection.execute("INSERT INTO meta VALUES ('epoch', $1) ON CONFLICT DO NOTHING", fresh)
    return str(await connection.fetchval("SELECT value FROM meta WHERE name = 'epoch'"))


async def make_a_copy(connection: Any, fresh: str) -> None:
    """Gives the log a new name, and notes where it was copied: what was restored is another log than what went on."""
    positions = {str(org): position for org, position in await connection.fetch("SELECT org, position FROM org_count")}
    keep = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name)"
    await connection.execute(f"{keep} DO UPDATE SET value = excluded.value", "epoch", fresh)
    # Of a copy of a copy the first counts: a bare seq was given out by the first log alone.
    await connection.execute(f"{keep} DO NOTHING", "copied", msgspec.json.encode(positions).decode())


async def read_copied(connection: Any) -> dict[int, int] | None:
    """Organisation → the position at which the log was first copied; None for one that is no copy."""
    found = await connection.fetchval("SELECT value FROM meta WHERE name = 'copied'")
    return None if found is None else msgspec.json.decode(found, type=dict[int, int])


async def check_durable(connection: Any) -> None:
    """Refuses a database that acknowledges what it may lose. Raises StorageFailed."""
    for words in await lossy_settings(connection):
        raise StorageFailed(f"{words}: switch it on")


async def lossy_settings(connection: Any) -> list[str]:
    """Settings by which the database may lose what it has acknowledged, in words."""
    names = ("fsync", "synchronous_commit")
    off = [name for name in names if await connection.fetchval(f"SHOW {name}") == "off"]
    return [f"the database has {name} = off and may lose what it has acknowledged" for name in off]


async def fail_over_words(connection: Any) -> str | None:
    """What a fail-over loses, where it may lose something; None where it does not, and where there is no standby."""
    names = await connection.fetchval("SHOW synchronous_standby_names")
    standbys, in_time = await connection.fetchrow(
        "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication"
        " WHERE application_name <> 'pg_basebackup'"
    )
    if names and await connection.fetchval("SHOW synchronous_commit") == "local":
        return "synchronous_commit is local: a fail-over to a standby loses what was acknowledged last"
    if names and not in_time:
        return "no synchronous standby is connected: commits wait until one is"
    if standbys and not names:
        return (
            "standbys follow asynchronously: a fail-over to one loses what was acknowledged last; set"
            " synchronous_standby_names"
        )
    return None


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
