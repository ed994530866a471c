"""Time in which nobody could be heard is held against nobody: full disks, slow syncs, standstills, clocks that are set.

Through a real engine on a real store; only the clock is a fake, and the disk fails or lags where the store commits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.simulation.mutants import Mutant
from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock
from tests.support.rig import Rig, at_rest, open_rig
from tests.support.samples import first
from towerlog.ambient import GRACE_MS, MAX_COMMIT_MS, MAX_SPANS, MIN_OUTAGE_MS, MIN_SERVED_MS, ServerClock, ServingTime
from towerlog.engine.commit.queue import Intake
from towerlog.engine.commit.writer import Writer
from towerlog.engine.timers import old_rows
from towerlog.engine.timers.old_rows import DROP_SWEEP_MS, REPLY_LIFE_MS
from towerlog.engine.verify import rebuild_org
from towerlog.errors import DiskFull, Overloaded, StorageFailed
from towerlog.model.command import Claim, CreateKey, CreateRun, CreateThread, Idempotency, RegisterAgent, Report
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import Lane, QueueState
from towerlog.model.liveness import Verdict
from towerlog.model.outcome import Replayed
from towerlog.model.principal import Scope
from towerlog.model.question import GetRun, ListKeys, ListThreads
from towerlog.model.run import Status
from towerlog.store.sqlite import reads, store, write
from towerlog.store.sqlite.connections import connection
from towerlog.store.sqlite.store import SqliteUnit

LEASE_MS = 60_000
SILENT_MS, LOST_MS = 900_000, 86_400_000
HOUR_MS = 3_600_000


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as made:
        made.clock.advance(2 * LOST_MS)
        yield made


async def held(rig: Rig) -> str:
    """A run that `w` has just claimed."""
    run_id = str((await rig.do(CreateRun("t"))).run_id)
    await rig.do(Claim("w", LEASE_MS))
    return run_id


async def is_held(rig: Rig, run_id: str) -> bool:
    lane = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    return lane is not None and lane.state is QueueState.HELD


async def sweep(rig: Rig) -> None:
    """One that may fail as the disk does: the timer goes on then."""
    with contextlib.suppress(StorageFailed):
        await rig.engine.sweep()


def hinder(patch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """From now on this happens in the writing thread before anything is written."""

    def commit(db: apsw.Connection, *changes: Any) -> None:
        before()
        write.write_changes(db, *changes)

    def try_to_write(db: apsw.Connection) -> None:
        before()
        write.try_to_write(db)

    patch.setattr(SqliteUnit, "commit", _commit_by(commit))
    patch.setattr(SqliteUnit, "try_to_write", _commit_by(try_to_write))


def _commit_by(commit: Callable[..., None]) -> Callable[..., Any]:
    def submit(unit: SqliteUnit, *changes: Any) -> Any:
        unit.written = unit._store.writer.submit(commit, *changes)
        return unit.written

    return submit


def full() -> None:
    raise apsw.FullError("database or disk is full")


async def test_a_lease_outlasts_a_full_disk_and_ends_when_it_has_been_listened_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats, gone = await held(rig), str((await rig.do(CreateRun("u"))).run_id)
    await rig.do(Claim("x", LEASE_MS))
    with monkeypatch.context() as patch:
        hinder(patch, full)
        for _ in range(20):
            rig.clock.advance(LEASE_MS // 2)
            with pytest.raises(StorageFailed):
                await rig.do(Report(beats, "w", []))
            await sweep(rig)
    await sweep(rig)
    await rig.engine.sweep()
    assert await is_held(rig, beats)
    await rig.do(Report(beats, "w", []))
    rig.clock.advance(GRACE_MS + LEASE_MS - 1)
    await rig.do(Report(beats, "w", []))
    rig.clock.advance(LEASE_MS - 1)
    await rig.engine.sweep()
    assert (await is_held(rig, beats), await is_held(rig, gone)) == (True, False)


async def test_a_server_to_which_nobody_writes_finds_out_that_its_disk_has_room_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await held(rig)
    with monkeypatch.context() as patch:
        hinder(patch, full)
        with pytest.raises(StorageFailed):
            await rig.do(CreateRun("other"))
        rig.clock.advance(10 * LEASE_MS)
        await sweep(rig)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


async def test_a_lease_outlasts_a_slow_sync(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await held(rig)
    with monkeypatch.context() as patch:
        hinder(patch, lambda: rig.clock.advance(5 * LEASE_MS))
        await rig.do(CreateRun("other"))
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(GRACE_MS + LEASE_MS - MAX_COMMIT_MS - 1)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


@pytest.mark.parametrize("left_ms", [1, 5000])
async def test_what_was_sent_during_a_standstill_is_heard_before_a_lease_ends(rig: Rig, left_ms: int) -> None:
    run_id = await held(rig)
    rig.clock.advance(LEASE_MS - left_ms)
    await rig.engine.sweep()
    rig.clock.stand_still(10 * LEASE_MS)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS - 1)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    await rig.do(Report(run_id, "w", []))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


async def start(rig: Rig) -> str:
    """A run that only reports."""
    facts = Facts(effects=Effects(is_start=True))
    [told] = await rig.append(draft(EventType.RUN_STARTED, traced("x"), facts=facts))
    return str(told.run_id)  # type: ignore[union-attr]


async def test_after_a_long_outage_silence_is_counted_anew(rig: Rig) -> None:
    run_id = await start(rig)
    rig.clock.advance(LOST_MS - 1000)
    await rig.engine.sweep()
    rig.clock.stand_still(HOUR_MS)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS + LOST_MS - 1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.RUNNING
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.LOST


@pytest.mark.parametrize("by_ms", [-365 * LOST_MS, -HOUR_MS, -5000, 5000, HOUR_MS, 365 * LOST_MS])
async def test_a_wall_clock_that_is_set_either_way_ends_no_run_early_and_keeps_none_for_ever(
    rig: Rig, by_ms: int
) -> None:
    run_id = await start(rig)
    rig.clock.advance(1000)
    await rig.engine.sweep()
    rig.clock.jump(by_ms)
    rig.clock.advance(SILENT_MS - 1001)
    await rig.engine.sweep()
    verdict = (await rig.do(GetRun(run_id))).liveness.verdict
    assert (verdict, (await rig.run(run_id)).silent_at) == (Verdict.ALIVE, None)
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert (await rig.do(GetRun(run_id))).liveness.verdict is Verdict.SILENT
    assert (await rig.run(run_id)).silent_at is not None
    # A stamp that the clock which was set back shows a second time may mean either moment; it is taken for the later.
    rig.clock.advance(LOST_MS - SILENT_MS + (HOUR_MS if by_ms < 0 else 0))
    await rig.engine.sweep()
    assert (await rig.run(run_id)).status is Status.LOST


@pytest.mark.parametrize("by_ms", [-365 * LOST_MS, -HOUR_MS, HOUR_MS, 365 * LOST_MS])
async def test_what_is_heard_after_the_clock_was_set_counts_from_then(rig: Rig, by_ms: int) -> None:
    run_id = await start(rig)
    rig.clock.advance(1000)
    await rig.engine.sweep()
    rig.clock.jump(by_ms)
    rig.clock.advance(SILENT_MS // 2)
    await rig.append(draft(EventType.STEP, traced("x")))
    rig.clock.advance(SILENT_MS - 1)
    await rig.engine.sweep()
    assert (await rig.do(GetRun(run_id))).liveness.verdict is Verdict.ALIVE
    rig.clock.advance(1)
    assert (await rig.do(GetRun(run_id))).liveness.verdict is Verdict.SILENT


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS, 2 * REPLY_LIFE_MS])
async def test_lane_times_are_shown_by_the_wall_clock_as_it_is_set_now(rig: Rig, by_ms: int) -> None:
    run_id = await held(rig)
    rig.clock.jump(by_ms)
    shown = (await rig.do(GetRun(run_id))).lane
    assert (shown.claimed_at, shown.expires_at) == (rig.clock.now_ms(), rig.clock.now_ms() + LEASE_MS)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)


@pytest.mark.parametrize("sent", [True, False], ids=["refused", "nobody-asks"])
async def test_a_lease_outlasts_the_guard_of_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch, sent: bool) -> None:
    """Below the guard nothing is written, so that nobody can renew anything."""
    run_id = await held(rig)
    with monkeypatch.context() as patch:
        patch.setattr(rig.store.space, "was_low", True)
        patch.setattr(rig.store.space, "is_low", lambda: True)
        if sent:
            with pytest.raises(DiskFull):
                await rig.do(Report(run_id, "w", []))
        else:
            await rig.engine.sweep()
        rig.clock.advance(10 * LEASE_MS)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


async def test_a_lease_outlasts_a_reader_that_holds_the_log(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log may not grow, a heartbeat is refused as on a full disk."""
    run_id = await held(rig)
    with monkeypatch.context() as patch:
        patch.setattr(connection, "WAL_HELD_BYTES", -1)
        patch.setattr(store, "HELD_PAUSE_SECONDS", 0)
        patch.setattr(connection, "checkpoint", lambda *_: (-1, 0))
        with pytest.raises(Overloaded):
            await rig.do(Report(run_id, "w", []))
        rig.clock.advance(10 * LEASE_MS)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


