"""Runs, read back: one with all that is known of it, a page of a list, or figures."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from towerlog.engine.queries import views
from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.engine.queries.lanes import LaneService, service_of
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.model.run_text import Hit, RunText, hit_of, searchable, words_of
from towerlog.model.usage import RunSums

T = TypeVar("T")
PLACES_SAID = ("input", "result", "talk", "about")
"""What the parts of a `RunText` are called, in their order."""


async def answer(
    source: QueryContext, principal: Principal, command: q.ListRuns | q.GetRun | q.ListThreadRuns | q.FindRuns
) -> o.Outcome:
    """A run, or a page of runs. Raises NotFound, Invalid."""
    store = source.store
    if isinstance(command, q.GetRun):
        row = await source.run_of(principal, command.run_id)
        view = await source.view_of(principal, row, command.tree)
        waits = [] if view.lane is None else [view.lane]
        service = (await service_of(source, principal, waits)).get(row.run, LaneService())
        return msgspec.structs.replace(view, **service._asdict())
    if isinstance(command, q.FindRuns):
        return o.Page(await store.run_ids_beginning(principal.org, command.prefix, command.limit), None)
    if isinstance(command, q.ListThreadRuns):
        if await store.thread(principal.org, command.thread_id) is None:
            raise NotFound("thread")
        rows = await _all(source, principal, q.RunFilter(thread_id=command.thread_id), command.limit)
        return o.Page(await views.run_views(store, principal, rows, source.now()))
    before = await _before(source, principal, command)
    found = await store.runs(principal.org, command.filter, command.limit + 1, before)
    page, more = page_of(found, command.limit)
    last = found.searched_to or (page[-1] if more else None)
    shown = await views.run_views(store, principal, page, source.now())
    searched_to = None if found.searched_to is None else found.searched_to.began_at()
    hits = await _hits(source, principal, page, words_of(command.filter.q or ""))
    return o.Page(shown, None if last is None else last.run_id, searched_to=searched_to, hits=hits)


async def _hits(
    source: QueryContext, principal: Principal, page: list[RunRow], words: list[str]
) -> dict[str, Hit] | None:
    """Where each run has the words of a search, by run id; None where there are none."""
    if not words:
        return None
    texts = await source.store.run_texts(principal.org, [row.run for row in page]) if page else {}
    found = ((row.run_id, hit_of(words, _places(row, texts.get(row.run)))) for row in page)
    return {run_id: hit for run_id, hit in found if hit is not None}


def _places(row: RunRow, text: RunText | None) -> dict[str, str | None]:
    """What a search looks through of a run, by what each is called; what was said comes first."""
    said = dict(zip(PLACES_SAID, (None,) * 4 if text is None else text.parts(), strict=True))
    names = {"agent": row.agent, "thread_id": row.thread_id, "run_id": row.run_id, "trace_id": row.trace_id}
    named = {**names, "sender_id": row.foreign_id}
    return {**said, **{name: None if value is None else searchable(value) for name, value in named.items()}}


async def figures(
    source: QueryContext, principal: Principal, command: q.CountRuns | q.GetDurations | q.SumRuns
) -> o.RunFacets | o.RunDurations | RunSums:
    """What runs have in common, how long they took, or what they have used. Raises Invalid where that takes too
    long."""
    store, org = source.store, principal.org
    if isinstance(command, q.CountRuns):
        return o.RunFacets(await store.run_facets(org, command.filter))
    if isinstance(command, q.SumRuns):
        return RunSums(_in_time(await store.run_sums(org, command.by, command.filter, command.limit)))
    return o.RunDurations(_in_time(await store.run_durations(org, command.by, command.filter, command.limit)))


def _in_time(found: list[T] | None) -> list[T]:
    if found is None:
        raise Invalid("since: this takes too long; narrow it by time, agent, status or thread", field="since")
    return found


async def _all(source: QueryContext, principal: Principal, wanted: q.RunFilter, limit: int) -> list[RunRow]:
    """So many runs, for a list that has no cursor and shows little of each."""
    rows: list[RunRow] = []
    before: int | None = None
    while len(rows) < limit:
        found = await source.store.runs(principal.org, wanted, limit - len(rows), before)
        rows += found
        if not found.cut:
            break
        before = (found.searched_to or found[-1]).run
    return rows


async def _before(source: QueryContext, principal: Principal, command: q.ListRuns) -> int | None:
    run_id, given_as = command.before, command.given_as
    if run_id is None:
        return None
    row = await source.store.run(principal.org, run_id)
    if row is None:
        raise Invalid(f"{given_as}: names no run that exists", field=given_as)
    return row.run
