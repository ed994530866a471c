"""Upkeep: what time alone brings about, no sooner than it is due, whatever becomes of the wall clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from tests.support.factories import draft
from tests.support.rig import Rig, at_rest
from tests.support.wait import wait_until_async
from towerlog.ambient import GRACE_MS
from towerlog.engine.timers import cancels, leases, loop
from towerlog.engine.timers.cancels import OverdueCancels
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import Timer
from towerlog.engine.timers.old_rows import DROP_SWEEP_MS, DROPPED_AT_ONCE, REPLY_LIFE_MS
from towerlog.errors import Overloaded, StorageFailed
from towerlog.model.command import CancelRun, Claim, CreateRun, Idempotency, RegisterAgent
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Facts
from towerlog.model.lane import MAX_ATTEMPTS, QueueState
from towerlog.model.outcome import Replayed, Stored
from towerlog.model.principal import Principal
from towerlog.model.run import Status
from towerlog.store.values import Changes, StoredReply

LEASE_MS = 60_000
CANCEL_MS = 30_000
DAY_MS = 24 * 3600 * 1000


async def held_run(rig: Rig, thread: str = "t", lease_ms: int = LEASE_MS, who: Principal | None = None) -> str:
    """A run that worker `w` holds; its id."""
    who = who or rig.principal
    created = await rig.do(CreateRun(thread), principal=who)
    claimed = await rig.do(Claim("w", lease_ms), principal=who)
    assert claimed.view.row.run_id == created.run_id
    return str(created.run_id)


def remembered(rig: Rig) -> dict[int, int]:
    """The runs whose deadlines run."""
    [service] = [one for one in rig.engine.services.deadlines._services if isinstance(one, OverdueCancels)]
    return service._since


async def lane_state(rig: Rig, run_id: str) -> QueueState:
    """Where its lane is, as stored."""
    lane = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    assert lane is not None
    return lane.state


async def cancelling_run(rig: Rig) -> str:
    """A running run whose end was asked for."""
    run_id = await held_run(rig, lease_ms=DAY_MS)
    await rig.do(CancelRun(run_id))
    assert (await rig.run(run_id)).status is Status.CANCELLING
    return run_id


# Leases


async def test_a_lease_is_taken_when_it_has_run_out_and_not_a_moment_before(rig: Rig) -> None:
    run_id = await held_run(rig)
    rig.clock.advance(LEASE_MS - 1)
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.HELD
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.QUEUED
    assert (await rig.run(run_id)).status is Status.QUEUED
    assert (await rig.events(run_id))[-1].type is EventType.LANE_LOST


async def test_a_sweep_that_finds_nothing_writes_nothing(rig: Rig) -> None:
    run_id = await held_run(rig)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    before = await rig.events(run_id)
    for _ in range(3):
        rig.clock.advance(LEASE_MS)
        await rig.engine.sweep()
    assert await rig.events(run_id) == before


async def test_after_its_last_attempt_a_run_is_lost(rig: Rig) -> None:
    run_id = await held_run(rig)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert (await rig.run(run_id)).attempt == attempt
        rig.clock.advance(LEASE_MS)
        await rig.engine.sweep()
        if attempt < MAX_ATTEMPTS:
            await rig.do(Claim("w", LEASE_MS))
    row = await rig.run(run_id)
    assert (row.status, row.error) == (Status.LOST, f"lost by its worker {MAX_ATTEMPTS} times")
    assert await lane_state(rig, run_id) is QueueState.DONE


async def test_leases_run_on_the_steady_clock(rig: Rig) -> None:
    run_id = await held_run(rig)
    rig.clock.jump(10 * LEASE_MS)
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.HELD
    rig.clock.jump(-20 * LEASE_MS)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.QUEUED


async def test_one_sweep_looks_after_every_organisation(rig: Rig) -> None:
    other = await rig.make_org("other")
    await held_run(rig)
    theirs = await held_run(rig, who=other)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    row = await rig.store.run(other.org, theirs)
    assert row is not None
    assert row.status is Status.QUEUED
    assert {event.org for event in await rig.log(other.org)} == {other.org}


@pytest.mark.parametrize("count", [4, 5])
async def test_a_sweep_of_leases_goes_on_until_none_is_due(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(leases, "SWEEP_ROWS", 2)
    runs = [await held_run(rig, f"t{number}") for number in range(count)]
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert [await lane_state(rig, run_id) for run_id in runs] == [QueueState.QUEUED] * count


@pytest.mark.parametrize("count", [4, 5])
async def test_the_deadlines_of_all_cancels_begin_with_the_same_sweep(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(cancels, "SWEEP_ROWS", 2)
    other = await rig.make_org("other")
    runs = [await held_run(rig, f"t{number}", DAY_MS, rig.principal) for number in range(count)]
    theirs = await held_run(rig, "t", DAY_MS, other)
    for run_id in runs:
        await rig.do(CancelRun(run_id))
    await rig.do(CancelRun(theirs), principal=other)
    await rig.engine.sweep()
    assert len(remembered(rig)) == count + 1
    rig.clock.advance(CANCEL_MS)
    await rig.engine.sweep()
    assert [(await rig.run(run_id)).status for run_id in runs] == [Status.CANCELLED] * count
    row = await rig.store.run(other.org, theirs)
    assert row is not None
    assert (row.status, row.forced) == (Status.CANCELLED, True)


async def test_a_lost_lease_ends_a_run_that_is_being_cancelled(rig: Rig) -> None:
    run_id = await held_run(rig)
    await rig.do(CancelRun(run_id))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    row = await rig.run(run_id)
    assert (row.status, row.forced) == (Status.CANCELLED, True)
    assert EventType.LANE_LOST not in [event.type for event in await rig.events(run_id)]


# Cancels


async def test_a_cancel_that_nobody_answers_is_forced_at_its_deadline(rig: Rig) -> None:
    run_id = await cancelling_run(rig)
    await rig.engine.sweep()
    rig.clock.advance(CANCEL_MS - 1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLING
    rig.clock.advance(1)
    await rig.engine.sweep()
    row = await rig.run(run_id)
    assert (row.status, row.forced) == (Status.CANCELLED, True)
    assert await lane_state(rig, run_id) is QueueState.DONE


async def test_a_cancel_that_is_answered_in_time_is_not_forced(rig: Rig) -> None:
    run_id = await cancelling_run(rig)
    await rig.engine.sweep()
    await rig.append(draft(EventType.RUN_CANCELLED, RunById(run_id)))
    rig.clock.advance(CANCEL_MS)
    await rig.engine.sweep()
    row = await rig.run(run_id)
    assert (row.status, row.forced, row.last_seq) == (Status.CANCELLED, False, row.ended_seq)
    assert not remembered(rig), "what has ended is not remembered"


@pytest.mark.parametrize("jump_ms", [-10 * DAY_MS, 10 * DAY_MS])
async def test_whoever_sets_the_wall_clock_neither_hurries_nor_delays_a_cancel(rig: Rig, jump_ms: int) -> None:
    run_id = await cancelling_run(rig)
    await rig.engine.sweep()
    rig.clock.jump(jump_ms)
    rig.clock.advance(CANCEL_MS - 1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLING
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLED


async def test_a_deadline_runs_on_behind_a_sweep_that_could_not_write(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await cancelling_run(rig)
    await rig.engine.sweep()
    rig.clock.advance(CANCEL_MS - 1)
    with monkeypatch.context() as patch:
        patch.setattr(rig.store.space, "is_low", lambda: True)
        await rig.engine.sweep()
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS + 1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLED


async def test_a_run_without_a_lane_is_forced_as_well(rig: Rig) -> None:
    [stored] = await rig.append(draft())
    assert isinstance(stored, Stored)
    await rig.do(CancelRun(stored.run_id))
    await rig.engine.sweep()
    rig.clock.advance(CANCEL_MS)
    await rig.engine.sweep()
    assert (await rig.run(stored.run_id)).status is Status.CANCELLED


async def test_every_cancel_has_a_deadline_of_its_own(rig: Rig) -> None:
    runs = []
    for _ in range(2):
        created = await rig.do(CreateRun(f"thread {len(runs)}"))
        await rig.do(Claim("w", DAY_MS))
        await rig.do(CancelRun(created.run_id))
        await rig.engine.sweep()
        runs.append(created.run_id)
        rig.clock.advance(CANCEL_MS // 2)
    await rig.engine.sweep()
    assert [(await rig.run(run_id)).status for run_id in runs] == [Status.CANCELLED, Status.CANCELLING]
    rig.clock.advance(CANCEL_MS // 2)
    await rig.engine.sweep()
    assert (await rig.run(runs[1])).status is Status.CANCELLED


# Replies


async def test_a_reply_is_kept_for_a_day_and_then_forgotten(rig: Rig) -> None:
    keyed = Idempotency("/agents", "key", b"digest", lambda _: (200, b"first"))

    async def again() -> Any:
        return await rig.do(RegisterAgent("a"), idempotency=keyed)

    await again()
    for _ in range(24):
        assert await again() == Replayed(200, b"first")
        await at_rest(rig.store)
        rig.clock.advance(REPLY_LIFE_MS // 24)
        await rig.engine.sweep()
    assert await again() == Replayed(200, b"first"), "a day is not over before it is over"
    await at_rest(rig.store)
    rig.clock.advance(DROP_SWEEP_MS + 1)
    await rig.engine.sweep()
    assert not isinstance(await again(), Replayed)


async def test_old_replies_are_looked_for_once_an_hour(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    drop, looked = rig.store.replies_drop, []

    async def counted(before_ms: int, limit: int) -> int:
        looked.append(before_ms)
        return await drop(before_ms, limit)

    monkeypatch.setattr(rig.store, "replies_drop", counted)
    for _ in range(3 * 60):
        rig.clock.advance(60_000)
        await rig.engine.sweep()
    assert len(looked) == 2, "after more than an hour, not at the hour"
    assert looked[-1] <= rig.clock.now_ms() - REPLY_LIFE_MS


async def test_very_many_old_replies_are_dropped_a_piece_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces whoever waits for a commit gets its turn."""
    count = 2 * DROPPED_AT_ONCE + 1
    replies = [StoredReply(rig.org, f"POST /x\n{number}", b"", 200, b"{}", 0) for number in range(count)]
    async with rig.store.begin() as unit:
        await unit.commit(Changes(replies=replies))
    drop, dropped = rig.store.replies_drop, []

    async def counted(before_ms: int, limit: int) -> int:
        dropped.append(await drop(before_ms, limit))
        return dropped[-1]

    monkeypatch.setattr(rig.store, "replies_drop", counted)
    rig.clock.advance(DROP_SWEEP_MS + 1)
    await rig.engine.sweep()
    assert dropped == [DROPPED_AT_ONCE, DROPPED_AT_ONCE, 1]


