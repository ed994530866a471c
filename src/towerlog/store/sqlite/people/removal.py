"""Removing an organisation: at once what lets people and programs in, and then in steps what it holds."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from towerlog.model import folds
from towerlog.model.audit import AuditEntry
from towerlog.model.principal import shard_bounds
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.columns import removal
from towerlog.store.columns.erasure import Room
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections.store_notes import FORWARDED, whole
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.erasure import policies

_HELD = (
    "SELECT runs, position, (SELECT count(*) FROM api_key WHERE org = ?1 AND revoked_at IS NULL),"
    " (SELECT count(*) FROM user WHERE org = ?1 AND removed_at IS NULL) FROM org WHERE org = ?1"
)
_BY_RUN = frozenset(
    {"approval", "cancel_spread", "checkpoint", "erasing", "lane", "quarantine", "run", "run_text", "trim"}
)
"""Tables that have the organisation in the number of the run."""
_KEYS = {"agent": "agent", "audit_entry": "key", "event": "key"} | dict.fromkeys(_BY_RUN, "run")
"""The column of a table whose high bits are the organisation; of all others `org` is."""
_TOP_RUNS = f"SELECT run FROM run WHERE run BETWEEN ? AND ? ORDER BY run DESC LIMIT {removal.RUNS_AT_ONCE}"


def org_holds(db: apsw.Connection, org: int) -> OrgHolds:
    """What an organisation holds, by its counters."""
    return next(OrgHolds(*row) for row in db.execute(_HELD, (org,)))


def remove_org(db: apsw.Connection, removed: RemovedOrg, told: Iterable[AuditEntry]) -> None:
    """From now on nobody is let in. Raises NotFound where it is removed already."""
    with whole(db):
        db.execute("INSERT OR IGNORE INTO removed_org VALUES (?, ?, ?, ?)", removal.removed_row(removed))
        if not db.changes():
            raise removal.gone_already()
        # The name may be given to another one.
        db.execute("UPDATE org SET name = org_id WHERE org = ?", (removed.org,))
        for table in removal.AT_ONCE:
            db.execute(f"DELETE FROM {_name(table)} WHERE org = ?", (removed.org,))
        entries.write(db, told)


def removed_orgs(db: apsw.Connection, limit: int) -> list[RemovedOrg]:
    """Those that were removed last, the last first."""
    sql = "SELECT doc FROM removed_org ORDER BY removed_at DESC, org DESC LIMIT ?"
    return [removal.removed_value(row[0]) for row in db.execute(sql, (limit,))]


def orgs_erasing(db: apsw.Connection) -> list[RemovedOrg]:
    """Those whose erasure is not done."""
    sql = "SELECT doc FROM removed_org WHERE erased_at IS NULL ORDER BY org"
    return [removal.removed_value(row[0]) for row in db.execute(sql)]


def erase_org_step(db: apsw.Connection, org: int, now_ms: int) -> tuple[RemovedOrg, int] | None:
    """One step, in one transaction: how far it has come, and how many rows it has erased. None where none is due."""
    with transaction(db, makes_room=True):
        found = db.execute("SELECT doc FROM removed_org WHERE org = ? AND erased_at IS NULL", (org,)).get
        if found is None:
            return None
        before = removal.removed_value(found)
        room = Room(removal.STEP_ROWS, removal.STEP_BYTES)
        gone = _erase(db, org, room, is_calm=removal.is_calm(before, now_ms))
        removed = removal.after_step(before, gone, now_ms)
        _, _, erased_at, doc = removal.removed_row(removed)
        db.execute("UPDATE removed_org SET erased_at = ?, doc = ? WHERE org = ?", (erased_at, doc, org))
        if gone:
            policies.note_step(db)
        return removed, gone


def _erase(db: apsw.Connection, org: int, room: Room, *, is_calm: bool) -> int:
    gone = 0
    for table in removal.MESSAGES:
        gone += _erase_of(db, table, org, room)
    if room.is_left:
        gone += _erase_runs(db, org, room)
    for table in removal.REST if is_calm else ():
        if not room.is_left:
            return gone
        gone += _erase_of(db, table, org, room)
    if room.is_left and is_calm:
        db.execute("DELETE FROM meta WHERE name IN (?, ?)", (f"{FORWARDED}:{org}", folds.note_name(org)))
    return gone


def _erase_runs(db: apsw.Connection, org: int, room: Room) -> int:
    """The newest runs, with all rows of theirs that somebody may act on."""
    lowest, highest = shard_bounds(org)
    found = [row[0] for row in db.execute(_TOP_RUNS, (lowest, highest))]
    first = found[-1] if len(found) == removal.RUNS_AT_ONCE else lowest
    gone = 0
    for table in removal.OF_RUN:
        of_org = "" if table in _BY_RUN else f"org = {org} AND "
        db.execute(f"DELETE FROM {table} WHERE {of_org}run BETWEEN ? AND ?", (first, highest))
        gone += db.changes()
    room.rows -= gone
    return gone


def _erase_of(db: apsw.Connection, table: str, org: int, room: Room) -> int:
    """Rows of one table, as many as there is room for."""
    name, long = _name(table), removal.SIZES.get(table)
    column = _KEYS.get(table, "org")
    bounds = (org, org) if column == "org" else shard_bounds(org)
    key = _row_key(table)
    size = "0" if long is None else f"ifnull(length({long}), 0)"
    sql = f"SELECT {size}, {key} FROM {name} WHERE {column} BETWEEN ? AND ? LIMIT ?"
    where = f"({key}) = ({', '.join('?' * (key.count(',') + 1))})"
    gone = 0
    for size_of, *row in list(db.execute(sql, (*bounds, room.rows))):
        if not room.is_left:
            break
        db.execute(f"DELETE FROM {name} WHERE {where}", row)
        gone += 1
        room.take(size_of)
    return gone


def _row_key(table: str) -> str:
    return _ROW_KEYS.get(table, "rowid")


def _name(table: str) -> str:
    return "user" if table == "org_user" else table


_ROW_KEYS = {
    "agent": "agent", "alert": "org, alert_id", "alert_rule": "org, rule_id", "alert_window": "org, rule_id, minute",
    "api_key": "org, key_id", "approval": "run, seq", "budget": "org, budget_id", "budget_pause": "org, budget_id, run",
    "checkpoint": "run, agent, step_index", "delivery": "org, delivery_id", "delivery_body": "org, body_id",
    "org_user": "org, user_id", "price": "org, price_id", "retention": "org, kind",
    "session": "org, user_id, number", "sign_in_link": "org, link_id", "spent_link": "org, nonce",
    "thread": "org, thread_id", "usage": "org, hour, agent, model, status", "user_name": "org, folded, user_id",
}  # fmt: skip
"""The primary keys of tables that have no rowid."""
