"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.dialects.base import FrameStyle
from towerlog.engine.commands import approvals, cancel, keys, lanes, personas, receipts, reruns, runs, steering
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.writer import Submission, Waiter, Writer
from towerlog.engine.follow.follower import Follower
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.opening import follow_agent, follow_run
from towerlog.engine.follow.polls import Polls
from towerlog.engine.follow.waits import Waits
from towerlog.engine.ingest.append import append_items
from towerlog.engine.queries import claim_reply, views
from towerlog.engine.queries.reads import Reads
from towerlog.engine.timers import loop
from towerlog.errors import LeaseLost, StorageFailed, TowerlogError
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.liveness import USUAL, Thresholds
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Principal
from towerlog.store.base import Store
from towerlog.wake.base import Commit, Wake


class EngineSettings(msgspec.Struct, frozen=True):
    """What the engine needs of the settings."""

    max_queue: int = 2048
    cancel_deadline_seconds: int = 30
    thresholds: Thresholds = USUAL


WRITES = (
    c.Append,
    c.CreateRun,
    c.CreateThread,
    c.RegisterAgent,
    c.CancelRun,
    c.SteerRun,
    c.KillRun,
    c.Deliver,
    c.GiveInput,
    c.Claim,
    c.ClaimRun,
    c.Report,
    c.Release,
    c.Finish,
    c.Decide,
    c.CreateKey,
    c.RevokeKey,
    CreatePersona,
    CreateRoute,
    c.RetryRun,
    c.ForkRun,
)