# The timer


async def test_a_sweep_that_fails_leaves_nothing_and_the_next_one_goes_on(rig: Rig) -> None:
    run_id = await held_run(rig)
    rig.clock.advance(LEASE_MS)
    log = await rig.log()
    await rig.store.writer.call(lambda db: db.execute("ALTER TABLE event RENAME TO gone") and None)
    with pytest.raises(StorageFailed):
        await rig.engine.sweep()
    await rig.store.writer.call(lambda db: db.execute("ALTER TABLE gone RENAME TO event") and None)
    assert await rig.log() == log
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.QUEUED


@pytest.mark.parametrize("error", [StorageFailed("no"), KeyError("a defect")])
async def test_a_sweep_that_fails_does_not_end_the_sweeping(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(loop, "SWEEP_SECONDS", 0.001)
    tried: list[int] = []

    async def upkeep(*parts: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise error
        return await rig.engine._writer.upkeep(*parts)

    keeper = Timer((ExpiredLeases(upkeep),))
    run_id = await held_run(rig)
    rig.clock.advance(LEASE_MS)
    running = asyncio.create_task(keeper.run())

    async def is_queued() -> bool:
        return await lane_state(rig, run_id) is QueueState.QUEUED

    await wait_until_async(is_queued, "a sweep after two that failed")
    keeper.stop()
    await asyncio.wait_for(running, 60)


async def test_a_service_that_fails_keeps_no_other_from_its_work(rig: Rig) -> None:
    async def broken(*_parts: Any) -> Any:
        raise KeyError("a defect")

    keeper = Timer((ExpiredLeases(broken), ExpiredLeases(rig.engine._writer.upkeep)))
    run_id = await held_run(rig)
    rig.clock.advance(LEASE_MS)
    running = asyncio.create_task(keeper.run())

    async def is_queued() -> bool:
        return await lane_state(rig, run_id) is QueueState.QUEUED

    await wait_until_async(is_queued, "the sweep of the second service")
    keeper.stop()
    await asyncio.wait_for(running, 60)


async def test_a_stop_does_not_wait_for_the_next_sweep(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SWEEP_SECONDS", 3600)
    keeper = Timer((ExpiredLeases(rig.engine._writer.upkeep),))
    running = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    keeper.stop()
    await asyncio.wait_for(running, 60)


async def test_a_run_that_was_never_claimed_is_cancelled_at_once_and_never_swept(rig: Rig) -> None:
    created = await rig.do(CreateRun("t"))
    await rig.do(CancelRun(created.run_id))
    rig.clock.advance(DAY_MS)
    await rig.engine.sweep()
    row = await rig.run(created.run_id)
    assert (row.status, row.forced, row.last_seq) == (Status.CANCELLED, False, 2)


async def test_after_a_restart_of_the_upkeep_the_whole_deadline_runs_again(rig: Rig) -> None:
    """What a sweep remembers is lost with its process: late by one deadline at most, never early."""
    run_id = await cancelling_run(rig)
    await rig.engine.sweep()
    rig.clock.advance(CANCEL_MS)
    fresh = OverdueCancels(rig.engine._writer.upkeep, CANCEL_MS)
    await fresh.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLING
    rig.clock.advance(CANCEL_MS)
    await fresh.sweep()
    assert (await rig.run(run_id)).status is Status.CANCELLED


async def test_an_engine_that_has_stopped_sweeps_nothing(rig: Rig) -> None:
    run_id = await held_run(rig)
    await rig.append(draft(run=RunById(run_id), facts=Facts(name="step")))
    await rig.engine.stop()
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert await lane_state(rig, run_id) is QueueState.HELD


@pytest.mark.parametrize("is_final", [False, True])
async def test_what_is_final_is_told_by_the_store_alone(is_final: bool) -> None:
    failed = StorageFailed("the disk is gone")
    failed.fatal = is_final

    class Failing:
        async def sweep(self) -> None:
            raise failed

    timer = Timer((Failing(),))
    with structlog.testing.capture_logs() as told:
        await timer._look(timer._services[0])
    assert [one["event"] for one in told] == ([] if is_final else ["sweep_failed"])


@pytest.mark.parametrize("error", [StorageFailed("no room"), Overloaded("busy"), RuntimeError("a defect")])
async def test_a_sweep_that_goes_on_failing_is_logged_when_it_begins_and_ends(error: Exception) -> None:
    class Failing:
        fails: Exception | None = error

        async def sweep(self) -> None:
            if self.fails is not None:
                raise self.fails

    one = Failing()
    timer = Timer((one,))
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            await timer._look(one)
        one.fails = StorageFailed("something else")
        await timer._look(one)
        one.fails = None
        for _ in range(3):
            await timer._look(one)
    assert [line["event"] for line in told] == ["sweep_failed", "sweep_failed", "sweep_works_again"]
