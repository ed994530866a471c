"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from towerlog.ambient import Clock, Ids, ServingTime
from towerlog.dialects.base import FrameStyle, RowStyle
from towerlog.engine.alerts.ways_out import WaysOut
from towerlog.engine.commands import (
    lanes,
)
from towerlog.engine.commands.long_histories import LongHistories
from towerlog.engine.commit.idempotency import AnsweredOnce
from towerlog.engine.commit.replies import decode_ids
from towerlog.engine.commit.submission import Waiter
from towerlog.engine.commit.writer import Writer
from towerlog.engine.erasure.age_clock import AgeClock
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.erasure.requests import ErasureRequests
from towerlog.engine.follow.follower import StreamReader
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.listener import Listener
from towerlog.engine.follow.opening import follow_agent, follow_run, subject_of
from towerlog.engine.follow.polls import Polls
from towerlog.engine.follow.subjects import Subject
from towerlog.engine.follow.waits import Waits
from towerlog.engine.live.channels import RowChannels
from towerlog.engine.nodes.messages import Asked
from towerlog.engine.nodes.peers import Peers
from towerlog.engine.pricing.book import NoPrices, PriceBook, PriceList
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.replies import Replies
from towerlog.engine.repricing.reprice import Repricing
from towerlog.engine.settings import EngineSettings
from towerlog.engine.timers.alerts import UnwatchedAlerts
from towerlog.engine.timers.approvals import ExpiredApprovals
from towerlog.engine.timers.budgets import ExpiredReservations, SteppingBudgets
from towerlog.engine.timers.cancels import OverdueCancels
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import TimedService, Timer
from towerlog.engine.timers.messages.sender import Sender
from towerlog.engine.timers.old_rows import DROPS, OldRows
from towerlog.engine.timers.retention import retention_services
from towerlog.engine.timers.rules.watch import WatchedRules
from towerlog.engine.timers.rules.workers import Workers
from towerlog.engine.timers.silence import SilentRuns
from towerlog.engine.timers.spreads import SpreadingCancels
from towerlog.engine.verbs import REACTIONS, VERBS
from towerlog.errors import LeaseLost
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.price import Reprice
from towerlog.model.principal import Principal
from towerlog.model.retention import Erase
from towerlog.store.base import Store
from towerlog.store.trouble import REFUSING
from towerlog.wake.base import Wake


