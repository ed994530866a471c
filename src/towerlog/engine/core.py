"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.engine.commands import approvals, cancel, keys, lanes, personas, receipts, reruns, runs, steering
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.writer import Submission, Waiter, Writer
from towerlog.engine.follow.channel import AGENT, RUN, Frame
from towerlog.engine.follow.follower import Follower, Source, gap_frame
from towerlog.engine.follow.hub import OTHER_LOG, Hub
from towerlog.engine.follow.polls import Polls, Wanted
from towerlog.engine.ingest.append import append_items
from towerlog.engine.queries import claim_reply, views
from towerlog.engine.queries.reads import Reads, position_of
from towerlog.engine.timers import loop
from towerlog.errors import LeaseLost, NotFound, StorageFailed, TowerlogError
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import Event
from towerlog.model.liveness import USUAL, Thresholds
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Principal
from towerlog.store.base import Store


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
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
        on_fatal: Callable[[StorageFailed], None] = lambda error: None,
    ) -> None:
        """`on_fatal` is told when the store must not be written any more."""
        settings = settings or EngineSettings()
        self._store = store
        self._clock = clock
        self._reads = Reads(store, clock, settings.thresholds)
        self._hub = Hub()
        self._waiting = Polls()
        self._wanted = Wanted(store, clock, self._waiting)
        self._writer = Writer(
            store, clock, ids, self._plan, self._committed, max_queue=settings.max_queue, on_fatal=on_fatal
        )
        cancel_deadline_ms = settings.cancel_deadline_seconds * 1000
        self._upkeep = loop.Upkeep(store, clock, self._writer.upkeep, cancel_deadline_ms, settings.thresholds)
        self._upkeep_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to take commands and to keep time."""
        self._writer.start()
        self._upkeep_task = asyncio.create_task(self._upkeep.run(), name="towerlog-upkeep")

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._waiting.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._waiting.stop()
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
        if isinstance(command, c.Append | c.Report) and command.wait_ms:
            stored = await self._writer.submit(principal, command, dialect, idempotency)
            outcome = await self.hold(principal, command, stored, dialect)
        else:
            outcome = await self._carry_out(principal, command, dialect, idempotency)
        if isinstance(outcome, o.Replayed) and isinstance(command, lanes.GUARDED):
            return await self._repeated(principal, command, outcome)
        return outcome

    async def hold(
        self, principal: Principal, command: c.Append | c.Report, outcome: o.Outcome, dialect: str
    ) -> o.Outcome:
        """Holds back the reply to telemetry that is stored until something is wanted, up to the command's time.

        Reads nothing of its items: whoever waits with it may drop them.
        """
        if isinstance(outcome, o.Appended):
            outcome = await self._wanted.until_wanted(principal.org, outcome, command.wait_ms)
            return await self._watched_told(principal, outcome, dialect)
        if isinstance(outcome, o.Reported) and isinstance(command, c.Report):
            return await self._report_held(principal, command, outcome)
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
            return await self._claim_waiting(principal, command, dialect, idempotency)
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

    async def _claim_waiting(
        self, principal: Principal, command: c.Claim, dialect: str, idempotency: c.Idempotency | None
    ) -> o.Outcome:
        """Tries, waits for a run to become claimable, tries again, up to the command's time."""
        deadline = self._clock.steady_ms() + command.wait_ms
        while True:
            ticket = self._waiting.enter(("queue", principal.org))
            try:
                left_ms = max(deadline - self._clock.steady_ms(), 0)
                last = left_ms == 0 or self._waiting.stopped
                attempt = msgspec.structs.replace(command, wait_ms=0 if last else left_ms)
                outcome = await self._writer.submit(principal, attempt, dialect, idempotency)
                if last or not isinstance(outcome, o.NothingToClaim):
                    return outcome
                await self._waiting.wait(ticket, left_ms)
            finally:
                self._waiting.leave(ticket)

    async def _report_held(self, principal: Principal, command: c.Report, outcome: o.Reported) -> o.Outcome:
        """When nothing is wanted of the run yet, waits for that up to the command's time."""
        if outcome.view.row.pending or outcome.view.row.is_terminal():
            return outcome
        ticket = self._waiting.enter(("run", outcome.view.row.run))
        try:
            # Asked for after entering: what was committed before is seen here, what comes later wakes.
            row = await self._reads.run_of(principal, command.run_id)
            if not row.pending and not row.is_terminal():
                # Never past the lease: the worker must be told in time to renew it.
                await self._waiting.wait(ticket, min(command.wait_ms, outcome.lane.lease_ms // 2))
        finally:
            self._waiting.leave(ticket)
        return await self._report_told(principal, command, outcome)

    async def _watched_told(self, principal: Principal, outcome: o.Appended, dialect: str) -> o.Outcome:
        """The reply to a batch that was held back, with what is wanted of its runs by now on record as delivered."""
        wanted = tuple(one.row.run_id for one in outcome.watched if one.row.pending)
        if not wanted:
            return outcome
        try:
            carried = await self._writer.submit(principal, c.Deliver(wanted), dialect, None)
        except TowerlogError:
            return outcome  # the batch is stored, and must not be sent again for this; the next reply tells it again
        rows = carried.rows if isinstance(carried, o.Delivered) else {}
        watched = [msgspec.structs.replace(one, row=rows.get(one.row.run_id, one.row)) for one in outcome.watched]
        return msgspec.structs.replace(outcome, watched=tuple(watched))

    async def _report_told(self, principal: Principal, command: c.Report, outcome: o.Reported) -> o.Outcome:
        """The reply to a report that was held back, with what is wanted by now, if its sender still holds the run."""
        row = await self._reads.run_of(principal, command.run_id)
        if row.pending:
            wanted = c.Deliver((command.run_id,), command.worker_id, outcome.lane.epoch)
            try:
                carried = await self._writer.submit(principal, wanted, lanes.LANES, None)
            except TowerlogError:
                return outcome  # the report is stored, and must not be sent again for this; the next reply tells it
            if not isinstance(carried, o.Delivered) or command.run_id not in carried.rows:
                return outcome  # taken from it meanwhile: its next report will be told so
            row = carried.rows[command.run_id]
        return msgspec.structs.replace(outcome, view=msgspec.structs.replace(outcome.view, row=row))

    def _committed(self, plan: Plan) -> None:
        changes = plan.changes
        ended = [
            number
            for number, change in changes.runs.items()
            if change.after.is_terminal() and (change.before is None or not change.before.is_terminal())
        ]
        self._hub.publish(changes.events, ended, self._store.epoch)
        if self._waiting:
            for org in plan.woken_orgs:
                self._waiting.wake(("queue", org))
            for number, change in changes.runs.items():
                if change.after.pending or change.after.is_terminal():
                    self._waiting.wake(("run", number))

    async def follow(self, principal: Principal, command: q.Stream, style: str, frame: Frame) -> Follower:
        """Opens a stream; the caller reads and closes it. Raises NotFound."""
        if isinstance(command, q.FollowRun):
            return await self._follow_run(principal, command, style, frame)
        return await self._follow_agent(principal, command, style, frame)

    async def _follow_run(self, principal: Principal, command: q.FollowRun, style: str, frame: Frame) -> Follower:
        row = await self._reads.run_of(principal, command.run_id)
        org, run = principal.org, row.run

        async def ends_at() -> int | None:
            current = await self._reads.run_of(principal, command.run_id)
            return current.last_seq if current.is_terminal() else None

        async def page(after: int, limit: int) -> list[Event]:
            return await self._store.events(org, run, after, limit)

        source = Source(page, _seq_of, ends_at, gap_frame, self._store.epoch)
        # A cursor past the end waits from the end; one of another log is told so and gets everything.
        after, preface = min(command.after_seq, row.last_seq), b""
        if command.epoch not in (None, self._store.epoch):
            after, preface = 0, OTHER_LOG
        return await self._hub.follow(RUN, run, style, frame, source, after, command.follow, preface)

    async def _follow_agent(self, principal: Principal, command: q.FollowAgent, style: str, frame: Frame) -> Follower:
        agent = await self._store.agent(principal.org, command.agent_id)
        if agent is None:
            raise NotFound("agent")
        org, number, store = principal.org, agent.agent, self._store
        after = None if command.after is None else position_of(command.after, store.epoch)
        preface = b""
        if after is None:
            after = await self._tail_start(org, number, command.tail)
            preface = b"" if command.after is None else OTHER_LOG

        async def ends_at() -> int | None:
            return None

        async def page(after: int, limit: int) -> list[Event]:
            return await store.feed(org, number, limit, after)

        source = Source(page, _position_of, ends_at, None, store.epoch)
        return await self._hub.follow(AGENT, number, style, frame, source, after, True, preface)

    async def _tail_start(self, org: int, agent: int, tail: int) -> int:
        """The position that the newest `tail` events of a feed come after."""
        start = await self._store.feed_start(org, agent, max(tail, 1))
        if start is None:
            return 0
        return start - 1 if tail else start


def _seq_of(event: Event) -> int:
    return event.seq


def _position_of(event: Event) -> int:
    return event.position
