"""Threads, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal


async def answer(source: QueryContext, principal: Principal, command: q.ListThreads | q.GetThread) -> o.Outcome:
    """A thread, or a page of threads, newest first. Raises NotFound."""
    if isinstance(command, q.GetThread):
        row = await source.store.thread(principal.org, command.thread_id)
        if row is None:
            raise NotFound("thread")
        return o.ThreadView(row)
    rows = await source.store.threads(principal.org, command.limit + 1, command.before)
    page, more = page_of(rows, command.limit)
    return o.Page(page, page[-1].thread_id if more else None)
