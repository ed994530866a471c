"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from towerlog.ambient import Clock, Hearing, Ids
from towerlog.dialects.base import FrameStyle
from towerlog.engine.commands import approvals, cancel, keys, lanes, personas, receipts, reruns, runs, steering
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Reaction
from towerlog.engine.commit.replies import decode_ids
from towerlog.engine.commit.submission import Waiter
from towerlog.engine.commit.turn import Verb
from towerlog.engine.commit.writer import Writer
from towerlog.engine.follow.follower import Follower
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.opening import follow_agent, follow_run
from towerlog.engine.follow.polls import Polls
from towerlog.engine.follow.waits import Waits
from towerlog.engine.ingest.append import append_items
from towerlog.engine.ingest.needs import needs_of_append
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.replies import Replies
from towerlog.engine.reactions import lanes as lane_reactions
from towerlog.engine.reactions import sub_agents, threads
from towerlog.engine.timers.cancels import OverdueCancels
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import Timer
from towerlog.engine.timers.replies import OldReplies
from towerlog.engine.timers.silence import SilentRuns
from towerlog.engine.timers.spreads import SpreadingCancels
from towerlog.errors import LeaseLost
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.liveness import DEFAULT_THRESHOLDS, Thresholds
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Principal
from towerlog.store.base import Store
from towerlog.wake.base import Wake


class EngineSettings(msgspec.Struct, frozen=True):
    """What the engine needs of the settings."""

    max_queue: int = 2048
    cancel_deadline_seconds: int = 30
    thresholds: Thresholds = DEFAULT_THRESHOLDS


REACTIONS: tuple[Reaction, ...] = (
    threads.follow_runs,
    lane_reactions.close_lane,
    lane_reactions.free_next,
    # After the thread was folded: of its open runs, those are looked at that are left.
    sub_agents.end_below,
)
"""What follows from a change of a run's status, in this order."""


def _no_needs(_needs: Needs, _principal: Principal, _command: c.Write) -> None:
    """For what touches nothing that is there."""


VERBS: dict[type[c.Write], Verb] = {
    c.Append: Verb(needs_of_append, append_items),
    c.CreateRun: Verb(runs.needs_of_create, runs.create_run),
    c.CreateThread: Verb(runs.needs_of_thread, runs.create_thread),
    c.RegisterAgent: Verb(runs.needs_of_agent, runs.register_agent),
    c.CancelRun: Verb(cancel.needs_of_cancel, cancel.cancel_run),
    c.KillRun: Verb(cancel.needs_of_cancel, cancel.kill_run),
    c.SteerRun: Verb(steering.needs_of_steer, steering.steer_run),
    c.GiveInput: Verb(steering.needs_of_input, steering.give_input),
    c.Deliver: Verb(receipts.needs_of_deliver, receipts.deliver),
    c.Claim: Verb(lanes.needs_of_claim, lanes.claim),
    c.ClaimRun: Verb(lanes.needs_of_lane, lanes.claim_run),
    c.Report: Verb(lanes.needs_of_report, lanes.report),
    c.Release: Verb(lanes.needs_of_lane, lanes.release),
    c.Finish: Verb(lanes.needs_of_finish, lanes.finish),
    c.Decide: Verb(approvals.needs_of_decide, approvals.decide),
    c.CreateKey: Verb(_no_needs, keys.create_key),
    c.RevokeKey: Verb(keys.needs_of_revoke, keys.revoke_key),
    CreatePersona: Verb(personas.needs_of_persona, personas.create_persona),
    CreateRoute: Verb(personas.needs_of_route, personas.create_route),
    c.RetryRun: Verb(reruns.needs_of_rerun, reruns.retry_run),
    c.ForkRun: Verb(reruns.needs_of_rerun, reruns.fork_run),
}
"""Every writing command."""


