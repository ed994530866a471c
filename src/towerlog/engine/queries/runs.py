"""Runs, read back: one with all that is known of it, or a page of a list."""

from __future__ import annotations

from towerlog.engine.queries import views
from towerlog.engine.queries.context import QueryContext
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal


async def answer(
    source: QueryContext, principal: Principal, command: q.ListRuns | q.GetRun | q.ListThreadRuns | q.FindRuns
) -> o.Outcome:
    """A run, or a page of runs. Raises NotFound, Invalid."""
    store = source.store
    if isinstance(command, q.GetRun):
        row = await source.run_of(principal, command.run_id)
        return await source.view_of(principal, row, command.tree)
    if isinstance(command, q.FindRuns):
        return o.Page(await store.run_ids_beginning(principal.org, command.prefix, command.limit), None)
    if isinstance(command, q.ListThreadRuns):
        if await store.thread(principal.org, command.thread_id) is None:
            raise NotFound("thread")
        wanted, before = q.RunFilter(thread_id=command.thread_id), None
    else:
        wanted, before = command.filter, await _before(source, principal, command.before)
    rows = await store.runs(principal.org, wanted, command.limit + 1, before)
    page = rows[: command.limit]
    more = page[-1].run_id if len(rows) > command.limit else None
    return o.Page(await views.run_views(store, principal, page, source.now()), more)


async def _before(source: QueryContext, principal: Principal, run_id: str | None) -> int | None:
    if run_id is None:
        return None
    row = await source.store.run(principal.org, run_id)
    if row is None:
        raise Invalid("before: is not the id of a run", field="before")
    return row.run
