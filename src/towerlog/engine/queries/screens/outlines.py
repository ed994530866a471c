"""Outlines: the events of a run are read once, without their bodies, and the spans of a window are drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.screens.kept_outlines import KeptOutline
from towerlog.model.outline import MAX_OUTLINE_EVENTS, Outline
from towerlog.model.principal import Principal
from towerlog.model.question import GetOutline
from towerlog.model.run import RunRow
from towerlog.projections.outline import drawable, within

PAGE_MOMENTS = 5000
"""Events that are read at a time: readers are few, and others wait for them."""
MAX_OUTLINE_CHILDREN = 500
MAX_NAMED_AGENTS = 100
"""Agents of a run whose names are read, those of the first spans."""


async def answer(source: QueryContext, principal: Principal, command: GetOutline) -> Outline:
    """The spans of a window of the run's time, as many as can be drawn. Raises NotFound."""
    row = await source.run_of(principal, command.run_id)
    children = await source.store.run_children(principal.org, row, MAX_OUTLINE_CHILDREN)
    kept = source.outlines.of(row.org, row.run)
    while kept.outliner.events < MAX_OUTLINE_EVENTS:
        page = await source.store.moments(row.org, row.run, kept.last_seq, PAGE_MOMENTS)
        if page:
            await asyncio.to_thread(kept.take, page)
        if len(page) < PAGE_MOMENTS:
            break
    source.outlines.keep(row.org, row.run, kept)
    now_ms = source.clock.now_ms()
    drawn = await asyncio.to_thread(kept.look, lambda known: _drawn(known, row, children, command, now_ms))
    numbers = list(dict.fromkeys(span.agent for span in drawn.spans if span.agent))[:MAX_NAMED_AGENTS]
    named = await source.store.agents_by_number(row.org, numbers) if numbers else []
    return msgspec.structs.replace(drawn, agents={agent.agent: agent.name for agent in named})


def _drawn(known: KeptOutline, row: RunRow, children: Iterable[RunRow], command: GetOutline, now_ms: int) -> Outline:
    outliner = known.outliner
    ended_at = row.span()[1]
    now = now_ms if ended_at is None else max(ended_at, outliner.last_at or 0)
    spans = outliner.spans(children, ended_at)
    began = row.began_at()
    begin = command.since if command.since is not None else min([began, *(span.begin for span in spans[:1])])
    end = max(begin, command.until if command.until is not None else now)
    seen = within(spans, begin, end)
    shown = drawable(seen, (end - begin) / command.width, now)
    return Outline(begin, end, shown, outliner.tools(), outliner.events, known.last_seq >= row.last_seq, {})
