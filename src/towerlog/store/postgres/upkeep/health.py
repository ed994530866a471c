"""How the database server keeps the store: whether it may lose what it acknowledges, and how long a commit takes."""

from __future__ import annotations

from typing import Any

from towerlog.ambient import Clock
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.times import NOW_SQL, OwnTimes
from towerlog.store.postgres.upkeep import roles
from towerlog.store.postgres.write import try_to_write
from towerlog.store.stock import DatabaseHealth

COMMITS = 50


async def look_at(url: str, clock: Clock) -> DatabaseHealth:
    """Asks the server and measures some commits; the log is not touched. Raises StorageFailed, Overloaded."""
    with storage_errors():
        connection = await connections.connect(url, connections.WRITING)
        try:
            db = Db(connection, Damages(lambda: 0, is_logged=False), OwnTimes())
            is_reader = bool(await db.value("SELECT pg_is_in_recovery()"))
            now_ms = int(await db.value(f"SELECT {NOW_SQL}"))
            is_made = await db.value("SELECT to_regclass('meta')") is not None
            mean_ms, slowest_ms = (0.0, 0) if is_reader or not is_made else await _measure_commits(db, clock)
            return DatabaseHealth(
                version=str(await db.value("SHOW server_version")).partition(" ")[0],
                size_bytes=int(await db.value("SELECT pg_database_size(current_database())")),
                is_reader=is_reader,
                lossy=tuple(await schema.lossy_settings(connection)),
                doubts=tuple(await _doubts(connection)),
                acts_as=await roles.acts_as(connection),
                now_ms=now_ms,
                commit_mean_ms=mean_ms,
                commit_slowest_ms=slowest_ms,
            )
        finally:
            await connection.close()


async def _measure_commits(db: Db, clock: Clock) -> tuple[float, int]:
    slowest_ms, began_at = 0, clock.steady_ms()
    for _ in range(COMMITS):
        before = clock.steady_ms()
        await try_to_write(db)
        slowest_ms = max(slowest_ms, clock.steady_ms() - before)
    return round((clock.steady_ms() - began_at) / COMMITS, 3), slowest_ms


async def _doubts(connection: Any) -> list[str]:
    found = []
    if await connection.fetchval("SHOW full_page_writes") == "off":
        found.append("full_page_writes is off: after a crash pages may be torn, unless the file system prevents it")
    if await connection.fetchval("SHOW data_checksums") == "off":
        found.append("pages have no checksums: what a disk changes is found only where a hash covers it")
    words = await schema.fail_over_words(connection)
    return found if words is None else [*found, words]
