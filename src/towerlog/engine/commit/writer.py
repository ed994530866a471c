"""The writer: takes all commands that wait, loads what they need, places them, commits once, and only then answers.

One command fails alone: a refusal is decided before anything of it is placed; a defect in placing one command drops
the plan and places the others again. A failed commit fails its whole group and leaves nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from towerlog.ambient import Clock, Ids
from towerlog.engine.commit.cache import Cache
from towerlog.engine.commit.drawn import DrawnIds
from towerlog.engine.commit.load import Known, Needs, NotLoaded, fetch, load
from towerlog.engine.commit.plan import Plan, Reaction
from towerlog.engine.commit.replies import encode_ids
from towerlog.engine.commit.submission import Submission, Waiter, answer, fail, items_of, name_of, note_defect
from towerlog.errors import IdempotencyMismatch, InProgress, Internal, Overloaded, StorageFailed, TowerlogError
from towerlog.model.command import Append, Claim, ClaimRun, Idempotency, Report, Write
from towerlog.model.outcome import NothingToClaim, Placed, Replayed, Taken
from towerlog.model.principal import Principal
from towerlog.store.base import Store, Unit
from towerlog.store.values import Changes, Kind, ReplyBody, StoredReply

MAX_GROUP_COMMANDS = 512
MAX_GROUP_ITEMS = 1024
MAX_GATHER_TURNS = 8
MAX_RELOADS = 64
"""How often a group is placed anew: what is asked for then has not been loaded by anything."""
RETRY_AFTER_SECONDS = 1

NeedsOf = Callable[["Needs", "Submission"], None]
Place = Callable[["Plan", "Submission"], "Placed | TowerlogError"]
Found = TypeVar("Found")


class Writer:
    """The one queue to the one log."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        needs_of: NeedsOf,
        place: Place,
        committed: Callable[[Plan], None],
        reactions: tuple[Reaction, ...],
        *,
        max_queue: int,
        on_fatal: Callable[[StorageFailed], None],
    ) -> None:
        """`needs_of` says what a command needs, `place` places it; `committed` is told of each plan once it is durable.

        `reactions` follow from each change of a run's status, in this order.
        """
        self._store = store
        self._clock = clock
        self._ids = ids
        self._needs_of = needs_of
        self._place = place
        self._committed = committed
        self._reactions = reactions
        self._max_queue = max_queue
        self._on_fatal = on_fatal
        self._cache = Cache()
        self._queue: deque[Submission] = deque(maxlen=max_queue)
        self._bodies: deque[ReplyBody] = deque(maxlen=max_queue)
        """Replies to be stored with the next group; past the bound the oldest is left to be made of its ids."""
        self._in_flight: dict[tuple[int, str], bytes] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._broken: StorageFailed | None = None
        self._open = False
        self.groups = 0
        self.commands = 0
        self.reloads = 0
        """Groups placed anew because something had not been loaded."""

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
    ) -> asyncio.Future[Placed | Replayed]:
        """Queues a command. Raises Overloaded when full, InProgress for an Idempotency-Key that is being answered."""
        self._check_room()
        future: asyncio.Future[Placed | Replayed] = asyncio.get_running_loop().create_future()
        submission = Submission(principal, command, dialect, future, idempotency, items_of(command))
        if idempotency is not None:
            self._enter(future, submission, idempotency)
        self._queue.append(submission)
        self._wake.set()
        return future

    def enlist(self, principal: Principal, command: Append | Report, dialect: str, waiter: Waiter) -> None:
        """Queues telemetry; `waiter` is told. Raises like `submit`."""
        self._check_room()
        self._queue.append(Submission(principal, command, dialect, waiter, None, items_of(command)))
        self._wake.set()

    def _check_room(self) -> None:
        if self._broken is not None:
            raise StorageFailed(self._broken.message, retry_after=RETRY_AFTER_SECONDS)
        if not self._open or len(self._queue) >= self._max_queue:
            raise Overloaded(retry_after=RETRY_AFTER_SECONDS)

    def _enter(
        self, future: asyncio.Future[Placed | Replayed], submission: Submission, idempotency: Idempotency
    ) -> None:
        name = (submission.principal.org, name_of(idempotency))
        known = self._in_flight.get(name)
        if known is not None:
            raise InProgress(retry_after=1) if known == idempotency.digest else IdempotencyMismatch()
        self._in_flight[name] = idempotency.digest
        future.add_done_callback(lambda _: self._in_flight.pop(name, None))

    def keep_body(self, principal: Principal, idempotency: Idempotency, status: int, body: bytes) -> None:
        """Stores the reply to a command that is durable already, with the next group; nobody waits for it."""
        self._bodies.append(ReplyBody(principal.org, name_of(idempotency), status, body))
        self._wake.set()

    async def upkeep(
        self,
        find: Callable[[Unit, int], Awaitable[Found]],
        needs_of: Callable[[Needs, Found], None],
        place: Callable[[Plan, Found], None],
    ) -> Found | None:
        """Commits something of the engine's own, between two groups: finds it, loads what it needs, places it.

        `find` is told the steady time. Gives what was found; None when nothing is written any more.
        """
        if self._broken is not None or not self._open:
            return None
        async with self._store.begin() as unit:
            found = await find(unit, self._clock.steady_ms())
            turn = _Turn(self._fresh_cache(), self._clock, self._ids)
            missing: list[NotLoaded] = []
            while True:
                await self._load(unit, turn, [lambda needs: needs_of(needs, found)], missing)
                plan = turn.plan(self._reactions)
                try:
                    place(plan, found)
                    break
                except NotLoaded as one:
                    missing = self._missed(turn, [one])
            await self._commit(unit, plan)
            self._cache.trim()
        return found

    async def _loop(self) -> None:
        while self._open or self._queue or self._bodies:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._bodies:
                await self._gather()
                group = self._take()
                try:
                    await self._write(group)
                except Exception as error:  # the writer must outlive any defect in a group
                    note_defect("group_failed", commands=len(group))
                    await self._write_singly(group, error)
                del group  # while nothing waits, the events of the last commit must not stay in memory

    async def _write_singly(self, group: list[Submission], error: Exception) -> None:
        """After a defect that spoiled a whole group: each command alone, so that only the one at fault fails."""
        if len(group) <= 1 or isinstance(error, StorageFailed):
            fail(group, error if isinstance(error, TowerlogError) else Internal())
            return
        for submission in group:
            try:
                await self._write([submission])
            except Exception as own:  # as in the loop
                note_defect("command_failed", command=type(submission.command).__name__)
                fail([submission], own if isinstance(own, TowerlogError) else Internal())

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

    def _fresh_cache(self) -> Cache:
        if not self._store.exclusive:
            self._cache = Cache()
        return self._cache

    async def _write(self, group: list[Submission]) -> None:
        async with self._store.begin() as unit:
            plan, outcomes = await self._place_group(unit, group)
            plan.changes.reply_bodies.extend(self._bodies)
            self._bodies.clear()
            try:
                await self._commit(unit, plan)
            except StorageFailed as error:
                fail(group, error)
                return
            self._cache.trim()
        self.groups += bool(group)
        self.commands += len(group)
        for submission, outcome in zip(group, outcomes, strict=True):
            answer(submission, outcome)

    async def _commit(self, unit: Unit, plan: Plan) -> None:
        plan.settle()
        if plan.changes.is_empty():
            return
        await self._store_changes(unit, plan.changes)
        try:
            plan.keep()
            self._committed(plan)
        except Exception:  # what is on disk must not be placed again, whatever goes wrong from here on
            self._cache = Cache()
            note_defect("publishing_failed", events=len(plan.changes.events))

    async def _store_changes(self, unit: Unit, changes: Changes) -> None:
        try:
            await unit.commit(changes)
        except StorageFailed as error:
            if error.fatal:
                # What a failing disk has told is on disk is known only after a restart: never write on.
                self._broken = error
                self._on_fatal(error)
            raise

    async def _place_group(
        self, unit: Unit, group: list[Submission]
    ) -> tuple[Plan, list[Placed | Replayed | TowerlogError]]:
        """Loads what the group needs and places it, again with what was missed until nothing is."""
        turn = _Turn(self._fresh_cache(), self._clock, self._ids)
        turn.known.claim_limit = max(1, sum(isinstance(one.command, Claim | ClaimRun) for one in group))
        missing: list[NotLoaded] = []
        while True:
            asking = [partial(self._needs, submission=one) for one in group if one not in turn.broken]
            await self._load(unit, turn, asking, missing)
            plan = turn.plan(self._reactions)
            outcomes, missing, is_broken = self._place_all(turn, plan, group)
            if missing:
                missing = self._missed(turn, missing)
            elif not is_broken:
                return plan, outcomes

    async def _load(
        self, unit: Unit, turn: _Turn, asking: Sequence[Callable[[Needs], None]], missing: list[NotLoaded]
    ) -> None:
        if missing:
            wanted: dict[Kind, list[Any]] = {}
            for one in missing:
                wanted.setdefault(one.kind, []).append(one.key)
            await fetch(unit, turn.known, turn.steady_ms, wanted)
        await load(unit, turn.known, turn.steady_ms, asking)

    def _missed(self, turn: _Turn, missing: list[NotLoaded]) -> list[NotLoaded]:
        self.reloads += 1
        turn.rounds += 1
        if turn.rounds > MAX_RELOADS:
            raise missing[0]
        return list({(one.kind, one.key): one for one in missing}.values())

    def _needs(self, needs: Needs, submission: Submission) -> None:
        if submission.idempotency is not None:
            needs.want(Kind.REPLY, (submission.principal.org, name_of(submission.idempotency)))
        self._needs_of(needs, submission)

    def _place_all(
        self, turn: _Turn, plan: Plan, group: list[Submission]
    ) -> tuple[list[Placed | Replayed | TowerlogError], list[NotLoaded], bool]:
        """The outcomes; what was not loaded, of all commands at once; whether a command broke, and all is void."""
        outcomes: list[Placed | Replayed | TowerlogError] = []
        missing: list[NotLoaded] = []
        for submission in group:
            try:
                outcomes.append(turn.broken.get(submission) or self._place_one(plan, submission))
            except NotLoaded as one:
                missing.append(one)
            except TowerlogError as error:
                outcomes.append(error)
            except Exception:
                if not missing:  # else it may be what was not loaded that broke it
                    turn.broken[submission] = Internal()
                    note_defect("command_failed", command=type(submission.command).__name__)
                return outcomes, missing, True
        return outcomes, missing, False

    def _place_one(self, plan: Plan, submission: Submission) -> Placed | Replayed | TowerlogError:
        wanted = submission.idempotency
        if wanted is None:
            return self._place(plan, submission)
        org, name = submission.principal.org, name_of(wanted)
        known: StoredReply | None = plan.loaded(Kind.REPLY, (org, name))
        if known is not None:
            return _replayed(known) if known.digest == wanted.digest else IdempotencyMismatch()
        outcome = self._place(plan, submission)
        still_waiting = isinstance(outcome, NothingToClaim) and getattr(submission.command, "wait_ms", 0) > 0
        if not isinstance(outcome, TowerlogError) and not still_waiting:
            run, epoch = (outcome.row.run, outcome.lane.epoch) if isinstance(outcome, Taken) else (None, None)
            ids = encode_ids(outcome)
            plan.changes.replies.append(StoredReply(org, name, wanted.digest, 0, b"", plan.now, run, epoch, ids))
        return outcome


class _Turn:
    """The placing of one group, however often: what is known, its time, its names, and who broke."""

    def __init__(self, cache: Cache, clock: Clock, ids: Ids) -> None:
        self.known = Known(cache)
        self.now_ms = clock.now_ms()
        self.steady_ms = clock.steady_ms()
        self.ids = DrawnIds(ids)
        self.broken: dict[Submission, TowerlogError] = {}
        self.rounds = 0

    def plan(self, reactions: tuple[Reaction, ...]) -> Plan:
        """A plan with nothing in it yet."""
        self.ids.again()
        return Plan(self.known, self.now_ms, self.steady_ms, self.ids, reactions)


def _replayed(known: StoredReply) -> Replayed:
    return Replayed(known.status, known.body, known.run, known.lease_epoch, known.ids)
