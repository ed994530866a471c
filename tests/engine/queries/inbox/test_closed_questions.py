"""What became of a question is known however many were closed after it; where it is not, that is what is said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.control.test_questions import question
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.errors import QuestionClosed
from towerlog.model.approval import ApprovalRef, ApprovalState, ClosedApproval, GetApproval, OnExpiry, Terms
from towerlog.model.command import GiveInput, KillRun
from towerlog.model.event import EventType as E
from towerlog.model.facts import Effects, Facts
from towerlog.model.run import MAX_CLOSED_QUESTIONS

RUN = traced("x")


async def asked(rig: Rig, text: str = "PROD?", key: str | None = "k", terms: Terms | None = None, **more: Any) -> int:
    facts = Facts(question=text, effects=Effects(question_key=key, terms=terms))
    [told] = await rig.append(draft(E.RUN_WAITING, RUN, {"question": text, **more}, facts=facts))
    return int(told.seq)  # type: ignore[union-attr]


async def run_id_of(rig: Rig) -> str:
    [told] = await rig.append(draft(E.STEP, RUN))
    return str(told.run_id)  # type: ignore[union-attr]


async def many_later(rig: Rig, run_id: str, count: int = MAX_CLOSED_QUESTIONS + 1) -> None:
    """So many questions are answered, and their answers taken."""
    for number in range(count):
        question_id = await asked(rig, f"{number}?", f"later {number}")
        await rig.do(GiveInput(run_id, "later", question_id))
        await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id)


async def acknowledged(rig: Rig, command_id: int, *, untaken: bool = False) -> None:
    facts = Facts(effects=Effects(command_id=command_id, untaken=untaken))
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, RUN, facts=facts))


async def shown(rig: Rig, run_id: str, question_id: int, words: int | None = None) -> ClosedApproval:
    return (await rig.do(GetApproval(ApprovalRef(run_id, question_id, asked=words)))).closed


async def as_before(rig: Rig, run_id: str, question_id: int) -> ClosedApproval:
    """What is shown once the row has forgotten the question, which is what was shown before."""
    before = await shown(rig, run_id, question_id)
    await many_later(rig, run_id)
    assert all(one.question_id != question_id for one in (await rig.run(run_id)).closed_questions)
    assert await shown(rig, run_id, question_id) == before
    await rig.do(KillRun(run_id))
    assert await shown(rig, run_id, question_id) == before, "and after the end"
    return before


async def test_who_has_answered_is_known_for_ever(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await rig.do(GiveInput(run_id, "never", question_id))
    rig.clock.advance(500)
    await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id)
    found = await as_before(rig, run_id, question_id)
    assert (found.state, found.by, found.by_name) == (ApprovalState.ANSWERED, rig.principal.user_id, "admin")
    assert found.at is not None
    assert found.resumed_at == found.at + 500


async def test_an_agent_that_names_no_command_has_taken_the_answer_all_the_same(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await rig.do(GiveInput(run_id, "never", question_id))
    await rig.append(draft(E.RUN_INPUT, RUN, facts=Facts(effects=Effects(acknowledges="input"))))
    assert (await as_before(rig, run_id, question_id)).resumed_at is not None


async def test_an_answer_that_its_agent_did_not_want_stays_one(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await rig.do(GiveInput(run_id, "never", question_id))
    await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id, untaken=True)
    found = await as_before(rig, run_id, question_id)
    assert (found.state, found.by, found.resumed_at) == (ApprovalState.WITHDRAWN, rig.principal.user_id, None)


async def test_what_was_answered_elsewhere_has_the_agents_word_for_it(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    facts = Facts(effects=Effects(acknowledges="input", question_id=question_id))
    await rig.append(draft(E.RUN_INPUT, RUN, {"responded_by": "Ada"}, facts=facts))
    found = await as_before(rig, run_id, question_id)
    assert (found.state, found.by) == (ApprovalState.ANSWERED, "Ada")


@pytest.mark.parametrize("named", [True, False])
async def test_what_was_withdrawn_stays_withdrawn(rig: Rig, named: bool) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    effects = Effects(question_id=question_id) if named else Effects(question_key="k")
    await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, RUN, facts=Facts(effects=effects)))
    assert (await as_before(rig, run_id, question_id)).state is ApprovalState.WITHDRAWN


async def test_what_has_expired_stays_expired(rig: Rig) -> None:
    run_id = await run_id_of(rig)
    question_id = await asked(rig, terms=Terms(expires_in_ms=1_000, on_expiry=OnExpiry.DENY))
    rig.clock.advance(2_000)
    await rig.engine.sweep()
    await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id)
    assert (await as_before(rig, run_id, question_id)).state is ApprovalState.EXPIRED


async def test_only_the_words_that_were_asked_last_were_answered(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig, "TEST?")
    other = await asked(rig, "PROD?")
    await rig.do(GiveInput(run_id, "never", question_id))
    await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id)
    await many_later(rig, run_id)
    assert (await shown(rig, run_id, question_id)).state is ApprovalState.WITHDRAWN
    assert (await shown(rig, run_id, question_id, other)).by == rig.principal.user_id


async def test_what_was_open_at_the_end_has_ended_with_its_run(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await many_later(rig, run_id)
    assert await shown(rig, run_id, question_id) is None
    await rig.do(KillRun(run_id))
    found = await shown(rig, run_id, question_id)
    assert (found.state, found.at) == (ApprovalState.ENDED, (await rig.run(run_id)).ended_at)


async def test_an_agents_word_that_names_no_question_is_one_about_the_oldest(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await rig.append(draft(E.RUN_INPUT, RUN, facts=Facts(effects=Effects(acknowledges="input"))))
    assert (await as_before(rig, run_id, question_id)).state is ApprovalState.ANSWERED


async def test_whoever_answers_what_is_forgotten_is_not_told_that_it_never_was(rig: Rig) -> None:
    run_id, question_id = await run_id_of(rig), await asked(rig)
    await rig.do(GiveInput(run_id, "never", question_id))
    await acknowledged(rig, (await rig.run(run_id)).pending[-1].command_id)
    await many_later(rig, run_id)
    with pytest.raises(QuestionClosed, match=rf"no longer known here.*{run_id}\.q{question_id}"):
        await rig.do(GiveInput(run_id, "do it", question_id))
    with pytest.raises(QuestionClosed, match="has no open question 99999"):
        await rig.do(GiveInput(run_id, "do it", 99_999))


async def test_no_more_than_so_much_of_the_log_is_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.queries.inbox.closed_questions.MAX_EVENTS_LOOKED_AT", 20)
    monkeypatch.setattr("towerlog.engine.queries.inbox.closed_questions._PAGE", 10)
    [told] = await rig.append(question("PROD?", "k", run=RUN))
    run_id, question_id = str(told.run_id), int(told.seq)  # type: ignore[union-attr]
    await many_later(rig, run_id)
    await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, RUN, facts=Facts(effects=Effects(question_key="k"))))
    await many_later(rig, run_id)
    assert (await shown(rig, run_id, question_id)).state is ApprovalState.UNKNOWN
