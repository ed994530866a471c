"""What runs say in words, written beside their rows."""

from __future__ import annotations

from collections.abc import Collection

from towerlog.model.run_text import RunText
from towerlog.store.columns.searches import MAX_TEXT_CHARS, TEXT_COLUMNS, text_row
from towerlog.store.postgres.connections import Db

_GONE = "DELETE FROM run_text WHERE org = $1 AND run = $2"
_TOLD = (
    f"INSERT INTO run_text ({TEXT_COLUMNS})"
    " VALUES ($1, $2, coalesce($3, ''), coalesce($4, ''), coalesce($5, ''), coalesce($6, ''))"
    " ON CONFLICT (org, run) DO UPDATE SET given = coalesce($3, run_text.given),"
    " produced = coalesce($4, run_text.produced),"
    " talk = CASE WHEN $5::text IS NULL THEN run_text.talk WHEN run_text.talk = '' THEN $5"
    f" ELSE left($5 || chr(10) || run_text.talk, {MAX_TEXT_CHARS}) END, about = coalesce($6, run_text.about)"
)


async def write(db: Db, texts: Collection[RunText]) -> None:
    """In the transaction that is open."""
    await db.each(_GONE, [(text.org, text.run) for text in texts if text.anew])
    told = [text_row(text) for text in texts if any(part is not None for part in text.parts())]
    await db.each(_TOLD, told)
