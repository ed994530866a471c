"""What runs say in words, written beside their rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from towerlog.model.run_text import RunText
from towerlog.store.columns.questions.searches import MAX_TEXT_CHARS, TEXT_COLUMNS, text_row, text_value
from towerlog.store.postgres.connections import Db

_PARTS = "coalesce($3, ''), coalesce($4, ''), coalesce($5, ''), coalesce($6, '')"
_BEGUN = (
    f"INSERT INTO run_text ({TEXT_COLUMNS}) VALUES ($1, $2, {_PARTS}) ON CONFLICT (org, run) DO UPDATE SET"
    " given = excluded.given, produced = excluded.produced, talk = excluded.talk, about = excluded.about"
)
_TOLD = (
    "UPDATE run_text SET given = coalesce($3, given), produced = coalesce($4, produced),"
    " talk = CASE WHEN $5::text IS NULL THEN talk WHEN talk = '' THEN $5"
    f" ELSE left($5 || chr(10) || talk, {MAX_TEXT_CHARS}) END, about = coalesce($6, about)"
    " WHERE run = $1 AND org = $2"
)


async def write(db: Db, texts: Collection[RunText]) -> None:
    """In the transaction that is open."""
    await db.each(_BEGUN, [text_row(text) for text in texts if text.anew])
    await db.each(_TOLD, [text_row(text) for text in texts if not text.anew])


async def run_texts(db: Db, org: int, numbers: Sequence[int]) -> dict[int, RunText]:
    """What runs of an organisation say, by number."""
    sql = f"SELECT {TEXT_COLUMNS} FROM run_text WHERE org = $1 AND run = ANY($2::bigint[])"
    return {row[0]: text_value(row) for row in await db.rows(sql, org, list(numbers))}
