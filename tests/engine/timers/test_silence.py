"""The watch: silence is noted once and ended in time, and nobody is judged by the machine's own troubles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, at_rest, open_rig
from towerlog.engine.core import EngineSettings
from towerlog.engine.timers import silence
from towerlog.engine.verify import verify_org
from towerlog.model.command import CancelRun, Claim, CreateRun, GiveInput
from towerlog.model.event import AgentHeartbeat, EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.liveness import Thresholds, Verdict
from towerlog.model.question import GetRun
from towerlog.model.run import Status

E = EventType
SILENT_MS = 900_000
LOST_MS = 86_400_000


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose server has been there for two days."""
    async with open_rig(tmp_path) as rig:
        rig.clock.advance(2 * LOST_MS)
        await rig.engine.sweep()
        yield rig


async def tell(rig: Rig, kind: EventType = E.STEP, trace: str = "x", **fields: Any) -> str:
    """One event of a run that only reports; its id."""
    [told] = await rig.append(draft(kind, traced(trace), **fields))
    return str(told.run_id)  # type: ignore[union-attr]


async def start(rig: Rig, trace: str = "x") -> str:
    """A run that was begun."""
    return await tell(rig, E.RUN_STARTED, trace, facts=Facts(effects=Effects(is_start=True)))


async def later(rig: Rig, by_ms: int) -> None:
    """Time passes, and the watch looks."""
    rig.clock.advance(by_ms)
    await rig.engine.sweep()


async def noted(rig: Rig, run_id: str) -> int:
    """How many silences are on record."""
    return sum(event.type is E.RUN_SILENT for event in await rig.events(run_id))


async def verdict(rig: Rig, run_id: str) -> Verdict | None:
    """What the run's page says."""
    found: Verdict | None = (await rig.do(GetRun(run_id))).liveness.verdict
    return found


async def test_a_silence_is_noted_when_it_is_due_and_once(old: Rig) -> None:
    run_id = await start(old)
    began_at = old.clock.now_ms()
    await later(old, SILENT_MS - 1)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    for _ in range(3):
        await later(old, SILENT_MS)
    assert await noted(old, run_id) == 1
    row = await old.run(run_id)
    assert (row.status, row.silent_at, row.process_at) == (Status.RUNNING, began_at + SILENT_MS, began_at)
    data = msgspec.json.decode((await old.events(run_id))[-1].data)
    assert data["silent_seconds"] == SILENT_MS // 1000
    assert await verdict(old, run_id) is Verdict.SILENT


@pytest.mark.parametrize("plain", [True, False])
async def test_a_word_ends_a_silence_and_the_next_one_is_noted_again(old: Rig, plain: bool) -> None:
    run_id = await start(old)
    await later(old, SILENT_MS)
    facts = Facts() if plain else Facts(effects=Effects(metadata=msgspec.Raw(b'{"k":1}')))
    await tell(old, facts=facts)
    assert (await old.run(run_id)).silent_at is None
    assert await verdict(old, run_id) is Verdict.ALIVE
    await later(old, SILENT_MS)
    assert await noted(old, run_id) == 2


async def test_whoever_speaks_now_and_then_is_never_silent(old: Rig) -> None:
    run_id = await start(old)
    for _ in range(40):
        await later(old, SILENT_MS - 1)
        await tell(old)
        await later(old, 0)
    assert await noted(old, run_id) == 0


@pytest.mark.parametrize("pause_ms", [1, 59_999, 60_000, 60_001])
async def test_a_silence_counts_from_the_very_last_word(old: Rig, pause_ms: int) -> None:
    """The store's index lags behind by up to a minute; what is noted does not."""
    run_id = await start(old)
    old.clock.advance(pause_ms)
    await tell(old)
    await later(old, SILENT_MS - 1)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    assert await noted(old, run_id) == 1


