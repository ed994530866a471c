"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from towerlog.ambient import Clock, Ids, ServingTime
from towerlog.dialects.base import FrameStyle, RowStyle
from towerlog.engine.alerts.ways_out import WaysOut
from towerlog.engine.commands.long_histories import LongHistories
from towerlog.engine.commit.idempotency import AnsweredOnce
from towerlog.engine.commit.submission import Waiter
from towerlog.engine.commit.waits import CommitWaits
from towerlog.engine.commit.writer import Writer
from towerlog.engine.control.unheard import Unheard
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
from towerlog.engine.plan.fold import Reactions
from towerlog.engine.pricing.book import NoPrices, PriceBook, PriceList
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.repeats import RepeatedAnswers
from towerlog.engine.queries.replies import Replies
from towerlog.engine.repricing.reprice import Repricing
from towerlog.engine.settings import EngineSettings
from towerlog.engine.timers.forwarding.deliveries import Spans
from towerlog.engine.timers.services import Services
from towerlog.engine.verbs import REACTIONS, VERBS
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.lane import Served
from towerlog.model.price import Reprice
from towerlog.model.principal import Principal
from towerlog.model.retention import Erase
from towerlog.store.base import Store
from towerlog.store.trouble import REFUSING
from towerlog.wake.base import Wake

T = TypeVar("T")


