"""Threads, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal
from towerlog.model.run_text import searchable, words_of
from towerlog.model.thread import ThreadRow

MAX_LOOKED_AT = 10_000
"""Threads that one page of a search looks at; the next page goes on behind them."""
ROWS_AT_ONCE = 500


async def answer(source: QueryContext, principal: Principal, command: q.ListThreads | q.GetThread) -> o.Outcome:
    """A thread, or a page of threads, newest first. Raises NotFound."""
    if isinstance(command, q.GetThread):
        row = await source.store.thread(principal.org, command.thread_id)
        if row is None:
            raise NotFound("thread")
        return o.ThreadView(row)
    words = [] if command.q is None else words_of(command.q)
    if words:
        return await _found(source, principal.org, command, words)
    rows = await source.store.threads(principal.org, command.limit + 1, command.before)
    page, more = page_of(rows, command.limit)
    return o.Page(page, page[-1].thread_id if more else None)


async def _found(source: QueryContext, org: int, command: q.ListThreads, words: list[str]) -> o.Page:
    """Threads whose id and title have all the words; a page may have fewer than were asked for, and another follow."""
    found: list[ThreadRow] = []
    before = command.before
    for _ in range(MAX_LOOKED_AT // ROWS_AT_ONCE):
        rows = await source.store.threads(org, ROWS_AT_ONCE, before)
        for row in rows:
            before = row.thread_id
            if _has(row, words):
                found.append(row)
            if len(found) == command.limit:
                return o.Page(found, before)
        if not rows or (len(rows) < ROWS_AT_ONCE and not rows.cut):
            return o.Page(found, None)
    return o.Page(found, before)


def _has(row: ThreadRow, words: list[str]) -> bool:
    text = searchable(f"{row.thread_id} {row.title or ''}")
    return all(word in text for word in words)
