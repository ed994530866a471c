"""Who has the store open: every server and command says so with a lock that ends with its connection."""

from __future__ import annotations

import asyncio

import msgspec

from towerlog.errors import StoreLocked
from towerlog.store.columns import rows
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.locks import PRESENT, PURPOSE
from towerlog.store.postgres.subjects import money

ASK_AGAIN_S = 0.1
TIMES_ASKED = 100
"""A command that must be alone may hold the store for a moment; a start waits so long for it."""


async def take_alone(db: Db) -> bool:
    """The store for this connection alone, to its end; False where somebody has it open."""
    return bool(await db.value(f"SELECT pg_try_advisory_lock({PURPOSE}, {PRESENT})"))


async def come_in(db: Db, here_ms: int) -> None:
    """Says that the store is open here. Who finds nobody else gives every lease and reservation its whole time anew.

    Nobody was there to hear a worker meanwhile. Via another node is, its workers were heard, and nothing is changed.
    Raises StoreLocked where somebody keeps the store for themselves.
    """
    alone = await take_alone(db)
    if alone:
        await give_time_anew(db, here_ms)
    for _ in range(TIMES_ASKED):
        if await db.value(f"SELECT pg_try_advisory_lock_shared({PURPOSE}, {PRESENT})"):
            break
        await asyncio.sleep(ASK_AGAIN_S)
    else:
        raise StoreLocked("a command has the database for itself (migrate, rebuild or restore): wait until it ends")
    if alone:
        await db.do(f"SELECT pg_advisory_unlock({PURPOSE}, {PRESENT})")


async def give_time_anew(db: Db, here_ms: int) -> None:
    """After a restart every running lease gets one full new length: late by at most one lease, never early."""
    database_ms = here_ms + db.times.offset_ms
    async with db.connection.transaction():
        held = [rows.decode_lane(row[0]) for row in await db.rows("SELECT doc FROM lane WHERE state = 'held'")]
        fresh = [msgspec.structs.replace(lane, expires_at=database_ms + lane.lease_ms) for lane in held]
        sql = "UPDATE lane SET expires_at = $3, doc = $4 WHERE org = $1 AND run = $2"
        await db.each(sql, [(lane.org, lane.run, lane.expires_at, msgspec.json.encode(lane)) for lane in fresh])
        await money.refresh_reservations(db, database_ms)
