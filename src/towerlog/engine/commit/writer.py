"""The writer: takes all commands that wait, plans them, commits once, only then answers, then wakes followers.

One command fails alone: a refusal is decided before anything of it is planned; a defect in planning one command drops
the plan and plans the others again. A failed commit fails its whole group and leaves nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import msgspec
import structlog

from towerlog.ambient import Clock, Ids
from towerlog.engine.commit.cache import Cache
from towerlog.engine.commit.load import prefetch
from towerlog.engine.commit.plan import Plan
from towerlog.errors import IdempotencyMismatch, InProgress, Internal, Overloaded, StorageFailed, TowerlogError
from towerlog.model.command import Append, Idempotency, Report, Write
from towerlog.model.event import Draft
from towerlog.model.outcome import Claimed, NothingToClaim, Outcome, Replayed
from towerlog.model.principal import Principal
from towerlog.store.base import Store, Unit
from towerlog.store.values import Changes, StoredReply

MAX_GROUP_COMMANDS = 512
MAX_GROUP_ITEMS = 1024
MAX_GATHER_TURNS = 8
RETRY_AFTER_SECONDS = 1

log = structlog.get_logger("towerlog.writer")
Planner = Callable[[Plan, "Submission"], Awaitable["Outcome | TowerlogError"]]


class Waiter(Protocol):
    """Who is told of an outcome, once it is durable: a future, or what stands for one."""

    def cancelled(self) -> bool:
        """Whether nobody waits any more: then it need not be done."""
        ...

    def done(self) -> bool:
        """Whether it has been told."""
        ...

    def set_result(self, outcome: Outcome, /) -> None:
        """It is durable. Must not raise."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """It was refused, or something broke. Must not raise."""
        ...


class Submission(msgspec.Struct, eq=False):
    """A command that waits for its commit. `command` None is upkeep, planned by `work`."""

    principal: Principal
    command: Write
    dialect: str
    waiter: Waiter
    idempotency: Idempotency | None = None
    items: int = 1

    @property
    def idempotency_name(self) -> str:
        """Route and key together."""
        return "" if self.idempotency is None else f"{self.idempotency.route}\n{self.idempotency.key}"


class Writer:
    """The one queue to the one log."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        planner: Planner,
        committed: Callable[[Plan], None],
        *,
        max_queue: int,
        on_fatal: Callable[[StorageFailed], None],
    ) -> None:
        """`planner` plans one command; `committed` is told of each plan once it is durable."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._planner = planner
        self._committed = committed
        self._max_queue = max_queue
        self._on_fatal = on_fatal
        self._cache = Cache()
        self._queue: deque[Submission] = deque(maxlen=max_queue)
        self._in_flight: dict[tuple[int, str], bytes] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._broken: StorageFailed | None = None
        self._open = False
        self.groups = 0
        self.commands = 0

    def start(self) -> None:
        """Begins to take commands."""
        self._open = True
        self._task = asyncio.create_task(self._loop(), name="towerlog-writer")

    async def stop(self) -> None:
        """Refuses what comes now, finishes what waits."""
        self._open = False
        self._wake.set()
        if self._task is not None:
            await self._task

    @property
    def waiting(self) -> int:
        """How many commands wait for the next group."""
        return len(self._queue)

    def submit(
        self, principal: Principal, command: Write, dialect: str, idempotency: Idempotency | None
    ) -> asyncio.Future[Outcome]:
        """Queues a command. Raises Overloaded when full, InProgress for an Idempotency-Key that is being answered."""
        self._check_room()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        submission = Submission(principal, command, dialect, future, idempotency, _items_of(command))
        if idempotency is not None:
            self._enter(future, submission, idempotency)
        self._queue.append(submission)
        self._wake.set()
        return future

    def enlist(self, principal: Principal, command: Append | Report, dialect: str, waiter: Waiter) -> None:
        """Queues telemetry; `waiter` is told. Raises like `submit`."""
        self._check_room()
        self._queue.append(Submission(principal, command, dialect, waiter, None, _items_of(command)))
        self._wake.set()

    def _check_room(self) -> None:
        if self._broken is not None:
            raise StorageFailed(self._broken.message, retry_after=RETRY_AFTER_SECONDS)
        if not self._open or len(self._queue) >= self._max_queue:
            raise Overloaded(retry_after=RETRY_AFTER_SECONDS)

    def _enter(self, future: asyncio.Future[Outcome], submission: Submission, idempotency: Idempotency) -> None:
        name = (submission.principal.org, submission.idempotency_name)
        known = self._in_flight.get(name)
        if known is not None:
            raise InProgress(retry_after=1) if known == idempotency.digest else IdempotencyMismatch()
        self._in_flight[name] = idempotency.digest
        future.add_done_callback(lambda _: self._in_flight.pop(name, None))

    async def upkeep(self, work: Callable[[Plan], Awaitable[None]]) -> None:
        """Plans and commits something of the engine's own, between two groups."""
        if self._broken is not None or not self._open:
            return
        async with self._store.begin() as unit:
            plan = self._plan(unit)
            try:
                await work(plan)
            except BaseException:
                self._cache = Cache()
                raise
            await self._commit(plan)
            self._cache.trim()

    async def _loop(self) -> None:
        while self._open or self._queue:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._gather()
                group = self._take()
                try:
                    await self._write(group)
                except Exception as error:  # the writer must outlive any defect in a group
                    self._cache = Cache()
                    _note_defect("group_failed", commands=len(group))
                    await self._write_singly(group, error)

    async def _write_singly(self, group: list[Submission], error: Exception) -> None:
        """After a defect that spoiled a whole group: each command alone, so that only the one at fault fails."""
        if len(group) == 1 or isinstance(error, StorageFailed):
            _fail(group, error if isinstance(error, TowerlogError) else Internal())
            return
        for submission in group:
            try:
                await self._write([submission])
            except Exception as own:  # as in the loop
                self._cache = Cache()
                _note_defect("command_failed", command=type(submission.command).__name__)
                _fail([submission], own if isinstance(own, TowerlogError) else Internal())

    async def _gather(self) -> None:
        """Lets what is on its way in join the group: a commit costs about the same for one command as for many.

        It ends when a turn of the event loop brings nothing more, so a command that is alone waits for one turn.
        """
        for _ in range(MAX_GATHER_TURNS):
            waiting = len(self._queue)
            await asyncio.sleep(0)
            if len(self._queue) == waiting or waiting >= MAX_GROUP_COMMANDS:
                return

    def _take(self) -> list[Submission]:
        group: list[Submission] = []
        items = 0
        while self._queue and len(group) < MAX_GROUP_COMMANDS and items < MAX_GROUP_ITEMS:
            submission = self._queue.popleft()
            if not submission.waiter.cancelled():
                group.append(submission)
                items += submission.items
        return group

    def _plan(self, unit: Unit) -> Plan:
        if not self._store.exclusive:
            self._cache = Cache()
        return Plan(unit, self._cache, self._clock, self._ids)

    async def _write(self, group: list[Submission]) -> None:
        async with self._store.begin() as unit:
            plan, outcomes = await self._plan_group(unit, group)
            try:
                await self._commit(plan)
            except StorageFailed as error:
                _fail(group, error)
                return
            self._cache.trim()
        self.groups += 1
        self.commands += len(group)
        for submission, outcome in zip(group, outcomes, strict=True):
            _answer(submission, outcome)

    async def _commit(self, plan: Plan) -> None:
        plan.settle()
        if plan.changes.is_empty():
            return
        try:
            await self._store_changes(plan.unit, plan.changes)
        except BaseException:
            self._cache = Cache()
            raise
        try:
            self._committed(plan)
        except Exception:  # what is on disk must not be planned again, whatever goes wrong from here on
            _note_defect("publishing_failed", events=len(plan.changes.events))

    async def _store_changes(self, unit: Unit, changes: Changes) -> None:
        try:
            await unit.commit(changes)
        except StorageFailed as error:
            if error.fatal:
                # What a failing disk has told is on disk is known only after a restart: never write on.
                self._broken = error
                self._on_fatal(error)
            raise

    async def _plan_group(self, unit: Unit, group: list[Submission]) -> tuple[Plan, list[Outcome | TowerlogError]]:
        broken: dict[int, TowerlogError] = {}
        while True:
            plan = self._plan(unit)
            await prefetch(plan, _drafts(group))
            outcomes: list[Outcome | TowerlogError] = []
            for index, submission in enumerate(group):
                if index in broken:
                    outcomes.append(broken[index])
                    continue
                try:
                    outcomes.append(await self._plan_one(plan, submission))
                except StorageFailed:
                    raise  # a look-up failed half-way: nothing of this plan may be trusted
                except TowerlogError as error:
                    outcomes.append(error)
                except Exception:
                    broken[index] = Internal()
                    self._cache = Cache()
                    _note_defect("command_failed", command=type(submission.command).__name__)
                    break
            else:
                return plan, outcomes

    async def _plan_one(self, plan: Plan, submission: Submission) -> Outcome | TowerlogError:
        wanted = submission.idempotency
        if wanted is None:
            return await self._planner(plan, submission)
        org, name = submission.principal.org, submission.idempotency_name
        known = await plan.unit.reply(org, name)
        if known is not None:
            return _replayed(known) if known.digest == wanted.digest else IdempotencyMismatch()
        outcome = await self._planner(plan, submission)
        still_waiting = isinstance(outcome, NothingToClaim) and getattr(submission.command, "wait_ms", 0) > 0
        if not isinstance(outcome, TowerlogError) and not still_waiting:
            status, body = wanted.encode(outcome)
            lease = (outcome.view.row.run, outcome.lane.epoch) if isinstance(outcome, Claimed) else (None, None)
            plan.changes.replies.append(StoredReply(org, name, wanted.digest, status, body, plan.now, *lease))
        return outcome


def _replayed(known: StoredReply) -> Replayed:
    return Replayed(known.status, known.body, known.run, known.lease_epoch)


def _items_of(command: Write) -> int:
    return len(command.items) if isinstance(command, Append | Report) else 1


def _drafts(group: list[Submission]) -> list[tuple[int, Draft]]:
    return [
        (submission.principal.org, item)
        for submission in group
        if isinstance(submission.command, Append | Report)
        for item in submission.command.items
        if isinstance(item, Draft)
    ]


def _note_defect(event: str, **fields: object) -> None:
    """Logs the exception under way. What broke the command may break its description too; that ends nothing."""
    with suppress(Exception):
        log.exception(event, **fields)


def _answer(submission: Submission, outcome: Outcome | TowerlogError) -> None:
    try:
        if submission.waiter.done():
            return
        if isinstance(outcome, TowerlogError):
            submission.waiter.set_exception(outcome)
        else:
            submission.waiter.set_result(outcome)
    except Exception:  # one that cannot be told must neither keep the others waiting nor have them carried out again
        _note_defect("answer_failed", command=type(submission.command).__name__)


def _fail(group: list[Submission], error: TowerlogError) -> None:
    for submission in group:
        _answer(submission, error)