def _reactions(listed: PriceList, settings: EngineSettings, unheard: Unheard) -> Reactions:
    """What follows from events, with what the settings say and what the clocks have shown."""
    return REACTIONS._replace(
        book=PriceBook(listed),
        quotas=settings.quotas,
        thresholds=settings.thresholds,
        unheard=unheard.stretches,
        latest_wall=unheard.latest_wall,
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
        ways_out: WaysOut | None = None,
        price_list: PriceList | None = None,
        peers: Peers | None = None,
        collector: Spans | None = None,
    ) -> None:
        """`wake` is told of every commit. `ways_out`: how people are told of alerts; without, messages wait.
        `price_list`: prices of models; without it what tells no cost stays unpriced. `peers`: other nodes, by whose
        wake this one is told; without, this engine is alone with its store. `collector`: where ended runs go."""
        settings = settings or EngineSettings()
        self._store = store
        self.peers, self._leads = peers, peers.leads if peers is not None else _always
        self._serving = ServingTime(clock, hears_all=store.exclusive)
        self._reads = Reads(store, clock, self._serving, settings.thresholds, ways_out)
        self._hub, self._polls = Hub(), Polls()
        self._waits = Waits(self._polls, self._write, store.runs_by_number, clock)
        self._hub.listen_to(wake)
        self._polls.listen_to(wake)
        self._rows = RowChannels(self._reads)
        self._rows.listen_to(wake)
        listed = price_list or NoPrices()
        self._repricing = Repricing(store, listed, self._write)
        self.unheard = Unheard(self._serving)
        parts = (store, self._serving, ids, VERBS, wake.committed, _reactions(listed, settings, self.unheard))
        self._writer = Writer(
            *parts,
            max_queue=settings.max_queue,
            stored_again=lambda who, command: self._histories.stored_again(who, command),
        )
        self.enlist: Callable[[Principal, c.Append | c.Report, str, Waiter, int], None] = self._writer.intake.enlist
        """Carries out telemetry; the waiter is told what came of it. Raises what refuses it at once.

        What is long of it must have been stored: see `stored_first`.
        """
        submit = self._writer.intake.submit
        self._answers = RepeatedAnswers(store, self._reads, Replies(store, self._reads), self._writer.intake)
        self._once = AnsweredOnce(submit)
        self._histories = LongHistories(store, lambda who, parts: submit(who, parts, "", None))
        self.stored_first = self._histories.stored_first
        """Stores the long histories of a command, and gives the command without them."""
        self.services = Services(
            store,
            self._serving,
            self._writer,
            wake,
            settings,
            ways_out=ways_out,
            collector=collector,
            forget=self._erased,
            leads=self._leads,
        )
        """What time brings about."""
        self._reads.workers, self._reads.price_list = self.services.workers, listed

    def _forget(self, org: int, run: int) -> None:
        """Something of a run was erased: nothing of it stays in memory here."""
        self._hub.forget(run, org)
        self._reads.outlines.forget(org, run)
        self._reads.figures.forget(org, run)

    def _erased(self, org: int, run: int) -> None:
        self._forget(org, run)
        if self.peers is not None:
            self.peers.tell_erased(org, run)

    def _erased_elsewhere(self, org: int, run: int) -> None:
        self._forget(org, run)
        self.services.held.forget(org)

    def _missed(self) -> None:
        """What others have erased may not have been told: whatever that was, nothing of it stays in memory here."""
        self._hub.forget_all()
        self._reads.outlines.forget_all()
        self._reads.figures.forget_all()
        self.services.held.forget_all()

    def _asked(self, asked: Asked) -> None:
        self.services.workers.note(asked.org, asked.agents, asked.labels, asked.worker_id, asked.key_id)

    async def learn(self) -> None:
        """What a process before this one has left that is of use. Raises StorageFailed."""
        _, self._reads.standstills.heard_until = await self._store.age_kept()

    def _heard(self, principal: Principal, worker_id: str, serves: Served) -> None:
        """A worker that serves this waits for work, or is about to ask for it."""
        labels = tuple(sorted(serves.labels.items()))
        asked = Asked(principal.org, serves.agents, labels, worker_id, principal.key_id)
        self._asked(asked)
        if self.peers is not None:
            self.peers.tell_asked(asked)

    async def start(self) -> None:
        """Meets other nodes; begins to take commands and to keep time. Raises CannotJoin."""
        if self.peers is not None:
            self.peers.erased, self.peers.missed = self._erased_elsewhere, self._missed
            self.services.held.content_forgotten = self.peers.tell_unknown
            self.peers.asked = self._asked
            await self.peers.start()
        await self.learn()
        self._writer.start()
        self.services.start()

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._polls.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._rows.stop_all()
        self._polls.stop()
        await self.services.stop()
        await self._writer.stop()
        if self.peers is not None:
            await self.peers.stop()

    def is_clock_off(self) -> bool:
        """Whether the wall clock is so far off that nothing is deleted for its age."""
        return bool(self.services.age.off_ms)

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "commands": self._writer.commands,
            "groups": self._writer.groups,
            "reloads": self._writer.reloads,
            "long_writes": self._serving.long_acts,
            "longest_write_ms": self._serving.longest_act_ms,
            "queue": self._writer.intake.queue.count,
            "followers": self._hub.followers + self._rows.readers,
            "disk_free_bytes": self._store.space.free_bytes,
            "disk_guard_bytes": self._store.space.guard_bytes,
            "writes_refused": int(self._store.obstacle() in REFUSING),
            "failed_checkpoints": self._store.trouble.failed_checkpoints,
            "damaged": self._store.damages.found,
            "read_failures": self._store.damages.failures,
            "clock_off_seconds": int(self.services.age.off_ms / 1000),
            **self.services.figures(),
            "nodes": 1 + (0 if self.peers is None else len(self.peers.others)),
            "leads": int(self._leads()),
        }

    @property
    def waits(self) -> CommitWaits:
        """How many commits commands wait for."""
        return self._writer.waits

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
            self._heard(principal, command.worker_id, Served(command.agents, command.labels))
        if isinstance(command, c.Claim) and command.wait_ms:
            return await self._waits.claim(principal, command, dialect, idempotency)
        if type(command) not in VERBS:
            work = partial(self._answer, principal, command, address)  # type: ignore[arg-type]  # what is no verb reads
            return await (work() if idempotency is None else self._once.answer(principal, dialect, idempotency, work))
        outcome = await self._write(principal, command, dialect, idempotency, address)  # type: ignore[arg-type]  # a verb
        if isinstance(command, c.Finish) and isinstance(outcome, o.Reported) and outcome.lane.serves is not None:
            self._heard(principal, command.worker_id, outcome.lane.serves)  # it comes back for the next
        if isinstance(command, c.Append | c.Report) and command.wait_ms:
            return await self.hold(principal, command, outcome, dialect)
        return outcome

    async def once(
        self, principal: Principal, idempotency: c.Idempotency, work: Callable[[], Awaitable[T]]
    ) -> T | o.Replayed:
        """What the work gives, which is no command of the engine's; or the reply that was kept of it.

        Raises InProgress, IdempotencyMismatch, and what the work raises: nothing is kept then.
        """
        return await self._once.answer(principal, "", idempotency, work)

    async def _answer(self, principal: Principal, command: q.Read | Reprice | Erase, address: str | None) -> o.Outcome:
        """What is worked out beside the writer."""
        if isinstance(command, Reprice):
            return await self._repricing.answer(principal, command, address)
        if isinstance(command, Erase):
            return await self.services.erasures.answer(
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
        """Commits a command; then, beside the writer, its answer is made and kept for a repeat."""
        if isinstance(command, c.Append | c.Report):
            command = await self.stored_first(principal, command)
        placed = await self._writer.intake.submit(principal, command, dialect, idempotency, address)
        return await self._answers.answer(principal, command, placed, idempotency)

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
