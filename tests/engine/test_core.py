"""The engine's front: which command goes where, what a long poll waits for, and how everything ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, at_rest, open_rig
from tests.support.wait import wait_until_async
from towerlog.dialects.base import FrameStyle
from towerlog.engine.core import Engine
from towerlog.engine.timers import loop
from towerlog.engine.verbs import VERBS
from towerlog.errors import NotFound, Overloaded, StorageFailed
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import Draft, EventType, History, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.run import Status
from towerlog.wake.local import LocalWake

E = EventType
DEADLINE_S = 60
LONG_MS = 3_600_000
LEASE_MS = 60_000


async def soon(work: Awaitable[Any]) -> Any:
    """The result, which must come in time."""
    return await asyncio.wait_for(work, DEADLINE_S)


async def begin(rig: Rig, command: Any, **named: Any) -> asyncio.Task[Any]:
    """A long poll that has come to its waiting."""
    before = len(waiters(rig))
    task = asyncio.create_task(rig.do(command, **named))
    await wait_until_async(lambda: task.done() or len(waiters(rig)) > before, "the long poll to wait")
    # Entered; now until it has looked and found nothing.
    await wait_until_async(lambda: task.done() or rig.engine.figures()["queue"] == 0, "its first look")
    await at_rest(rig.store)
    return task


def waiters(rig: Rig) -> list[Any]:
    """Everybody who waits."""
    polls = rig.engine._polls
    return [*polls._claims, *(ticket for tickets in polls._by_run.values() for ticket in tickets)]


async def held(rig: Rig) -> str:
    """A run that worker `w` holds; its id."""
    created = await rig.do(c.CreateRun("t"))
    await rig.do(c.Claim("w", LEASE_MS))
    return str(created.run_id)


# Where commands go


def test_every_writing_command_goes_through_the_writer() -> None:
    assert set(VERBS) == set(get_args(c.Write))
    assert not set(VERBS) & set(get_args(q.Read))


async def test_what_only_reads_never_waits_for_the_writer(rig: Rig) -> None:
    await rig.append(draft())
    groups = rig.engine.figures()["groups"]
    async with rig.store.begin():  # nobody else may write now
        page = await soon(rig.do(q.ListRuns(q.RunFilter(), 10)))
        writing = asyncio.create_task(rig.do(c.RegisterAgent("a")))
        assert len(page.rows) == 1
        assert not writing.done()
    await soon(writing)
    assert rig.engine.figures()["groups"] == groups + 1


NO_DAMAGE = {
    "deliveries_given_up": 0,
    "nodes": 1,
    "leads": 1,
    "clock_off_seconds": 0,
    "damaged": 0,
    "read_failures": 0,
    "failed_checkpoints": 0,
    "disk_guard_bytes": 0,
    "writes_refused": 0,
}


async def test_figures_count_what_was_done(rig: Rig) -> None:
    for _ in range(3):
        await rig.append(draft())
    await rig.do(q.ListThreads(1))
    figures = dict(rig.engine.figures())
    assert figures.pop("disk_free_bytes") > 0
    told = {"commands": 3, "groups": 3, "reloads": 0, "queue": 0, "followers": 0}
    assert figures == told | {"long_writes": 0, "longest_write_ms": figures["longest_write_ms"]} | NO_DAMAGE


# Claiming


async def test_a_claim_waits_for_a_run_to_come(rig: Rig) -> None:
    task = await begin(rig, c.Claim("w", LEASE_MS, wait_ms=LONG_MS))
    assert not task.done()
    created = await rig.do(c.CreateRun("t", input=b'"hi"'))
    claimed = await soon(task)
    assert isinstance(claimed, o.Claimed)
    assert (claimed.view.row.run_id, claimed.input, claimed.lane.worker_id) == (created.run_id, b'"hi"', "w")
    assert not rig.engine._polls


async def test_one_run_is_given_to_one_of_those_who_wait(rig: Rig) -> None:
    tasks = [await begin(rig, c.Claim(f"w{number}", LEASE_MS, wait_ms=LONG_MS)) for number in range(4)]
    for number in range(4):
        await rig.do(c.CreateRun(f"t{number}"))
        await wait_until_async(lambda n=number: sum(task.done() for task in tasks) >= n + 1, "one more claim")
        assert sum(task.done() for task in tasks) == number + 1
    claimed = [task.result() for task in tasks]
    assert len({one.view.row.run_id for one in claimed}) == 4


async def test_a_run_costs_nothing_for_those_who_cannot_take_it(rig: Rig) -> None:
    """One command makes it and one claims it, whoever else waits."""
    idle = [await begin(rig, c.Claim("idle", LEASE_MS, ("other",), wait_ms=LONG_MS)) for _ in range(20)]
    fit = [await begin(rig, c.Claim("fit", LEASE_MS, ("a",), {"zone": "b"}, LONG_MS)) for _ in range(20)]
    await wait_until_async(lambda: rig.engine.figures()["commands"] >= 40, "every claim to have looked once")
    commands = rig.engine.figures()["commands"]
    for number in range(3):
        await rig.do(c.CreateRun(f"t{number}", agent="a", labels={"zone": "b"}))
        await wait_until_async(lambda n=number: sum(task.done() for task in fit) == n + 1, "one more claim")
    assert rig.engine.figures()["commands"] == commands + 6
    assert [task.done() for task in fit] == [True] * 3 + [False] * 17, "the oldest first"
    assert not any(task.done() for task in idle)
    rig.engine.drain()
    await soon(asyncio.gather(*idle, *fit))


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_the_run_of_a_claim_that_comes_to_nothing_goes_to_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first, second = [await begin(rig, c.Claim(name, LEASE_MS, wait_ms=LONG_MS)) for name in ("w1", "w2")]
    submit = rig.engine._waits._submit

    async def submitting(principal: Any, command: Any, *rest: Any) -> Any:
        if command.worker_id == "w1":
            raise StorageFailed("not now") if how == "fails" else asyncio.CancelledError
        return await submit(principal, command, *rest)

    monkeypatch.setattr(rig.engine._waits, "_submit", submitting)
    created = await rig.do(c.CreateRun("t"))
    with pytest.raises((StorageFailed, asyncio.CancelledError)):
        await soon(first)
    claimed = await soon(second)
    assert (claimed.view.row.run_id, claimed.lane.worker_id) == (created.run_id, "w2")


async def test_a_run_that_comes_between_look_and_wait_is_claimed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = rig.engine._polls.wait

    async def late(*arguments: Any) -> None:
        monkeypatch.undo()
        await rig.do(c.CreateRun("t"))
        await wait(*arguments)

    monkeypatch.setattr(rig.engine._polls, "wait", late)
    assert isinstance(await soon(rig.do(c.Claim("w", LEASE_MS, wait_ms=LONG_MS))), o.Claimed)


@pytest.mark.parametrize("news", ["release", "expiry", "unblocked"])
async def test_whatever_makes_a_run_claimable_wakes_a_claim(rig: Rig, news: str) -> None:
    run_id = await held(rig)
    blocked = await rig.do(c.CreateRun("t"))
    task = await begin(rig, c.Claim("w2", LEASE_MS, wait_ms=LONG_MS))
    assert not task.done()
    if news == "release":
        await rig.do(c.Release(run_id, "w"))
    elif news == "expiry":
        rig.clock.advance(LEASE_MS)
        await rig.engine.sweep()
    else:
        await rig.do(c.Finish(run_id, "w", Draft(E.RUN_COMPLETED, RunById(run_id), b"{}")))
    claimed = await soon(task)
    assert claimed.view.row.run_id == (blocked.run_id if news == "unblocked" else run_id)


async def test_a_claim_is_not_answered_with_another_organisations_run(rig: Rig) -> None:
    other = await rig.make_org("other")
    task = await begin(rig, c.Claim("w", LEASE_MS, wait_ms=LONG_MS), principal=other)
    await rig.do(c.CreateRun("t"))
    await rig.do(q.ListThreads(1))
    assert not task.done()
    created = await rig.do(c.CreateRun("t"), principal=other)
    assert (await soon(task)).view.row.run_id == created.run_id


async def test_a_claim_ends_empty_handed_when_its_time_is_over(rig: Rig) -> None:
    task = asyncio.create_task(rig.do(c.Claim("w", LEASE_MS, wait_ms=20)))
    await wait_until_async(lambda: waiters(rig), "the claim to wait")
    rig.clock.advance(20)
    assert await soon(task) == o.NothingToClaim()
    assert await soon(rig.do(c.Claim("w", LEASE_MS))) == o.NothingToClaim()
    assert not rig.engine._polls


async def test_a_caller_that_goes_away_is_forgotten(rig: Rig) -> None:
    task = await begin(rig, c.Claim("gone", LEASE_MS, wait_ms=LONG_MS))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not rig.engine._polls
    await rig.do(c.CreateRun("t"))
    assert (await rig.do(c.Claim("w", LEASE_MS))).lane.worker_id == "w"


async def test_a_waiting_claims_key_keeps_its_last_answer(rig: Rig) -> None:
    def encode(outcome: Any) -> tuple[int, bytes]:
        return 200, type(outcome).__name__.encode()

    keyed = c.Idempotency("/claim", "key", b"digest", encode)
    command = c.Claim("w", LEASE_MS, wait_ms=LONG_MS)
    task = await begin(rig, command, idempotency=keyed)
    await rig.do(c.CreateRun("t"))
    assert isinstance(await soon(task), o.Claimed)
    assert await soon(rig.do(command, idempotency=keyed)) == o.Replayed(200, b"Claimed")


async def test_a_later_attempt_goes_on_from_the_state_of_the_lost_one(rig: Rig) -> None:
    created = await rig.do(c.CreateRun("t", agent="a", input=b'{"ask":1}'))
    first = await rig.do(c.Claim("w1", LEASE_MS))
    assert (first.checkpoint, first.input) == (None, b'{"ask":1}')
    state = Facts(effects=Effects(checkpoint=CheckpointFacts(3, "completed")))
    history = History([b'{"content":"hi"}'], None)
    item = draft(E.CHECKPOINT, RunById(created.run_id), {"step_index": 3}, agent="a", facts=state, history=history)
    await rig.do(c.Report(created.run_id, "w1", [item]))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    again = await rig.do(c.ClaimRun(created.run_id, "w2", LEASE_MS))
    assert again.input == b'{"ask":1}'
    assert (again.checkpoint.row.step_index, again.checkpoint.history) == (3, [b'{"content":"hi"}'])
    assert again.lane.attempt == 2


async def test_a_claim_without_a_state_brings_what_the_thread_has_said_before(rig: Rig) -> None:
    state = Facts(effects=Effects(checkpoint=CheckpointFacts(3, "completed")))
    first = await rig.do(c.CreateRun("t", agent="a"))
    await rig.do(c.Claim("w", LEASE_MS))
    history = History([b'{"content":"hi"}'], None)
    item = draft(E.CHECKPOINT, RunById(first.run_id), {"step_index": 3}, agent="a", facts=state, history=history)
    await rig.do(c.Report(first.run_id, "w", [item]))
    assert (await rig.do(c.ClaimRun(first.run_id, "w", LEASE_MS))).thread_history == [], "it has a state of its own"
    await rig.do(c.Finish(first.run_id, "w", draft(E.RUN_COMPLETED, RunById(first.run_id))))
    told = []
    for command in (c.CreateRun("t"), c.CreateRun("t", parent_run_id=first.run_id), c.CreateRun("other")):
        run = await rig.do(command)
        told.append((await rig.do(c.ClaimRun(run.run_id, "w", LEASE_MS))).thread_history)
        await rig.do(c.Finish(run.run_id, "w", draft(E.RUN_COMPLETED, RunById(run.run_id))))
    assert told == [[b'{"content":"hi"}'], [], []], "the next run; a child; another thread"


async def test_a_claim_that_waits_misses_no_run_that_is_made_in_its_own_group(rig: Rig) -> None:
    groups = rig.engine.figures()["groups"]
    made = rig.do(c.CreateRun("t", input=b'"hi"'))
    created, claimed = await soon(asyncio.gather(made, rig.do(c.Claim("w", LEASE_MS, wait_ms=LONG_MS))))
    assert rig.engine.figures()["groups"] <= groups + 2, "made and asked for in one group, claimed in the next"
    assert (claimed.view.row.run_id, claimed.input) == (created.run_id, b'"hi"')


# Reporting

NEWS: dict[str, Callable[[Rig, str], Awaitable[Any]]] = {
    "cancel": lambda rig, run_id: rig.do(c.CancelRun(run_id)),
    "message": lambda rig, run_id: rig.do(c.GiveInput(run_id, "yes")),
    "end": lambda rig, run_id: rig.append(draft(E.RUN_COMPLETED, RunById(run_id))),
}


def told(reported: Any, news: str) -> bool:
    """Whether a report's answer speaks of the news."""
    row = reported.view.row
    return row.status is Status.COMPLETED if news == "end" else [pending.type for pending in row.pending] == [news]


