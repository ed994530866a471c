"""A second answer that names no question: it never reaches what was asked after the first one was given."""

from __future__ import annotations

import pytest

from tests.engine.control.test_questions import asking, contents, question, taken
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.control.steering import SECOND_ANSWER_MS
from towerlog.errors import QuestionClosed
from towerlog.model.command import GiveInput
from towerlog.model.event import EventType as E
from towerlog.model.facts import Effects, Facts


@pytest.mark.parametrize("how", ["answered", "answered and taken", "withdrawn"])
async def test_a_second_click_does_not_answer_the_next_question(rig: Rig, how: str) -> None:
    run_id = await asking(rig, "the test database?")
    if how == "withdrawn":
        await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, traced("x")))
    else:
        await rig.do(GiveInput(run_id, "yes"))
    if how == "answered and taken":
        await taken(rig, run_id)
    [asked] = await rig.append(question("the production database?", run=traced("x")))
    before = await contents(rig, run_id)
    rig.clock.advance(SECOND_ANSWER_MS - 1)
    for kind in (None, "input"):
        with pytest.raises(
            QuestionClosed, match=f"Question 2 was {how[:8]}.*asked question {asked.seq} since"
        ) as found:
            await rig.do(GiveInput(run_id, "yes", type=kind))
        assert found.value.details["question_id"] == "2"
        assert found.value.details["open_question_id"] == str(asked.seq)
        assert found.value.details.get("answered_by") == (None if how == "withdrawn" else "admin")
    assert await contents(rig, run_id) == before
    await rig.do(GiveInput(run_id, "no", asked.seq))
    assert (await contents(rig, run_id))[-1] == ("input", "no", asked.seq)


async def test_later_an_answer_goes_to_what_is_asked_then(rig: Rig) -> None:
    run_id = await asking(rig, "the test database?")
    await rig.do(GiveInput(run_id, "yes"))
    [asked] = await rig.append(question("the production database?", run=traced("x")))
    rig.clock.advance(SECOND_ANSWER_MS)
    await rig.do(GiveInput(run_id, "no"))
    assert (await contents(rig, run_id))[-1] == ("input", "no", asked.seq)


async def test_what_was_open_together_is_answered_in_its_order_and_nothing_else(rig: Rig) -> None:
    run_id = await asking(rig, "read?", "pay?")
    await rig.do(GiveInput(run_id, "first"))
    await rig.append(question("delete?", run=traced("x")))
    await rig.do(GiveInput(run_id, "second"))
    assert await contents(rig, run_id) == [("input", "first", 2), ("input", "second", 3)]
    with pytest.raises(QuestionClosed, match="Question 2 was answered by admin"):
        await rig.do(GiveInput(run_id, "third"))


async def test_what_is_asked_anew_in_other_words_is_another_question(rig: Rig) -> None:
    run_id = await asking(rig, "read?")
    await rig.append(question("pay 1?", "k", run=traced("x")))
    await rig.do(GiveInput(run_id, "yes"))
    await rig.append(question("pay 1000?", "k", run=traced("x")))
    with pytest.raises(QuestionClosed, match="asked question 3 since"):
        await rig.do(GiveInput(run_id, "yes"))
    facts = Facts(effects=Effects(question_key="k"))
    await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, traced("x"), facts=facts))
    assert (await rig.run(run_id)).questions == ()
