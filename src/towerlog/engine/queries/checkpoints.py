"""Checkpoints, read back: the newest, a page, one, and those that wait for a person."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.queries import views
from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.principal import Principal
from towerlog.store.values import PAGE_BODY_BYTES


async def answer(
    source: QueryContext,
    principal: Principal,
    command: q.LatestCheckpoint | q.ListCheckpoints | q.GetCheckpoint | q.ListApprovals,
) -> o.Outcome:
    """A checkpoint, or a page of them. Raises NotFound."""
    match command:
        case q.LatestCheckpoint(thread_id):
            row = await source.store.checkpoint_latest(principal.org, thread_id)
            if row is None:
                raise NotFound("checkpoint")
            runs = await source.store.runs_by_number(principal.org, [row.run])
            return await views.checkpoint_view(source.store, runs[row.run], row, resume=True)
        case q.ListApprovals(limit):
            return await _approvals(source, principal, limit)
        case q.ListCheckpoints(run_id, limit, after):
            run = await source.run_of(principal, run_id)
            rows = await source.store.checkpoints(principal.org, run.run, limit + 1, after)
            page, more = page_of(rows, limit)
            return o.Page(page, f"{page[-1].step_index}:{page[-1].agent}" if more else None)
        case q.GetCheckpoint():
            return await _checkpoint(source, principal, command)
        case _:
            assert_never(command)


async def _checkpoint(source: QueryContext, principal: Principal, command: q.GetCheckpoint) -> CheckpointView:
    run = await source.run_of(principal, command.run_id)
    after = (command.step_index - 1, "\U0010ffff")
    rows = await source.store.checkpoints(principal.org, run.run, 1000, after)
    for row in rows:
        named = command.agent is None or row.agent == command.agent
        if row.step_index == command.step_index and named:
            return await views.checkpoint_view(source.store, run, row)
    raise NotFound("checkpoint")


async def _approvals(source: QueryContext, principal: Principal, limit: int) -> o.Page:
    rows = await source.store.approvals(principal.org, limit)
    runs = await source.store.runs_by_number(principal.org, [row.run for row in rows]) if rows else {}
    found: list[o.ApprovalView] = []
    size = 0
    for row in rows:
        events = await source.store.events_at(principal.org, row.run, [row.seq])
        figures = events[row.seq].data if row.seq in events else b"{}"
        size += len(figures)
        if found and size > PAGE_BODY_BYTES:
            break  # oldest first: the others are seen when these are decided
        found.append(o.ApprovalView(row, runs[row.run].trace_id, figures))
    return o.Page(found)
