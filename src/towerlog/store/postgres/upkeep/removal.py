"""Removing an organisation: at once what lets people and programs in, and then in steps what it holds."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.model import folds
from towerlog.model.audit import AuditEntry
from towerlog.model.principal import shard_bounds
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.columns import removal
from towerlog.store.columns.erasure import Room
from towerlog.store.columns.tables import TABLES
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.locks import ORGANISATIONS, hold, lock_purpose
from towerlog.store.postgres.subjects import audit, policies

_HELD = (
    "SELECT runs, position, (SELECT count(*) FROM api_key WHERE org = $1 AND revoked_at IS NULL),"
    " (SELECT count(*) FROM org_user WHERE org = $1 AND removed_at IS NULL) FROM org_count WHERE org = $1"
)
_REMOVED = "INSERT INTO removed_org (org, removed_at, erased_at, doc) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
_TOP_RUNS = f"SELECT run FROM run WHERE org = $1 ORDER BY run DESC LIMIT {removal.RUNS_AT_ONCE}"
_KEYS = {one.name: ", ".join(one.key) for one in TABLES} | {
    "event": "org, position, recorded_at",
    "place": "org, run, seq",
}
_REST = (*removal.REST, "place")


async def org_holds(db: Db, org: int) -> OrgHolds:
    """What an organisation holds, by its counters."""
    return OrgHolds(*await db.row(_HELD, org))


async def remove_org(db: Db, removed: RemovedOrg, told: Iterable[AuditEntry]) -> None:
    """From now on nobody is let in. Raises NotFound where it is removed already."""
    entries = list(told)
    await db.connection.execute(lock_purpose(ORGANISATIONS))
    await hold(db, {removed.org, *(entry.org for entry in entries)})
    if not await db.do(_REMOVED, *removal.removed_row(removed)):
        raise removal.gone_already()
    # The name may be given to another one.
    await db.do("UPDATE org SET name = org_id WHERE org = $1", removed.org)
    await db.do("DELETE FROM credential WHERE org = $1", removed.org)
    for table in removal.AT_ONCE:
        await db.do(f"DELETE FROM {table} WHERE org = $1", removed.org)
    await audit.write(db, sorted(entries, key=lambda entry: entry.org))


async def removed_orgs(db: Db, limit: int) -> list[RemovedOrg]:
    """Those that were removed last, the last first."""
    sql = "SELECT doc FROM removed_org ORDER BY removed_at DESC, org DESC LIMIT $1"
    return [removal.removed_value(row[0]) for row in await db.rows(sql, limit)]


async def orgs_erasing(db: Db) -> list[RemovedOrg]:
    """Those whose erasure is not done."""
    sql = "SELECT doc FROM removed_org WHERE erased_at IS NULL ORDER BY org"
    return [removal.removed_value(row[0]) for row in await db.rows(sql)]


async def erase_org_step(db: Db, org: int, now_ms: int) -> tuple[RemovedOrg, int] | None:
    """One step, in the transaction that is open: how far it has come, and how many rows it has erased. None where none
    is due."""
    found = await db.value("SELECT doc FROM removed_org WHERE org = $1 AND erased_at IS NULL", org)
    if found is None:
        return None
    before = removal.removed_value(found)
    room = Room(removal.STEP_ROWS, removal.STEP_BYTES)
    gone = await _erase(db, org, room, is_calm=removal.is_calm(before, now_ms))
    removed = removal.after_step(before, gone, now_ms)
    _, _, erased_at, doc = removal.removed_row(removed)
    await db.do("UPDATE removed_org SET erased_at = $2, doc = $3 WHERE org = $1", org, erased_at, doc)
    if gone:
        await policies.note_step(db)
    return removed, gone


async def _erase(db: Db, org: int, room: Room, *, is_calm: bool) -> int:
    gone = 0
    for table in removal.MESSAGES:
        gone += await _erase_of(db, table, org, room)
    if room.is_left:
        gone += await _erase_runs(db, org, room)
    for table in _REST if is_calm else ():
        if not room.is_left:
            return gone
        gone += await _erase_of(db, table, org, room)
    if room.is_left and is_calm:
        gone += await db.do("DELETE FROM credential WHERE org = $1", org)
        await db.do("DELETE FROM meta WHERE name = ANY($1)", [f"forwarded:{org}", folds.note_name(org)])
    return gone


async def _erase_runs(db: Db, org: int, room: Room) -> int:
    """The newest runs, with all rows of theirs that somebody may act on."""
    found = [row[0] for row in await db.rows(_TOP_RUNS, org)]
    first = found[-1] if len(found) == removal.RUNS_AT_ONCE else shard_bounds(org)[0]
    gone = 0
    for table in removal.OF_RUN:
        gone += await db.do(f"DELETE FROM {table} WHERE org = $1 AND run >= $2", org, first)
    room.rows -= gone
    return gone


async def _erase_of(db: Db, table: str, org: int, room: Room) -> int:
    """Rows of one table, as many as there is room for."""
    key, long = _KEYS[table], removal.SIZES.get(table)
    size = "0" if long is None else f"coalesce(length({long}), 0)"
    names = key.split(", ")
    where = " AND ".join(f"{name} = ${place}" for place, name in enumerate(names, 1))
    rows = []
    for size_of, *row in await db.rows(f"SELECT {size}, {key} FROM {table} WHERE org = $1 LIMIT $2", org, room.rows):
        if not room.is_left:
            break
        rows.append(row)
        room.take(size_of)
    await db.each(f"DELETE FROM {table} WHERE {where}", rows)
    return len(rows)
