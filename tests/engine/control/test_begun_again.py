"""A program that begins its run again has not heard of what the program before has acknowledged: it is told again."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.model.command import Append, CancelRun, GiveInput, SteerRun
from towerlog.model.event import EventType as E
from towerlog.model.facts import Effects, Facts
from towerlog.model.run import Status

RUN = traced("x")
DIALECTS = ("native", "steps", "checkpoints", "activity")


def start() -> object:
    return draft(E.RUN_STARTED, RUN, facts=Facts(effects=Effects(is_start=True)))


async def told(rig: Rig, kind: E = E.STEP, dialect: str = "native", **effects: object) -> list[tuple[str, str | None]]:
    """What the reply to one event of the agent wants of it: (type, content) of each command."""
    facts = Facts(effects=Effects(**effects)) if effects else Facts()  # type: ignore[arg-type]
    [result] = await rig.append(draft(kind, RUN, facts=facts), dialect=dialect)
    return [(one.type, one.content) for one in result.commands]  # type: ignore[union-attr]


async def begun(rig: Rig, dialect: str = "native") -> tuple[str, list[tuple[str, str | None]]]:
    """A program begins the run, perhaps again; its id, and what the reply wants."""
    done = await rig.do(Append(dialect, [start()]), dialect=dialect)
    [result] = done.results
    return str(result.run_id), [(one.type, one.content) for one in result.commands]


async def sound(rig: Rig) -> None:
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def paused(rig: Rig) -> str:
    run_id, _ = await begun(rig)
    await rig.do(SteerRun(run_id, "pause", "lunch"))
    await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="pause")
    await told(rig, E.RUN_PAUSED, acknowledges="pause")
    assert (await rig.run(run_id)).status is Status.PAUSED
    return run_id


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_pause_outlives_the_program_that_has_taken_it(rig: Rig, dialect: str) -> None:
    run_id = await paused(rig)
    for _ in range(3):
        assert (await begun(rig, dialect))[1] == [("pause", "lunch")]
        assert (await rig.run(run_id)).status is Status.PAUSED, "nobody has resumed it"
        assert await told(rig, E.STEP, dialect) == [("pause", "lunch")], "until it is acknowledged"
        await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="pause")
        assert await told(rig, E.STEP, dialect) == []
        assert (await rig.run(run_id)).status is Status.PAUSED
    receipts = [one for one in await rig.events(run_id) if one.type is E.COMMAND_DELIVERED]
    ids = {msgspec.json.decode(one.data)["command_id"] for one in receipts}
    assert len(ids) == len(receipts) == 3, "each with a receipt of its own"
    await sound(rig)


async def test_a_program_that_is_told_of_a_pause_again_goes_on_once_somebody_resumes_it(rig: Rig) -> None:
    run_id = await paused(rig)
    await begun(rig)
    await rig.do(SteerRun(run_id, "pause"))
    assert await told(rig) == [("pause", "lunch")], "it is asked that already"
    await rig.do(SteerRun(run_id, "resume"))
    assert await told(rig) == [("resume", None)]
    await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="resume")
    row = await rig.run(run_id)
    assert (row.status, row.pending, row.pause_taken) == (Status.RUNNING, (), None)
    assert (await begun(rig))[1] == []
    assert (await rig.run(run_id)).status is Status.RUNNING


async def test_a_pause_that_was_resumed_while_no_program_was_there_is_not_told_again(rig: Rig) -> None:
    run_id = await paused(rig)
    await rig.do(SteerRun(run_id, "resume"))
    assert (await begun(rig))[1] == [("resume", None)]
    assert (await rig.run(run_id)).status is Status.RUNNING


async def test_an_answer_leaves_a_run_paused_that_has_asked_beside_its_pause(rig: Rig) -> None:
    run_id = await paused(rig)
    await told(rig, E.RUN_WAITING)
    assert (await rig.run(run_id)).status is Status.WAITING
    assert (await begun(rig))[1] == [("pause", "lunch")]
    await rig.do(GiveInput(run_id, "yes"))
    assert (await rig.run(run_id)).status is Status.PAUSED
    await rig.do(SteerRun(run_id, "resume"))
    await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="resume")
    assert (await rig.run(run_id)).status is Status.RUNNING
    await sound(rig)


async def test_a_program_with_an_open_question_that_begins_again_stays_paused(rig: Rig) -> None:
    run_id, _ = await begun(rig)
    await told(rig, E.RUN_WAITING)
    await rig.do(SteerRun(run_id, "pause", "lunch"))
    await told(rig, E.RUN_PAUSED, acknowledges="pause")
    assert (await begun(rig))[1] == [("pause", "lunch")]
    row = await rig.run(run_id)
    assert (row.status, len(row.questions)) == (Status.PAUSED, 1)
    await told(rig, E.RUN_PAUSED, acknowledges="pause")
    await rig.do(SteerRun(run_id, "resume"))
    await told(rig, E.RUN_RESUMED, acknowledges="resume")
    assert (await rig.run(run_id)).status is Status.WAITING
    await sound(rig)


async def test_a_run_that_asks_beside_its_pause_can_be_resumed(rig: Rig) -> None:
    run_id = await paused(rig)
    await told(rig, E.RUN_WAITING)
    await rig.do(SteerRun(run_id, "resume"))
    assert [one.type for one in (await rig.run(run_id)).pending] == ["resume"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_cancel_outlives_the_program_that_has_acknowledged_it(rig: Rig, dialect: str) -> None:
    run_id, _ = await begun(rig)
    await rig.do(CancelRun(run_id, "enough"))
    assert await told(rig) == [("cancel", "enough")]
    await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="cancel")
    before = await rig.run(run_id)
    rig.clock.advance(1_000)
    assert (await begun(rig, dialect))[1] == [("cancel", "enough")]
    await told(rig, E.COMMAND_ACKNOWLEDGED, acknowledges="cancel")
    row = await rig.run(run_id)
    assert row.status is Status.CANCELLING
    assert row.cancel_delivered_at == before.cancel_delivered_at
    assert row.cancel_acknowledged_at == before.cancel_acknowledged_at, "when the first has"
    await told(rig, E.RUN_CANCELLED)
    assert (await rig.run(run_id)).status is Status.CANCELLED
    await sound(rig)