@pytest.mark.parametrize("by_ms", [2 * REPLY_LIFE_MS, -2 * REPLY_LIFE_MS])
async def test_a_reply_is_kept_for_a_day_whatever_the_wall_clock_is_set_to(rig: Rig, by_ms: int) -> None:
    keyed = Idempotency("/agents", "key", b"digest", lambda _: (200, b"first"))

    async def again() -> Any:
        return await rig.do(RegisterAgent("a"), idempotency=keyed)

    await again()
    await at_rest(rig.store)
    rig.clock.jump(by_ms)
    rig.clock.advance(DROP_SWEEP_MS + 1)
    await rig.engine.sweep()
    assert isinstance(await again(), Replayed)
    await at_rest(rig.store)
    rig.clock.advance(REPLY_LIFE_MS)
    await rig.engine.sweep()
    assert not isinstance(await again(), Replayed)


async def test_what_came_last_is_listed_first_whatever_the_wall_clock_is_set_to(rig: Rig) -> None:
    names = [f"t{number}" for number in (3, 1, 2, 0)]
    for name in names:
        await rig.do(CreateThread(name))
        await rig.do(CreateKey(name, (Scope.READ,)))
        rig.clock.jump(-HOUR_MS)
    newest_first = names[::-1]
    threads = [row.thread_id for row in (await rig.do(ListThreads(4))).rows]
    keys = [row.name for row in (await rig.do(ListKeys(4))).rows]
    assert (threads, keys) == (newest_first, newest_first)
    behind = (await rig.do(ListThreads(4, before=newest_first[1]))).rows
    assert [row.thread_id for row in behind] == newest_first[2:]
    await rebuild_org(rig.store, rig.org)
    assert [row.thread_id for row in (await rig.do(ListThreads(4))).rows] == newest_first