@pytest.mark.parametrize("news", sorted(NEWS))
async def test_a_report_waits_until_something_is_wanted_of_its_run(rig: Rig, news: str) -> None:
    run_id = await held(rig)
    task = await begin(rig, c.Report(run_id, "w", [draft(run=RunById(run_id))], wait_ms=LONG_MS))
    assert not task.done()
    await rig.append(draft(run=RunById(run_id)), draft(run=traced("another")))
    assert not task.done(), "what nobody wants of it is no news"
    await NEWS[news](rig, run_id)
    reported = await soon(task)
    assert told(reported, news)
    assert [result.seq for result in reported.results] == [4]
    assert not rig.engine._polls


@pytest.mark.parametrize("news", sorted(NEWS))
async def test_a_report_that_finds_something_wanted_does_not_wait(rig: Rig, news: str) -> None:
    run_id = await held(rig)
    await NEWS[news](rig, run_id)
    assert told(await soon(rig.do(c.Report(run_id, "w", [], wait_ms=LONG_MS))), news)


@pytest.mark.parametrize("news", sorted(NEWS))
@pytest.mark.parametrize("moment", ["before it looks", "after it has looked"])
async def test_what_comes_between_report_and_wait_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, news: str, moment: str
) -> None:
    run_id = await held(rig)
    look = rig.engine._waits._look_up

    async def looking(*arguments: Any) -> Any:
        monkeypatch.undo()
        if moment == "before it looks":
            await NEWS[news](rig, run_id)
        found = await look(*arguments)
        if moment == "after it has looked":
            await NEWS[news](rig, run_id)
        return found

    monkeypatch.setattr(rig.engine._waits, "_look_up", looking)
    assert told(await soon(rig.do(c.Report(run_id, "w", [], wait_ms=LONG_MS))), news)


