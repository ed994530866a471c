"""What a lost attempt has asked, and the next one does not ask again: nobody answers it in vain for long."""

from __future__ import annotations

from itertools import chain

import msgspec
import pytest

from tests.engine.control.test_questions import LEASE_MS, lost, question
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.errors import Conflict, QuestionClosed
from towerlog.model.approval import AnswerApproval, ApprovalRef, ApprovalState, GetApproval, MakeAnswerLink
from towerlog.model.command import Claim, CreateRun, Finish, GiveInput, KillRun, Release, Report
from towerlog.model.event import EventType as E
from towerlog.model.event import RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.pending import MAX_ANSWERS, MAX_LEFT_BYTES
from towerlog.model.question import ListApprovals
from towerlog.model.run import MAX_CLOSED_QUESTIONS, Status


async def sound(rig: Rig) -> None:
    complaints: list[str] = []
    await verify_org(rig.store, rig.org, complaints.append)
    assert complaints == []


async def inbox(rig: Rig) -> list[int]:
    return [one.row.seq for one in (await rig.do(ListApprovals(10))).rows]


async def asked(rig: Rig, run_id: str, worker_id: str, *questions: tuple[str, str]) -> list[int]:
    """A worker asks these (text, key); the ids that the log gives them."""
    before = (await rig.run(run_id)).last_seq
    await rig.do(Report(run_id, worker_id, [question(text, key, run=RunById(run_id)) for text, key in questions]))
    news = [one for one in await rig.events(run_id) if one.seq > before and one.type is E.RUN_WAITING]
    return [msgspec.json.decode(one.data)["question_id"] for one in news]


async def answered(rig: Rig, run_id: str, worker_id: str, content: str, question_id: int) -> None:
    """A person answers, and the worker takes the answer."""
    await rig.do(GiveInput(run_id, content, question_id))
    facts = Facts(effects=Effects(command_id=(await rig.run(run_id)).pending[-1].command_id))
    await rig.do(Report(run_id, worker_id, [draft(E.COMMAND_ACKNOWLEDGED, RunById(run_id), facts=facts)]))


async def lost_after_one(rig: Rig) -> tuple[str, int]:
    """A run whose first attempt asked for a test, took the answer, asked for production and was lost; the id of what is
    still open."""
    run_id = str((await rig.do(CreateRun("t"))).run_id)
    await rig.do(Claim("w", LEASE_MS))
    [test] = await asked(rig, run_id, "w", ("test?", "k1"))
    await answered(rig, run_id, "w", "yes", test)
    [production] = await asked(rig, run_id, "w", ("production?", "k2"))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    return run_id, production


async def test_an_answer_waits_for_its_question_although_an_earlier_one_is_asked_and_answered_anew(rig: Rig) -> None:
    run_id, production = await lost_after_one(rig)
    await rig.do(GiveInput(run_id, "never", production))
    await rig.do(Claim("w2", LEASE_MS))
    [test] = await asked(rig, run_id, "w2", ("test?", "k1"))
    await answered(rig, run_id, "w2", "yes", test)
    assert await asked(rig, run_id, "w2", ("production?", "k2")) == [production]
    row = await rig.run(run_id)
    assert [(one.content, one.question_id) for one in row.pending] == [("never", production)]
    assert (row.status, row.questions, await inbox(rig)) == (Status.RUNNING, (), [])
    with pytest.raises(QuestionClosed, match="the first answer counts"):
        await rig.do(GiveInput(run_id, "do it", production))
    await sound(rig)


async def test_an_answer_waits_for_its_question_however_much_is_answered_before(rig: Rig) -> None:
    run_id, production = await lost_after_one(rig)
    await rig.do(GiveInput(run_id, "never", production))
    await rig.do(Claim("w2", LEASE_MS))
    for number in range(MAX_CLOSED_QUESTIONS + 1):
        [one] = await asked(rig, run_id, "w2", (f"{number}?", f"n{number}"))
        await answered(rig, run_id, "w2", "yes", one)
    assert len((await rig.run(run_id)).closed_questions) == MAX_CLOSED_QUESTIONS
    assert await asked(rig, run_id, "w2", ("production?", "k2")) == [production]
    with pytest.raises(QuestionClosed, match="the first answer counts"):
        await rig.do(GiveInput(run_id, "do it", production))
    await sound(rig)


