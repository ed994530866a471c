"""What a lost attempt has asked, and the next one does not ask again: nobody answers it in vain for long."""

from __future__ import annotations

import msgspec
import pytest

from tests.engine.control.test_questions import LEASE_MS, lost, question
from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.errors import QuestionClosed
from towerlog.model.approval import ApprovalState
from towerlog.model.command import Claim, Finish, GiveInput, Report
from towerlog.model.event import EventType as E
from towerlog.model.event import RunById
from towerlog.model.question import ListApprovals
from towerlog.model.run import Status


async def sound(rig: Rig) -> None:
    complaints: list[str] = []
    await verify_org(rig.store, rig.org, complaints.append)
    assert complaints == []


async def inbox(rig: Rig) -> list[int]:
    return [one.row.seq for one in (await rig.do(ListApprovals(10))).rows]


async def test_what_the_next_attempt_goes_past_is_withdrawn_and_who_has_answered_it_is_told(rig: Rig) -> None:
    run_id = await lost(rig, question("pay 1?", "k1"), question("pay 2?", "k2"))
    first, second = (one.question_id for one in (await rig.run(run_id)).questions)
    await rig.do(GiveInput(run_id, "no", first))
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(Report(run_id, "w2", [question("pay 3?", "k3", run=RunById(run_id))]))
    assert len((await rig.run(run_id)).questions) == 2, "they may come again"
    third = (await rig.run(run_id)).questions[-1].question_id
    await rig.do(GiveInput(run_id, "yes", third))
    row = await rig.run(run_id)
    assert (row.status, row.questions, await inbox(rig)) == (Status.RUNNING, (), [])
    assert [(one.content, one.question_id) for one in row.pending] == [("yes", third)]
    states = {one.question_id: one.state() for one in row.closed_questions}
    assert states == {
        first: ApprovalState.WITHDRAWN,
        second: ApprovalState.WITHDRAWN,
        third: ApprovalState.ANSWERED,
    }
    told = [msgspec.json.decode(event.data) for event in (await rig.events(run_id))[-2:]]
    assert {one["reason"] for one in told} == {"the next attempt has not asked it again"}
    assert (told[0]["question_id"], told[1]["taken"]) == (second, False)
    with pytest.raises(QuestionClosed, match="nobody has taken the answer"):
        await rig.do(GiveInput(run_id, "no", first))
    await sound(rig)


async def test_what_is_asked_again_stays_whatever_is_answered(rig: Rig) -> None:
    run_id = await lost(rig, question("pay 1?", "k1"), question("pay 2?", "k2"), question("pay 3?", "k3"))
    first, second, third = (one.question_id for one in (await rig.run(run_id)).questions)
    await rig.do(GiveInput(run_id, "no", first))
    await rig.do(Claim("w2", LEASE_MS))
    again = [question(f"pay {number}?", f"k{number}", run=RunById(run_id)) for number in (1, 2)]
    await rig.do(Report(run_id, "w2", again))
    await rig.do(GiveInput(run_id, "yes", second))
    row = await rig.run(run_id)
    assert [one.question_id for one in row.questions] == [third], "it has asked nothing else so far"
    await rig.do(Report(run_id, "w2", [question("pay 4?", "k4", run=RunById(run_id))]))
    await rig.do(GiveInput(run_id, "yes", (await rig.run(run_id)).questions[-1].question_id))
    row = await rig.run(run_id)
    assert [(one.question_id, one.content) for one in row.pending][:2] == [(first, "no"), (second, "yes")]
    assert row.questions == ()
    await sound(rig)


async def test_an_answer_that_the_last_attempt_has_not_asked_for_was_in_vain(rig: Rig) -> None:
    run_id = await lost(rig, question("pay 1?", "k1"), question("pay 2?", "k2"))
    first, second = (one.question_id for one in (await rig.run(run_id)).questions)
    await rig.do(GiveInput(run_id, "no", first))
    await rig.do(GiveInput(run_id, "yes", second))
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(Report(run_id, "w2", [question("pay 2?", "k2", run=RunById(run_id))]))
    await rig.do(Finish(run_id, "w2", draft(E.RUN_COMPLETED, RunById(run_id))))
    states = {one.question_id: one.state() for one in (await rig.run(run_id)).closed_questions}
    assert states == {first: ApprovalState.WITHDRAWN, second: ApprovalState.ANSWERED}
    await sound(rig)