@pytest.mark.parametrize("news", sorted(NEWS))
async def test_what_comes_before_the_report_is_announced_is_told_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    """Nobody is woken for it: the wait had not been announced yet."""
    run_id = await held(rig)
    submit = rig.engine._write

    async def submitting(*arguments: Any) -> Any:
        monkeypatch.undo()
        outcome = await submit(*arguments)
        await NEWS[news](rig, run_id)
        return outcome

    monkeypatch.setattr(rig.engine, "_write", submitting)
    assert told(await soon(rig.do(c.Report(run_id, "w", [], wait_ms=LONG_MS))), news)


async def test_a_report_does_not_wait_its_lease_away(rig: Rig) -> None:
    created = await rig.do(c.CreateRun("t"))
    await rig.do(c.Claim("w", 40))
    reported = await soon(rig.do(c.Report(created.run_id, "w", [], wait_ms=LONG_MS)))
    assert reported.view.row.pending == ()


async def test_a_report_is_answered_when_its_time_is_over(rig: Rig) -> None:
    run_id = await held(rig)
    reported = await soon(rig.do(c.Report(run_id, "w", [], wait_ms=5)))
    assert (reported.view.row.pending, reported.lane.reported) == ((), True)


# The end


async def test_a_drain_answers_every_long_poll_at_once(rig: Rig) -> None:
    run_id = await held(rig)
    reporting = await begin(rig, c.Report(run_id, "w", [], wait_ms=LONG_MS))
    claiming = await begin(rig, c.Claim("w2", LEASE_MS, wait_ms=LONG_MS))
    rig.engine.drain()
    assert await soon(claiming) == o.NothingToClaim()
    assert (await soon(reporting)).view.row.pending == ()
    assert await soon(rig.do(c.Claim("w3", LEASE_MS, wait_ms=LONG_MS))) == o.NothingToClaim()
    await rig.append(draft())  # other work goes on


