"""Time in which nobody could be heard is held against nobody: full disks, slow syncs, standstills, clocks that are set.

Through a real engine on a real store; only the clock is a fake, and the disk fails or lags where the store commits.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.simulation.mutants import Mutant
from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock
from tests.support.rig import Rig, at_rest, open_rig
from towerlog.ambient import GRACE_MS, MAX_COMMIT_MS, MAX_SPANS, Hearing
from towerlog.engine.audit import rebuild_org
from towerlog.engine.commit.queue import Intake
from towerlog.engine.commit.writer import Writer
from towerlog.engine.timers.replies import REPLY_LIFE_MS, REPLY_SWEEP_MS, OldReplies
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
from towerlog.store.sqlite import connection, reads, store, write
from towerlog.store.sqlite.pools import Ask, Where
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
    patch.setattr(SqliteUnit, "try_to_write", Ask(try_to_write, Where.WRITER))


def _commit_by(commit: Callable[..., None]) -> Callable[..., Any]:
    def submit(unit: SqliteUnit, changes: Any) -> Any:
        unit.written = unit._store.writer.submit(commit, changes)
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
    rig.clock.advance(REPLY_SWEEP_MS + 1)
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
    heard = Hearing(clock)
    told = [heard.now().heard_ms]
    for step in (heard.stop, lambda: clock.stand_still(9000), heard.go_on, heard.stop, heard.go_on):
        step()
        for by_ms in (0, 1, GRACE_MS // 2, GRACE_MS):
            clock.advance(by_ms)
            told.append(heard.now().heard_ms)
    assert told == sorted(told)


def test_many_short_outages_hide_no_silence() -> None:
    """Older than the spans that are kept apart is judged too late by the outages, and still judged."""
    clock = FakeClock()
    heard = Hearing(clock)
    began = clock.now_ms()
    for _ in range(MAX_SPANS * 4):
        clock.advance(20 * 60_000)
        heard.begin()
        clock.advance(2 * MAX_COMMIT_MS)
        heard.end()
    outages_ms = MAX_SPANS * 4 * (MAX_COMMIT_MS + GRACE_MS)
    told_ms = clock.now_ms() - began
    assert told_ms - 2 * outages_ms <= heard.elapsed_ms(began) <= told_ms
    assert (heard.latest_stamp(told_ms - 2 * outages_ms) or 0) >= began


Law = Callable[[Rig, pytest.MonkeyPatch], Awaitable[None]]


async def never_back(_: Rig, __: pytest.MonkeyPatch) -> None:
    test_the_time_never_goes_back()


MUTANTS: tuple[tuple[Mutant, Law], ...] = (
    (
        Mutant("a full disk is no outage", Hearing.stop, "if not self.is_out:", "if False:"),
        test_a_lease_outlasts_a_full_disk_and_ends_when_it_has_been_listened_for,
    ),
    (
        Mutant("nobody finds out that there is room", Writer.upkeep, "if self._hearing.is_out:", "if False:"),
        test_a_server_to_which_nobody_writes_finds_out_that_its_disk_has_room_again,
    ),
    (
        Mutant("a slow sync counts", Hearing.end, "and lasted_ms > MAX_COMMIT_MS", "and False"),
        test_a_lease_outlasts_a_slow_sync,
    ),
    (
        Mutant("what waits in sockets comes too late", Hearing._note_outage, "+ GRACE_MS", "+ 0"),
        lambda rig, _: test_what_was_sent_during_a_standstill_is_heard_before_a_lease_ends(rig, 1),
    ),
    (
        Mutant("a standstill is not noticed", Hearing.now, "if still_ms:", "if False:"),
        lambda rig, _: test_what_was_sent_during_a_standstill_is_heard_before_a_lease_ends(rig, 1),
    ),
    (
        Mutant("listening goes on through an outage", Hearing._note_outage, "lasted_ms >= MIN_OUTAGE_MS", "False"),
        lambda rig, _: test_after_a_long_outage_silence_is_counted_anew(rig),
    ),
    (
        Mutant("a clock set ahead is believed", Hearing.now, "> JUMP_MS", "> 10**15"),
        lambda rig, _: test_what_is_heard_after_the_clock_was_set_counts_from_then(rig, HOUR_MS),
    ),
    (
        Mutant("a clock set back is believed", Hearing.now, "abs(offset_ms - ", "(offset_ms - "),
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
        Mutant("the guard is no outage", Writer.upkeep, "self._hearing.stop()\n        return None", "return None"),
        lambda rig, patch: test_a_lease_outlasts_the_guard_of_the_disk(rig, patch, False),
    ),
    (
        Mutant("whom the guard refuses is judged", Intake._check, "self._hearing.stop()", "pass"),
        lambda rig, patch: test_a_lease_outlasts_the_guard_of_the_disk(rig, patch, True),
    ),
    (
        Mutant("whom a held log refuses is judged", Writer._loop, "self._hearing.stop()", "pass"),
        test_a_lease_outlasts_a_reader_that_holds_the_log,
    ),
    (
        Mutant(
            "replies grow old by the wall",
            OldReplies.sweep,
            "replies_drop(now_ms -",
            "replies_drop(self._hearing.now().wall_ms -",
        ),
        lambda rig, _: test_a_reply_is_kept_for_a_day_whatever_the_wall_clock_is_set_to(rig, 2 * REPLY_LIFE_MS),
    ),
    (
        Mutant("threads are listed by the clock", reads.threads, "ORDER BY number", "ORDER BY created_at"),
        lambda rig, _: test_what_came_last_is_listed_first_whatever_the_wall_clock_is_set_to(rig),
    ),
    (
        Mutant("the time goes back", Hearing._told, "max(self._told_ms, steady_ms - self._left_out_ms)", "steady_ms"),
        never_back,
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
