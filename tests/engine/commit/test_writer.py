"""The writer: one queue, groups, one bad command fails alone, a failed commit leaves nothing, back-pressure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tests.support.factories import draft, facts_of, traced
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from tests.support.rig import Rig, at_rest, open_rig
from tests.support.wait import wait_until_async
from towerlog.engine.commit.group_size import MAX_GROUP_COMMANDS, MAX_GROUP_WORK, PLACED_MS
from towerlog.engine.commit.queue import WORK_OF_CHANGE
from towerlog.engine.commit.writer import STEP_MS
from towerlog.engine.core import EngineSettings
from towerlog.engine.plan.plan import Plan
from towerlog.engine.verify import verify_org
from towerlog.errors import DiskFull, IdempotencyMismatch, InProgress, Internal, OutOfMemory, Overloaded, StorageFailed
from towerlog.model.command import Append, Claim, CreateRun, Idempotency, RegisterAgent
from towerlog.model.event import Draft, EventType, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import AgentView, Appended, NothingToClaim, Replayed, RunCreated, Stored
from towerlog.model.price import CreatePrice, Rates
from towerlog.model.question import GetRun
from towerlog.model.usage import MAX_DOLLARS, MAX_NUMBER, MAX_SUM, NANOS_PER_DOLLAR, Usage, UsageReport
from towerlog.store.values import Kind

E = EventType
DEADLINE_S = 60


async def all_at_once(rig: Rig, *commands: Any) -> list[Any]:
    """Sends them in one go, so that they share a group; answers and errors in order."""
    return await asyncio.gather(*(rig.do(command) for command in commands), return_exceptions=True)


def steps(trace: str, count: int = 1, **fields: Any) -> Append:
    """A command with so many events of a run."""
    return Append("steps", [draft(run=traced(trace), **fields) for _ in range(count)])


async def sound(rig: Rig) -> None:
    """Nothing is left over and nothing is missing."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    assert [event.position for event in await rig.log()] == list(range(1, len(await rig.log()) + 1))


# Groups


async def test_commands_that_wait_share_one_commit(rig: Rig) -> None:
    commits = count_commits(rig)
    answers = await all_at_once(rig, *(steps(f"t{n}") for n in range(50)))
    assert [answer.results[0].position for answer in answers] == list(range(1, 51))
    assert commits == [50]
    assert (rig.engine.figures()["groups"], rig.engine.figures()["commands"]) == (1, 50)


def count_commits(rig: Rig) -> list[int]:
    """How many events each commit from now on writes."""
    commits: list[int] = []
    committed = rig.engine._writer._committed

    def counted(commit: Any) -> None:
        commits.append(len(commit.events))
        committed(commit)

    rig.engine._writer._committed = counted
    return commits


async def next_commit(rig: Rig) -> None:
    """Until one more commit is told of. Goes on in that turn of the event loop, before another one can be: a look again
    and again would come after as many as the machine makes between two looks.
    """
    told, committed = asyncio.Event(), rig.engine._writer._committed

    def heard(commit: Any) -> None:
        committed(commit)
        told.set()

    rig.engine._writer._committed = heard
    async with asyncio.timeout(DEADLINE_S):
        await told.wait()
    rig.engine._writer._committed = committed