async def test_a_stop_finishes_what_was_taken_and_takes_no_more(rig: Rig) -> None:
    tasks = [asyncio.create_task(rig.append(draft(run=traced(str(number))))) for number in range(50)]
    await asyncio.sleep(0)
    await soon(rig.engine.stop())
    await soon(asyncio.gather(*tasks))
    assert len(await rig.log()) == 50
    with pytest.raises(Overloaded):
        await rig.append(draft())
    assert len((await rig.do(q.ListRuns(q.RunFilter(), 100))).rows) == 50, "reading needs no writer"


async def test_an_engine_keeps_time_by_itself_from_start_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SWEEP_SECONDS", 0.005)
    async with open_rig(tmp_path) as rig:
        run_id = await held(rig)
        await rig.engine.stop()
        engine = Engine(rig.store, LocalWake(), rig.clock, rig.ids)
        await engine.start()
        number = (await rig.run(run_id)).run

        async def is_queued() -> bool:
            # Again and again: what passes while a sweep commits is no time in which the server could hear.
            rig.clock.advance(LEASE_MS)
            lane = await rig.store.lane(rig.org, number)
            return lane is not None and lane.state is QueueState.QUEUED

        await wait_until_async(is_queued, "the lease to be taken")
        await soon(engine.stop())
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("towerlog")]


async def test_what_cannot_be_followed_leaves_no_follower(rig: Rig) -> None:
    for command in (q.FollowRun("nothing"), q.FollowAgent("nothing", 5)):
        with pytest.raises(NotFound):
            await rig.engine.follow(rig.principal, command, FrameStyle("plain", lambda *_: b"", b""))
    assert rig.engine.figures()["followers"] == 0