async def test_after_a_day_it_is_lost_and_stays_so(old: Rig) -> None:
    run_id = await start(old)
    await later(old, LOST_MS - 1)
    assert (await old.run(run_id)).status is Status.RUNNING
    await later(old, 1)
    row = await old.run(run_id)
    assert (row.status, row.error) == (Status.LOST, "nothing was heard of it for 86400 seconds")
    [told] = await old.append(draft(E.RUN_COMPLETED, traced("x")))
    assert (told.run_id, told.late) == (run_id, True)  # type: ignore[union-attr]
    assert (await old.run(run_id)).status is Status.LOST
    assert await verdict(old, run_id) is Verdict.LOST
    await later(old, LOST_MS)
    assert sum(event.type is E.RUN_LOST for event in await old.events(run_id)) == 1
    complaints: list[str] = []
    assert await verify_org(old.store, old.org, complaints.append) == 0, complaints


async def test_who_was_never_begun_owes_no_word_but_does_not_run_for_ever(old: Rig) -> None:
    run_id = await tell(old)
    await later(old, LOST_MS - 1)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    assert (await old.run(run_id)).status is Status.LOST


async def test_who_has_sent_heartbeats_owes_more(old: Rig) -> None:
    run_id = await tell(old, E.OTHER, facts=Facts(effects=Effects(beat=True)))
    await later(old, SILENT_MS)
    assert await noted(old, run_id) == 1


