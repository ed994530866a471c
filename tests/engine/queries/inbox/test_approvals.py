"""The inbox as it is read: page by page in the order of asking, and what became of one approval."""

from __future__ import annotations

import pytest

from tests.engine.timers.test_approvals import calls, question
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.errors import Damaged, NotFound
from towerlog.model.approval import (
    AnswerApproval,
    ApprovalDecision,
    ApprovalKind,
    ApprovalRef,
    ApprovalState,
    GetApproval,
    OnExpiry,
)
from towerlog.model.command import KillRun
from towerlog.model.event import EventType as E
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import ListApprovals


async def seqs(rig: Rig, **given: object) -> list[tuple[int, int]]:
    """Run number and seq of what is open, read in pages of two."""
    found, after = [], 0
    while True:
        page = await rig.do(ListApprovals(2, after, **given))  # type: ignore[arg-type]
        found += [(view.run.run, view.row.seq) for view in page.rows]
        if page.next is None:
            return found
        after = int(page.next)


async def test_pages_have_all_of_it_in_the_order_of_asking(rig: Rig) -> None:
    made = [
        question("x", OnExpiry.WAIT),
        calls("y", OnExpiry.WAIT),
        question("x", OnExpiry.WAIT),
        calls("z", OnExpiry.WAIT),
    ]
    stored = await rig.append(*made, question("y", OnExpiry.WAIT))
    rows = {one.run_id: (await rig.run(one.run_id)).run for one in stored}
    assert await seqs(rig) == [(rows[one.run_id], one.seq) for one in stored]
    assert await seqs(rig, kind=ApprovalKind.APPROVAL) == [
        (rows[one.run_id], one.seq) for one in (stored[1], stored[3])
    ]
    assert await seqs(rig, run_id=stored[1].run_id) == [
        (rows[stored[1].run_id], one.seq) for one in (stored[1], stored[4])
    ]


async def test_one_damaged_event_hides_no_other_approval(rig: Rig) -> None:
    made = [question("x", OnExpiry.WAIT), calls("y", OnExpiry.WAIT), question("z", OnExpiry.WAIT)]
    stored = await rig.append(*made)
    sql, run = "UPDATE event SET type = 'tool.cull' WHERE run = ? AND seq = ?", (await rig.run(stored[1].run_id)).run
    await rig.store.writer.call(lambda db: db.execute(sql, (run, stored[1].seq)).get)
    rows = (await rig.do(ListApprovals(9, 0))).rows
    assert [view.row.position for view in rows] == [one.position for one in stored]
    assert [view.data == b"{}" for view in rows] == [False, True, False]
    with pytest.raises(Damaged):
        await rig.do(GetApproval(ApprovalRef(stored[1].run_id, stored[1].seq, rows[1].row.step_index)))


async def test_a_rebuild_makes_the_same_inbox(rig: Rig) -> None:
    stored = await rig.append(*[question("x", OnExpiry.WAIT), calls("y", OnExpiry.DENY), question("z", OnExpiry.DENY)])
    await rig.do(AnswerApproval(ApprovalRef(stored[2].run_id, stored[2].seq), content="yes"))
    before = await rig.store.approvals(rig.org, 9, 0, None, None)
    assert len(before) == 2
    await rebuild_org(rig.store, rig.org)
    assert await rig.store.approvals(rig.org, 9, 0, None, None) == before
    assert await verify_org(rig.store, rig.org, print) == 0


async def state(rig: Rig, ref: ApprovalRef) -> tuple[ApprovalState, bool]:
    view = await rig.do(GetApproval(ref))
    return view.closed.state, view.closed.resumed_at is not None


async def test_a_receipt_says_when_its_agent_went_on(rig: Rig) -> None:
    [asked, waiting] = await rig.append(question("x", OnExpiry.WAIT), calls("y", OnExpiry.WAIT, 1))
    of_question, of_calls = ApprovalRef(asked.run_id, asked.seq), ApprovalRef(waiting.run_id, waiting.seq, 1)
    await rig.do(AnswerApproval(of_question, content="yes"))
    await rig.do(AnswerApproval(of_calls, ApprovalDecision.APPROVE))
    assert await state(rig, of_question) == (ApprovalState.ANSWERED, False)
    assert await state(rig, of_calls) == (ApprovalState.APPROVED, False)
    [command] = (await rig.run(asked.run_id)).pending
    taken = Facts(effects=Effects(command_id=command.command_id))
    await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=taken), calls("y", OnExpiry.WAIT, 2))
    assert await state(rig, of_question) == (ApprovalState.ANSWERED, True)
    assert await state(rig, of_calls) == (ApprovalState.APPROVED, True)


async def test_withdrawn_and_ended_are_told_apart(rig: Rig) -> None:
    [asked, other] = await rig.append(question("x", OnExpiry.WAIT), question("y", OnExpiry.WAIT))
    await rig.append(draft(E.RUN_QUESTION_WITHDRAWN, traced("x"), facts=Facts(effects=Effects(question_id=asked.seq))))
    await rig.do(KillRun(other.run_id))
    assert await state(rig, ApprovalRef(asked.run_id, asked.seq)) == (ApprovalState.WITHDRAWN, False)
    assert await state(rig, ApprovalRef(other.run_id, other.seq)) == (ApprovalState.ENDED, False)


async def test_an_event_that_asks_nothing_is_no_approval(rig: Rig) -> None:
    [told] = await rig.append(draft(E.STEP, traced("x")))
    for ref in (
        ApprovalRef(told.run_id, told.seq),
        ApprovalRef(told.run_id, told.seq, 0),
        ApprovalRef(told.run_id, 99),
    ):
        with pytest.raises(NotFound, match="approval"):
            await rig.do(GetApproval(ref))
        with pytest.raises(NotFound, match="approval"):
            await rig.do(AnswerApproval(ref, ApprovalDecision.APPROVE))
