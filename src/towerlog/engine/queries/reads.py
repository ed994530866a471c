"""Reading commands: straight from the store, never through the writer. Every look-up is by organisation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from towerlog.ambient import Clock
from towerlog.engine.queries import personas, views
from towerlog.engine.queries.usage import usage_page
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.event import Event, EventType
from towerlog.model.lane import Lane, QueueState
from towerlog.model.liveness import USUAL, Thresholds
from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.store.base import Store
from towerlog.store.values import PAGE_BODY_BYTES, Quarantined

Reader = Callable[[Principal, q.Read], Awaitable[o.Outcome]]


class Reads:
    """Answers reading commands."""

    def __init__(self, store: Store, clock: Clock, thresholds: Thresholds = USUAL) -> None:
        """`clock` tells how long things have waited; `thresholds`, how long runs may be silent."""
        self._store = store
        self._clock = clock
        self._thresholds = thresholds

    async def answer(self, principal: Principal, command: q.Read) -> o.Outcome:
        """The outcome of any reading command. Raises NotFound, Invalid."""
        match command:
            case q.ListRuns() | q.GetRun() | q.ListThreadRuns():
                return await self._runs(principal, command)
            case q.ListThreads() | q.GetThread():
                return await self._threads(principal, command)
            case q.LatestCheckpoint() | q.ListCheckpoints() | q.GetCheckpoint() | q.ListApprovals():
                return await self._checkpoints(principal, command)
            case q.ListEvents():
                return await self._events(principal, command)
            case q.Tail():
                return await self._tail(principal, command)
            case q.ListAgents() | q.GetAgent():
                return await self._agents(principal, command)
            case q.ListLanes() | q.ListWorkers():
                return await self._lanes(principal, command)
            case q.ListKeys():
                keys = await self._store.keys(principal.org, command.limit + 1, command.before)
                more = len(keys) > command.limit
                return o.Page(keys[: command.limit], keys[command.limit - 1].key_id if more else None)
            case ListPersonas() | GetPersona() | ListRoutes() | GetRoute():
                return await personas.answer(self._store, principal, command)
            case q.GetUsage():
                return await usage_page(self._store, principal, command, self._clock.now_ms())
            case _:
                assert_never(command)

    async def run_of(self, principal: Principal, run_id: str) -> RunRow:
        """A run of the caller's organisation. Raises NotFound."""
        row = await self._store.run(principal.org, run_id)
        if row is None:
            raise NotFound("run")
        return row

    async def _runs(self, principal: Principal, command: q.ListRuns | q.GetRun | q.ListThreadRuns) -> o.Outcome:
        store = self._store
        if isinstance(command, q.GetRun):
            row = await self.run_of(principal, command.run_id)
            return await self.view_of(principal, row, command.tree)
        if isinstance(command, q.ListThreadRuns):
            if await store.thread(principal.org, command.thread_id) is None:
                raise NotFound("thread")
            wanted, before = q.RunFilter(thread_id=command.thread_id), None
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

    async def _threads(self, principal: Principal, command: q.ListThreads | q.GetThread) -> o.Outcome:
        if isinstance(command, q.GetThread):
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
        command: q.LatestCheckpoint | q.ListCheckpoints | q.GetCheckpoint | q.ListApprovals,
    ) -> o.Outcome:
        match command:
            case q.LatestCheckpoint(thread_id):
                row = await self._store.checkpoint_latest(principal.org, thread_id)
                if row is None:
                    raise NotFound("checkpoint")
                runs = await self._store.runs_by_number(principal.org, [row.run])
                return await views.checkpoint_view(self._store, runs[row.run], row)
            case q.ListApprovals(limit):
                return await self._approvals(principal, limit)
            case q.ListCheckpoints(run_id, limit, after):
                run = await self.run_of(principal, run_id)
                rows = await self._store.checkpoints(principal.org, run.run, limit + 1, after)
                page = rows[:limit]
                return o.Page(page, f"{page[-1].step_index}:{page[-1].agent}" if len(rows) > limit else None)
            case q.GetCheckpoint():
                return await self._checkpoint(principal, command)
            case _:
                assert_never(command)

    async def _checkpoint(self, principal: Principal, command: q.GetCheckpoint) -> CheckpointView:
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

    async def _events(self, principal: Principal, command: q.ListEvents) -> o.Page:
        run = await self.run_of(principal, command.run_id)
        limit = command.limit
        if command.quarantined:
            kept = await self._store.quarantined(principal.org, run.run, limit + 1, command.after_seq)
            events = [_as_event(number, item) for number, item in kept]
        else:
            events = await self._store.events(principal.org, run.run, command.after_seq, limit + 1, command.types)
        page = events[:limit]
        more = len(events) > limit or sum(len(event.data) for event in page) >= PAGE_BODY_BYTES
        return o.Page(page, str(page[-1].seq) if more else None)

    async def _tail(self, principal: Principal, command: q.Tail) -> o.FeedPage:
        agent = await self._store.agent(principal.org, command.agent_id)
        if agent is None:
            raise NotFound("agent")
        after = None if command.after is None else position_of(command.after, self._store.epoch)
        events = await self._store.feed(principal.org, agent.agent, command.limit, after) if command.limit else []
        return o.FeedPage(agent, events, self._store.epoch)

    async def _agents(self, principal: Principal, command: q.ListAgents | q.GetAgent) -> o.Outcome:
        if isinstance(command, q.GetAgent):
            row = await self._store.agent(principal.org, command.agent_id)
            if row is None:
                raise NotFound("agent")
            return o.AgentView(row)
        rows = await self._store.agents(principal.org, command.limit + 1, command.after, command.name)
        page = rows[: command.limit]
        return o.Page(page, page[-1].name if len(rows) > command.limit else None)

    async def _lanes(self, principal: Principal, command: q.ListLanes | q.ListWorkers) -> o.Outcome:
        now = self._clock.steady_ms()
        if isinstance(command, q.ListWorkers):
            lanes = await self._store.lanes_held(principal.org, MAX_LANES_HELD)
            wanted = [lane for lane in lanes if lane.is_held(now) and command.worker_id in (None, lane.worker_id)]
            return o.Page(await self._workers(principal, wanted, command.limit))
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
            if lane.state is QueueState.HELD and lane.run in runs:
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
MAX_LANES_HELD = 5000
"""How many of the queue, and how many held ones, are looked at for a list."""


def position_of(cursor: str, epoch: str) -> int | None:
    """The position of a feed cursor; None for a cursor of another log. Raises Invalid for what is no cursor."""
    log, _, digits = cursor.rpartition("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise Invalid("after: is no cursor of this feed", field="after")
    return int(digits) if log in (epoch, "") else None


def _as_event(number: int, item: Quarantined) -> Event:
    """What a worker without the lease sent, in the form of the event that it did not become."""
    kind = EventType(item.type)
    return Event(
        item.org, 0, item.run, number, kind, item.recorded_at, item.data, dialect=item.dialect, event_id=item.event_id
    )
