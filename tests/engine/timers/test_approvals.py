"""What nobody answers in time: it is marked or closed as what its agent said, and nobody's name stands under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.ambient import GRACE_MS, MIN_OUTAGE_MS, MIN_SERVED_MS
from towerlog.engine.control.unheard import HEARD_LATE_MS
from towerlog.engine.timers.approvals import SWEEP_ROWS
from towerlog.engine.verify import verify_org
from towerlog.errors import NotWaiting, QuestionClosed
from towerlog.model.approval import (
    AnswerApproval,
    ApprovalDecision,
    ApprovalRef,
    ApprovalState,
    GetApproval,
    OnExpiry,
    Terms,
)
from towerlog.model.checkpoint import AWAITS_APPROVAL
from towerlog.model.command import GiveInput
from towerlog.model.event import EventType as E
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.question import LatestCheckpoint, ListApprovals
from towerlog.model.run import MAX_QUESTIONS, Status

HOUR_MS = 3_600_000


def question(trace: str, then: OnExpiry, in_ms: int | None = HOUR_MS, key: str | None = None, **terms: Any) -> Any:
    """A question with an expiry."""
    said = Terms(expires_in_ms=in_ms, on_expiry=then, **terms)
    facts = Facts(question=f"{then}?", effects=Effects(question_key=key, terms=said))
    return draft(E.RUN_WAITING, traced(trace), facts=facts)


def calls(trace: str, then: OnExpiry, step: int = 1) -> Any:
    """A checkpoint whose tool calls wait, with an expiry."""
    terms = Terms(expires_in_ms=HOUR_MS, on_expiry=then)
    facts = Facts(
        effects=Effects(status=Status.WAITING, checkpoint=CheckpointFacts(step, AWAITS_APPROVAL, terms=terms))
    )
    return draft(E.CHECKPOINT, traced(trace), data={"pending_tool_calls": [{"id": "c1"}]}, facts=facts)


async def inbox(rig: Rig) -> list[tuple[int, bool]]:
    """What is open: its seq, and whether it is marked as expired."""
    page = await rig.do(ListApprovals(50))
    return [(view.row.seq, view.row.expired) for view in page.rows]


async def expired(rig: Rig, run_id: str) -> list[dict[str, Any]]:
    """What the log says of expiries."""
    return [msgspec.json.decode(one.data) for one in await rig.events(run_id) if one.type is E.APPROVAL_EXPIRED]


@table("make", [question, calls])
@table("then", list(OnExpiry))
async def test_it_expires_at_its_time_and_not_before(rig: Rig, make: Any, then: OnExpiry) -> None:
    rig.principal = await rig.make_org(rig.ids.uuid())
    [stored] = await rig.append(make("x", then))
    rig.clock.advance(HOUR_MS - 1)
    await rig.engine.sweep()
    assert await expired(rig, stored.run_id) == []
    assert await inbox(rig) == [(stored.seq, False)]
    rig.clock.advance(1)
    await rig.engine.sweep()
    [said] = await expired(rig, stored.run_id)
    assert (said["on_expiry"], said["kind"]) == (then, "question" if make is question else "approval")
    assert not {"by", "by_name", "decided_by", "responded_by"} & said.keys()
    await rig.engine.sweep()
    assert len(await expired(rig, stored.run_id)) == 1, "it expires once"
    assert await inbox(rig) == ([(stored.seq, True)] if then is OnExpiry.WAIT else [])
    row = await rig.run(stored.run_id)
    status = {OnExpiry.WAIT: Status.WAITING, OnExpiry.DENY: Status.RUNNING, OnExpiry.CANCEL: Status.CANCELLING}
    assert row.status is status[then]
    assert await verify_org(rig.store, rig.org, print) == 0


async def test_an_agent_that_is_denied_is_told_that_nobody_has_answered(rig: Rig) -> None:
    [stored] = await rig.append(question("x", OnExpiry.DENY, key="send"))
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    [told] = (await rig.run(stored.run_id)).pending
    assert (told.type, told.content, told.question_key, told.expired) == ("input", "expired", "send", True)


async def test_tool_calls_are_rejected_by_nobody(rig: Rig) -> None:
    [stored] = await rig.append(calls("x", OnExpiry.DENY))
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    latest = await rig.do(LatestCheckpoint("thread", "x"))
    assert (latest.row.status, latest.row.decided_by, latest.row.expired) == ("rejected", None, True)
    ref = ApprovalRef(stored.run_id, stored.seq, 1)
    view = await rig.do(GetApproval(ref))
    assert (view.closed.state, view.closed.by_name) == (ApprovalState.EXPIRED, None)
    with pytest.raises(NotWaiting, match=r"expired at .*: nobody had decided"):
        await rig.do(AnswerApproval(ref, ApprovalDecision.APPROVE))


async def test_what_waits_on_can_still_be_answered(rig: Rig) -> None:
    [asked, waiting] = await rig.append(question("x", OnExpiry.WAIT), calls("y", OnExpiry.WAIT))
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    await rig.do(AnswerApproval(ApprovalRef(asked.run_id, asked.seq), content="yes"))
    await rig.do(AnswerApproval(ApprovalRef(waiting.run_id, waiting.seq, 1), ApprovalDecision.DENY))
    assert await inbox(rig) == []
    view = await rig.do(GetApproval(ApprovalRef(waiting.run_id, waiting.seq, 1)))
    assert view.closed.state is ApprovalState.DENIED, "a person has decided, however late"
    assert await verify_org(rig.store, rig.org, print) == 0


async def test_an_answer_between_expiry_and_the_next_sweep_is_too_late(rig: Rig) -> None:
    [asked, waiting] = await rig.append(question("x", OnExpiry.DENY), calls("y", OnExpiry.CANCEL))
    rig.clock.advance(HOUR_MS)
    with pytest.raises(QuestionClosed, match="nobody had answered"):
        await rig.do(AnswerApproval(ApprovalRef(asked.run_id, asked.seq), content="yes"))
    with pytest.raises(NotWaiting, match="nobody had decided"):
        await rig.do(AnswerApproval(ApprovalRef(waiting.run_id, waiting.seq, 1), ApprovalDecision.APPROVE))


async def test_what_was_answered_in_time_does_not_expire(rig: Rig) -> None:
    [asked, waiting] = await rig.append(question("x", OnExpiry.CANCEL), calls("y", OnExpiry.CANCEL))
    rig.clock.advance(HOUR_MS - 1)
    await rig.do(AnswerApproval(ApprovalRef(asked.run_id, asked.seq), content="yes"))
    await rig.do(AnswerApproval(ApprovalRef(waiting.run_id, waiting.seq, 1), ApprovalDecision.APPROVE))
    rig.clock.advance(2 * HOUR_MS)
    await rig.engine.sweep()
    for run_id in (asked.run_id, waiting.run_id):
        assert await expired(rig, run_id) == []
        assert (await rig.run(run_id)).status is Status.RUNNING


async def test_whoever_asks_again_sets_the_time_anew(rig: Rig) -> None:
    [asked] = await rig.append(question("x", OnExpiry.DENY, key="k"))
    rig.clock.advance(HOUR_MS - 1)
    await rig.append(question("x", OnExpiry.DENY, key="k"))
    rig.clock.advance(HOUR_MS - 1)
    await rig.engine.sweep()
    assert await inbox(rig) == [(asked.seq, False)]
    rig.clock.advance(1)
    await rig.engine.sweep()
    assert await inbox(rig) == []


async def test_the_sooner_of_two_times_counts(rig: Rig) -> None:
    at = rig.clock.now_ms() + 1000
    [asked] = await rig.append(question("x", OnExpiry.DENY, expires_at=at))
    rig.clock.advance(1000)
    await rig.engine.sweep()
    assert len(await expired(rig, asked.run_id)) == 1


async def test_a_restart_finds_what_expired_while_the_server_was_down(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        [asked] = await rig.append(question("x", OnExpiry.DENY))
        clock = rig.clock
    clock.advance(2 * HOUR_MS)
    async with open_rig(tmp_path, clock=clock) as again:
        clock.advance(HEARD_LATE_MS)
        await again.engine.sweep()
        assert len(await expired(again, asked.run_id)) == 1


async def test_more_than_a_commit_takes_expire_in_one_sweep(rig: Rig) -> None:
    await rig.append(*[question(f"x{number}", OnExpiry.DENY) for number in range(SWEEP_ROWS + 20)])
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    assert await inbox(rig) == []


async def test_words_of_expiry_never_push_out_a_cancel(rig: Rig) -> None:
    run_id = ""
    for round_ in range(3):
        made = [question("x", OnExpiry.DENY, key=f"{round_}.{number}") for number in range(MAX_QUESTIONS)]
        run_id = (await rig.append(*made))[0].run_id
        rig.clock.advance(HOUR_MS)
        await rig.engine.sweep()
    row = await rig.run(run_id)
    assert [one.expired for one in row.pending] == [True] * MAX_QUESTIONS
    assert not row.questions


async def three_questions(rig: Rig) -> list[ApprovalRef]:
    """In an hour the first two expire, in three the last."""
    asked = [question(name, OnExpiry.CANCEL) for name in ("answered", "nobody")]
    stored = await rig.append(*asked, question("after", OnExpiry.CANCEL, in_ms=3 * HOUR_MS))
    rig.clock.advance(HOUR_MS - 1)
    return [ApprovalRef(one.run_id, one.seq) for one in stored]


async def what_expired_unheard_is_held_open(rig: Rig, refs: list[ApprovalRef]) -> None:
    """A second before the last expires: the first can be answered yet, and what nobody says ends its run once."""
    answered, nobody, after = refs
    await rig.engine.sweep()
    rig.clock.advance(1000)
    await rig.engine.sweep()
    assert [len(await expired(rig, ref.run_id)) for ref in refs] == [0, 0, 1], "what has expired since was heard"
    with pytest.raises(QuestionClosed):
        await rig.do(AnswerApproval(after, content="too late"))
    await rig.do(AnswerApproval(answered, content="yes"))
    rig.clock.advance(HEARD_LATE_MS + GRACE_MS)
    for _ in range(3):
        await rig.engine.sweep()
        rig.engine.forget()
    assert [len(await expired(rig, ref.run_id)) for ref in refs] == [0, 1, 1]
    statuses = [(await rig.run(ref.run_id)).status for ref in refs]
    assert statuses == [Status.RUNNING, Status.CANCELLING, Status.CANCELLING]
    with pytest.raises(QuestionClosed):
        await rig.do(AnswerApproval(nobody, content="too late"))
    assert await verify_org(rig.store, rig.org, print) == 0


async def test_an_answer_that_nobody_could_hear_in_time_counts_after_a_restart(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        refs, clock = await three_questions(rig), rig.clock
    clock.advance(2 * HOUR_MS - 999)
    async with open_rig(tmp_path, clock=clock) as again:
        await what_expired_unheard_is_held_open(again, refs)


async def test_an_answer_that_nobody_could_hear_in_time_counts_after_a_standstill(rig: Rig) -> None:
    rig.clock.advance(HEARD_LATE_MS)
    await rig.engine.sweep()
    refs = await three_questions(rig)
    await rig.engine.sweep()
    rig.clock.stand_still(2 * HOUR_MS - 999)
    await rig.do(AnswerApproval(refs[0], content="it waited in the socket"))
    assert (await rig.run(refs[0].run_id)).status is Status.RUNNING


async def test_what_expired_in_a_standstill_is_held_open(rig: Rig) -> None:
    rig.clock.advance(HEARD_LATE_MS)
    await rig.engine.sweep()
    refs = await three_questions(rig)
    await rig.engine.sweep()
    rig.clock.stand_still(2 * HOUR_MS - 999 - GRACE_MS)
    await rig.engine.sweep()
    rig.clock.advance(GRACE_MS)
    await what_expired_unheard_is_held_open(rig, refs)


async def test_a_server_that_is_hardly_ever_heard_ends_what_nobody_answers(rig: Rig) -> None:
    """However often it stands still: of each time that it goes on a second counts."""
    [asked] = await rig.append(question("x", OnExpiry.CANCEL))
    rig.clock.advance(HOUR_MS - 1)
    await rig.engine.sweep()
    for _ in range(HEARD_LATE_MS // MIN_SERVED_MS + 2):
        rig.clock.stand_still(10 * MIN_OUTAGE_MS)
        await rig.engine.sweep()
        rig.clock.advance(GRACE_MS + MIN_SERVED_MS)
    await rig.engine.sweep()
    assert len(await expired(rig, asked.run_id)) == 1


@pytest.mark.parametrize("on_expiry", [OnExpiry.DENY, OnExpiry.CANCEL])
async def test_whoever_answers_after_the_expiry_is_told_of_it_by_every_way(rig: Rig, on_expiry: OnExpiry) -> None:
    [asked] = await rig.append(question("x", on_expiry))
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    for late in (GiveInput(asked.run_id, "yes", asked.seq), GiveInput(asked.run_id, "yes")):
        with pytest.raises(QuestionClosed, match="nobody had answered"):
            await rig.do(late)
