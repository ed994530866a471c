"""Reading commands: straight from the store, never through the writer. Every look-up is by organisation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from towerlog.ambient import Clock
from towerlog.engine import views
from towerlog.engine.usage_report import usage_page
from towerlog.errors import Invalid, NotFound
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.event import Event, EventType
from towerlog.model.identity import Principal
from towerlog.model.lease import Lane, LaneState
from towerlog.model.liveness import USUAL, Thresholds
from towerlog.model.run import RunRow
from towerlog.store.base import Store
from towerlog.store.values import PAGE_BODY_BYTES

Reader = Callable[[Principal, c.Read], Awaitable[o.Outcome]]


class Reads:
    """Answers reading commands."""

    def __init__(self, store: Store, clock: Clock, thresholds: Thresholds = USUAL) -> None:
        """`clock` tells how long things have waited; `thresholds`, how long runs may be silent."""
        self._store = store
        self._clock = clock
        self._thresholds = thresholds

    async def answer(self, principal: Principal, command: c.Read) -> o.Outcome:
        """The outcome of any reading command. Raises NotFound, Invalid."""
        match command:
            case c.ListRuns() | c.GetRun() | c.ListThreadRuns():
                return await self._runs(principal, command)
            case c.ListThreads() | c.GetThread():
                return await self._threads(principal, command)
            case c.LatestCheckpoint() | c.ListCheckpoints() | c.GetCheckpoint() | c.ListApprovals():
                return await self._checkpoints(principal, command)
            case c.ListEvents():
                return await self._events(principal, command)
            case c.Tail():
                return await self._tail(principal, command)
            case c.ListAgents() | c.GetAgent():
                return await self._agents(principal, command)
            case c.ListLanes() | c.ListWorkers():
                return await self._lanes(principal, command)
            case c.ListKeys():
                keys = await self._store.keys(principal.org, command.limit + 1, command.before)
                more = len(keys) > command.limit
                return o.Page(keys[: command.limit], keys[command.limit - 1].key_id if more else None)
            case c.GetUsage():
                return await usage_page(self._store, principal, command, self._clock.now_ms())
            case _:
                assert_never(command)

    async def run_of(self, principal: Principal, run_id: str) -> RunRow:
        """A run of the caller's organisation. Raises NotFound."""
        row = await self._store.run(principal.org, run_id)
        if row is None:
            raise NotFound("run")
        return row

    async def _runs(self, principal: Principal, command: c.ListRuns | c.GetRun | c.ListThreadRuns) -> o.Outcome:
        store = self._store
        if isinstance(command, c.GetRun):
            row = await self.run_of(principal, command.run_id)
            return await self.view_of(principal, row, command.tree)
        if isinstance(command, c.ListThreadRuns):
            if await store.thread(principal.org, command.thread_id) is None:
                raise NotFound("thread")
            wanted, before = c.RunFilter(thread_id=command.thread_id), None
        else:
            wanted, before = command.filter, await self._before(principal, command.before)
        rows = await store.runs(principal.org, wanted, command.limit + 1, before)
        page = rows[: command.limit]
        more = page[-1].run_id if len(rows) > command.limit else None
        return o.Page(await views.run_views(store, principal, page, self._now()), more)

    async def view_of(self, principal: Principal, row: RunRow, tree: bool = False) -> o.RunView:
        """All that is known of a run; `tree`: with its descendants."""
        return await views.run_detail(self._store, principal, row, tree, self._now())

    def _now(self) -> views.Now:
        return views.Now(self._clock.now_ms(), self._thresholds)

    async def _before(self, principal: Principal, run_id: str | None) -> int | None:
        if run_id is None:
            return None
        row = await self._store.run(principal.org, run_id)
        if row is None:
            raise Invalid("before: is no run's id", field="before")
        return row.run

    async def _threads(self, principal: Principal, command: c.ListThreads | c.GetThread) -> o.Outcome:
        if isinstance(command, c.GetThread):
            row = await self._store.thread(principal.org, command.thread_id)
            if row is None:
                raise NotFound("thread")
            return o.ThreadView(row)
        rows = await self._store.threads(principal.org, command.limit + 1, command.before)
        page = rows[: command.limit]
        return o.Page(page, page[-1].thread_id if len(rows) > command.limit else None)

    async def _checkpoints(
        self,
        principal: Principal,
        command: c.LatestCheckpoint | c.ListCheckpoints | c.GetCheckpoint | c.ListApprovals,
    ) -> o.Outcome:
        match command:
            case c.LatestCheckpoint(thread_id):
                row = await self._store.checkpoint_latest(principal.org, thread_id)
                if row is None:
                    raise NotFound("checkpoint")
                runs = await self._store.runs_by_number(principal.org, [row.run])
                return await views.checkpoint_view(self._store, runs[row.run], row)
            case c.ListApprovals(limit):
                return await self._approvals(principal, limit)
            case c.ListCheckpoints(run_id, limit, after):
                run = await self.run_of(principal, run_id)
                rows = await self._store.checkpoints(principal.org, run.run, limit + 1, after)
                page = rows[:limit]
                return o.Page(page, f"{page[-1].step_index}:{page[-1].agent}" if len(rows) > limit else None)
            case c.GetCheckpoint():
                return await self._checkpoint(principal, command)
            case _:
                assert_never(command)

    async def _checkpoint(self, principal: Principal, command: c.GetCheckpoint) -> CheckpointView:
        run = await self.run_of(principal, command.run_id)
        after = (command.step_index - 1, "\U0010ffff")
        rows = await self._store.checkpoints(principal.org, run.run, 1000, after)
        for row in rows:
            named = command.agent is None or row.agent == command.agent
            if row.step_index == command.step_index and named:
                return await views.checkpoint_view(self._store, run, row)
        raise NotFound("checkpoint")

    async def _approvals(self, principal: Principal, limit: int) -> o.Page:
        rows = await self._store.approvals(principal.org, limit)
        runs = await self._store.runs_by_number(principal.org, [row.run for row in rows]) if rows else {}
        found = []
        for row in rows:
            events = await self._store.events_at(principal.org, row.run, [row.seq])
            figures = events[row.seq].data if row.seq in events else b"{}"
            found.append(o.ApprovalView(row, runs[row.run].trace_id, figures))
        return o.Page(found)

    async def _events(self, principal: Principal, command: c.ListEvents) -> o.Page:
        run = await self.run_of(principal, command.run_id)
        limit = command.limit
        if command.quarantined:
            kept = await self._store.quarantined(principal.org, run.run, limit + 1, command.after_seq)
            events = [
                Event(item.org, 0, item.run, number, EventType(item.type), item.recorded_at, item.data, dialect="lanes")
                for number, item in kept
            ]
        else:
            events = await self._store.events(principal.org, run.run, command.after_seq, limit + 1, command.types)
        page = events[:limit]
        more = len(events) > limit or sum(len(event.data) for event in page) >= PAGE_BODY_BYTES
        return o.Page(page, str(page[-1].seq) if more else None)

    async def _tail(self, principal: Principal, command: c.Tail) -> o.FeedPage:
        agent = await self._store.agent(principal.org, command.agent_id)
        if agent is None:
            raise NotFound("agent")
        after = None if command.after is None else position_of(command.after, self._store.epoch)
        events = await self._store.feed(principal.org, agent.agent, command.limit, after) if command.limit else []
        return o.FeedPage(agent, events, self._store.epoch)

    async def _agents(self, principal: Principal, command: c.ListAgents | c.GetAgent) -> o.Outcome:
        if isinstance(command, c.GetAgent):
            row = await self._store.agent(principal.org, command.agent_id)
            if row is None:
                raise NotFound("agent")
            return o.AgentView(row)
        rows = await self._store.agents(principal.org, command.limit + 1, command.after, command.name)
        page = rows[: command.limit]
        return o.Page(page, page[-1].name if len(rows) > command.limit else None)

    async def _lanes(self, principal: Principal, command: c.ListLanes | c.ListWorkers) -> o.Outcome:
        now = self._clock.steady_ms()
        if isinstance(command, c.ListWorkers):
            lanes = await self._store.lanes(principal.org, MAX_LANES)
            return o.Page(await self._workers(principal, [lane for lane in lanes if lane.is_held(now)], command.limit))
        lanes = await self._store.lanes(principal.org, MAX_LANES, command.statuses)
        runs = await self._store.runs_by_number(principal.org, [lane.run for lane in lanes]) if lanes else {}
        agents = await self._store.agents_named(principal.org, {row.agent or "" for row in runs.values()})
        found = [
            o.LaneView(views.lane_view(principal, runs[lane.run], lane, agents.get(runs[lane.run].agent or "")), lane)
            for lane in lanes
            if lane.run in runs
        ]
        queued, held, oldest = await self._store.lane_counts(principal.org)
        return o.LaneCounts(o.Page(found), queued, held, oldest, now)

    async def _workers(self, principal: Principal, held: list[Lane], limit: int) -> list[o.WorkerView]:
        runs = await self._store.runs_by_number(principal.org, [lane.run for lane in held]) if held else {}
        by_worker: dict[str, list[Lane]] = {}
        for lane in held:
            if lane.state is LaneState.HELD and lane.run in runs:
                by_worker.setdefault(lane.worker_id or "", []).append(lane)
        return [
            o.WorkerView(
                worker,
                max((lane.last_heartbeat or 0 for lane in lanes), default=None),
                tuple(runs[lane.run].run_id for lane in lanes),
            )
            for worker, lanes in sorted(by_worker.items())
        ][:limit]


MAX_LANES = 1000


def position_of(cursor: str, epoch: str) -> int | None:
    """The position of a feed cursor; None for a cursor of another log. Raises Invalid for what is no cursor."""
    log, _, digits = cursor.rpartition("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise Invalid("after: is no cursor of this feed", field="after")
    return int(digits) if log in (epoch, "") else None
