"""The writer: takes all commands that wait, loads what they need, places them, commits once, and only then answers.

One command fails alone: a refusal is decided before anything of it is placed; a defect in placing one command drops
the plan and places the others again. A failed commit fails its whole group and leaves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TypeVar

from towerlog.ambient import Hearing, Ids, Reading
from towerlog.engine.commit.cache import Cache
from towerlog.engine.commit.drawn import DrawnIds
from towerlog.engine.commit.load import Asking, Known, Needs, Told, load, load_missed
from towerlog.engine.commit.missing import MAX_MISSING, NotLoaded
from towerlog.engine.commit.plan import Plan, Reaction
from towerlog.engine.commit.postponed import finish
from towerlog.engine.commit.queue import MAX_GROUP_COMMANDS, Intake
from towerlog.engine.commit.steps import Steps
from towerlog.engine.commit.submission import Submission, needs_with_reply, note_defect
from towerlog.engine.commit.turn import PlanFull, Turn, Verb, place_once
from towerlog.errors import Internal, Overloaded, StorageFailed, TowerlogError
from towerlog.model.command import Claim, ClaimRun, Write
from towerlog.model.outcome import Placed, Replayed
from towerlog.store.base import Store, Unit
from towerlog.store.values import NO_CHANGES
from towerlog.wake.base import Commit

MAX_GATHER_TURNS = 8
STEP_MS = 10
"""How long placing goes on before the event loop gets a turn."""
COMMANDS_AT_ONCE = 8

Found = TypeVar("Found")
T = TypeVar("T")
Outcomes = list[Placed | Replayed | TowerlogError | PlanFull]


class Writer:
    """The one writer of the one log."""

    def __init__(
        self,
        store: Store,
        hearing: Hearing,
        ids: Ids,
        verbs: Mapping[type[Write], Verb],
        committed: Callable[[Commit], None],
        reactions: tuple[Reaction, ...],
        *,
        max_queue: int,
    ) -> None:
        """`committed` is told of each commit once it is durable; `reactions` follow from changes of a run's status."""
        self._store = store
        self._hearing = hearing
        self._ids = ids
        self._verbs = verbs
        self._committed = committed
        self._reactions = reactions
        self.intake = Intake(store, hearing, max_queue)
        self._queue = self.intake.queue
        self._bodies = self.intake.bodies
        self._cache = Cache()
        self._task: asyncio.Task[None] | None = None
        self.groups = 0
        self.commands = 0
        self.reloads = 0
        """Groups placed anew because something had not been loaded."""

    def start(self) -> None:
        """Begins to take commands."""
        self.intake.is_open = True
        self._task = asyncio.create_task(self._loop(), name="towerlog-writer")

    async def stop(self) -> None:
        """Refuses what comes now, finishes what waits."""
        self.intake.is_open = False
        self.intake.wake.set()
        if self._task is not None:
            await self._task

    async def upkeep(
        self,
        find: Callable[[Unit, int], Awaitable[Found]],
        needs_of: Callable[[Needs, Found], Told],
        place: Callable[[Plan, Found], Steps[None]],
    ) -> Found | None:
        """Commits something of the engine's own, between two groups: finds it, loads what it needs, places it.

        `find` is told the time by `Hearing`. Gives what was found; None when nothing is written now.
        """
        if self._store.trouble.final is not None or not self.intake.is_open:
            return None
        if self._store.space.is_low():
            self._hearing.stop()
            return None
        self._hearing.begin()
        try:
            async with self._store.begin() as unit:
                if self._hearing.is_out:  # nobody else may come to write, and find out that it is over
                    await unit.try_to_write()
                    self._hearing.go_on()
                found = await find(unit, self._hearing.now().heard_ms)
                plan = await self._place_own(unit, found, needs_of, place)
                plan.settle()
                if plan.changes != NO_CHANGES:
                    await unit.commit(plan.changes)
                self._publish(plan)
        except (StorageFailed, Overloaded):
            self._hearing.stop()
            raise
        finally:
            self._hearing.end()
        return found

    async def _place_own(
        self,
        unit: Unit,
        found: Found,
        needs_of: Callable[[Needs, Found], Told],
        place: Callable[[Plan, Found], Steps[None]],
    ) -> Plan:
        turn = self._turn(*self._hearing.now())
        missing: list[NotLoaded] = []
        while True:
            if missing:
                await load_missed(unit, turn.known, turn.steady_ms, missing)
            await load(unit, turn.known, turn.steady_ms, [(needs_of, found)], self._in_steps)
            plan = Plan(turn.known, turn.now_ms, turn.steady_ms, turn.ids, self._reactions, self._hearing.wall_of)
            try:
                await self._in_steps(place(plan, found))
                await self._in_steps(finish(plan))
                return plan
            except NotLoaded as one:
                missing = self._missed(turn, [one])
                turn.ids.again()

    async def _loop(self) -> None:
        while self.intake.is_open or self._queue.count or self._bodies.waiting:
            await self.intake.wake.wait()
            self.intake.wake.clear()
            while self._queue.count or self._bodies.waiting:
                await self._gather()
                group = self._queue.take()
                try:
                    await self._write(group)
                except Exception as error:  # the writer must outlive any defect in a group
                    note_defect("group_failed", commands=len(group))
                    await self._write_singly(group, error)
                del group  # while nothing waits, the events of the last commit must not stay in memory

    async def _write_singly(self, group: list[Submission], error: Exception) -> None:
        """After a defect that spoiled a whole group: each command alone, so that only the one at fault fails."""
        if len(group) <= 1:
            _fail(group, error if isinstance(error, TowerlogError) else Internal())
            return
        for submission in group:
            try:
                await self._write([submission])
            except Exception as own:  # as in the loop
                note_defect("command_failed", command=type(submission.command).__name__)
                _fail([submission], own if isinstance(own, TowerlogError) else Internal())

    async def _gather(self) -> None:
        """Lets what is on its way in join the group: a commit costs about the same for one command as for many.

        It ends when a turn of the event loop brings nothing more, so a command that is alone waits for one turn.
        """
        for _ in range(MAX_GATHER_TURNS):
            waiting = self._queue.count
            await asyncio.sleep(0)
            if self._queue.count == waiting or waiting >= MAX_GROUP_COMMANDS:
                return

    def _turn(self, now_ms: int, heard_ms: int) -> Turn:
        """For a new group, whose time is read once."""
        if not self._store.exclusive:
            self._cache = Cache()
        return Turn(Known(self._cache), now_ms, heard_ms, DrawnIds(self._ids))

    async def _write(self, group: list[Submission]) -> None:
        began = self._hearing.begin()
        try:
            async with self._store.begin() as unit:
                plan, outcomes = await self._place_group(unit, group, began)
                if self._bodies.waiting:
                    plan.changes.reply_bodies.extend(self._bodies.take())
                plan.settle()
                if plan.changes != NO_CHANGES:
                    await unit.commit(plan.changes)
                self._publish(plan)
        except (StorageFailed, Overloaded) as error:
            self._hearing.stop()
            _fail(group, error)
            return
        finally:
            self._hearing.end()
        self.groups += bool(group)
        left = group[len(outcomes) :]
        for submission, outcome in zip(group, outcomes, strict=False):
            if isinstance(outcome, PlanFull):
                submission.command = outcome.rest_of(submission.command)
                left.insert(0, submission)
            else:
                self.commands += 1
                _answer(submission, outcome)
        if left:
            self._queue.put_back(left)

    def _publish(self, plan: Plan) -> None:
        changes = plan.changes
        if changes == NO_CHANGES:
            self._cache.trim()  # what was only looked up is in it as well
            return
        if self._hearing.is_out:
            self._hearing.go_on()
        try:
            plan.keep()
            self._committed(Commit(changes.events, changes.runs, changes.lanes))
        except Exception:  # what is on disk must not be placed again, whatever goes wrong from here on
            self._cache = Cache()
            note_defect("publishing_failed", events=len(changes.events))

    async def _place_group(self, unit: Unit, group: list[Submission], began: Reading) -> tuple[Plan, Outcomes]:
        """Loads what the group needs and places it, again with what was missed until nothing is.

        Its time is that at which it was taken: during a long wait for the place to write nobody's time runs out.
        """
        asking = [self._asking(one) for one in group]
        claims = [one for one in group if isinstance(one.command, Claim | ClaimRun)]
        turn = self._turn(*began)
        turn.known.claim_limit = max(1, len(claims))
        missing: list[NotLoaded] = []
        while True:
            if missing:
                await load_missed(unit, turn.known, turn.steady_ms, missing)
            await load(unit, turn.known, turn.steady_ms, asking, self._in_steps)
            plan = Plan(turn.known, turn.now_ms, turn.steady_ms, turn.ids, self._reactions, self._hearing.wall_of)
            outcomes, missing, is_broken = await self._in_steps(self._place_all(turn, plan, group))
            if missing:
                missing = self._missed(turn, missing)
            elif not is_broken:
                return plan, outcomes
            turn.ids.again()
            asking = [self._asking(one) for one in group if one not in turn.broken]

    async def _in_steps(self, placing: Steps[T]) -> T:
        """Places, and lets the event loop go on with something else in between."""
        until = 0
        try:
            while True:
                next(placing)
                now_ms = self._hearing.clock.steady_ms()
                if until and now_ms >= until:
                    await asyncio.sleep(0)
                until = until if now_ms < until else now_ms + STEP_MS
        except StopIteration as done:
            result: T = done.value
            return result

    def _missed(self, turn: Turn, missing: list[NotLoaded]) -> list[NotLoaded]:
        self.reloads += 1
        return turn.missed(missing)

    def _asking(self, submission: Submission) -> Asking:
        needs_of = self._verbs[type(submission.command)].needs
        if submission.idempotency is None:
            return (needs_of, submission.principal, submission.command)
        return (needs_with_reply, needs_of, submission)

    def _place_all(
        self, turn: Turn, plan: Plan, group: list[Submission]
    ) -> Steps[tuple[Outcomes, list[NotLoaded], bool]]:
        """The outcomes, as far as the plan goes before it is full; what was not loaded, of all commands at once;
        whether a command broke, and all is void."""
        broken = turn.broken
        outcomes: Outcomes = []
        missing: list[NotLoaded] = []
        for index, submission in enumerate(group):
            if index and plan.is_full():
                break
            if index and not index % COMMANDS_AT_ONCE:
                yield
            try:
                if broken and submission in broken:
                    outcomes.append(broken[submission])
                elif submission.idempotency is None:
                    outcomes.append((yield from self._placed(plan, submission)))
                else:
                    outcomes.append(
                        (
                            yield from place_once(
                                plan, submission, submission.idempotency, self._placed(plan, submission)
                            )
                        )
                    )
            except NotLoaded as one:
                missing.append(one)
                if sum(len(each.all) for each in missing) >= MAX_MISSING:
                    break
            except (TowerlogError, PlanFull) as error:
                outcomes.append(error)
            except Exception:
                if not missing:  # else it may be what was not loaded that broke it
                    broken[submission] = Internal()
                    note_defect("command_failed", command=type(submission.command).__name__)
                return outcomes, missing, True
        return outcomes, missing, False

    def _placed(self, plan: Plan, submission: Submission) -> Steps[Placed | TowerlogError]:
        try:
            outcome = self._verbs[type(submission.command)].place(plan, submission.principal, submission.command)
            if isinstance(outcome, Generator):
                outcome = yield from outcome
        except TowerlogError:
            yield from finish(plan)  # what a command has ended before it was refused stays ended
            raise
        if plan.postponed:
            yield from finish(plan)
        return outcome


def _answer(submission: Submission, outcome: Placed | Replayed | TowerlogError) -> None:
    """Tells its waiter, if that still waits."""
    try:
        if submission.waiter.done():
            return
        if isinstance(outcome, TowerlogError):
            submission.waiter.set_exception(outcome)
        else:
            submission.waiter.set_result(outcome)
    except Exception:  # one that cannot be told must neither keep the others waiting nor have them carried out again
        note_defect("answer_failed", command=type(submission.command).__name__)


def _fail(group: list[Submission], error: TowerlogError) -> None:
    """Tells all of them the same."""
    for submission in group:
        _answer(submission, error)