async def test_a_heartbeat_is_life_and_no_progress(old: Rig) -> None:
    run_id = await start(old)
    await tell(old, E.MESSAGE_DELTA)
    spoke_at = old.clock.now_ms()
    for _ in range(4):
        await later(old, SILENT_MS // 2)
        await tell(old, E.OTHER, facts=Facts(effects=Effects(beat=True)), agent="a")
    assert await noted(old, run_id) == 0
    assert await verdict(old, run_id) is Verdict.STALLED
    row = await old.run(run_id)
    assert (row.process_at, row.progress_at, row.output_at) == (old.clock.now_ms(), spoke_at, spoke_at)
    [agent] = [one for one in (await old.store.rows(old.org)).agents if one.name == "a"]
    assert agent.last_heartbeat_at == old.clock.now_ms()


async def test_an_agent_that_beats_beside_its_run_shows_that_it_is_there(old: Rig) -> None:
    run_id = await tell(old, E.RUN_STARTED, facts=Facts(effects=Effects(is_start=True)), agent="a")
    old.clock.advance(SILENT_MS)
    assert await verdict(old, run_id) is Verdict.SILENT
    await old.append(AgentHeartbeat("a"))
    assert await verdict(old, run_id) is Verdict.STALLED


async def test_who_waits_for_somebody_is_left_alone(old: Rig) -> None:
    asked = await tell(old, E.RUN_WAITING, "asked")
    paused = await tell(old, E.RUN_PAUSED, "paused")
    idle = await tell(old, E.OTHER, "idle", facts=Facts(effects=Effects(idle=True)))
    resting = await tell(
        old,
        E.CHECKPOINT,
        "resting",
        facts=Facts(effects=Effects(checkpoint=CheckpointFacts(1, "idle"), idle=True, status=Status.RUNNING)),
    )
    queued = str((await old.do(CreateRun("q"))).run_id)
    for _ in range(3):
        await later(old, LOST_MS)
    for run_id in (asked, paused, idle, resting, queued):
        assert await noted(old, run_id) == 0
        assert not (await old.run(run_id)).is_terminal()
        assert await verdict(old, run_id) is (None if run_id == queued else Verdict.ALIVE), "nobody runs what waits"
    await old.do(GiveInput(asked, "yes"))
    assert await verdict(old, asked) is Verdict.ALIVE, "whoever is answered has all its time again"
    await tell(old, E.STEP, "idle")
    await later(old, LOST_MS)
    assert [(await old.run(run_id)).status for run_id in (asked, idle)] == [Status.LOST, Status.LOST]


async def test_a_run_under_a_lease_is_its_leases_affair(old: Rig) -> None:
    run_id = str((await old.do(CreateRun("t"))).run_id)
    await old.do(Claim("w", 3 * LOST_MS))
    await later(old, 2 * LOST_MS)
    assert (await old.run(run_id)).status is Status.RUNNING
    assert await noted(old, run_id) == 0
    assert await verdict(old, run_id) is Verdict.STALLED


async def test_a_cancel_ends_it_before_any_silence_does(old: Rig) -> None:
    run_id = await start(old)
    await old.do(CancelRun(run_id))
    await later(old, 0)
    await later(old, LOST_MS)
    assert (await old.run(run_id)).status is Status.CANCELLED


@pytest.mark.parametrize("count", [4, 5])
async def test_a_sweep_goes_on_until_nothing_is_due_in_any_organisation(
    old: Rig, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(silence, "SWEEP_ROWS", 2)
    other = await old.make_org("other")
    runs = [await start(old, f"x{n}") for n in range(count)]
    active = [await start(old, f"y{n}") for n in range(count)]
    theirs = (await old.do(CreateRun("t"), principal=other)).run_id
    await old.append(draft(run=RunById(runs[0])))
    old.clock.advance(30_000)
    for n in range(count):
        await tell(old, trace=f"y{n}")
    await later(old, SILENT_MS - 30_000)
    assert [await noted(old, run_id) for run_id in runs] == [1] * count
    assert [await noted(old, run_id) for run_id in active] == [0] * count
    await later(old, LOST_MS)
    assert {(await old.run(run_id)).status for run_id in runs + active} == {Status.LOST}
    row = await old.store.run(other.org, theirs)
    assert row is not None
    assert row.status is Status.QUEUED


async def test_nothing_is_written_when_nothing_is_due(old: Rig) -> None:
    await start(old)
    await later(old, SILENT_MS)
    before = await old.log()
    for _ in range(3):
        await later(old, 1000)
    assert await old.log() == before


@pytest.mark.parametrize("jump_ms", [SILENT_MS, LOST_MS, 10 * LOST_MS])
async def test_a_wall_clock_that_jumps_ahead_ends_no_run(old: Rig, jump_ms: int) -> None:
    run_id = await start(old)
    await later(old, 1000)
    old.clock.jump(jump_ms)
    await later(old, SILENT_MS - 1001)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    assert (await noted(old, run_id), (await old.run(run_id)).status) == (1, Status.RUNNING)
    await later(old, LOST_MS - SILENT_MS - 1)
    assert (await old.run(run_id)).status is Status.RUNNING
    await later(old, 1)
    assert (await old.run(run_id)).status is Status.LOST


async def test_a_jump_is_no_excuse_for_who_was_heard_after_it(old: Rig) -> None:
    old.clock.jump(LOST_MS)
    await later(old, 1000)
    run_id = await start(old)
    await later(old, SILENT_MS - 1)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    assert await noted(old, run_id) == 1


async def test_a_wall_clock_that_is_set_back_delays_and_never_hurries(old: Rig) -> None:
    run_id = await start(old)
    await later(old, 1000)
    old.clock.jump(-3_600_000)
    await tell(old)
    await later(old, SILENT_MS - 1)
    assert await noted(old, run_id) == 0
    await later(old, 1)
    assert await noted(old, run_id) == 1


async def test_a_clock_that_is_set_back_and_then_far_ahead_ends_no_run(old: Rig) -> None:
    """The last word then lies in the midst of what the second jump leapt over."""
    run_id = await start(old)
    old.clock.jump(-3_600_000)
    await later(old, 1000)
    old.clock.jump(10 * LOST_MS)
    await later(old, SILENT_MS - 1001)
    assert (await noted(old, run_id), (await old.run(run_id)).status) == (0, Status.RUNNING)
    await later(old, LOST_MS + 3_600_000)
    assert (await old.run(run_id)).status is Status.LOST


async def test_a_server_that_was_away_listens_for_a_whole_threshold_before_it_judges(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id, gone = await start(rig), await start(rig, "gone")
        clock, ids = rig.clock, rig.ids
    clock.advance(2 * LOST_MS)
    clock.restart()
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        await later(rig, 0)
        await later(rig, SILENT_MS - 1)
        assert (await noted(rig, gone), await verdict(rig, gone)) == (0, Verdict.ALIVE)
        await tell(rig)
        await later(rig, 1)
        assert (await noted(rig, run_id), await noted(rig, gone)) == (0, 1)
        await later(rig, LOST_MS - SILENT_MS - 1)
        assert (await rig.run(gone)).status is Status.RUNNING
        await later(rig, 1)
        assert [(await rig.run(one)).status for one in (run_id, gone)] == [Status.RUNNING, Status.LOST]


@pytest.mark.parametrize(("silent_ms", "lost_ms"), [(0, 5000), (5000, 0), (0, 0)])
async def test_either_threshold_may_be_off(tmp_path: Path, silent_ms: int, lost_ms: int) -> None:
    settings = EngineSettings(thresholds=Thresholds(silent_ms=silent_ms, lost_ms=lost_ms))
    async with open_rig(tmp_path, settings=settings) as rig:
        rig.clock.advance(10_000)
        run_id = await start(rig)
        for _ in range(3):
            await later(rig, 3000)
        assert await noted(rig, run_id) == (silent_ms > 0)
        assert ((await rig.run(run_id)).status is Status.LOST) == (lost_ms > 0)


async def beats(rig: Rig, trace: str) -> None:
    await tell(rig, E.OTHER, trace, facts=Facts(effects=Effects(beat=True)))


@pytest.mark.parametrize("away", ["restarted", "stood still"])
async def test_a_run_that_was_stalled_is_so_until_it_makes_progress(tmp_path: Path, away: str) -> None:
    """And one that was not is given all its time again; so is one that nothing was heard of but what came before."""

    async def later_on(rig: Rig) -> None:
        for trace in ("stalls", "other"):
            await beats(rig, trace)
        assert [await verdict(rig, one) for one in (stalls, other)] == [Verdict.STALLED, Verdict.ALIVE]
        rig.clock.advance(SILENT_MS - 60_000)
        await beats(rig, "other")
        assert [await verdict(rig, one) for one in (stalls, other)] == [Verdict.STALLED, Verdict.ALIVE]
        await tell(rig, E.STEP, "stalls")
        rig.clock.advance(60_000)
        for trace in ("stalls", "other"):
            await beats(rig, trace)
        assert [await verdict(rig, one) for one in (stalls, other)] == [Verdict.ALIVE, Verdict.STALLED]

    async with open_rig(tmp_path) as rig:
        stalls = await start(rig, "stalls")
        rig.clock.advance(SILENT_MS - 60_000)
        other = await start(rig, "other")
        rig.clock.advance(60_000)
        await beats(rig, "stalls")
        assert [await verdict(rig, one) for one in (stalls, other)] == [Verdict.STALLED, Verdict.ALIVE]
        if away == "stood still":
            await at_rest(rig.store)
            rig.clock.stand_still(SILENT_MS)
            await rig.engine.sweep()
            rig.clock.advance(2000)
            await later_on(rig)
    if away == "restarted":
        rig.clock.advance(SILENT_MS)
        rig.clock.restart()
        async with open_rig(tmp_path, clock=rig.clock, ids=rig.ids) as again:
            await later_on(again)


async def test_a_silence_that_was_noted_lasts_over_a_start(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id = await start(rig)
        await later(rig, SILENT_MS)
        assert await noted(rig, run_id) == 1
    rig.clock.restart()
    async with open_rig(tmp_path, clock=rig.clock, ids=rig.ids) as again:
        assert await verdict(again, run_id) is Verdict.SILENT
        await beats(again, "x")
        assert await verdict(again, run_id) is not Verdict.SILENT
