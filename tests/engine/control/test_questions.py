"""Questions and their answers: each has an id, the first answer wins, and none reaches another question."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.control.steering import SECOND_ANSWER_MS
from towerlog.engine.verify import verify_org
from towerlog.errors import AwaitsApproval, Conflict, QuestionClosed, RunNotActive
from towerlog.model.approval import (
    AnswerApproval,
    ApprovalState,
    ClosedApproval,
    GetApproval,
    MakeAnswerLink,
    OnExpiry,
    Terms,
)
from towerlog.model.command import Claim, ClaimRun, CreateRun, GiveInput, Release, Report
from towerlog.model.event import EventType as E
from towerlog.model.event import RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.pending import MAX_ANSWERS, MAX_MESSAGES, MAX_PENDING_BYTES
from towerlog.model.run import MAX_QUESTIONS, Status
from towerlog.model.times import parse_ms, spoken_ms

LEASE_MS = 60_000


def question(text: str, key: str | None = None, **fields: Any) -> Any:
    """A question as an agent asks it."""
    return draft(E.RUN_WAITING, facts=Facts(question=text, effects=Effects(question_key=key)), **fields)


async def asking(rig: Rig, *texts: str) -> str:
    """A run that reports, with these questions open; its id."""
    results = await rig.append(draft(run=traced("x")), *[question(text, run=traced("x")) for text in texts])
    return str(results[0].run_id)


async def contents(rig: Rig, run_id: str) -> list[tuple[str, str | None, int | None]]:
    """What waits for the agent: type, content, and the question that it answers."""
    return [(one.type, one.content, one.question_id) for one in (await rig.run(run_id)).pending]


async def test_a_question_is_named_by_its_place_also_in_its_data(rig: Rig) -> None:
    run_id = await asking(rig, "one?", "two?")
    found = [msgspec.json.decode(event.data) for event in await rig.events(run_id) if event.type is E.RUN_WAITING]
    assert [one["question_id"] for one in found] == [2, 3]
    assert [one.question_id for one in (await rig.run(run_id)).questions] == [2, 3]


async def test_one_question_too_many_is_refused_and_the_others_can_be_answered(rig: Rig) -> None:
    run_id = await asking(rig, *[f"{number}?" for number in range(MAX_QUESTIONS)])
    before = (await rig.run(run_id)).last_seq
    [refused] = await rig.append(question("one more?", "k", run=traced("x")))
    assert (refused.code, (await rig.run(run_id)).last_seq) == ("too_many_questions", before)
    await rig.do(GiveInput(run_id, "yes", (await rig.run(run_id)).questions[0].question_id))
    [stored] = await rig.append(question("one more?", "k", run=traced("x")))
    assert stored.seq == before + 2


async def test_what_the_sender_calls_a_question_id_says_nothing(rig: Rig) -> None:
    [told] = await rig.append(question("one?", run=traced("x"), data={"question_id": 77}, event_id="e"))
    assert msgspec.json.decode((await rig.events(told.run_id))[0].data)["question_id"] == 1
    [again] = await rig.append(question("one?", run=traced("x"), data={"question_id": 77}, event_id="e"))
    assert again.duplicate, "a repeat is compared by what was sent"


async def test_an_answer_reaches_the_question_that_it_names(rig: Rig) -> None:
    run_id = await asking(rig, "one?", "two?")
    changed = await rig.do(GiveInput(run_id, "second", 3))
    assert changed.row.status is Status.WAITING
    changed = await rig.do(GiveInput(run_id, "first"))
    assert changed.row.status is Status.RUNNING
    assert await contents(rig, run_id) == [("input", "second", 3), ("input", "first", 2)]


async def test_the_first_answer_wins_and_the_second_is_told_who_and_when(rig: Rig) -> None:
    run_id = await asking(rig, "one?")
    outcomes = await asyncio.gather(
        *[rig.do(GiveInput(run_id, str(number))) for number in range(10)], return_exceptions=True
    )
    assert [type(one) for one in outcomes[1:]] == [QuestionClosed] * 9
    assert await contents(rig, run_id) == [("input", "0", 2)]
    with pytest.raises(QuestionClosed) as refused:
        await rig.do(GiveInput(run_id, "late", 2))
    details = refused.value.details
    assert details["answered_by_user_id"] == rig.principal.user_id
    assert details["answered_by"] == "admin"
    for words in (outcomes[1].message, refused.value.message):
        assert f"was answered by admin at {spoken_ms(parse_ms(details['answered_at']))}; the first" in words


async def test_whom_an_agent_names_goes_by_that_name(rig: Rig) -> None:
    run_id = await asking(rig, "one?")
    answered = draft(E.RUN_INPUT, traced("x"), {"responded_by": "the night shift"}, facts=Facts(effects=Effects()))
    await rig.append(answered)
    with pytest.raises(QuestionClosed) as refused:
        await rig.do(GiveInput(run_id, "late", 2))
    assert refused.value.details["answered_by"] == "the night shift"
    assert "answered_by_user_id" not in refused.value.details


async def test_an_answer_to_a_closed_question_never_reaches_the_next(rig: Rig) -> None:
    run_id = await asking(rig, "the test database?")
    await rig.do(GiveInput(run_id, "yes", 2))
    taken = draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=Facts(effects=Effects(command_id=3)))
    await rig.append(taken, question("the production database?", run=traced("x")))
    with pytest.raises(QuestionClosed):
        await rig.do(GiveInput(run_id, "yes", 2))
    withdrawn = draft(E.RUN_QUESTION_WITHDRAWN, traced("x"), facts=Facts(effects=Effects(question_id=5)))
    await rig.append(withdrawn, question("another?", run=traced("x")))
    with pytest.raises(QuestionClosed, match="withdrawn"):
        await rig.do(GiveInput(run_id, "yes", 5))
    with pytest.raises(QuestionClosed, match="open questions: 7"):
        await rig.do(GiveInput(run_id, "yes", 99))
    assert await contents(rig, run_id) == []


@pytest.mark.parametrize("key", [None, "k"])
async def test_an_answer_that_came_before_the_withdrawal_counts_and_is_carried_by_its_reply(
    rig: Rig, key: str | None
) -> None:
    [asked] = await rig.append(question("one?", "k", run=traced("x")))
    await rig.do(GiveInput(asked.run_id, "yes", asked.seq))
    named = Effects(question_key="k") if key else Effects(question_id=asked.seq)
    withdrawal = draft(E.RUN_QUESTION_WITHDRAWN, traced("x"), facts=Facts(effects=named), event_id="w")
    [told] = await rig.append(withdrawal)
    assert [(one.type, one.content, one.question_id) for one in told.commands] == [("input", "yes", asked.seq)]
    last = (await rig.events(asked.run_id))[-2]
    assert (last.type, last.facts.name, last.seq) == (E.OTHER, "run.question_withdrawn", told.seq)
    with pytest.raises(QuestionClosed, match="was answered by admin"):
        await rig.do(GiveInput(asked.run_id, "no", asked.seq))
    [again] = await rig.append(withdrawal)
    assert (again.duplicate, again.seq, again.commands) == (True, told.seq, told.commands)
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_withdrawal_that_came_before_the_answer_refuses_it_also_when_it_is_told_again(rig: Rig) -> None:
    [asked] = await rig.append(question("one?", "k", run=traced("x")))
    named = Facts(effects=Effects(question_key="k"))
    withdrawal = draft(E.RUN_QUESTION_WITHDRAWN, traced("x"), facts=named, event_id="w")
    [told] = await rig.append(withdrawal)
    with pytest.raises(QuestionClosed, match="withdrawn"):
        await rig.do(GiveInput(asked.run_id, "yes", asked.seq))
    [again] = await rig.append(withdrawal)
    assert (again.duplicate, again.seq, again.commands) == (True, told.seq, ())
    assert (await rig.events(asked.run_id))[-1].type is E.RUN_QUESTION_WITHDRAWN


async def test_an_answer_for_which_the_agent_did_not_wait_any_more_does_not_count(rig: Rig) -> None:
    [asked] = await rig.append(question("one?", "k", run=traced("x")))
    await rig.do(GiveInput(asked.run_id, "yes", asked.seq))
    [answer] = (await rig.run(asked.run_id)).pending
    untaken = Facts(effects=Effects(command_id=answer.command_id, untaken=True))
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=untaken))
    assert await contents(rig, asked.run_id) == []
    with pytest.raises(QuestionClosed, match="nobody has taken the answer"):
        await rig.do(GiveInput(asked.run_id, "no", asked.seq))


async def test_input_to_a_run_that_asked_nothing_is_a_message(rig: Rig) -> None:
    run_id = await asking(rig)
    changed = await rig.do(GiveInput(run_id, "by the way"))
    assert changed.row.status is Status.RUNNING
    assert (await rig.events(run_id))[-1].type is E.RUN_MESSAGE
    await rig.append(question("one?", run=traced("x")))
    assert (await rig.run(run_id)).status is Status.WAITING, "a message answers nothing"
    await rig.do(GiveInput(run_id, "yes"))
    assert [kind for kind, *_ in await contents(rig, run_id)] == ["message", "input"]


async def taken(rig: Rig, run_id: str) -> None:
    """The agent acknowledges the oldest answer that waits for it."""
    facts = Facts(effects=Effects(command_id=(await rig.run(run_id)).pending[0].command_id))
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, RunById(run_id), facts=facts))


@pytest.mark.parametrize("how", ["answered", "withdrawn"])
async def test_who_comes_second_has_not_written_a_message(rig: Rig, how: str) -> None:
    run_id = await asking(rig, "one?")
    if how == "answered":
        await rig.do(GiveInput(run_id, "yes"))
        await taken(rig, run_id)
    else:
        await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, traced("x")))
    rig.clock.advance(SECOND_ANSWER_MS - 1)
    with pytest.raises(QuestionClosed, match=f"{how}.*towerlog runs message"):
        await rig.do(GiveInput(run_id, "no"))
    await rig.do(GiveInput(run_id, "a message", type="message"))
    rig.clock.advance(1)
    await rig.do(GiveInput(run_id, "later"))
    assert await contents(rig, run_id) == [("message", "a message", None), ("message", "later", None)]


async def test_what_is_said_to_be_an_answer_is_none_where_nothing_is_asked(rig: Rig) -> None:
    run_id = await asking(rig)
    with pytest.raises(QuestionClosed, match="is not asking anything"):
        await rig.do(GiveInput(run_id, "yes", type="input"))
    await rig.append(question("one?", run=traced("x")))
    await rig.do(GiveInput(run_id, "by the way", type="message"))
    assert (await rig.run(run_id)).status is Status.WAITING
    await rig.do(GiveInput(run_id, "yes", type="input"))
    assert await contents(rig, run_id) == [("message", "by the way", None), ("input", "yes", 2)]


@pytest.mark.parametrize(("count", "size"), [(MAX_MESSAGES, 1), (2, MAX_PENDING_BYTES // 2)])
async def test_unread_messages_leave_room_for_answers(rig: Rig, count: int, size: int) -> None:
    """By number and by bytes."""
    run_id = await asking(rig)
    for _ in range(count):
        await rig.do(GiveInput(run_id, "m" * size))
    with pytest.raises(Conflict, match="messages"):
        await rig.do(GiveInput(run_id, "one too many"))
    await rig.append(question("one?", run=traced("x")))
    await rig.do(GiveInput(run_id, "y" * (MAX_PENDING_BYTES // 2)))
    assert len(await contents(rig, run_id)) == count + 1


async def test_expired_questions_that_an_agent_does_not_read_leave_room_for_answers(rig: Rig) -> None:
    run_id = await asking(rig)
    terms = Terms(expires_in_ms=1_000, on_expiry=OnExpiry.DENY)
    for number in range(MAX_ANSWERS + 1):
        facts = Facts(question="x?", effects=Effects(question_key=f"k{number}", terms=terms))
        await rig.append(draft(E.RUN_WAITING, traced("x"), facts=facts))
    rig.clock.advance(2_000)
    await rig.engine.sweep()
    assert len(await contents(rig, run_id)) == MAX_ANSWERS + 1
    await rig.append(question("one?", run=traced("x")))
    rig.clock.advance(SECOND_ANSWER_MS)
    await rig.do(GiveInput(run_id, "yes"))


@pytest.mark.parametrize("character", ["x", "\x01", '"', "ü", "🗼"])
async def test_what_waits_for_an_agent_is_measured_as_it_is_stored(rig: Rig, character: str) -> None:
    """A control character, of one byte, takes six of the row."""
    run_id = await asking(rig)
    text = character * (20_000 // len(msgspec.json.encode(character)))
    given = [rig.do(GiveInput(run_id, text)) for _ in range(MAX_MESSAGES)]
    refused = [one for one in await asyncio.gather(*given, return_exceptions=True) if isinstance(one, Conflict)]
    assert refused
    assert str(MAX_PENDING_BYTES) in str(refused[0])
    pending = (await rig.run(run_id)).pending
    held_bytes = sum(one.size() for one in pending)
    assert {one.size() for one in pending} == {len(msgspec.json.encode(text)) - 2}
    assert MAX_PENDING_BYTES - 25_000 < held_bytes <= MAX_PENDING_BYTES


async def test_an_input_is_no_approval_and_is_told_how_to_decide(rig: Rig) -> None:
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(3, "waiting_for_approval"), status=Status.WAITING))
    [told] = await rig.append(draft(E.CHECKPOINT, traced("x"), {"s": 3}, facts=facts, agent="a"))
    with pytest.raises(AwaitsApproval, match="/approvals/x/3/approve"):
        await rig.do(GiveInput(told.run_id, "yes"))
    assert (await rig.run(told.run_id)).status is Status.WAITING


async def lost(rig: Rig, *drafts: Any) -> str:
    """A run whose worker asked this and was not heard of again; back in the queue."""
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(Claim("w", LEASE_MS))
    await rig.do(Report(run_id, "w", [msgspec.structs.replace(one, run=RunById(run_id)) for one in drafts]))
    rig.clock.advance(LEASE_MS)
    await rig.engine.sweep()
    return str(run_id)


async def test_the_next_attempt_that_asks_again_gets_what_was_answered_meanwhile(rig: Rig) -> None:
    run_id = await lost(rig, question("test?", "k1"), question("production?", "k2"))
    first, second = (one.question_id for one in (await rig.run(run_id)).questions)
    await rig.do(GiveInput(run_id, "production: yes", second))
    claimed = await rig.do(Claim("w2", LEASE_MS))
    assert claimed.view.row.status is Status.WAITING
    assert [(one.content, one.question_key) for one in claimed.view.row.pending] == [("production: yes", "k2")]
    again = question("test?", "k1", run=RunById(run_id)), question("production?", "k2", run=RunById(run_id))
    reported = await rig.do(Report(run_id, "w2", list(again)))
    assert [one.question_id for one in reported.view.row.questions] == [first]
    asked = [event for event in await rig.events(run_id) if event.type is E.RUN_WAITING]
    assert [msgspec.json.decode(event.data)["question_id"] for event in asked] == [first, second, first, second]
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_an_answer_to_other_words_never_reaches_what_is_asked_now(rig: Rig) -> None:
    """Not by the id of the question, nor by that of its approval, nor by a link that was made before."""
    run_id = await asking(rig)
    await rig.append(question("Send the newsletter?", "confirm", run=traced("x")))
    first = (await rig.run(run_id)).questions[0]
    old = first.ref(run_id)
    link = (await rig.do(MakeAnswerLink(old, "bob", LEASE_MS))).link
    await rig.append(question("Delete the database?", "confirm", run=traced("x")))
    again = (await rig.run(run_id)).questions[0]
    assert (again.question_id, again.ref(run_id).approval_id) == (first.question_id, f"{run_id}.q2.3")
    for command in (
        AnswerApproval(old, content="yes"),
        AnswerApproval(old, content="yes", link=link),
        GiveInput(run_id, "yes", first.question_id, asked_seq=first.asked_seq()),
        MakeAnswerLink(old, "bob", LEASE_MS),
    ):
        with pytest.raises(QuestionClosed, match="asked anew in other words"):
            await rig.do(command)
    assert (await rig.do(GetApproval(old))).closed == ClosedApproval(ApprovalState.WITHDRAWN)
    view = await rig.do(GetApproval(again.ref(run_id)))
    assert (view.closed, view.row.text) == (None, "Delete the database?")
    await rig.do(AnswerApproval(again.ref(run_id), content="no"))
    assert await contents(rig, run_id) == [("input", "no", first.question_id)]
    states = [(await rig.do(GetApproval(ref))).closed.state for ref in (old, again.ref(run_id))]
    assert states == [ApprovalState.WITHDRAWN, ApprovalState.ANSWERED]


@pytest.mark.parametrize("beside", [{"context": {"to": "all"}}, {"tool_calls": []}, {"schema": {"type": "null"}}])
async def test_other_words_are_whatever_else_a_person_reads(rig: Rig, beside: dict[str, Any]) -> None:
    run_id = await asking(rig)
    await rig.append(question("Send it?", "k", run=traced("x"), data={"context": {"to": "ada"}}))
    known = (await rig.run(run_id)).questions[0].ref(run_id)
    await rig.append(question("Send it?", "k", run=traced("x"), data={"context": {"to": "ada"}}))
    assert (await rig.run(run_id)).questions[0].ref(run_id) == known, "the same words are the same approval"
    await rig.append(question("Send it?", "k", run=traced("x"), data={"context": {"to": "ada"}} | beside))
    assert (await rig.run(run_id)).questions[0].ref(run_id) != known


async def test_an_answer_that_lies_ready_is_none_to_what_is_asked_in_other_words(rig: Rig) -> None:
    run_id = await lost(rig, question("test?", "k"))
    await rig.do(GiveInput(run_id, "yes"))
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(Report(run_id, "w2", [question("production?", "k", run=RunById(run_id))]))
    row = await rig.run(run_id)
    assert ([one.text for one in row.questions], row.pending) == (["production?"], ())
    assert row.closed_questions[-1].withdrawn, "whoever answered is told that nobody has taken it"
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_release_keeps_the_questions_open(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(Claim("w", LEASE_MS))
    await rig.do(Report(run_id, "w", [question("one?", run=RunById(run_id))]))
    await rig.do(Release(run_id, "w"))
    assert [one.text for one in (await rig.run(run_id)).questions] == ["one?"]
    await rig.do(GiveInput(run_id, "yes"))
    claimed = await rig.do(ClaimRun(run_id, "w2", LEASE_MS))
    assert (claimed.view.row.status, claimed.view.row.questions) == (Status.RUNNING, ())


async def test_an_answer_without_a_name_is_for_the_attempt_that_is_under_way(rig: Rig) -> None:
    run_id = await lost(rig, question("attempt 1: pay?", "k1"))
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(Report(run_id, "w2", [question("attempt 2: pay?", "k2", run=RunById(run_id))]))
    left, waited_for = (one.question_id for one in (await rig.run(run_id)).questions)
    changed = await rig.do(GiveInput(run_id, "yes"))
    assert await contents(rig, run_id) == [("input", "yes", waited_for)]
    assert changed.row.status is Status.RUNNING, "nobody waits for what the lost attempt has asked"
    with pytest.raises(QuestionClosed, match=f"Question {left} was withdrawn"):
        await rig.do(GiveInput(run_id, "early", left))


async def test_what_a_lost_attempt_has_asked_is_waited_for_again_once_it_is_asked_again(rig: Rig) -> None:
    run_id = await lost(rig, question("one?", "k1"), question("two?", "k2"))
    await rig.do(Claim("w2", LEASE_MS))
    await rig.do(Report(run_id, "w2", [question("two?", "k2", run=RunById(run_id))]))
    first, second = (one.question_id for one in (await rig.run(run_id)).questions)
    assert (await rig.do(GiveInput(run_id, "2"))).row.status is Status.RUNNING
    await rig.do(Report(run_id, "w2", [question("one?", "k1", run=RunById(run_id))]))
    assert (await rig.run(run_id)).status is Status.WAITING
    with pytest.raises(QuestionClosed, match=f"Question {second} was answered by admin"):
        await rig.do(GiveInput(run_id, "2 once more"))
    await rig.do(GiveInput(run_id, "1", first))
    assert await contents(rig, run_id) == [("input", "2", second), ("input", "1", first)]


async def test_nothing_is_answered_where_an_end_is_near(rig: Rig) -> None:
    run_id = await asking(rig, "one?")
    await rig.append(draft(E.RUN_CANCEL_REQUESTED, traced("x")))
    with pytest.raises(RunNotActive):
        await rig.do(GiveInput(run_id, "yes", 2))
