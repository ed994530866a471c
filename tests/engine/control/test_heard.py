"""What is told again as it was told: it stores nothing and is a sign of life, on record where silence would count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.control.test_handed_on import resumed_by
from tests.engine.reactions.test_next_runs import START, item, rows, sound, state, statuses, tell
from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.control.heard import BEATS, HEARTBEAT
from towerlog.engine.core import EngineSettings
from towerlog.model.command import Append, CancelRun, Claim, CreateRun, Idempotency, SteerRun
from towerlog.model.event import Event, EventType, RunById
from towerlog.model.liveness import Thresholds, Verdict
from towerlog.model.question import GetRun
from towerlog.model.run import RunRow

SILENT_MS, STALLED_MS, LOST_MS = 900_000, 600_000, 86_400_000
BEAT_MS = SILENT_MS // BEATS
MINUTE_MS = 60_000


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Rig]:
    """A server that has been there for two days."""
    settings = EngineSettings(thresholds=Thresholds(STALLED_MS, SILENT_MS, LOST_MS))
    async with open_rig(tmp_path, settings=settings) as rig:
        rig.clock.advance(2 * LOST_MS)
        await rig.engine.sweep()
        yield rig


async def later(rig: Rig, by_ms: int) -> None:
    rig.clock.advance(by_ms)
    await rig.engine.sweep()


async def the_run(rig: Rig) -> RunRow:
    [row] = await rows(rig)
    return row


def beats(events: list[Event]) -> list[Event]:
    return [event for event in events if event.facts.name == HEARTBEAT]


def silences(events: list[Event]) -> int:
    return sum(event.type is EventType.RUN_SILENT for event in events)


async def verdict(rig: Rig, run_id: str) -> Verdict | None:
    found: Verdict | None = (await rig.do(GetRun(run_id))).liveness.verdict
    return found


@pytest.mark.parametrize("every_ms", [MINUTE_MS, 7 * MINUTE_MS, 14 * MINUTE_MS])
async def test_who_tells_its_unchanged_state_again_and_again_is_there(old: Rig, every_ms: int) -> None:
    await tell(old, START, state(1))
    run_id, spent_ms = (await the_run(old)).run_id, 0
    while spent_ms < 3 * SILENT_MS:
        await later(old, every_ms)
        spent_ms += every_ms
        assert await verdict(old, run_id) is (Verdict.ALIVE if spent_ms < STALLED_MS else Verdict.STALLED)
        await tell(old, state(1))
    events = await old.events(run_id)
    assert silences(events) == 0
    assert len(beats(events)) <= spent_ms // BEAT_MS, "no more of them than are needed"
    news = [event.type for event in events if event.facts.name != HEARTBEAT]
    assert news == [EventType.RUN_STARTED, EventType.CHECKPOINT]
    await sound(old)


async def test_it_is_not_ended_as_lost_and_who_stops_telling_is(old: Rig) -> None:
    await tell(old, START, state(1))
    for _ in range(10):
        await later(old, LOST_MS // 8)
        await tell(old, state(1))
    assert await statuses(old) == ["running"]
    await later(old, SILENT_MS)
    await later(old, LOST_MS)
    assert await statuses(old) == ["lost"]
    await tell(old, state(1))
    assert (await old.events((await the_run(old)).run_id))[-1].type is EventType.RUN_LOST, "nothing after the end"
    await sound(old)


async def test_a_request_that_is_sent_again_soon_stores_nothing(old: Rig) -> None:
    await tell(old, START, state(1))
    before = await old.log()
    for _ in range(3):
        old.clock.advance(BEAT_MS // 4)
        await tell(old, START, state(1))
    assert await old.log() == before
    old.clock.advance(BEAT_MS)
    await tell(old, START, state(1))
    [noted] = (await old.log())[len(before) :]
    assert (noted.facts.name, noted.effects.beat, noted.effects.of_server) == (HEARTBEAT, True, True)


async def test_it_ends_a_silence_that_was_noted_and_the_next_one_is_noted_again(old: Rig) -> None:
    await tell(old, START, state(1))
    run_id = (await the_run(old)).run_id
    for silent in (1, 2):
        await later(old, SILENT_MS)
        assert (silences(await old.events(run_id)), await verdict(old, run_id)) == (silent, Verdict.SILENT)
        await tell(old, state(1))
        assert ((await old.run(run_id)).silent_at, await verdict(old, run_id)) == (None, Verdict.STALLED)
    await sound(old)


@pytest.mark.parametrize("what", ["cancel", "pause"])
async def test_who_tells_its_state_again_after_the_next_run_began_works_beside_it(old: Rig, what: str) -> None:
    await tell(old, START, state(1))
    old.clock.advance(100)
    await tell(old, START, state(2), trace="B")
    old.clock.advance(100)
    for _ in range(2):
        await tell(old, state(1))
    a, b = await rows(old)
    assert (b.resumed_from, await resumed_by(old, a.run_id)) == (a.run_id, None)
    assert len(beats(await old.events(a.run_id))) == 1
    await old.do(CancelRun(a.run_id) if what == "cancel" else SteerRun(a.run_id, what))
    a, b = await rows(old)
    assert ([one.type for one in a.pending], [one.type for one in b.pending]) == ([what], [])
    await sound(old)


async def test_who_tells_nothing_is_left_for_the_next_run(old: Rig) -> None:
    await tell(old, START, state(1))
    old.clock.advance(100)
    await tell(old, START, state(2), trace="B")
    old.clock.advance(100)
    await tell(old, state(2), trace="B")
    a, b = await rows(old)
    assert await resumed_by(old, a.run_id) == b.run_id
    assert beats(await old.log()) == []


async def test_a_request_under_its_idempotency_key_is_a_sign_of_life(old: Rig) -> None:
    command = Append("checkpoints", [item(one, "A") for one in (START, state(1))])
    key = Idempotency("/events", "key", b"digest", lambda _: (200, b"saved"))
    await old.do(command, idempotency=key)
    run_id = (await the_run(old)).run_id
    for _ in range(4):
        await later(old, SILENT_MS // 2)
        assert (await old.do(command, idempotency=key)).body == b"saved"
    assert (silences(await old.events(run_id)), len(beats(await old.events(run_id)))) == (0, 4)


async def test_an_event_that_is_sent_again_under_its_id_is_one_in_every_dialect(old: Rig) -> None:
    def told() -> Any:
        return draft(EventType.RUN_STARTED, traced("x"), event_id="e1")

    [first] = await old.append(told())
    for _ in range(4):
        await later(old, SILENT_MS // 2)
        [again] = await old.append(told())
        assert (again.duplicate, again.seq) == (True, 1)  # type: ignore[union-attr]
    events = await old.events(first.run_id)  # type: ignore[union-attr]
    assert (silences(events), len(beats(events))) == (0, 4)


async def test_nothing_is_noted_of_whom_no_sign_of_life_is_expected(old: Rig) -> None:
    """A run that waits for a person, and one that a worker holds."""
    await tell(old, START, state(1, status="waiting_for_approval"))
    worked = (await old.do(CreateRun("served"))).run_id
    await old.do(Claim("w", LOST_MS * 2))
    report = draft(EventType.STEP, RunById(worked), event_id="e2")
    await old.append(report)
    before = await old.log()
    for _ in range(3):
        await later(old, SILENT_MS)
        await tell(old, state(1, status="waiting_for_approval"))
        await old.append(report)
    assert await old.log() == before


async def test_it_does_not_make_a_part_of_a_run_one_that_has_to_report(old: Rig) -> None:
    """One whose start nobody has told."""
    await tell(old, state(1))
    old.clock.advance(100)
    await tell(old, START, state(2), trace="B")
    old.clock.advance(100)
    await tell(old, state(1))
    a, _ = await rows(old)
    assert (len(beats(await old.events(a.run_id))), a.implicit, a.sends_heartbeats) == (1, True, False)
    assert a.process_at == old.clock.now_ms()
    assert not a.silence_matters()
