"""Who goes on with a run that somebody else has ended is told so with each reply, in every dialect; nobody else is."""

from __future__ import annotations

import pytest

from tests.engine.control.test_receipts import deliveries, telling
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.model.command import Append, KillRun
from towerlog.model.event import EventType as E
from towerlog.model.event import RunByForeignId
from towerlog.model.facts import Effects, Facts
from towerlog.model.run import Status

QUESTION = draft(E.RUN_WAITING, traced("x"), facts=Facts(question="Pay?", effects=Effects(question_key="k")))
ENDED = "the run has ended as completed; another run needs an id of its own"
END = draft(E.RUN_COMPLETED, traced("x"), facts=Facts(effects=Effects()))


@pytest.mark.parametrize("dialect", ["steps", "checkpoints", "native"])
async def test_whose_run_was_killed_is_told_with_each_reply(rig: Rig, dialect: str) -> None:
    run_id = await telling(rig)
    await rig.do(KillRun(run_id, "it paints the floor"))
    row = await rig.run(run_id)
    for sent in (draft(E.STEP, traced("x")), QUESTION, draft(E.STEP, traced("x"))):
        [told] = await rig.append(sent, dialect=dialect)
        [command] = told.commands
        assert (command.type, command.command_id) == ("cancel", row.ended_seq)
        assert (command.content or "").startswith("the run has ended as cancelled")
    acknowledged = draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(command_id=row.ended_seq)))
    [told] = await rig.append(acknowledged, dialect=dialect)
    assert told.unused == ()
    after = await rig.run(run_id)
    assert (after.status, after.pending, await deliveries(rig, run_id)) == (Status.CANCELLED, (), [])
    complaints: list[str] = []
    await verify_org(rig.store, rig.org, complaints.append)
    assert complaints == []


async def test_who_has_ended_a_run_is_told_nothing_of_that(rig: Rig) -> None:
    await telling(rig)
    [told] = await rig.append(END)
    assert told.commands == ()
    results = await rig.append(draft(E.STEP, traced("x")), draft(E.MODEL_CALL, traced("x")), END)
    assert [one.commands for one in results] == [(), (), ()]


async def test_what_is_asked_after_the_end_is_not_waited_for(rig: Rig) -> None:
    await telling(rig)
    stepped, ended, asked = await rig.append(draft(E.STEP, traced("x")), END, QUESTION)
    assert (stepped.commands, ended.commands) == ((), ())
    [command] = asked.commands
    assert command.content == ENDED


@pytest.mark.parametrize("wait_ms", [0, 5_000])
async def test_who_asks_for_the_commands_of_a_run_that_has_ended_is_told_of_its_end(rig: Rig, wait_ms: int) -> None:
    ref = RunByForeignId("native:x", "x")
    await rig.append(draft(E.RUN_STARTED, ref, facts=Facts(effects=Effects(is_start=True))), dialect="native")
    ended = await rig.do(Append("native", [draft(E.RUN_COMPLETED, ref)], polled=(ref,)), dialect="native")
    assert [one.row.pending for one in ended.polled] == [()]
    late = await rig.do(Append("native", [draft(E.STEP, ref)], polled=(ref,)), dialect="native")
    assert [one.row.pending for one in late.polled] == [()], "it reports what it has used"
    asked = Append("native", [], polled=(ref,), going_on=frozenset({ref.foreign_id}), wait_ms=wait_ms)
    [polled] = (await rig.do(asked, dialect="native")).polled
    assert [(one.type, one.content) for one in polled.row.pending] == [("cancel", ENDED)]