class Engine:
    """One engine to a store."""

    def __init__(
        self,
        store: Store,
        wake: Wake,
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
        on_fatal: Callable[[StorageFailed], None] = lambda error: None,
    ) -> None:
        """`wake` is told of every commit. `on_fatal` is told when the store must not be written any more."""
        settings = settings or EngineSettings()
        self._store = store
        self._clock = clock
        self._reads = Reads(store, clock, settings.thresholds)
        self._wake = wake
        self._hub = Hub()
        self._polls = Polls()
        self._writer = Writer(
            store, clock, ids, self._plan, self._committed, max_queue=settings.max_queue, on_fatal=on_fatal
        )
        self._waits = Waits(self._polls, self._writer.submit, store.runs_by_number, clock)
        for listener in (self._hub.committed, self._polls.committed):
            wake.subscribe(listener)
        cancel_deadline_ms = settings.cancel_deadline_seconds * 1000
        self._upkeep = loop.Upkeep(store, clock, self._writer.upkeep, cancel_deadline_ms, settings.thresholds)
        self._upkeep_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to take commands and to keep time."""
        self._writer.start()
        self._upkeep_task = asyncio.create_task(self._upkeep.run(), name="towerlog-upkeep")

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._polls.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._polls.stop()
        self._upkeep.stop()
        if self._upkeep_task is not None:
            await self._upkeep_task
        await self._writer.stop()

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "commands": self._writer.commands,
            "groups": self._writer.groups,
            "queue": self._writer.waiting,
            "followers": self._hub.followers,
        }

    async def execute(
        self,
        principal: Principal,
        command: c.Write | q.Read,
        dialect: str = "",
        idempotency: c.Idempotency | None = None,
    ) -> o.Outcome:
        """Carries out one command. A writing one is durable when this returns. Raises TowerlogError."""
        if isinstance(command, c.Append):
            carry_out = self._waits.append if command.wait_ms else self._writer.submit
            return await carry_out(principal, command, dialect, idempotency)
        outcome = await self._carry_out(principal, command, dialect, idempotency)
        if isinstance(outcome, o.Replayed) and isinstance(command, lanes.GUARDED):
            return await self._repeated(principal, command, outcome)
        return outcome

    async def _repeated(
        self, principal: Principal, command: c.Report | c.Finish | c.ClaimRun | c.Claim, outcome: o.Replayed
    ) -> o.Replayed:
        """A worker's answer again, if what it says still holds. Raises LeaseLost."""
        run = outcome.run
        if run is None and not isinstance(command, c.Claim):
            run = (await self._reads.run_of(principal, command.run_id)).run
        if run is not None:  # a claim that found nothing may be told so again
            lane = await self._store.lane(principal.org, run)
            if not lanes.may_repeat(command.worker_id, outcome.lease_epoch, lane):
                raise LeaseLost
        return o.Replayed(outcome.status, outcome.body)

    async def _carry_out(
        self, principal: Principal, command: c.Write | q.Read, dialect: str, idempotency: c.Idempotency | None
    ) -> o.Outcome:
        if isinstance(command, c.Claim) and command.wait_ms:
            return await self._waits.claim(principal, command, dialect, idempotency)
        if isinstance(command, c.Report) and command.wait_ms:
            return await self._waits.report(principal, command, lanes.LANES, idempotency)
        if isinstance(command, WRITES):
            return await self._writer.submit(principal, command, dialect, idempotency)
        return await self._reads.answer(principal, command)

    def enlist(self, principal: Principal, command: c.Append | c.Report, dialect: str, waiter: Waiter) -> None:
        """Carries out telemetry; `waiter` is told what came of it. Raises what refuses it at once."""
        self._writer.enlist(principal, command, dialect, waiter)

    async def _plan(self, plan: Plan, submission: Submission) -> o.Outcome | TowerlogError:
        principal, command = submission.principal, submission.command
        match command:
            case c.Append():
                return await append_items(plan, principal, command)
            case c.CreateRun():
                return await runs.create_run(plan, principal, command)
            case c.CreateThread():
                return await runs.create_thread(plan, principal, command)
            case c.RegisterAgent():
                return await runs.register_agent(plan, principal, command)
            case c.CancelRun():
                return await cancel.cancel_run(plan, principal, command)
            case c.SteerRun() | c.KillRun():
                return await self._plan_steered(plan, principal, command)
            case c.Deliver():
                return await receipts.deliver(plan, principal, command, submission.dialect)
            case c.GiveInput():
                return await steering.give_input(plan, principal, command)
            case c.Decide():
                return await approvals.decide(plan, principal, command)
            case c.CreateKey():
                return await keys.create_key(plan, self._clock, principal, command)
            case c.RevokeKey():
                return await keys.revoke_key(plan, principal, command)
            case CreatePersona():
                return await personas.create_persona(plan, principal, command)
            case CreateRoute():
                return await personas.create_route(plan, principal, command)
            case c.RetryRun():
                return self._reads.judged(await reruns.retry_run(plan, self._store, principal, command))
            case c.ForkRun():
                return self._reads.judged(await reruns.fork_run(plan, self._store, principal, command))
            case c.Claim() | c.ClaimRun() | c.Report() | c.Release() | c.Finish():
                return await self._plan_lease(plan, principal, command)
            case _:
                assert_never(command)

    async def _plan_steered(self, plan: Plan, principal: Principal, command: c.SteerRun | c.KillRun) -> o.RunView:
        """The whole run as it will be: what follows from its row alone, the rest as it is stored."""
        if isinstance(command, c.KillRun):
            row = (await cancel.kill_run(plan, principal, command)).row
        else:
            row = (await steering.steer_run(plan, principal, command)).row
        view = await self._reads.view_of(principal, row)
        ended = [event.data for event in plan.changes.events if (event.run, event.seq) == (row.run, row.ended_seq)]
        lane = await plan.lane(row.run) if row.has_lane else None
        return msgspec.structs.replace(view, lane=lane, result=ended[0] if ended else view.result)

    async def _plan_lease(
        self, plan: Plan, principal: Principal, command: c.Claim | c.ClaimRun | c.Report | c.Release | c.Finish
    ) -> o.Outcome | TowerlogError:
        held: lanes.Held | o.NothingToClaim | TowerlogError
        match command:
            case c.Claim():
                held = await lanes.claim(plan, principal, command)
            case c.ClaimRun():
                held = await lanes.claim_run(plan, principal, command)
            case c.Report():
                held = await lanes.report(plan, principal, command)
            case c.Release():
                held = await lanes.release(plan, principal, command)
            case c.Finish():
                held = await lanes.finish(plan, principal, command)
            case _:
                assert_never(command)
        if not isinstance(held, lanes.Held):
            return held
        if isinstance(command, c.Claim | c.ClaimRun | c.Report):
            row = await receipts.delivered(plan, held.row, lanes.LANES)
            held = lanes.Held(row, held.lane, held.results)
        agent = await plan.agent(principal.org, held.row.agent or "default")
        view = views.lane_view(principal, held.row, held.lane, agent)
        if isinstance(command, c.Claim | c.ClaimRun):
            return await claim_reply.claimed(plan, self._store, view, held.lane)
        return o.Reported(view, held.lane, held.results)

    def _committed(self, plan: Plan) -> None:
        changes = plan.changes
        self._wake.committed(Commit(changes.events, changes.runs, changes.lanes))

    async def follow(self, principal: Principal, command: q.Stream, style: FrameStyle) -> Follower:
        """Opens a stream; the caller reads and closes it. Raises NotFound, Invalid."""
        if isinstance(command, q.FollowRun):
            return await follow_run(self._hub, self._reads, self._store, principal, command, style)
        return await follow_agent(self._hub, self._store, principal, command, style)
