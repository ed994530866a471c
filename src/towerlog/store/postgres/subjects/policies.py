"""Policies of retention and erasures under way: what is asked about them, and their writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from towerlog.model.facts import Erases
from towerlog.model.principal import shard_org
from towerlog.model.retention import Erasing, HeldBytes, RetentionPolicy
from towerlog.model.run import RunRow
from towerlog.store.columns import rows, state
from towerlog.store.columns.erasure import UNCOUNTED_SQL, both, scope_place
from towerlog.store.columns.retention import HELD
from towerlog.store.postgres.connections import Db
from towerlog.store.values import Found

_POLICY = (
    "INSERT INTO retention (org, kind, doc) VALUES ($1, $2, $3)"
    " ON CONFLICT (org, kind) DO UPDATE SET doc = excluded.doc"
)
_POLICY_GONE = "DELETE FROM retention WHERE org = $1 AND kind = $2"
_ERASING = (
    "INSERT INTO erasing (run, org, doc) VALUES ($1, $2, $3) ON CONFLICT (org, run) DO UPDATE SET doc = excluded.doc"
)


async def write(
    db: Db, policies: Mapping[tuple[int, Erases], RetentionPolicy | None], begun: Iterable[Erasing]
) -> None:
    """What a unit has changed of policies, and the erasures that it has begun."""
    await db.each(_POLICY_GONE, [key for key, row in policies.items() if row is None])
    await db.each(_POLICY, [state.policy_row(row) for row in policies.values() if row is not None])
    for erasing in begun:
        known = await erasing_of(db, erasing.run)
        await db.do(_ERASING, *state.erasing_row(erasing if known is None else both(known, erasing)))


async def keep(db: Db, erasing: Erasing) -> None:
    """How far it has come; gone once it is done."""
    if erasing.is_done:
        await db.do("DELETE FROM erasing WHERE org = $1 AND run = $2", erasing.org, erasing.run)
    else:
        await db.do(_ERASING, *state.erasing_row(erasing))


async def erasing_of(db: Db, run: int) -> Erasing | None:
    """The erasure of a run that is under way."""
    doc = await db.value("SELECT doc FROM erasing WHERE org = $1 AND run = $2", shard_org(run), run)
    return None if doc is None else state.decode_erasing(doc)


async def erasing_next(db: Db, after: int, limit: int) -> list[int]:
    """Runs of any organisation whose erasure is under way, by number."""
    sql = "SELECT run FROM erasing WHERE org >= $3 AND run > $1 ORDER BY org, run LIMIT $2"
    return [row[0] for row in await db.rows(sql, after, limit, shard_org(after))]


async def policies_of(db: Db, org: int) -> tuple[RetentionPolicy, ...]:
    """All of an organisation."""
    found = [state.decode_policy(row[0]) for row in await db.rows("SELECT doc FROM retention WHERE org = $1", org)]
    return tuple(sorted(found, key=lambda row: scope_place(row.kind)))


async def policies_all(db: Db) -> list[RetentionPolicy]:
    """Those of all organisations: at most one for each kind."""
    return [state.decode_policy(row[0]) for row in await db.rows("SELECT doc FROM retention ORDER BY org, kind")]


async def age_kept(db: Db) -> tuple[str | None, int | None]:
    """What `age_keep` wrote last, and when (wall ms) the newest event of any organisation was recorded."""
    newest = (
        "SELECT max((SELECT recorded_at FROM place WHERE place.org = org.org ORDER BY position DESC LIMIT 1)) FROM org"
    )
    return await db.value("SELECT value FROM meta WHERE name = 'age'"), await db.value(newest)


async def age_keep(db: Db, state: str) -> None:
    """Keeps the state of the clock by which things grow old."""
    await db.do("INSERT INTO meta VALUES ('age', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", state)


async def age_confirmed(db: Db) -> str | None:
    """What `age_confirm` wrote last."""
    found: str | None = await db.value("SELECT value FROM meta WHERE name = 'age_confirmed'")
    return found


async def age_confirm(db: Db, confirm: str) -> None:
    """Keeps an operator's word about the wall clock."""
    sql = "INSERT INTO meta VALUES ('age_confirmed', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    await db.do(sql, confirm)


async def note_step(db: Db) -> None:
    """One step more after which the tables are to be gone over."""
    more = "value = (meta.value::bigint + 1)::text"
    await db.do(f"INSERT INTO meta VALUES ('unwiped', '1') ON CONFLICT (name) DO UPDATE SET {more}")


async def unwiped(db: Db) -> int:
    """How many steps there were after which they were not."""
    return int(await db.value("SELECT value FROM meta WHERE name = 'unwiped'") or 0)


async def wiped(db: Db, steps: int) -> None:
    """They were, after so many."""
    await db.do("DELETE FROM meta WHERE name = 'unwiped' AND value = $1", str(steps))


async def runs_held(db: Db, org: int, kind: Erases, before_ms: int | None, limit: int) -> Found[RunRow]:
    """Runs that have such content, the first to end first: by time those that ended before one (wall ms), else all in
    the order of the log."""
    told: tuple[int, ...] = (org, limit) if before_ms is None else (org, limit, before_ms)
    order = "ORDER BY ended_position" if before_ms is None else "AND ended_at < $3 ORDER BY ended_at"
    sql = f"SELECT doc FROM run WHERE org = $1 AND held & {HELD[kind]} <> 0 {order} LIMIT $2"
    found = await db.rows(sql, *told)
    return rows.up_to_a_page(found, lambda row: rows.decode_run(row[0]))


async def held_bytes(db: Db, org: int, after: int, limit: int) -> HeldBytes:
    """What the events after a position hold that may be erased, so many of them; `until` is `after` where there are
    none."""
    sql = (
        f"SELECT max(position), coalesce(sum(size) FILTER (WHERE type NOT IN ({UNCOUNTED_SQL})), 0)::bigint,"
        " coalesce(sum(size) FILTER (WHERE type = 'message.delta'), 0)::bigint,"
        " coalesce(sum(size) FILTER (WHERE type = 'checkpoint'), 0)::bigint FROM"
        " (SELECT position, type, length(data) + coalesce(length(facts), 0) AS size FROM event"
        " WHERE org = $1 AND position > $2 ORDER BY position LIMIT $3) AS page"
    )
    last, whole, deltas, checkpoints = await db.row(sql, org, after, limit) or (None, 0, 0, 0)
    return HeldBytes(after) if last is None else HeldBytes(last, deltas, checkpoints, whole)


async def content_bytes(db: Db, org: int, after: tuple[int, int, int], limit: int) -> tuple[int, int, int, int]:
    """The last numbers of messages, nodes and metas after these, so many rows of each, and what they hold together."""
    found, size = [], 0
    for table, column, since in zip(("message", "node", "meta_list"), ("body", "block", "body"), after, strict=True):
        inner = f"SELECT number, {column} AS body FROM {table} WHERE org = $1 AND number > $2 ORDER BY number LIMIT $3"
        sql = f"SELECT max(number), coalesce(sum(length(body)), 0)::bigint FROM ({inner}) AS page"
        last, held = await db.row(sql, org, since, limit) or (None, 0)
        found.append(since if last is None else last)
        size += held
    return (found[0], found[1], found[2], size)