def test_the_time_never_goes_back() -> None:
    clock = FakeClock()
    heard = ServingTime(clock)
    told = [heard.now().serving_ms]
    for step in (heard.stop, lambda: clock.stand_still(9000), heard.go_on, heard.stop, heard.go_on):
        step()
        for by_ms in (0, 1, GRACE_MS // 2, GRACE_MS):
            clock.advance(by_ms)
            told.append(heard.now().serving_ms)
    assert told == sorted(told)


def test_many_short_outages_hide_no_silence() -> None:
    """Older than the spans that are kept apart is judged too late by the outages, and still judged."""
    clock = FakeClock()
    heard = ServingTime(clock)
    began = clock.now_ms()
    for _ in range(MAX_SPANS * 4):
        clock.advance(20 * 60_000)
        heard.begin()
        clock.advance(2 * MAX_COMMIT_MS)
        heard.end()
    outages_ms = MAX_SPANS * 4 * MAX_COMMIT_MS
    told_ms = clock.now_ms() - began
    assert told_ms - 2 * outages_ms <= heard.elapsed_ms(began) <= told_ms
    assert (heard.latest_stamp(told_ms - 2 * outages_ms) or 0) >= began


OUTAGES = {
    "commits of 1.1 s": (1100, None),
    "commits of 1.9 s": (1900, None),
    "commits of 4.9 s": (4900, None),
    "commits of 5.1 s": (5100, None),
    "commits of a minute": (60_000, None),
    "every other write fails at once": (0, 250),
    "every other write fails after a while": (300, 600),
    "every other write fails after a minute": (60_000, 1),
    "stopped again and again": (None, 250),
    "stopped again and again, with a second between": (None, 1100),
}
"""What comes again and again → (how long a write takes, None for a stopped process; how long after a failure or a stop
until the next one), in ms."""
QUICK_OUTAGES = {
    "commits of 4.9 s",
    "commits of a minute",
    "every other write fails after a while",
    "stopped again and again, with a second between",
}
SHORT_LEASE_MS = 10_000
AT_MOST = 3
"""So many times its length a lease may last where outages are short; at most an outage a second of it otherwise."""


async def outage(rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """One of them; something is stored after it or in it."""
    lasts_ms, then_ms = OUTAGES[kind]
    if lasts_ms is None:
        rig.clock.stand_still(9000)
        await sweep(rig)
    else:

        def late() -> None:
            rig.clock.advance(lasts_ms)
            if then_ms is not None:
                full()

        with monkeypatch.context() as patch:
            hinder(patch, late)
            with contextlib.suppress(StorageFailed):
                await rig.do(RegisterAgent(rig.ids.token(8)))
    rig.clock.advance(then_ms or 0)
    await rig.do(RegisterAgent(rig.ids.token(8)))
    await sweep(rig)


@pytest.mark.parametrize("kind", first(sorted(OUTAGES, key=lambda kind: kind not in QUICK_OUTAGES), quick=4))
async def test_outages_that_come_again_and_again_keep_nobody_for_ever_and_cost_nobody_a_lease(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Between two of them a heartbeat gets through: who sends one is kept, who sends none is lost."""
    beats, gone = str((await rig.do(CreateRun("t"))).run_id), str((await rig.do(CreateRun("u"))).run_id)
    for worker in ("w", "x"):
        await rig.do(Claim(worker, SHORT_LEASE_MS))
    began, count = rig.clock.steady_ms(), 0
    while await is_held(rig, gone):
        await outage(rig, monkeypatch, kind)
        await rig.do(Report(beats, "w", []))
        count += 1
        is_late = rig.clock.steady_ms() - began > AT_MOST * SHORT_LEASE_MS
        assert not (is_late and count > SHORT_LEASE_MS // MIN_SERVED_MS + 1), "nobody is left, and the lease goes on"
    assert await is_held(rig, beats)
    assert rig.clock.steady_ms() - began >= SHORT_LEASE_MS


@pytest.mark.parametrize("lasts_ms", [MIN_OUTAGE_MS, HOUR_MS])
async def test_long_outages_that_come_again_and_again_hide_no_silence(rig: Rig, lasts_ms: int) -> None:
    """Each may have swallowed the only word of its while; after twice the threshold there was none."""
    run_id = await start(rig)
    serving_ms = 0
    while serving_ms + SILENT_MS // 2 < 2 * SILENT_MS:
        rig.clock.stand_still(lasts_ms)
        await rig.engine.sweep()
        rig.clock.advance(SILENT_MS // 2)
        serving_ms += SILENT_MS // 2 - GRACE_MS
        await rig.engine.sweep()
        assert (await rig.run(run_id)).silent_at is None
    rig.clock.advance(2 * SILENT_MS - serving_ms)
    await rig.engine.sweep()
    assert (await rig.run(run_id)).silent_at is not None


async def test_a_wait_for_the_place_to_write_is_an_outage_as_well(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that starts anew on a slow disk holds up the sweep and the heartbeats alike."""
    run_id = await held(rig)

    async def slowly(_: Any) -> None:
        rig.clock.advance(5 * LEASE_MS)
        monkeypatch.undo()

    monkeypatch.setattr(connection, "WAL_HELD_BYTES", -1)
    monkeypatch.setattr(store.SqliteStore, "_start_log_anew", slowly)
    await rig.engine.sweep()
    assert await is_held(rig, run_id)
    rig.clock.advance(GRACE_MS + LEASE_MS)
    await rig.engine.sweep()
    assert not await is_held(rig, run_id)


def test_a_short_outage_leaves_out_no_more_than_it_took() -> None:
    clock = FakeClock()
    heard = ServingTime(clock)
    began = heard.now().serving_ms
    for _ in range(10):
        heard.begin()
        clock.advance(MAX_COMMIT_MS + 100)
        heard.end()
    assert heard.now().serving_ms == began + 10 * MAX_COMMIT_MS


def test_of_acts_that_overlap_each_counts_from_the_end_of_the_one_before() -> None:
    clock = FakeClock()
    heard = ServingTime(clock)
    began = heard.now().serving_ms
    heard.begin()
    for _ in range(10):
        heard.begin()
        clock.advance(2 * MAX_COMMIT_MS)
        heard.end()
    heard.end()
    assert heard.now().serving_ms == began + 10 * MAX_COMMIT_MS


def test_of_standstills_that_follow_one_another_a_second_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_ms = 5000
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady_ms * 1_000_000)
    clock = ServerClock()
    began = clock.steady_ms()
    for _ in range(10):
        steady_ms += ServerClock.MAX_UNREAD_MS + 100
        clock.steady_ms()
    assert clock.steady_ms() == began + 9 * MIN_SERVED_MS
    steady_ms += MIN_SERVED_MS
    before = clock.steady_ms()
    steady_ms += HOUR_MS
    assert clock.steady_ms() == before, "one that comes alone is left out"


REPEATED = test_outages_that_come_again_and_again_keep_nobody_for_ever_and_cost_nobody_a_lease
Law = Callable[[Rig, pytest.MonkeyPatch], Awaitable[None]]


def plainly(law: Callable[[], None]) -> Law:
    """A law that needs no rig."""

    async def hold(_: Rig, __: pytest.MonkeyPatch) -> None:
        law()

    return hold


MUTANTS: tuple[tuple[Mutant, Law], ...] = (
    (
        Mutant("a full disk is no outage", ServingTime.stop, "if not self.is_out:", "if False:"),
        test_a_lease_outlasts_a_full_disk_and_ends_when_it_has_been_listened_for,
    ),
    (
        Mutant("nobody finds out that there is room", Writer.upkeep, "if self._serving.is_out:", "if False:"),
        test_a_server_to_which_nobody_writes_finds_out_that_its_disk_has_room_again,
    ),
    (
        Mutant("a slow sync counts", ServingTime.end, "not self.is_out and lasted_ms > MAX_COMMIT_MS", "False"),
        test_a_lease_outlasts_a_slow_sync,
    ),
    (
        Mutant(
            "what waits in sockets comes too late",
            ServingTime._end_outage,
            "(began_at, steady_ms + grace_ms)",
            "(began_at, steady_ms)",
        ),
        lambda rig, _: test_what_was_sent_during_a_standstill_is_heard_before_a_lease_ends(rig, 1),
    ),
    (
        Mutant("a standstill is not noticed", ServingTime.now, "if still_ms:", "if False:"),
        lambda rig, _: test_what_was_sent_during_a_standstill_is_heard_before_a_lease_ends(rig, 1),
    ),
    (
        Mutant("listening goes on through an outage", ServingTime._end_outage, "lasted_ms >= MIN_OUTAGE_MS", "False"),
        lambda rig, _: test_after_a_long_outage_silence_is_counted_anew(rig),
    ),
    (
        Mutant("a clock set ahead is believed", ServingTime.now, "> JUMP_MS", "> 10**15"),
        lambda rig, _: test_what_is_heard_after_the_clock_was_set_counts_from_then(rig, HOUR_MS),
    ),
    (
        Mutant("a clock set back is believed", ServingTime.now, "abs(offset_ms - ", "(offset_ms - "),
        lambda rig, _: test_what_is_heard_after_the_clock_was_set_counts_from_then(rig, -365 * LOST_MS),
    ),
    (
        Mutant(
            "a lease's end is shown as it is kept",
            Lane.on_wall,
            "else wall_of(self.expires_at)",
            "else self.expires_at",
        ),
        lambda rig, _: test_lane_times_are_shown_by_the_wall_clock_as_it_is_set_now(rig, HOUR_MS),
    ),
    (
        Mutant("the guard is no outage", Writer.upkeep, "self._serving.stop()\n        return None", "return None"),
        lambda rig, patch: test_a_lease_outlasts_the_guard_of_the_disk(rig, patch, False),
    ),
    (
        Mutant("whom the guard refuses is judged", Intake._check, "self._serving.stop()", "pass"),
        lambda rig, patch: test_a_lease_outlasts_the_guard_of_the_disk(rig, patch, True),
    ),
    (
        Mutant("whom a held log refuses is judged", Writer._write, "self._serving.stop()", "pass"),
        test_a_lease_outlasts_a_reader_that_holds_the_log,
    ),
    (
        Mutant(
            "replies grow old by the wall",
            old_rows.old_replies,
            "replies_drop(now.serving_ms -",
            "replies_drop(now.wall_ms -",
        ),
        lambda rig, _: test_a_reply_is_kept_for_a_day_whatever_the_wall_clock_is_set_to(rig, 2 * REPLY_LIFE_MS),
    ),
    (
        Mutant(
            "threads are listed by the clock",
            reads.newest_first,
            'ORDER BY number DESC LIMIT ?"\n    yield from falling(table, number, db.execute(sql, (*values, limit)))',
            'ORDER BY created_at DESC LIMIT ?"\n    yield from (row[:-1] for row in db.execute(sql, (*values, limit)))',
        ),
        lambda rig, _: test_what_came_last_is_listed_first_whatever_the_wall_clock_is_set_to(rig),
    ),
    (
        Mutant("nothing counts between two outages", ServingTime._end_outage, "grace_ms + MIN_SERVED_MS", "grace_ms"),
        lambda rig, patch: REPEATED(rig, patch, "commits of 5.1 s"),
    ),
    (
        Mutant(
            "each slow write has its grace",
            ServingTime.end,
            "GRACE_MS if lasted_ms >= MIN_OUTAGE_MS else 0",
            "GRACE_MS",
        ),
        plainly(test_a_short_outage_leaves_out_no_more_than_it_took),
    ),
    (
        Mutant("long outages hide a silence", ServingTime.elapsed_ms, "(now_ms - since) // 2", "0"),
        lambda rig, _: test_long_outages_that_come_again_and_again_hide_no_silence(rig, HOUR_MS),
    ),
    (
        Mutant("a wait for the place to write counts", ServingTime.begin, "self._act_began_at is None", "False"),
        test_a_wait_for_the_place_to_write_is_an_outage_as_well,
    ),
    (
        Mutant("what was left out counts after all", ServingTime._told, "steady_ms - self._left_out_ms", "steady_ms"),
        test_a_lease_outlasts_a_slow_sync,
    ),
)
"""What each law of this file must find."""


@pytest.mark.parametrize(("mutant", "law"), MUTANTS, ids=[one.name.replace(" ", "_") for one, _ in MUTANTS])
async def test_each_law_finds_its_mutant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Mutant, law: Law
) -> None:
    mutant.plant(monkeypatch)  # before anything runs: what has begun keeps the code that it began with
    async with open_rig(tmp_path) as rig:
        rig.clock.advance(2 * LOST_MS)
        with monkeypatch.context() as patch, pytest.raises((AssertionError, pytest.fail.Exception)):
            await law(rig, patch)
