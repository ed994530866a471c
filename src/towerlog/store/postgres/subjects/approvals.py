"""What is asked about approvals, and their writing: the inbox, what has expired, links that were used."""

from __future__ import annotations

from towerlog.model.approval import ApprovalKind, ApprovalRow
from towerlog.model.checkpoint import AWAITS_APPROVAL, CheckpointRow
from towerlog.model.principal import shard_org
from towerlog.store.columns import rows, state
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.per_org import each_org
from towerlog.store.values import Changes, Found

_OPEN = (
    "INSERT INTO approval (run, seq, org, position, step_index, due_at, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)"
    " ON CONFLICT (org, run, seq) DO UPDATE SET position = excluded.position, step_index = excluded.step_index,"
    " due_at = excluded.due_at, doc = excluded.doc"
)
_CLOSED = "DELETE FROM approval WHERE org = $1 AND run = $2 AND seq = $3"
_ENDED = "DELETE FROM approval WHERE org = $1 AND run = $2"
_SPENT = "INSERT INTO spent_link (org, nonce, until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_OF_KIND = {
    None: "",
    ApprovalKind.QUESTION: " AND step_index IS NULL",
    ApprovalKind.APPROVAL: " AND step_index IS NOT NULL",
}


async def write(db: Db, changes: Changes) -> None:
    """What a unit has changed of them. The ends of runs come last."""
    closed = [(shard_org(run), run, seq) for (run, seq), row in changes.approvals.items() if row is None]
    await db.each(_CLOSED, closed)
    await db.each(_OPEN, [state.approval_row(row) for row in changes.approvals.values() if row is not None])
    await db.each(_ENDED, [(shard_org(run), run) for run in changes.ended])
    await db.each(_SPENT, [(*key, until) for key, until in changes.spent_links.items()])


async def approvals(
    db: Db, org: int, limit: int, after: int, kind: ApprovalKind | None, run: int | None
) -> Found[ApprovalRow]:
    """What is open after a position, oldest first."""
    where = f"org = $1 AND position > $2{_OF_KIND[kind]} AND ($3::bigint IS NULL OR run = $3)"
    found = await db.rows(f"SELECT doc FROM approval WHERE {where} ORDER BY position LIMIT $4", org, after, run, limit)
    return rows.up_to_a_page(found, lambda row: state.decode_approval(row[0]))


async def approval(db: Db, org: int, run: int, seq: int) -> ApprovalRow | None:
    """One that is open."""
    doc = await db.value("SELECT doc FROM approval WHERE org = $1 AND run = $2 AND seq = $3", org, run, seq)
    return None if doc is None else state.decode_approval(doc)


async def checkpoints_undecided(db: Db, org: int, run: int, limit: int) -> list[CheckpointRow]:
    """Those of a run that wait for approval, or did when it ended."""
    sql = "SELECT doc FROM checkpoint WHERE org = $1 AND run = $2 AND status = $3 ORDER BY agent, step_index LIMIT $4"
    return [rows.decode_checkpoint(row[0]) for row in await db.rows(sql, org, run, AWAITS_APPROVAL, limit)]


async def calls_waiting(db: Db, run: int) -> ApprovalRow | None:
    """The oldest tool calls of a run that wait."""
    sql = "SELECT doc FROM approval WHERE org = $1 AND run = $2 AND step_index IS NOT NULL ORDER BY seq LIMIT 1"
    doc = await db.value(sql, shard_org(run), run)
    return None if doc is None else state.decode_approval(doc)


async def approvals_due(db: Db, after_ms: int, until_ms: int, limit: int) -> list[ApprovalRow]:
    """Those of any organisation that have expired and are not marked."""
    sql = each_org("approval", "due_at IS NOT NULL", "due_at, doc", "due_at > $1 AND due_at <= $2", "due_at", "$3")
    return [state.decode_approval(row["doc"]) for row in await db.rows(sql, after_ms, until_ms, limit)]


async def link_spent(db: Db, org: int, nonce: str) -> int | None:
    """Until when it is remembered that this link was used; None where it was not."""
    found: int | None = await db.value("SELECT until FROM spent_link WHERE org = $1 AND nonce = $2", org, nonce)
    return found


async def drop_spent_links(db: Db, now_ms: int, limit: int) -> int:
    """Forgets used links that have expired by now, at most so many; how many."""
    old = each_org("spent_link", "true", "until, nonce", "until < $1", "until", "$2")
    return await db.do(
        f"DELETE FROM spent_link USING ({old}) AS old WHERE spent_link.org = old.org AND spent_link.nonce = old.nonce",
        now_ms, limit,
    )  # fmt: skip
