"""What SQLite is asked about approvals: the inbox of an organisation, what has expired, links that were used."""

from __future__ import annotations

import apsw

from towerlog.model.approval import ApprovalKind, ApprovalRow
from towerlog.model.checkpoint import AWAITS_APPROVAL, CheckpointRow
from towerlog.store.columns import rows, state
from towerlog.store.sqlite import reads
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.values import Changes, Found

_OPEN = (
    "INSERT OR REPLACE INTO approval (run, seq, org, position, step_index, due_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_CLOSED = "DELETE FROM approval WHERE run = ? AND seq = ?"
_ENDED = "DELETE FROM approval WHERE run = ?"
_SPENT = "INSERT OR IGNORE INTO spent_link (org, nonce, until) VALUES (?, ?, ?)"
_OF_KIND = {
    None: "",
    ApprovalKind.QUESTION: " AND step_index IS NULL",
    ApprovalKind.APPROVAL: " AND step_index IS NOT NULL",
}


def write(db: apsw.Connection, changes: Changes) -> None:
    """What a unit has changed of them. The ends of runs come last."""
    for key, row in changes.approvals.items():
        db.execute(*((_CLOSED, key) if row is None else (_OPEN, state.approval_row(row))))
    if changes.ended:
        db.executemany(_ENDED, ((run,) for run in changes.ended))
    if changes.spent_links:
        db.executemany(_SPENT, ((*key, until) for key, until in changes.spent_links.items()))


def approvals(
    db: apsw.Connection, org: int, limit: int, after: int, kind: ApprovalKind | None, run: int | None
) -> Found[ApprovalRow]:
    """What is open after a position, oldest first."""
    of_run = "" if run is None else " AND run = ?"
    sql = f"SELECT doc FROM approval WHERE org = ? AND position > ?{_OF_KIND[kind]}{of_run} ORDER BY position LIMIT ?"
    found = db.execute(sql, (org, after, *(() if run is None else (run,)), limit))
    return rows.up_to_a_page(found, lambda row: state.decode_approval(row[0]))


def approval(db: apsw.Connection, org: int, run: int, seq: int) -> ApprovalRow | None:
    """One that is open."""
    doc = reads.one(db, "SELECT doc FROM approval WHERE run = ? AND seq = ? AND org = ?", (run, seq, org))
    return None if doc is None else state.decode_approval(doc)


def checkpoints_undecided(db: apsw.Connection, org: int, run: int, limit: int) -> list[CheckpointRow]:
    """Those of a run that wait for approval, or did when it ended."""
    sql = "SELECT doc FROM checkpoint WHERE run = ? AND org = ? AND status = ? LIMIT ?"
    return [rows.decode_checkpoint(row[0]) for row in db.execute(sql, (run, org, AWAITS_APPROVAL, limit))]


def calls_waiting(db: apsw.Connection, run: int) -> ApprovalRow | None:
    """The oldest tool calls of a run that wait."""
    sql = "SELECT doc FROM approval WHERE run = ? AND step_index IS NOT NULL ORDER BY seq LIMIT 1"
    doc = reads.one(db, sql, (run,))
    return None if doc is None else state.decode_approval(doc)


def approvals_due(db: apsw.Connection, after_ms: int, until_ms: int, limit: int) -> list[ApprovalRow]:
    """Those of any organisation that have expired and are not marked."""
    sql = "SELECT doc FROM approval WHERE due_at > ? AND due_at <= ? ORDER BY due_at LIMIT ?"
    return [state.decode_approval(row[0]) for row in db.execute(sql, (after_ms, until_ms, limit))]


def link_spent(db: apsw.Connection, org: int, nonce: str) -> int | None:
    """Until when it is remembered that this link was used; None where it was not."""
    found = reads.one(db, "SELECT until FROM spent_link WHERE org = ? AND nonce = ?", (org, nonce))
    return None if found is None else int(found)


def drop_spent_links(db: apsw.Connection, now_ms: int, limit: int) -> int:
    """Forgets used links that have expired by now, at most so many; how many."""
    some = "SELECT org, nonce FROM spent_link WHERE until < ? LIMIT ?"
    with transaction(db, makes_room=True):
        db.execute(f"DELETE FROM spent_link WHERE (org, nonce) IN ({some})", (now_ms, limit))
        return db.changes()