class Engine:
    """One engine to a store."""

    def __init__(
        self,
        store: Store,
        wake: Wake,
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
        ways_out: WaysOut | None = None,
        price_list: PriceList | None = None,
        peers: Peers | None = None,
    ) -> None:
        """`wake` is told of every commit. `ways_out`: how people are told of alerts; without, messages wait.
        `price_list`: prices of models; without it what tells no cost stays unpriced. `peers`: other nodes, by whose
        wake this one is told; without, this engine is alone with its store."""
        settings = settings or EngineSettings()
        self._store = store
        self.peers, self._leads = peers, peers.leads if peers is not None else _always
        self._serving = ServingTime(clock, hears_all=store.exclusive)
        self._age = AgeClock(store, self._serving)
        self._reads = Reads(store, clock, self._serving, settings.thresholds, ways_out)
        self._hub = Hub()
        self._wake = wake
        self._polls = Polls()
        self._waits = Waits(self._polls, self._write, store.runs_by_number, clock)
        self._hub.listen_to(wake)
        self._polls.listen_to(wake)
        self._rows = RowChannels(self._reads)
        self._rows.listen_to(wake)
        self._replies = Replies(store, self._reads)
        listed = price_list or NoPrices()
        self._repricing = Repricing(store, listed, self._write)
        self._writer = Writer(
            store,
            self._serving,
            ids,
            VERBS,
            wake.committed,
            REACTIONS._replace(book=PriceBook(listed), quotas=settings.quotas),
            max_queue=settings.max_queue,
            stored_again=lambda who, command: self._histories.stored_again(who, command),
        )
        self.enlist: Callable[[Principal, c.Append | c.Report, str, Waiter, int], None] = self._writer.intake.enlist
        """Carries out telemetry; the waiter is told what came of it. Raises what refuses it at once.

        What is long of it must have been stored: see `stored_first`.
        """
        submit = self._writer.intake.submit
        self._once = AnsweredOnce(submit)
        self._histories = LongHistories(store, lambda who, parts: submit(who, parts, "", None))
        self.stored_first = self._histories.stored_first
        """Stores the long histories of a command, and gives the command without them."""
        self._workers = Workers(self._serving)
        self._timer = Timer(self._timed(settings), lambda: self.before_sweep(), self._leads)
        # Beside the other: however many rules there are, what they look at delays no lease and no cancel.
        self._watching = Timer(self._watched(settings), may_look=self._leads)
        self._erasures, self._keeping = self._retention()
        self.before_sweep: Callable[[], None] = lambda: None
        """Called by the timer whenever it begins to look at what time has brought about."""
        self._sender = None if ways_out is None else self._sending(ways_out, settings)
        self._tasks: list[asyncio.Task[None]] = []

    def _retention(self) -> tuple[ErasureRequests, Timer]:
        self._held = HeldNow(self._store)
        parts = (self._writer, self._erased, self._age, self._leads, self._held)
        requests, kept = retention_services(self._store, self._serving, *parts)
        return requests, Timer(kept)

    def _timed(self, settings: EngineSettings) -> tuple[TimedService, ...]:
        """What is looked at again and again, in this order."""
        store, serving, upkeep = self._store, self._serving, self._writer.upkeep
        return (
            ExpiredLeases(upkeep),
            SpreadingCancels(upkeep),
            OverdueCancels(upkeep, settings.cancel_deadline_seconds * 1000),
            SilentRuns(serving, upkeep, settings.thresholds, hears_all=store.exclusive),
            SteppingBudgets(serving, upkeep),
            ExpiredReservations(upkeep),
            ExpiredApprovals(serving, upkeep),
            *[OldRows(store, serving, self._age, drop) for drop in DROPS],
        )

    def _watched(self, settings: EngineSettings) -> tuple[TimedService, ...]:
        """Alerts by time, in this order."""
        store, serving, upkeep = self._store, self._serving, self._writer.upkeep
        return (
            WatchedRules(store, serving, upkeep, self._workers, has_links=settings.links is not None),
            UnwatchedAlerts(store, upkeep),
        )

    def _sending(self, ways_out: WaysOut, settings: EngineSettings) -> Sender:
        clock, pauses = self._serving.clock, settings.delivery_pauses
        sender = Sender(self._store, self._writer.upkeep, clock, ways_out, pauses, settings.links, self._leads)
        self._wake.subscribe(sender.hear, of_messages=True)
        return sender

    def _forget(self, org: int, run: int) -> None:
        """Something of a run was erased: nothing of it stays in memory here."""
        self._hub.forget(run, org)
        self._reads.outlines.forget(org, run)

    def _erased(self, org: int, run: int) -> None:
        self._forget(org, run)
        if self.peers is not None:
            self.peers.tell_erased(org, run)

    def _erased_elsewhere(self, org: int, run: int) -> None:
        self._forget(org, run)
        self._held.forget(org)

    async def start(self) -> None:
        """Meets other nodes; begins to take commands and to keep time. Raises CannotJoin."""
        if self.peers is not None:
            self.peers.erased = self._erased_elsewhere
            self.peers.asked = lambda one: self._workers.note_asked(one.org, one.agents, one.labels)
            await self.peers.start()
        self._writer.start()
        self._tasks.append(asyncio.create_task(self._timer.run(), name="towerlog-timer"))
        self._tasks.append(asyncio.create_task(self._watching.run(), name="towerlog-alerts"))
        self._tasks.append(asyncio.create_task(self._keeping.run(), name="towerlog-retention"))
        if self._sender is not None:
            self._tasks.append(asyncio.create_task(self._sender.run(), name="towerlog-sender"))

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._polls.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._rows.stop_all()
        self._polls.stop()
        self._timer.stop()
        self._watching.stop()
        self._keeping.stop()
        if self._sender is not None:
            self._sender.stop()
        for task in self._tasks:
            await task
        await self._writer.stop()
        if self.peers is not None:
            await self.peers.stop()

    def is_clock_off(self) -> bool:
        """Whether the wall clock is so far off that nothing is deleted for its age."""
        return bool(self._age.off_ms)

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "commands": self._writer.commands,
            "groups": self._writer.groups,
            "reloads": self._writer.reloads,
            "queue": self._writer.intake.queue.count,
            "followers": self._hub.followers + self._rows.readers,
            "disk_free_bytes": self._store.space.free_bytes,
            "disk_guard_bytes": self._store.space.guard_bytes,
            "writes_refused": int(self._store.obstacle() in REFUSING),
            "failed_checkpoints": self._store.trouble.failed_checkpoints,
            "damaged": self._store.damages.found,
            "read_failures": self._store.damages.failures,
            "clock_off_seconds": int(self._age.off_ms / 1000),
            "deliveries_given_up": 0 if self._sender is None else self._sender.given_up,
            "nodes": 1 + (0 if self.peers is None else len(self.peers.others)),
            "leads": int(self._leads()),
        }

    async def execute(
        self,
        principal: Principal,
        command: c.Write | q.Read | Reprice | Erase,
        dialect: str = "",
        idempotency: c.Idempotency | None = None,
        address: str | None = None,
    ) -> o.Outcome:
        """Carries out one command. A writing one is durable when this returns. Raises TowerlogError.

        `address`: where it came from, for the audit.
        """
        if isinstance(command, c.Claim):
            self._workers.note(principal, command.agents, command.labels)
            if self.peers is not None:
                labels = tuple(sorted(command.labels.items()))
                self.peers.tell_asked(Asked(principal.org, command.agents, labels))
        if isinstance(command, c.Claim) and command.wait_ms:
            return await self._waits.claim(principal, command, dialect, idempotency)
        if type(command) not in VERBS:
            work = partial(self._answer, principal, command, address)  # type: ignore[arg-type]  # what is no verb reads
            return await (work() if idempotency is None else self._once.answer(principal, dialect, idempotency, work))
        outcome = await self._write(principal, command, dialect, idempotency, address)  # type: ignore[arg-type]  # a verb
        if isinstance(command, c.Append | c.Report) and command.wait_ms:
            return await self.hold(principal, command, outcome, dialect)
        return outcome

    async def _answer(self, principal: Principal, command: q.Read | Reprice | Erase, address: str | None) -> o.Outcome:
        """What is worked out beside the writer."""
        if isinstance(command, Reprice):
            return await self._repricing.answer(principal, command, address)
        if isinstance(command, Erase):
            return await self._erasures.answer(
                principal, command, lambda who, what: self._write(who, what, "", None, address)
            )
        return await self._reads.answer(principal, command)

    async def hold(
        self, principal: Principal, command: c.Append | c.Report, outcome: o.Outcome, dialect: str
    ) -> o.Outcome:
        """Holds back the reply to telemetry that is stored until there is a command, up to the command's time.

        Reads nothing of its items: whoever waits with it may drop them.
        """
        return await self._waits.hold(principal, command, outcome, dialect)

    async def _write(
        self,
        principal: Principal,
        command: c.Write,
        dialect: str,
        idempotency: c.Idempotency | None,
        address: str | None = None,
    ) -> o.Outcome:
        """Commits a command; then, beside the writer, makes its answer and has that kept for a repeat."""
        if isinstance(command, c.Append | c.Report):
            command = await self.stored_first(principal, command)
        placed = await self._writer.intake.submit(principal, command, dialect, idempotency, address)
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

    async def follow(self, principal: Principal, command: q.Stream, style: FrameStyle | RowStyle) -> StreamReader:
        """Opens a stream; the caller reads and closes it. Raises NotFound, Invalid."""
        if isinstance(style, RowStyle):
            assert isinstance(command, q.FollowRows)
            return await self._rows.follow(principal, command, style)
        assert not isinstance(command, q.FollowRows)
        if isinstance(command, q.FollowRun):
            return await follow_run(self._hub, self._reads, self._store, principal, command, style)
        return await follow_agent(self._hub, self._store, principal, command, style)

    async def subject_of(self, principal: Principal, command: q.Listen) -> Subject:
        """What is to be listened to. Raises NotFound for what the caller may not know of."""
        return await subject_of(self._reads, self._store, principal, command)

    def listen(self, subject: Subject, style: FrameStyle, told: Callable[[], None]) -> Listener:
        """Listens to what `subject_of` gave, from now on; `told` is called when there is something to read."""
        return self._hub.listen(subject, style, self._store.epoch, told)


def _always() -> bool:
    """There is no other node."""
    return True
