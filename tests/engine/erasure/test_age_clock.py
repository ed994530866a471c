"""A wall clock that is wrong deletes nothing, however it is wrong and whenever it was set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.engine.erasure.test_retention import told, types
from tests.support.fakes import FakeClock
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.engine.erasure.age_clock import CLOCKS_DIFFER_MS, HOLD_MS, MAX_STEP_MS, AgeState, ClockConfirm
from towerlog.engine.timers.old_rows import ALERT_LIFE_MS, DROP_SWEEP_MS
from towerlog.model.facts import Erases
from towerlog.model.retention import RunRetention, SetRetention
from towerlog.model.run import RunRow
from towerlog.store.sqlite.erasure.policies import age_confirm

DAY_MS = 86_400_000
AGE_MS = 90 * DAY_MS
FAR_MS = 100 * DAY_MS


@asynccontextmanager
async def rig_at(folder: Path, clock: FakeClock) -> AsyncIterator[Rig]:
    async with open_rig(folder, clock=clock) as opened:
        await swept(opened)
        yield opened


async def swept(rig: Rig) -> None:
    """A look at the policies, whenever the last one was."""
    rig.clock.advance(61_000)
    await rig.engine.services.retention.sweep()


async def is_erased(rig: Rig, row: RunRow) -> bool:
    return "erased" in await types(rig, row)


async def let_run(rig: Rig, for_ms: int, step_ms: int = 10 * MAX_STEP_MS) -> None:
    """The server runs for so long, and looks now and then."""
    while for_ms > 0:
        rig.clock.advance(min(step_ms, for_ms))
        await rig.engine.services.retention.sweep()
        for_ms -= step_ms


async def with_policy(rig: Rig) -> RunRow:
    """A run that has just ended, and a policy that it is too young for."""
    await rig.do(SetRetention(Erases.EVENTS, AGE_MS, None))
    return await told(rig, "young")


async def test_a_clock_set_ahead_while_the_server_runs_erases_nothing(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        row = await with_policy(rig)
        rig.clock.jump(FAR_MS)
        await swept(rig)
        assert not await is_erased(rig, row)
        assert (await rig.do(RunRetention(dry_run=True))).due[0].runs == 0
        assert rig.engine.figures()["clock_off_seconds"] > 99 * 86_400
        rig.clock.jump(-FAR_MS)
        await swept(rig)
        assert rig.engine.figures()["clock_off_seconds"] == 0
        await let_run(rig, AGE_MS)
        assert await is_erased(rig, row), "in its time"


@pytest.mark.parametrize("starts", [1, 40])
async def test_a_start_with_a_clock_that_is_ahead_erases_nothing_however_often(tmp_path: Path, starts: int) -> None:
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        row = await with_policy(rig)
    clock.jump(FAR_MS)
    for _ in range(starts):
        clock.restart()
        async with rig_at(tmp_path, clock) as rig:
            await swept(rig)
            assert not await is_erased(rig, row)
            assert rig.engine.figures()["clock_off_seconds"] > 0


async def test_a_store_that_has_kept_no_time_takes_that_of_its_newest_event(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_rig(tmp_path, clock=clock) as rig:
        row = await with_policy(rig)
    clock.jump(FAR_MS)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        assert not await is_erased(rig, row)


async def test_what_ended_while_the_clock_was_behind_is_not_taken_for_old(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        await rig.do(SetRetention(Erases.EVENTS, AGE_MS, None))
        rig.clock.jump(-FAR_MS)
        await swept(rig)
        row = await told(rig, "behind")
        rig.clock.jump(FAR_MS)
        await swept(rig)
        assert not await is_erased(rig, row)
        await let_run(rig, AGE_MS + DAY_MS)
        assert await is_erased(rig, row), "in its time"


async def test_after_a_long_rest_retention_goes_on_slowly(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        row = await with_policy(rig)
    clock.advance(FAR_MS)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        await let_run(rig, HOLD_MS)
        assert not await is_erased(rig, row)
        await let_run(rig, AGE_MS // 2 + DAY_MS)
        assert await is_erased(rig, row), "twice as fast as time goes by"


async def test_a_short_rest_holds_nothing_back(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        row = await with_policy(rig)
        await let_run(rig, AGE_MS - MAX_STEP_MS // 2)
        assert not await is_erased(rig, row)
    clock.advance(MAX_STEP_MS // 2)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        await swept(rig)
        assert await is_erased(rig, row)


async def test_a_store_whose_first_clock_was_ahead_comes_to_the_right_time(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        rig.clock.jump(-FAR_MS)
        row = await with_policy(rig)
        await let_run(rig, 2 * HOLD_MS)
        assert rig.engine.figures()["clock_off_seconds"] == 0
        assert not await is_erased(rig, row)
        await let_run(rig, AGE_MS)
        assert await is_erased(rig, row)


async def test_the_hourly_sweeps_go_by_the_same_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that they are told is old is so by time that has passed."""
    asked: dict[str, int] = {}

    def note(name: str) -> object:
        async def drop(before_ms: int, *_more: int) -> int:
            asked[name] = before_ms
            return 0

        return drop

    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        began_at = clock.now_ms()
    clock.jump(FAR_MS)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        for name in ("replies_drop", "signed_out_drop", "alerts_drop", "spent_links_drop"):
            monkeypatch.setattr(rig.store, name, note(name))
        rig.clock.advance(DROP_SWEEP_MS + 1)
        await rig.engine.services.deadlines.sweep()
        assert set(asked) == {"replies_drop", "signed_out_drop", "alerts_drop", "spent_links_drop"}
        latest = began_at + DROP_SWEEP_MS + 10 * 61_000
        assert max(asked.values()) <= latest
        assert asked["alerts_drop"] <= latest - ALERT_LIFE_MS