class Engine:
    """One engine to a store."""

    def __init__(
        self,
        store: Store,
        wake: Wake,
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
    ) -> None:
        """`wake` is told of every commit."""
        settings = settings or EngineSettings()
        self._store = store
        self._hearing = Hearing(clock)
        self._reads = Reads(store, clock, self._hearing, settings.thresholds)
        self._hub = Hub()
        self._wake = wake
        self._polls = Polls()
        self._waits = Waits(self._polls, self._write, store.runs_by_number, clock)
        self._hub.listen_to(wake)
        self._polls.listen_to(wake)
        self._replies = Replies(store, self._reads)
        self._writer = Writer(
            store,
            self._hearing,
            ids,
            VERBS,
            wake.committed,
            REACTIONS,
            max_queue=settings.max_queue,
        )
        self.enlist: Callable[[Principal, c.Append | c.Report, str, Waiter, int], None] = self._writer.intake.enlist
        """Carries out telemetry; the waiter is told what came of it. Raises what refuses it at once."""
        cancel_deadline_ms = settings.cancel_deadline_seconds * 1000
        self._timer = Timer(
            (
                ExpiredLeases(self._writer.upkeep),
                SpreadingCancels(self._writer.upkeep),
                OverdueCancels(self._writer.upkeep, cancel_deadline_ms),
                SilentRuns(self._hearing, self._writer.upkeep, settings.thresholds),
                OldReplies(store, self._hearing),
            ),
            lambda: self.before_sweep(),
        )
        self.before_sweep: Callable[[], None] = lambda: None
        """Called by the timer whenever it begins to look at what time has brought about."""
        self._timer_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to take commands and to keep time."""
        self._writer.start()
        self._timer_task = asyncio.create_task(self._timer.run(), name="towerlog-timer")

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._polls.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._polls.stop()
        self._timer.stop()
        if self._timer_task is not None:
            await self._timer_task
        await self._writer.stop()

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "commands": self._writer.commands,
            "groups": self._writer.groups,
            "reloads": self._writer.reloads,
            "queue": self._writer.intake.queue.count,
            "followers": self._hub.followers,
            "disk_free_bytes": self._store.space.free_bytes,
            "disk_guard_bytes": self._store.space.guard_bytes,
            "failed_checkpoints": self._store.trouble.failed_checkpoints,
            "damaged": self._store.damages.found,
            "read_failures": self._store.damages.failures,
        }

    async def execute(
        self,
        principal: Principal,
        command: c.Write | q.Read,
        dialect: str = "",
        idempotency: c.Idempotency | None = None,
    ) -> o.Outcome:
        """Carries out one command. A writing one is durable when this returns. Raises TowerlogError."""
        if isinstance(command, c.Claim) and command.wait_ms:
            return await self._waits.claim(principal, command, dialect, idempotency)
        if type(command) not in VERBS:
            return await self._reads.answer(principal, command)  # type: ignore[arg-type]  # what is no verb reads
        outcome = await self._write(principal, command, dialect, idempotency)  # type: ignore[arg-type]  # a verb
        if isinstance(command, c.Append | c.Report) and command.wait_ms:
            return await self.hold(principal, command, outcome, dialect)
        return outcome

    async def hold(
        self, principal: Principal, command: c.Append | c.Report, outcome: o.Outcome, dialect: str
    ) -> o.Outcome:
        """Holds back the reply to telemetry that is stored until there is a command, up to the command's time.

        Reads nothing of its items: whoever waits with it may drop them.
        """
        return await self._waits.hold(principal, command, outcome, dialect)

    async def _write(
        self, principal: Principal, command: c.Write, dialect: str, idempotency: c.Idempotency | None
    ) -> o.Outcome:
        """Commits a command; then, beside the writer, makes its answer and has that kept for a repeat."""
        placed = await self._writer.intake.submit(principal, command, dialect, idempotency)
        if isinstance(placed, o.Replayed):
            return await self._repeated(principal, command, placed, idempotency)
        outcome = await self._replies.complete(principal, placed)
        still_waiting = isinstance(command, c.Claim) and command.wait_ms > 0 and isinstance(placed, o.NothingToClaim)
        if idempotency is not None and not still_waiting:
            status, body = idempotency.encode(outcome)
            self._writer.intake.keep_body(principal, idempotency, status, body)
        return outcome

    async def _repeated(
        self, principal: Principal, command: c.Write, known: o.Replayed, idempotency: c.Idempotency | None
    ) -> o.Replayed:
        """A worker's answer again, if what it says still holds. Raises LeaseLost."""
        if isinstance(command, lanes.BY_LEASE_HOLDER):
            run = known.run
            if run is None and not isinstance(command, c.Claim):
                run = (await self._reads.run_of(principal, command.run_id)).run
            if run is not None:  # a claim that found nothing may be told so again
                lane = await self._store.lane(principal.org, run)
                if not lanes.may_repeat(principal, command.worker_id, known.lease_epoch, lane):
                    raise LeaseLost
        if known.status or idempotency is None:
            return o.Replayed(known.status, known.body)
        # The process was lost before it had stored the reply, or the reply is on its way to the disk.
        status, body = idempotency.encode(await self._replies.again(principal, decode_ids(known.ids)))
        self._writer.intake.keep_body(principal, idempotency, status, body)
        return o.Replayed(status, body)

    async def follow(self, principal: Principal, command: q.Stream, style: FrameStyle) -> Follower:
        """Opens a stream; the caller reads and closes it. Raises NotFound."""
        if isinstance(command, q.FollowRun):
            return await follow_run(self._hub, self._reads, self._store, principal, command, style)
        return await follow_agent(self._hub, self._store, principal, command, style)