async def test_small_requests_of_an_organisation_come_between_the_parts_of_a_large_one(rig: Rig) -> None:
    """A sender that waits for each of its replies has one commit between any two parts."""
    commits: list[str] = []
    committed = rig.engine._writer._committed

    def noted(commit: Any) -> None:
        commits.append("+".join(sorted({event.dialect for event in commit.events})))
        committed(commit)

    rig.engine._writer._committed = noted
    roots = [draft(run=traced(f"t{n}"), facts=facts_of(is_start=True), data={"n": n}) for n in range(3000)]
    large = asyncio.create_task(rig.do(Append("otlp", list(roots))))
    await next_commit(rig)
    while not large.done():
        await rig.do(steps("small"))
    parts = [at for at, dialect in enumerate(commits) if dialect == "otlp"]
    assert len(parts) >= 3000 * WORK_OF_CHANGE // MAX_GROUP_WORK
    between = commits[commits.index("steps") : parts[-1] + 1]
    assert between == ["steps", "otlp"] * (len(between) // 2)
    assert len(between) >= 2 * (len(parts) - 3), "it came after the first part or two"
    told = [msgspec.json.decode(event.data)["n"] for event in await rig.log() if event.dialect == "otlp"]
    assert told == list(range(3000)), "its own order stays"
    assert [one.seq for one in (await large).results] == [1] * 3000
    await sound(rig)


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    async with open_rig(tmp_path, settings=EngineSettings(max_queue=5000)) as rig:
        commits = count_commits(rig)
        await all_at_once(rig, *(steps("x") for _ in range(MAX_GROUP_COMMANDS + 10)))
        assert commits == [MAX_GROUP_COMMANDS, 10]
        await all_at_once(rig, *(steps("x", 500) for _ in range(4)))
        assert commits[2:] == [1000, 1000]


async def test_groups_are_smaller_while_they_take_long_to_place(rig: Rig) -> None:
    """Whoever waits behind one waits for less, until they are placed fast again."""
    commits, placed, takes_ms = count_commits(rig), rig.engine._writer._place_group, [0]

    async def place(*group: Any) -> Any:
        done = await placed(*group)
        rig.clock.advance(takes_ms[0])
        return done

    rig.engine._writer._place_group = place  # type: ignore[method-assign]
    for takes_ms[0], largest in ((0, 1000), (PLACED_MS + 1, 100), (0, 1000)):
        for _ in range(4):
            await all_at_once(rig, *(steps("x", 100) for _ in range(30)))
        assert max(commits[-3:]) == largest, commits
    takes_ms[0], before = PLACED_MS + 1, len(commits)
    for _ in range(200):
        await rig.do(steps("y"))
    await all_at_once(rig, *(steps("x", 100) for _ in range(30)))
    assert max(commits[before:]) == 1000, "small ones tell nothing of large ones"


def starts(name: str, count: int) -> Append:
    """A command that begins so many runs."""
    return Append("steps", [draft(run=traced(f"{name}{n}"), facts=facts_of(is_start=True)) for n in range(count)])


async def test_batches_that_are_much_work_let_others_come_between(rig: Rig) -> None:
    """Six batches wait when another organisation's step comes: it waits for the commit under way and no other."""
    other = await rig.make_org("other")
    commits = count_commits(rig)
    batches = [asyncio.ensure_future(rig.do(starts(f"b{n}", 500))) for n in range(6)]
    for _ in range(2):
        await next_commit(rig)
        asked_after = len(commits)
        await rig.do(steps("x"), principal=other)
        assert commits[asked_after:].index(1) <= 1, "the commit under way, and then the step"
    await asyncio.gather(*batches)
    assert sorted(commits) == [1, 1, *[244] * 6, *[256] * 6], "each batch in two commits"


MOMENT_MS = 30
"""What an event takes to be placed in the next test; a group has about three of them."""


@pytest.mark.parametrize(("is_governed", "at_once"), [(False, 16), (True, 5)])
async def test_what_takes_long_to_be_placed_lets_others_come_between(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, is_governed: bool, at_once: int
) -> None:
    """An event counts as much work as another one, and takes a hundred times as long."""
    other = await rig.make_org("other")
    commits = count_commits(rig)
    if is_governed:
        await rig.do(CreatePrice("some-model", Rates(input=1)))
    appended = Plan.append

    def slowly(plan: Plan, *values: Any, **more: Any) -> Any:
        rig.clock.advance(MOMENT_MS)
        return appended(plan, *values, **more)

    monkeypatch.setattr(Plan, "append", slowly)
    batch = asyncio.ensure_future(rig.do(steps("x", 40)))
    alone = asyncio.ensure_future(rig.do(steps("y"), principal=other))
    done, _ = await asyncio.wait([batch, alone], return_when=asyncio.FIRST_COMPLETED)
    assert done == {alone}
    assert len((await batch).results) == 40
    assert (max(commits) <= at_once + 1, sum(commits)) == (True, 41)
    assert [event.seq for event in await rig.log()] == [*range(1, 41)]


async def test_commands_of_several_organisations_share_a_group_and_nothing_else(rig: Rig) -> None:
    other = await rig.make_org("other")
    await asyncio.gather(*(rig.do(steps("x", 2), principal=who) for who in (rig.principal, other) for _ in range(3)))
    for org in (rig.org, other.org):
        log = await rig.log(org)
        assert [(event.position, event.seq) for event in log] == [(n, n) for n in range(1, 7)]
        assert await verify_org(rig.store, org) == 0


async def test_a_caller_that_goes_away_before_its_turn_leaves_nothing(rig: Rig) -> None:
    waiting = [asyncio.ensure_future(rig.do(steps(f"t{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    rows = await rig.store.rows(rig.org)
    assert {row.trace_id for row in rows.runs} == {"t0", "t2"}


async def test_a_caller_that_goes_away_during_the_commit_stops_nothing(rig: Rig, monkeypatch: Any) -> None:
    store, begun = rig.store, asyncio.Event()
    real = store.writer.submit

    def submit(question: Any, *arguments: Any) -> Any:
        if question.__name__ == "write_changes":
            begun.set()
        return real(question, *arguments)

    monkeypatch.setattr(store.writer, "submit", submit)
    waiting = asyncio.ensure_future(rig.do(steps("x", 3)))
    await asyncio.wait_for(begun.wait(), DEADLINE_S)
    waiting.cancel()
    await rig.do(steps("y"))
    assert len(await rig.log()) == 4


# One bad command fails alone


class Poison(dict[str, str]):
    """Labels that nobody can look at: what a defect in planning looks like from outside."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError("a defect in the planner")


async def test_a_defect_in_one_command_fails_that_one_alone(rig: Rig) -> None:
    poison = CreateRun("thread", labels=Poison())
    answers = await all_at_once(rig, steps("a"), poison, steps("b", 2), poison, RegisterAgent("x"))
    assert [type(answer) for answer in answers[1::2]] == [Internal, Internal]
    assert answers[0].results[0].position == 1
    assert [result.position for result in answers[2].results] == [2, 3]
    assert isinstance(answers[4], AgentView)
    assert len((await rig.store.rows(rig.org)).runs) == 2
    await sound(rig)


@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
async def test_too_little_memory_for_one_command_is_said_to_that_one_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def lacking(_: Any) -> bool:
        raise fault

    monkeypatch.setattr(Poison, "__bool__", lacking)
    answers = await all_at_once(rig, steps("a"), CreateRun("thread", labels=Poison()), steps("b"))
    assert [type(answer) for answer in answers] == [Appended, OutOfMemory, Appended]
    await sound(rig)


async def test_a_defect_after_half_a_command_leaves_nothing_of_it(rig: Rig) -> None:
    """The second item of the command is no event at all."""
    broken = Append("steps", [draft(run=traced("half")), None])  # type: ignore[list-item]
    answers = await all_at_once(rig, steps("a"), broken, steps("b"))
    assert isinstance(answers[1], Internal)
    assert {row.trace_id for row in (await rig.store.rows(rig.org)).runs} == {"a", "b"}
    await sound(rig)


class Deaf:
    """A waiter whose connection breaks in the moment of telling."""

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def set_result(self, outcome: Any) -> None:
        raise RuntimeError("the handler is closed")

    def set_exception(self, error: BaseException) -> None:
        raise RuntimeError("the handler is closed")


async def test_who_cannot_be_told_has_nothing_stored_twice(rig: Rig) -> None:
    """What is committed is committed once, for it and for all that shared its group."""
    rig.engine.enlist(rig.principal, steps("deaf"), "steps", Deaf(), 0)
    answers = await all_at_once(rig, steps("a"), steps("b"))
    assert [answer.results[0].position for answer in answers] == [2, 3]
    assert len(await rig.log()) == 3
    await sound(rig)


class Slow(Deaf):
    """A waiter whose answer takes long to be written."""

    def __init__(self, rig: Rig, told: list[int], turn: list[int]) -> None:
        self._clock, self._told, self._turn = rig.clock, told, turn

    def set_result(self, outcome: Any) -> None:
        self._clock.advance(STEP_MS)
        self._told.append(self._turn[0])


async def test_between_answers_that_take_long_the_event_loop_goes_on(rig: Rig) -> None:
    told, turn = list[int](), [0]
    for number in range(20):
        rig.engine.enlist(rig.principal, steps(f"r{number}"), "steps", Slow(rig, told, turn), 0)
    while len(told) < 20:
        turn[0] += 1
        await asyncio.sleep(0)
    assert rig.engine._writer.groups == 1
    assert len(set(told)) == 20, "each answer is written in a turn of its own"
    await sound(rig)


async def test_what_goes_wrong_after_the_commit_has_nothing_stored_twice(rig: Rig) -> None:
    def broken(_plan: Any) -> None:
        raise ZeroDivisionError("a defect in publishing")

    rig.engine._writer._committed = broken
    answers = await all_at_once(rig, steps("a"), steps("b"))
    assert [answer.results[0].position for answer in answers] == [1, 2]
    assert len(await rig.log()) == 2
    await sound(rig)


async def test_what_breaks_behind_a_commit_is_told_and_not_carried_out_again(rig: Rig) -> None:
    break_behind_commits(rig)
    answers = await all_at_once(rig, steps("a"), steps("b"))
    assert [type(answer) for answer in answers] == [Internal] * 2
    assert len(await rig.log()) == 2


def break_behind_commits(rig: Rig) -> None:
    """What follows a commit breaks from now on."""

    def broken(_plan: Any) -> None:
        raise ZeroDivisionError("a defect behind the commit")

    rig.engine._writer._publish = broken


async def test_an_error_of_one_command_is_its_own(rig: Rig) -> None:
    missing = GetRun("nothing")
    answers = await all_at_once(rig, steps("a"), CreateRun("t", parent_run_id="nothing"), steps("b"))
    assert [type(answer).__name__ for answer in answers] == ["Appended", "Invalid", "Appended"]
    assert isinstance((await all_at_once(rig, missing))[0], Exception)
    await sound(rig)


async def test_figures_as_large_as_may_be_never_outgrow_the_store(rig: Rig) -> None:
    """Sums stop where 64 bits end; whoever shares the group notices nothing."""
    largest = Usage(input_tokens=MAX_NUMBER, cost_nanos=MAX_DOLLARS * NANOS_PER_DOLLAR)
    facts = Facts(effects=Effects(report=UsageReport(largest, "delta")))
    call = Append("steps", [draft(E.MODEL_CALL, traced(f"x{n % 2}"), facts=facts) for n in range(600)])
    for _ in range(4):
        answers = await all_at_once(rig, call, RegisterAgent("neighbour"))
        assert [type(answer).__name__ for answer in answers] == ["Appended", "AgentView"]
    rows = await rig.store.rows(rig.org)
    assert {row.usage.cost_nanos for row in rows.runs} == {MAX_SUM}
    assert {row.usage.all_tokens() for row in rows.runs} == {MAX_SUM}
    assert [(cell.usage.cost_nanos, cell.usage.input_tokens) for cell in rows.usage] == [(MAX_SUM, MAX_SUM)]
    await sound(rig)


# Storage that fails


async def limit_pages(rig: Rig, more: int) -> None:
    """The database may grow by so many pages, as on a disk that is almost full."""

    def limit(db: apsw.Connection) -> None:
        pages = db.pragma("page_count")
        db.pragma("max_page_count", pages + more)

    await rig.store.writer.call(limit)


def large(trace: str) -> Append:
    """An event that no few pages can hold."""
    noise = SeededIds().token(500_000)
    return Append("steps", [Draft(E.STEP, RunByTrace("t", trace), msgspec.json.encode({"x": noise}))])


async def test_a_full_disk_fails_the_group_leaves_nothing_and_passes(rig: Rig) -> None:
    await rig.do(steps("before", 3))
    rows, log = await rig.store.rows(rig.org), await rig.log()
    await limit_pages(rig, 2)
    answers = await all_at_once(rig, steps("before", event_id="id"), large("new"), RegisterAgent("someone"))
    assert [type(answer) for answer in answers] == [DiskFull] * 3
    assert all(answer.retry_after for answer in answers)
    assert await rig.log() == log
    assert msgspec.json.encode(await rig.store.rows(rig.org)) == msgspec.json.encode(rows)
    assert rig.fatal == [], "a full disk passes"
    # What fits goes on as if nothing had been, with the numbers that the failed group had been given.
    assert (await rig.do(steps("before", event_id="id"))).results[0].position == 4
    await limit_pages(rig, 1_000_000)
    assert (await rig.do(large("new"))).results[0].position == 5
    await sound(rig)


async def test_damaged_pages_fail_the_commands_that_need_them_alone(rig: Rig) -> None:
    await rig.do(steps("before"))
    await damage_event_ids(rig)
    poison = {3, 4, 9}
    answers = await all_at_once(rig, *partly_with_ids(poison, 12))
    assert {n for n, answer in enumerate(answers) if isinstance(answer, StorageFailed)} == poison, answers
    assert all(answers[n].is_damage for n in poison)
    assert rig.fatal == [], "what needs other pages is stored"
    assert rig.store.obstacle() is None
    with pytest.raises(StorageFailed, match="again and again"):
        await rig.store.ping()
    assert [event.position for event in await rig.log()] == list(range(1, 11)), "nothing of what failed is there"


async def test_what_breaks_behind_the_commit_of_a_half_is_not_carried_out_again(rig: Rig) -> None:
    """A group that has met damage is committed in halves."""
    await damage_event_ids(rig)
    break_behind_commits(rig)
    answers = await all_at_once(rig, *partly_with_ids({9}, 12))
    assert isinstance(answers[9], StorageFailed)
    assert {type(answer) for n, answer in enumerate(answers) if n != 9} == {Internal}
    assert len(await rig.log()) == 11


async def damage_event_ids(rig: Rig) -> None:
    """Whatever is looked up by the id of an event meets a damaged page."""

    def damage(db: apsw.Connection) -> None:
        db.pragma("writable_schema", True)
        db.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'event')"
            " WHERE name = 'event_by_id'"
        )
        db.execute("PRAGMA writable_schema = RESET")

    await rig.store.writer.call(damage)


def partly_with_ids(numbers: set[int], count: int) -> list[Append]:
    """So many commands, those of these numbers with an id to be looked up."""
    return [steps(f"t{n}", event_id=f"id{n}") if n in numbers else steps(f"t{n}") for n in range(count)]


async def test_the_cache_never_hears_of_a_failed_commit(rig: Rig) -> None:
    await limit_pages(rig, 2)
    with pytest.raises(StorageFailed):
        await rig.do(large("x"))
    cache = rig.engine._writer._cache
    rows = (cache.runs, cache.refs, cache.threads, cache.agents, cache.lanes, cache.event_ids)
    assert not any(rows), "what was placed is believed although it was never stored"
    assert [(known.position, known.runs) for known in cache.counters.values()] == [(0, 0)]


async def test_a_look_up_that_fails_half_way_leaves_nothing(rig: Rig) -> None:
    """The event is planned, then its checkpoint cannot be read: half a plan must not be committed."""
    await rig.do(steps("before"))
    await rig.store.writer.call(lambda db: db.execute("ALTER TABLE checkpoint RENAME TO gone") and None)
    state = draft(E.CHECKPOINT, traced("new"), facts=Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle"))))
    answers = await all_at_once(rig, Append("steps", [state]), steps("before"))
    assert isinstance(answers[0], StorageFailed)
    await rig.store.writer.call(lambda db: db.execute("ALTER TABLE gone RENAME TO checkpoint") and None)
    await rig.do(Append("steps", [state]))
    assert [row.trace_id for row in (await rig.store.rows(rig.org)).runs].count("new") == 1
    await sound(rig)


async def test_after_a_fault_of_the_disk_nothing_is_written_any_more(rig: Rig) -> None:
    """The writer cannot know what is on such a disk: it says so, and refuses until a restart has looked."""
    await rig.do(steps("x"))

    def break_down(*_: Any) -> Any:
        raise apsw.IOError("disk I/O error")

    await rig.store.writer.call(lambda db: db.set_commit_hook(break_down))
    for _ in range(2):
        with pytest.raises(StorageFailed):
            await rig.do(steps("x"))
    await wait_until_async(lambda: rig.fatal, "the failure to be told")
    assert len(rig.fatal) == 1
    with pytest.raises(StorageFailed):
        await rig.store.writer.call(lambda db: db.set_commit_hook(None))
    assert len(await rig.log()) == 1
    assert (await rig.do(GetRun((await rig.store.rows(rig.org)).runs[0].run_id))).row.last_seq == 1, "reading goes on"


# Back-pressure


async def test_a_full_queue_refuses_and_stores_nothing(tmp_path: Path) -> None:
    async with open_rig(tmp_path, settings=EngineSettings(max_queue=8)) as rig:
        other = await rig.make_org("other")
        answers = await asyncio.gather(
            *(rig.do(steps(f"t{n}")) for n in range(9)),
            *(rig.do(steps(f"t{n}"), principal=other) for n in range(3)),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(refused) == 3 + 1
        assert all(error.retry_after for error in refused)
        assert len(await rig.log()) == 5, "an organisation leaves room for others, and gives way when there is none"
        assert len(await rig.log(other.org)) == 3
        assert rig.engine.figures()["queue"] == 0
        await rig.do(steps("again"))


async def test_an_engine_that_stops_finishes_what_it_took_and_takes_no_more(rig: Rig) -> None:
    waiting = [asyncio.ensure_future(rig.do(steps(f"t{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await rig.engine.stop()
    assert len(await asyncio.gather(*waiting)) == 20
    with pytest.raises(Overloaded):
        await rig.do(steps("late"))
    assert len(await rig.log()) == 20


# Idempotency-Key


def key(name: str, body: str, route: str = "POST /x") -> Idempotency:
    """A key as it came; the reply that is kept is the outcome's run id."""
    return Idempotency(route, name, body.encode(), lambda outcome: (201, outcome.run_id.encode()))


async def test_the_same_key_and_body_are_answered_with_the_first_reply(rig: Rig) -> None:
    made = await rig.do(CreateRun("t"), idempotency=key("k", "body"))
    assert isinstance(made, RunCreated)
    for forget in (False, True):
        if forget:
            rig.engine.forget()
        again = await rig.do(CreateRun("t"), idempotency=key("k", "body"))
        assert again == Replayed(201, made.run_id.encode())
    assert len((await rig.store.rows(rig.org)).runs) == 1


async def test_the_same_key_with_another_body_is_refused(rig: Rig) -> None:
    await rig.do(CreateRun("t"), idempotency=key("k", "body"))
    with pytest.raises(IdempotencyMismatch):
        await rig.do(CreateRun("t"), idempotency=key("k", "other"))


async def test_a_key_is_of_its_route_and_organisation(rig: Rig) -> None:
    other = await rig.make_org("other")
    await rig.do(CreateRun("t"), idempotency=key("k", "body"))
    assert isinstance(await rig.do(CreateRun("t"), idempotency=key("k", "body", "POST /y")), RunCreated)
    assert isinstance(await rig.do(CreateRun("t"), idempotency=key("k", "body"), principal=other), RunCreated)


async def test_while_the_first_is_in_flight_the_second_is_told_to_wait(rig: Rig) -> None:
    first = asyncio.ensure_future(rig.do(CreateRun("t"), idempotency=key("k", "body")))
    await asyncio.sleep(0)
    with pytest.raises(InProgress) as waiting:
        await rig.do(CreateRun("t"), idempotency=key("k", "body"))
    assert waiting.value.retry_after == 1
    with pytest.raises(IdempotencyMismatch):
        await rig.do(CreateRun("t"), idempotency=key("k", "other"))
    made = await first
    assert await rig.do(CreateRun("t"), idempotency=key("k", "body")) == Replayed(201, made.run_id.encode())


async def test_a_key_whose_caller_went_away_is_free_again(rig: Rig) -> None:
    first = asyncio.ensure_future(rig.do(CreateRun("t"), idempotency=key("k", "body")))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert isinstance(await rig.do(CreateRun("t"), idempotency=key("k", "body")), RunCreated | Replayed)
    assert len((await rig.store.rows(rig.org)).runs) == 1


async def test_an_error_is_not_kept(rig: Rig) -> None:
    with pytest.raises(Exception, match="parent_run_id"):
        await rig.do(CreateRun("t", parent_run_id="nothing"), idempotency=key("k", "body"))
    assert isinstance(await rig.do(CreateRun("t"), idempotency=key("k", "body")), RunCreated)


async def test_a_reply_commits_with_what_it_speaks_of(rig: Rig) -> None:
    await limit_pages(rig, 0)
    with pytest.raises(StorageFailed):
        await rig.do(large("x"), idempotency=Idempotency("r", "k", b"b", lambda _: (200, b"")))
    async with rig.store.begin() as unit:
        assert await looked_up(unit, Kind.REPLY, (rig.org, "r\nk")) == {}


async def test_keys_are_forgotten_after_a_day(rig: Rig) -> None:
    await rig.do(CreateRun("t"), idempotency=key("k", "body"))
    for hours, kind in ((23, Replayed), (2, RunCreated)):
        await at_rest(rig.store)
        rig.clock.advance(hours * 3_600_000)
        await rig.engine.sweep()
        assert isinstance(await rig.do(CreateRun("t"), idempotency=key("k", "body")), kind)


async def test_a_key_of_a_claim_that_found_nothing_is_kept_once_nobody_waits(rig: Rig) -> None:
    keep = Idempotency("POST /claim", "k", b"body", lambda _: (204, b""))
    assert isinstance(await rig.do(Claim("w", 60_000), idempotency=keep), NothingToClaim)
    assert await rig.do(Claim("w", 60_000), idempotency=keep) == Replayed(204, b"")


# Time


async def test_a_group_has_one_time_and_the_clock_may_go_back(rig: Rig) -> None:
    await rig.do(steps("x", 2))
    assert isinstance(rig.clock, FakeClock)
    rig.clock.jump(-3_600_000)
    await rig.do(steps("x", 2))
    times = [event.recorded_at for event in await rig.log()]
    assert times[0] == times[1] == times[2] + 3_600_000
    await sound(rig)


async def test_stored_is_what_is_read_back(rig: Rig) -> None:
    [result] = (await rig.do(steps("x"))).results
    assert isinstance(result, Stored)
    [event] = await rig.events(result.run_id)
    assert (event.position, event.seq) == (result.position, result.seq)