async def test_a_machine_that_sleeps_most_of_the_day_keeps_up(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        row = await with_policy(rig)
        for _ in range(AGE_MS // DAY_MS + 1):
            assert not await is_erased(rig, row)
            rig.clock.sleep(DAY_MS - 2 * MAX_STEP_MS)
            await let_run(rig, 2 * MAX_STEP_MS)
            assert rig.engine.figures()["clock_off_seconds"] == 0
        assert await is_erased(rig, row), "in its time"


# What an operator confirms


async def confirmed(rig: Rig, folder: Path) -> None:
    """The wall clock, as it is, by a command beside the server."""
    kept, _ = await rig.store.age_kept()
    assert kept is not None
    confirm = ClockConfirm(rig.clock.now_ms(), msgspec.json.decode(kept, type=AgeState).now_ms)
    with closing(apsw.Connection(str(folder / "towerlog.db"))) as db:
        age_confirm(db, msgspec.json.encode(confirm).decode())


async def test_a_clock_that_is_confirmed_is_followed_by_the_next_sweep(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        row = await with_policy(rig)
        rig.clock.jump(FAR_MS)
        await swept(rig)
        await confirmed(rig, tmp_path)
        assert not await is_erased(rig, row)
        await swept(rig)
        assert await is_erased(rig, row)
        assert rig.engine.figures()["clock_off_seconds"] == 0


async def test_a_clock_that_was_confirmed_without_a_server_is_followed_by_its_start(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        row = await with_policy(rig)
        clock.jump(FAR_MS)
        await confirmed(rig, tmp_path)
    clock.advance(MAX_STEP_MS - 61_000 - 1)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        assert await is_erased(rig, row)


@table("restarts", [False, True])
@table(
    "set_by_ms",
    [MAX_STEP_MS + 1, FAR_MS, -CLOCKS_DIFFER_MS - 61_001, -MAX_STEP_MS, -10 * DAY_MS],
)
async def test_a_confirm_counts_for_no_clock_that_was_set_since(tmp_path: Path, restarts: bool, set_by_ms: int) -> None:
    clock, folder = FakeClock(), tmp_path / f"{set_by_ms} {restarts}"
    async with rig_at(folder, clock) as rig:
        row = await with_policy(rig)
        clock.jump(FAR_MS)
        await confirmed(rig, folder)
        clock.jump(set_by_ms)
        if not restarts:
            await swept(rig)
        assert not await is_erased(rig, row)
    if restarts:
        clock.restart()
        async with rig_at(folder, clock) as rig:
            assert rig.engine.figures()["clock_off_seconds"] > 80 * 86_400
            assert not await is_erased(rig, row)


async def test_a_confirm_that_was_not_needed_is_worth_nothing_later(tmp_path: Path) -> None:
    """The clock was set right after it, ran so for long, and is set to what was confirmed again."""
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        row = await with_policy(rig)
        clock.jump(FAR_MS)
        await confirmed(rig, tmp_path)
        clock.jump(-FAR_MS)
        await let_run(rig, 2 * DAY_MS)
        clock.jump(FAR_MS - 2 * DAY_MS)
        await swept(rig)
        assert rig.engine.figures()["clock_off_seconds"] > 90 * 86_400
        assert not await is_erased(rig, row)


async def test_a_confirm_leads_no_further_than_the_clock_that_was_confirmed(tmp_path: Path) -> None:
    async with rig_at(tmp_path, FakeClock()) as rig:
        row = await with_policy(rig)
        rig.clock.jump(AGE_MS - MAX_STEP_MS // 2)
        await confirmed(rig, tmp_path)
        rig.clock.jump(MAX_STEP_MS - 61_001)
        await swept(rig)
        assert rig.engine.figures()["clock_off_seconds"] == 0, "it was confirmed"
        assert not await is_erased(rig, row), "by what was set since it would be"
        await let_run(rig, MAX_STEP_MS, step_ms=61_000)
        assert await is_erased(rig, row), "in its time"


async def test_a_confirm_of_a_clock_that_is_behind_erases_nothing(tmp_path: Path) -> None:
    """Not even when that was wrong, and the clock that is right is confirmed later."""
    async with rig_at(tmp_path, FakeClock()) as rig:
        before = await with_policy(rig)
        await let_run(rig, AGE_MS - DAY_MS)
        rig.clock.jump(-10 * DAY_MS)
        await swept(rig)
        while_behind = await told(rig, "behind")
        await confirmed(rig, tmp_path)
        await swept(rig)
        assert rig.engine.figures()["clock_off_seconds"] == 0
        rig.clock.jump(10 * DAY_MS)
        await swept(rig)
        await confirmed(rig, tmp_path)
        await swept(rig)
        assert rig.engine.figures()["clock_off_seconds"] == 0
        assert not await is_erased(rig, before)
        assert not await is_erased(rig, while_behind)
        await let_run(rig, 2 * DAY_MS)
        assert await is_erased(rig, before), "in its time"
        await let_run(rig, AGE_MS - 7 * DAY_MS)
        assert not await is_erased(rig, while_behind), "by its stamp it would be"
        await let_run(rig, 7 * DAY_MS)
        assert await is_erased(rig, while_behind), "in its time"


async def test_what_is_confirmed_is_kept(tmp_path: Path) -> None:
    """A later start does not ask for it again, though the word itself is worth nothing by then."""
    clock = FakeClock()
    async with rig_at(tmp_path, clock) as rig:
        clock.jump(FAR_MS)
        await swept(rig)
        await confirmed(rig, tmp_path)
        await swept(rig)
        await let_run(rig, 3 * MAX_STEP_MS, step_ms=MAX_STEP_MS)
    clock.restart()
    async with rig_at(tmp_path, clock) as rig:
        assert rig.engine.figures()["clock_off_seconds"] == 0
