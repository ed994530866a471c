"""Policies of retention and erasures under way: what SQLite is asked about them, and their writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apsw

from towerlog.model.facts import Erases
from towerlog.model.principal import SHARD_BITS
from towerlog.model.retention import Erasing, HeldBytes, RetentionPolicy
from towerlog.model.run import RunRow
from towerlog.store.columns import rows, state
from towerlog.store.columns.erasure import UNCOUNTED_SQL, both, scope_place
from towerlog.store.columns.retention import HELD
from towerlog.store.sqlite.reads import one
from towerlog.store.values import Found

_POLICY = "INSERT OR REPLACE INTO retention (org, kind, doc) VALUES (?, ?, ?)"
_POLICY_GONE = "DELETE FROM retention WHERE org = ? AND kind = ?"
_ERASING = "INSERT OR REPLACE INTO erasing (run, org, doc) VALUES (?, ?, ?)"


def write(
    db: apsw.Connection, policies: Mapping[tuple[int, Erases], RetentionPolicy | None], begun: Iterable[Erasing]
) -> None:
    """What a unit has changed of policies, and the erasures that it has begun."""
    for key, row in policies.items():
        db.execute(*((_POLICY_GONE, key) if row is None else (_POLICY, state.policy_row(row))))
    for erasing in begun:
        known = erasing_of(db, erasing.run)
        db.execute(_ERASING, state.erasing_row(erasing if known is None else both(known, erasing)))


def keep(db: apsw.Connection, erasing: Erasing) -> None:
    """How far it has come; gone once it is done."""
    if erasing.is_done:
        db.execute("DELETE FROM erasing WHERE run = ?", (erasing.run,))
    else:
        db.execute(_ERASING, state.erasing_row(erasing))


def erasing_of(db: apsw.Connection, run: int) -> Erasing | None:
    """The erasure of a run that is under way."""
    doc = one(db, "SELECT doc FROM erasing WHERE run = ?", (run,))
    return None if doc is None else state.decode_erasing(doc)


def erasing_next(db: apsw.Connection, after: int, limit: int) -> list[int]:
    """Runs of any organisation whose erasure is under way, by number."""
    return [row[0] for row in db.execute("SELECT run FROM erasing WHERE run > ? ORDER BY run LIMIT ?", (after, limit))]


def policies_of(db: apsw.Connection, org: int) -> tuple[RetentionPolicy, ...]:
    """All of an organisation."""
    found = [state.decode_policy(row[0]) for row in db.execute("SELECT doc FROM retention WHERE org = ?", (org,))]
    return tuple(sorted(found, key=lambda row: scope_place(row.kind)))


def policies_all(db: apsw.Connection) -> list[RetentionPolicy]:
    """Those of all organisations: at most one for each kind."""
    return [state.decode_policy(row[0]) for row in db.execute("SELECT doc FROM retention ORDER BY org, kind")]


def age_kept(db: apsw.Connection) -> tuple[str | None, int | None]:
    """What `age_keep` wrote last, and when (wall ms) the newest event of any organisation was recorded."""
    newest = (
        "SELECT max((SELECT recorded_at FROM event WHERE key >= org << ? AND key < (org + 1) << ?"
        " ORDER BY key DESC LIMIT 1)) FROM org"
    )
    kept = one(db, "SELECT value FROM meta WHERE name = 'age'", ())
    return kept, one(db, newest, (SHARD_BITS, SHARD_BITS))


def age_keep(db: apsw.Connection, state: str) -> None:
    """Keeps the state of the clock by which things grow old."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('age', ?)", (state,))


def age_confirmed(db: apsw.Connection) -> str | None:
    """What `age_confirm` wrote last."""
    found: str | None = one(db, "SELECT value FROM meta WHERE name = 'age_confirmed'", ())
    return found


def age_confirm(db: apsw.Connection, confirm: str) -> None:
    """Keeps an operator's word about the wall clock."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('age_confirmed', ?)", (confirm,))


def note_step(db: apsw.Connection) -> None:
    """One step more after which the pages are to be gone over."""
    db.execute(
        "INSERT INTO meta VALUES ('unwiped', '1')"
        " ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)"
    )


def unwiped(db: apsw.Connection) -> int:
    """How many steps there were after which they were not."""
    return int(one(db, "SELECT value FROM meta WHERE name = 'unwiped'", ()) or 0)


def wiped(db: apsw.Connection, steps: int) -> None:
    """They were, after so many."""
    db.execute("DELETE FROM meta WHERE name = 'unwiped' AND value = ?", (str(steps),))


def runs_held(db: apsw.Connection, org: int, kind: Erases, before_ms: int | None, limit: int) -> Found[RunRow]:
    """Runs that have such content, the first to end first: by time those that ended before one (wall ms), else all in
    the order of the log."""
    told: tuple[int, ...] = (org, limit) if before_ms is None else (org, before_ms, limit)
    order = "ORDER BY ended_position" if before_ms is None else "AND ended_at < ? ORDER BY ended_at"
    sql = f"SELECT doc FROM run WHERE org = ? AND held & {HELD[kind]} {order} LIMIT ?"
    return rows.up_to_a_page(db.execute(sql, told), lambda row: rows.decode_run(row[0]))


def held_bytes(db: apsw.Connection, org: int, after: int, limit: int) -> HeldBytes:
    """What the events after a position hold that may be erased, so many of them; `until` is `after` where there are
    none."""
    sql = (
        f"SELECT max(key), total(size) FILTER (WHERE type NOT IN ({UNCOUNTED_SQL})),"
        " total(size) FILTER (WHERE type = 'message.delta'),"
        " total(size) FILTER (WHERE type = 'checkpoint') FROM"
        " (SELECT key, type, length(data) + ifnull(length(facts), 0) AS size FROM event"
        " WHERE key > ? AND key <= ? ORDER BY key LIMIT ?)"
    )
    first = org << SHARD_BITS
    last, whole, deltas, checkpoints = db.execute(sql, (first + after, first + (1 << SHARD_BITS) - 1, limit)).get
    if last is None:
        return HeldBytes(after)
    return HeldBytes(last - first, int(deltas), int(checkpoints), int(whole))


def content_bytes(db: apsw.Connection, org: int, after: tuple[int, int, int], limit: int) -> tuple[int, int, int, int]:
    """The last numbers of messages, nodes and metas after these, so many rows of each, and what they hold together."""
    found, size = [], 0
    for table, column, since in zip(("message", "node", "meta_list"), ("body", "block", "body"), after, strict=True):
        inner = f"SELECT {table}, org, {column} AS body FROM {table} WHERE {table} > ? ORDER BY {table} LIMIT ?"
        sql = f"SELECT max({table}), total(length(body)) FILTER (WHERE org = ?) FROM ({inner})"
        last, held = db.execute(sql, (org, since, limit)).get
        found.append(since if last is None else last)
        size += int(held)
    return (found[0], found[1], found[2], size)