@pytest.mark.parametrize("before", [("test?", "k1"), ("which region?", "k3")], ids=["asked before", "new"])
async def test_a_link_is_good_when_the_question_is_asked_again_whatever_is_answered_before(rig: Rig, before) -> None:
    run_id, production = await lost_after_one(rig)
    ref = (await rig.run(run_id)).questions[0].ref(run_id)
    link = (await rig.do(MakeAnswerLink(ref, "bob", LEASE_MS * 10))).link
    await rig.do(Claim("w2", LEASE_MS))
    [first] = await asked(rig, run_id, "w2", before)
    await answered(rig, run_id, "w2", "yes", first)
    assert await asked(rig, run_id, "w2", ("production?", "k2")) == [production]
    assert await inbox(rig) == [production]
    await sound(rig)
    await rig.do(AnswerApproval(ref, content="never", link=link))
    assert [(one.content, one.question_id) for one in (await rig.run(run_id)).pending] == [("never", production)]
    with pytest.raises(QuestionClosed, match="the first answer counts"):
        await rig.do(GiveInput(run_id, "do it", production))
    await sound(rig)


async def test_a_second_click_does_not_answer_what_is_asked_again_since(rig: Rig) -> None:
    run_id, production = await lost_after_one(rig)
    await rig.do(Claim("w2", LEASE_MS))
    [test] = await asked(rig, run_id, "w2", ("test?", "k1"))
    await answered(rig, run_id, "w2", "yes", test)
    assert await asked(rig, run_id, "w2", ("production?", "k2")) == [production]
    with pytest.raises(QuestionClosed, match=f"Question {test} was answered by admin"):
        await rig.do(GiveInput(run_id, "yes"))


async def test_what_the_next_attempt_goes_past_is_withdrawn(rig: Rig) -> None:
    run_id = await lost(rig, question("pay 1?", "k1"), question("pay 2?", "k2"))
    first, second = (one.question_id for one in (await rig.run(run_id)).questions)
    await rig.do(GiveInput(run_id, "no", first))
    await rig.do(Claim("w2", LEASE_MS))
    [third] = await asked(rig, run_id, "w2", ("pay 3?", "k3"))
    assert len((await rig.run(run_id)).questions) == 2, "they may come again"
    await rig.do(GiveInput(run_id, "yes", third))
    row = await rig.run(run_id)
    assert (row.status, row.questions, await inbox(rig)) == (Status.RUNNING, (), [])
    assert [(one.content, one.question_id) for one in row.pending] == [("no", first), ("yes", third)]
    told = msgspec.json.decode((await rig.events(run_id))[-1].data)
    assert (told["question_id"], told["reason"]) == (second, "the next attempt has not asked it again")
    with pytest.raises(QuestionClosed, match=f"Question {second} was withdrawn"):
        await rig.do(GiveInput(run_id, "no", second))
    await sound(rig)


async def test_a_withdrawn_question_in_other_words_is_another_one(rig: Rig) -> None:
    run_id = await lost(rig, question("pay 1?", "k1"))
    [first] = [one.question_id for one in (await rig.run(run_id)).questions]
    await rig.do(Claim("w2", LEASE_MS))
    [other] = await asked(rig, run_id, "w2", ("pay 3?", "k3"))
    await answered(rig, run_id, "w2", "yes", other)
    assert await asked(rig, run_id, "w2", ("pay 2?", "k1")) != [first]
    await sound(rig)


