"""The writer: takes all commands that wait, loads what they need, places them, commits once, and only then answers.

One command fails alone. Most refusals are decided before anything is placed; what a refusal rests on (a lease that has
run out, a loser's report in quarantine) stays in the plan. A defect in placing one command drops the plan and places
the others again. A failed commit fails its whole group and leaves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from towerlog.ambient import Ids, Reading, ServingTime
from towerlog.engine.audit.hook import as_found, needs_of_act, note_act
from towerlog.engine.commit.lost_content import LostContent, StoredAgain
from towerlog.engine.commit.queue import Intake, cut, parted
from towerlog.engine.commit.submission import Submission, needs_with_reply, note_defect, singly
from towerlog.engine.commit.turn import PlanFull, Turn, Verb, held_cache, place_once, place_whole, with_new_messages
from towerlog.engine.commit.waits import BEYOND
from towerlog.engine.load.cache import Cache
from towerlog.engine.load.misses import NotLoaded, Unloaded
from towerlog.engine.load.rows import Asking, Known, Needs, NeedsSteps, load, load_missed
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.fold import Reactions
from towerlog.engine.plan.follow_ups import finish, more_work
from towerlog.engine.plan.fresh_ids import DrawnIds
from towerlog.engine.plan.plan import Plan
from towerlog.errors import DiskFull, Overloaded, StorageFailed, TowerlogError, told_of, without_trace
from towerlog.model.command import TELEMETRY, Claim, ClaimRun, Write
from towerlog.model.outcome import Placed, Replayed
from towerlog.store.base import Store, Unit
from towerlog.store.values import NO_CHANGES
from towerlog.wake.base import Commit

MAX_GATHER_TURNS = 8
STEP_MS = 10  # how long placing goes on, and answering, before the event loop gets a turn
COMMANDS_AT_ONCE = 8

Found = TypeVar("Found")
T = TypeVar("T")
Outcomes = list[Placed | Replayed | TowerlogError | PlanFull]


class Writer:
    """The one writer of the one log."""

    def __init__(
        self,
        store: Store,
        serving: ServingTime,
        ids: Ids,
        verbs: Mapping[type[Write], Verb],
        committed: Callable[[Commit], None],
        reactions: Reactions,
        *,
        max_queue: int,
        stored_again: StoredAgain,
    ) -> None:
        """`committed` is told of each commit once it is durable; `reactions` follow from its events. `stored_again`:
        see `LostContent`."""
        self._store = store
        self._serving = serving
        self._ids = ids
        self._verbs = verbs
        self._committed = committed
        self._reactions = reactions
        self.intake = Intake(store, serving, max_queue)
        self._queue, self._bodies, self.waits = self.intake.queue, self.intake.bodies, self.intake.waits
        self._cache = Cache()
        self._task: asyncio.Task[None] | None = None
        self._lost = LostContent(self.intake, stored_again, _answer)
        self._has_prices, self._committed_group = False, 0
        self.groups = self.commands = self.reloads = 0
        """`reloads`: groups placed anew because something had not been loaded."""

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
        await self._lost.wait()

    async def upkeep(
        self,
        find: Callable[[Unit, int], Awaitable[Found]],
        needs_of: Callable[[Needs, Found], NeedsSteps],
        place: Callable[[Plan, Found], Steps[None]],
        *,
        makes_room: bool = False,
    ) -> Found | None:
        """Commits something of the engine's own, between two groups: finds it, loads what it needs, places it.

        `find` gets the serving time in ms. Gives what was found; None when nothing is written now, and the operator has
        been told why. What `makes_room` is written below the guard of the disk as well.
        """
        if self._store.trouble.final is not None or not self.intake.is_open:
            return None
        if self._store.space.is_low() and not makes_room:
            self._store.trouble.note_commit(self._store.space.refusal(1))
            self._serving.stop()
            return None
        self._serving.begin()
        try:
            async with self._store.begin() as unit:
                if self._serving.is_out:  # nobody else may come to write, and find out that it is over
                    await unit.try_to_write()
                    self._serving.go_on()
                found = await find(unit, self._serving.now().serving_ms)
                placing = partial(place_whole, found, place)
                cache = self._cache if self._store.exclusive else Cache()
                now = self._serving.now()
                plan, _ = await self._placed_anew(unit, cache, now, [(needs_of, found)], placing)
                plan.settle()
                if plan.changes != NO_CHANGES:
                    await unit.commit(plan.changes)
                self._publish(plan)
                self._queue.charge_all(more_work(plan))
        except (StorageFailed, Overloaded) as error:
            self._serving.stop()
            if self._store.trouble.refused is not error or not isinstance(error, DiskFull | Overloaded):
                raise
            return None
        finally:
            self._serving.end()
        return found

    async def between(self, work: Callable[[Unit], Awaitable[T]], anew: bool = False) -> T | None:
        """Writes something between two groups that takes stored content away; None when nothing is written now.

        What the writer knows of stored content it does not know afterwards; `anew`: nor anything of stored rows.
        """
        if self._store.trouble.final is not None or not self.intake.is_open:
            return None
        async with self._store.begin() as unit:
            self._cache = Cache() if anew else self._cache.without_content()
            self.waits.commits += 1
            return await work(unit)

    async def _placed_anew(
        self,
        unit: Unit,
        cache: Cache,
        began: Reading,
        asking: list[Asking],
        place: Callable[[Turn, Plan], Steps[T | None]],
        claims: int = 1,
    ) -> tuple[Plan, T]:
        """Loads what is asked for and places it, again with what was missed until nothing is.

        `claims`: how many of the queue it may take. `place` gives None where what it has placed is void, and the rest
        is to be placed without what has broken.
        """
        turn = Turn(Known(cache), *began, DrawnIds(self._ids))
        turn.known.claim_limit = claims
        while True:
            await load(unit, turn.known, turn.serving_ms, asking, self._in_steps)
            plan = Plan(turn.known, turn.now_ms, turn.serving_ms, turn.ids, self._reactions, self._serving.wall_as_read)
            try:
                outcome = await self._in_steps(place(turn, plan), plan)
                if outcome is not None:
                    return plan, outcome
            except NotLoaded as lacking:
                self.reloads += 1
                await load_missed(unit, turn.known, turn.serving_ms, turn.missed(lacking), self._in_steps)
            turn.ids.again()

    async def _loop(self) -> None:
        while self.intake.is_open or self._queue.count or self._bodies.waiting:
            try:
                await self.intake.wake.wait()
                self.intake.wake.clear()
                await self._until_nothing_waits()
            except Exception:  # too little memory between two groups, say: what waits is still to be looked at
                note_defect("turn_failed")
                self.intake.wake.set()
                with suppress(Exception):
                    await asyncio.sleep(0)

    async def _until_nothing_waits(self) -> None:
        is_first = True
        while self._queue.count or self._bodies.waiting:
            # Where another process commits, what has come meanwhile goes to it at once, and the event loop takes what
            # comes next while it does: half as many a commit, and neither waits for the other.
            if is_first or self._store.exclusive:
                await self._gather()
            is_first = False
            await self._write_or_fail(self.intake.take())

    async def _write_or_fail(self, group: list[Submission]) -> None:
        """Commits a group, or a part of one; whatever breaks in that, the writer outlives it."""
        try:
            if not self._has_prices and any(isinstance(one.command, TELEMETRY) for one in group):
                await self._reactions.book.read()
                self._has_prices = True
            await self._write(group)
        except Exception as error:
            note_defect("group_failed", commands=len(group))
            self._cache = Cache()  # a commit that broke may have been one
            if self._committed_group == id(group):
                _fail(group, told_of(error))  # who was not told yet; nothing of it may be carried out again
            else:
                await singly(group, error, self._write, _fail)

    async def _gather(self) -> None:
        """Lets what is on its way in join the group: a commit costs about the same for one command as for many.

        It ends when a turn of the event loop brings nothing more, so a command that is alone waits for one turn.
        """
        for turn in range(MAX_GATHER_TURNS):
            waiting = self._queue.count
            await asyncio.sleep(0)
            if self._queue.count == waiting or self._queue.size.is_enough(waiting, turn, self._serving.clock):
                return

    async def _write(self, group: list[Submission]) -> None:
        began, self._committed_group = self._serving.begin(), 0
        try:
            async with self._store.begin() as unit:
                if not self._store.exclusive:
                    self._cache = await held_cache(unit, self._cache, group)
                plan, outcomes = await self._place_group(unit, group, began)
                if self._store.exclusive and self._queue.size.taken * 2 > self._queue.size.most:
                    self._queue.size.note(self._serving.now().serving_ms - began.serving_ms)
                if self._bodies.waiting:
                    plan.changes.reply_bodies.extend(self._bodies.take())
                plan.settle()
                if plan.changes != NO_CHANGES:
                    await unit.commit(plan.changes)
                self._committed_group = id(group)
                self._publish(plan)
                commits = self.waits.commits
        except (StorageFailed, Overloaded) as error:
            self._serving.stop()
            failed, parts = parted(group, error)
            _fail(failed, error)
            for part in parts:
                await self._write_or_fail(part)
            return
        finally:
            self._serving.end()
        self.groups += bool(group)
        left = group[len(outcomes) :]
        began_ms = (clock := self._serving.clock).steady_ms() if len(group) > 1 else None
        for submission, outcome in zip(group, outcomes, strict=False):
            if began_ms is not None and clock.steady_ms() - began_ms >= STEP_MS:
                await asyncio.sleep(0)
                began_ms = clock.steady_ms()
            if isinstance(outcome, PlanFull):
                cut(submission, outcome.rest_of(submission.command))
                if outcome.lacks_content:
                    self._lost.store_again(submission)
                else:
                    left.insert(0, submission)
            else:
                self.commands += 1
                if not submission.is_large:
                    self.waits.counts[min(commits - submission.came_at, BEYOND)] += 1
                _answer(submission, outcome)
        if left:
            self._queue.put_back(left)
        if plan.changes.alerts or plan.known.more_work:
            self._queue.charge_all(more_work(plan))

    def _publish(self, plan: Plan) -> None:
        changes = plan.changes
        if changes == NO_CHANGES:
            self._cache.trim()  # what was only looked up is in it as well
            return
        self.waits.commits += 1
        # Who is refused for the disk guard is not heard, whatever is written below it.
        if self._serving.is_out and not self._store.space.was_low:
            self._serving.go_on()
        try:
            plan.keep()
            rows = (changes.runs, changes.lanes, changes.agents, changes.budgets, changes.approvals, changes.alerts)
            new = with_new_messages(changes) if changes.deliveries or changes.delivery_bodies else frozenset()
            self._committed(Commit(changes.events, *rows, messages_of=new))
        except Exception:  # what is on disk must not be placed again, whatever goes wrong from here on
            self._cache = Cache()
            note_defect("publishing_failed", events=len(changes.events))

    async def _place_group(self, unit: Unit, group: list[Submission], began: Reading) -> tuple[Plan, Outcomes]:
        """Loads what the group needs and places it, again with what was missed until nothing is.

        Its time is that at which it was taken: during a long wait for the place to write nobody's time runs out.
        """
        asking = [self._asking(one) for one in group]
        claims = [one for one in group if isinstance(one.command, Claim | ClaimRun)]
        placing = partial(self._place_all, group)
        return await self._placed_anew(unit, self._cache, began, asking, placing, max(1, len(claims)))

    async def _in_steps(self, placing: Steps[T], plan: Plan | None = None) -> T:
        """Places, and lets the event loop go on with something else in between; the plan is told how long it took."""
        clock = self._serving.clock
        began_ms: int | None = None  # at the end of the first step: most have no second one
        try:
            while True:
                next(placing)
                now_ms = clock.steady_ms()
                if began_ms is None:
                    began_ms = now_ms
                elif now_ms - began_ms >= STEP_MS:
                    if plan is not None:
                        plan.spent_ms += now_ms - began_ms
                    await asyncio.sleep(0)
                    began_ms = clock.steady_ms()
        except StopIteration as done:
            result: T = done.value
            return result

    def _asking(self, submission: Submission) -> Asking:
        needs_of, _, act = self._verbs[type(submission.command)]
        if act is not None:
            needs_of = partial(needs_of_act, needs_of)
        if submission.idempotency is None:
            return (needs_of, submission.principal, submission.command)
        return (needs_with_reply, needs_of, submission)

    def _place_all(self, group: list[Submission], turn: Turn, plan: Plan) -> Steps[Outcomes | None]:
        """The outcomes, as far as the plan goes before it is full; None where a command broke, and all is void.

        Raises NotLoaded for what all commands lack.
        """
        broken = turn.broken
        outcomes: Outcomes = []
        missing = Unloaded()
        for index, submission in enumerate(group[: turn.known.reach]):
            if index and not index % COMMANDS_AT_ONCE:
                yield
            if index and plan.is_full():
                break
            try:
                if broken and submission in broken:
                    outcomes.append(broken[submission])
                elif submission.idempotency is None:
                    outcomes.append((yield from self._placed(plan, submission)))
                else:
                    placing = self._placed(plan, submission)
                    outcomes.append((yield from place_once(plan, submission, submission.idempotency, placing)))
            except Exception as error:
                if missing.pass_over(error):
                    if missing.is_enough:
                        turn.known.reach = index + 1
                        break
                    continue
                if not isinstance(error, TowerlogError | PlanFull):
                    broken[submission] = told_of(error)
                    note_defect("command_failed", command=type(submission.command).__name__)
                    return None
                outcomes.append(without_trace(error))
        if missing:
            raise missing.as_one()
        return outcomes

    def _placed(self, plan: Plan, submission: Submission) -> Steps[Placed | TowerlogError]:
        principal, command = submission.principal, submission.command
        _, place, act = self._verbs[type(command)]
        found = None if act is None else as_found(plan, act, principal, command)
        try:
            outcome = place(plan, principal, command)
            if isinstance(outcome, Generator):
                outcome = yield from outcome
        except TowerlogError:
            yield from finish(plan)  # what a command has ended before it was refused stays ended
            raise
        if found is not None and not isinstance(outcome, TowerlogError):
            note_act(plan, found, principal, command, outcome, submission.address)
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
    except Exception as error:  # one that cannot be told must not keep the others waiting, nor have them done again
        note_defect("answer_failed", command=type(submission.command).__name__)
        with suppress(Exception):  # what has no memory for an answer may have some for less
            submission.waiter.set_exception(told_of(error))


def _fail(group: list[Submission], error: TowerlogError) -> None:
    """Tells all of them the same."""
    for submission in group:
        _answer(submission, error)