@pytest.mark.parametrize("size", [9, 1_900])
async def test_answers_that_nobody_asks_for_stay_and_leave_room_for_one_that_is_waited_for(rig: Rig, size: int) -> None:
    """By number and by bytes."""
    run_id = await lost(rig, *[question(f"{number}?", f"k{number}") for number in range(MAX_ANSWERS + 1)])
    *left, late = (one.question_id for one in (await rig.run(run_id)).questions)
    for question_id in left:
        await rig.do(GiveInput(run_id, "n" * size, question_id))
    with pytest.raises(Conflict, match="takes no more of them"):
        await rig.do(GiveInput(run_id, "no", late))
    await rig.do(Claim("w2", LEASE_MS))
    [other] = await asked(rig, run_id, "w2", ("another?", "k"))
    with pytest.raises(Conflict, match="answers to earlier attempts"):
        await rig.do(GiveInput(run_id, "no" * 4_000, late))
    await rig.do(GiveInput(run_id, "y" * 30_000, other))
    assert [one.question_id for one in (await rig.run(run_id)).pending] == [*left, other]
    assert await asked(rig, run_id, "w2", ("0?", "k0")) == left[:1], "whoever has answered it is not asked again"
    with pytest.raises(QuestionClosed, match="the first answer counts"):
        await rig.do(GiveInput(run_id, "yes", left[0]))
    await sound(rig)


async def answers_of_attempts(rig: Rig, attempts: int, count: int, content: str = "yes") -> tuple[str, list[list[int]]]:
    """A run whose attempts have asked so many questions each, which nobody had asked before, and have read none of the
    answers; the ids of these, attempt by attempt."""
    run_id = await lost(rig, question("first?", "k"))
    told: list[list[int]] = []
    for attempt in range(attempts):
        await rig.do(Claim(f"w{attempt}", LEASE_MS))
        told.append([])
        for number in range(count):
            [one] = await asked(rig, run_id, f"w{attempt}", (f"{attempt} {number}?", f"k{attempt}.{number}"))
            await rig.do(GiveInput(run_id, content, one))
            told[-1].append(one)
        await rig.do(Release(run_id, f"w{attempt}"))
    return run_id, told


async def test_answers_that_two_attempts_have_left_unread_do_not_block_the_third(rig: Rig) -> None:
    run_id, told = await answers_of_attempts(rig, attempts=3, count=15)
    assert [one.question_id for one in (await rig.run(run_id)).pending] == [*chain(*told)]
    await sound(rig)


@pytest.mark.parametrize(
    ("count", "size", "kept"), [(MAX_ANSWERS, 9, MAX_ANSWERS), (2, 30_000, MAX_LEFT_BYTES // 30_000)]
)
async def test_answers_are_bounded_over_all_attempts_and_the_oldest_that_were_left_give_way(
    rig: Rig, count: int, size: int, kept: int
) -> None:
    """By number and by bytes. Whoever has answered what gave way is told that nobody has taken it."""
    run_id, told = await answers_of_attempts(rig, attempts=5, count=count, content="y" * size)
    row = await rig.run(run_id)
    *earlier, last = told
    left = [*chain(*earlier)]
    assert [one.question_id for one in row.pending] == left[-kept:] + last
    in_row = {one.question_id: one for one in row.closed_questions}
    assert in_row.keys() >= {*left[-kept:], *last}
    found = (await rig.do(GetApproval(ApprovalRef(run_id, left[0])))).closed
    assert (found.by, found.resumed_at) == (rig.principal.user_id, None)
    await sound(rig)


async def test_an_answer_that_no_reply_has_carried_by_the_end_has_reached_nobody(rig: Rig) -> None:
    [told] = await rig.append(question("one?", run=traced("x")))
    run_id = told.run_id  # type: ignore[union-attr]
    await rig.do(GiveInput(run_id, "yes"))
    await rig.do(KillRun(run_id))
    found = (await rig.do(GetApproval(ApprovalRef(run_id, 1)))).closed
    assert (found.state, found.by, found.resumed_at) == (ApprovalState.WITHDRAWN, rig.principal.user_id, None)


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
