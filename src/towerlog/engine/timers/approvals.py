"""Approvals that expire: what the agent wanted to happen then happens, and the log says that nobody has answered.

Expiry is by the wall clock: it is told to people as a time, may be days away, and goes on while the server is down.
What expires while nobody can be heard is held open a while longer, for the answer that is on its way (`Unheard`).
"""

from __future__ import annotations

from towerlog.ambient import MAX_STAMP
from towerlog.engine.control.answers import has_expired
from towerlog.engine.control.cancel import CONTROL, cancel_tree
from towerlog.engine.control.unheard import Unheard, has_come
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Rounds, Upkeep, one_by_one
from towerlog.model.approval import EXPIRED, ApprovalRow, OnExpiry
from towerlog.model.checkpoint import AWAITS_APPROVAL, REJECTED
from towerlog.model.event import EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.run import MAX_QUESTIONS, RunRow, Status
from towerlog.model.times import format_ms
from towerlog.projections import approvals as fold
from towerlog.store.base import Unit
from towerlog.store.values import Kind

SWEEP_ROWS = 100
"""Rows to one commit; a sweep goes on until nothing is due."""


class ExpiredApprovals:
    """Marks or closes what nobody has answered in time."""

    def __init__(self, unheard: Unheard, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups. `unheard`: when nobody could answer."""
        self._unheard = unheard
        self._upkeep = upkeep
        self._looked_at = 0

    async def sweep(self) -> None:
        """All that have expired by now."""
        found: list[ApprovalRow] | None = []
        rounds = Rounds("approvals")
        while found is not None and rounds.advance(found):
            found = await self._upkeep(self._find, _needs, self._expire)
            if found is not None and self._looked_at == len(found) and len(found) < SWEEP_ROWS:
                break

    async def _find(self, unit: Unit, _serving_ms: int) -> list[ApprovalRow]:
        found: list[ApprovalRow] = []
        for after_ms, until_ms in self._unheard.heard():
            found += await unit.approvals_due(after_ms, until_ms, SWEEP_ROWS - len(found))
            if len(found) == SWEEP_ROWS:
                break
        return found

    def _expire(self, plan: Plan, found: list[ApprovalRow]) -> Steps[None]:
        self._looked_at = yield from one_by_one(plan, found, _look)


def _needs(needs: Needs, found: list[ApprovalRow]) -> Steps[None]:
    for one in found:
        needs.counters(one.org)
        row = needs.run_by_number(one.run)
        if one.agent is not None:
            needs.agent(one.org, one.agent)
            needs.want(Kind.CHECKPOINT, (one.run, one.agent, one.step_index))
        if row is not None and one.terms.on_expiry is OnExpiry.CANCEL:
            needs.ends_below(row)
        elif row is not None:
            needs.moves(row)
        yield


def _look(plan: Plan, stored: ApprovalRow) -> Steps[None]:
    """The row as this very group has left it: an answer that came in between was first."""
    row = plan.run_by_number(stored.run)
    now = None if row is None or row.is_terminal() else _now(plan, row, stored)
    if row is None or now is None or now.expired or not has_come(plan, now.expires_at or MAX_STAMP):
        return
    cancels = now.terms.on_expiry is OnExpiry.CANCEL and (now.agent is not None or _is_awaited(row, now))
    row = _expire_question(plan, row, now) if now.step_index is None else _expire_checkpoint(plan, row, now)
    if cancels:
        yield from cancel_tree(plan, row, None, f"{now.kind} {now.seq} expired")


def _now(plan: Plan, row: RunRow, stored: ApprovalRow) -> ApprovalRow | None:
    if stored.agent is None or stored.step_index is None:
        question = row.question(stored.seq)
        return None if question is None else fold.of_question(row, question)
    checkpoint = plan.checkpoint(row.run, stored.agent, stored.step_index)
    found = None if checkpoint is None else fold.of_checkpoint(checkpoint)
    return found if found is not None and found.seq == stored.seq else None


def _is_awaited(row: RunRow, found: ApprovalRow) -> bool:
    """Whether the attempt that asks now waits for this question: an earlier one's may not end it."""
    question = row.question(found.seq)
    return question is not None and question.epoch == row.asking_epoch


def _members(row: RunRow, found: ApprovalRow) -> dict[str, object]:
    return {
        "approval_id": found.ref(row.run_id).approval_id,
        "kind": found.kind,
        "on_expiry": found.terms.on_expiry,
        "expires_at": format_ms(found.expires_at or 0),
    }


def _expire_question(plan: Plan, row: RunRow, found: ApprovalRow) -> RunRow:
    """Its agent, if it goes on without an answer, is told so by the command that would bring one."""
    then = found.terms.on_expiry
    tells = then is OnExpiry.DENY and _is_awaited(row, found) and row.status is not Status.CANCELLING
    # Who has taken none of so many takes none at all.
    tells = tells and sum(one.expired for one in row.pending) < MAX_QUESTIONS
    members = {**_members(row, found), "question_id": found.seq} | ({"content": EXPIRED} if tells else {})
    effects = Effects(question_id=found.seq, expires=then, requests="input" if tells else None)
    return plan.note(row, EventType.APPROVAL_EXPIRED, members, Facts(effects=effects), by=CONTROL)


def _expire_checkpoint(plan: Plan, row: RunRow, found: ApprovalRow) -> RunRow:
    """Its tool calls are rejected, and by nobody, unless it waits on."""
    assert found.agent is not None
    assert found.step_index is not None
    waits = not has_expired(plan, found.terms, found.expires_at)
    decided = CheckpointFacts(
        found.step_index, AWAITS_APPROVAL if waits else REJECTED, decision=True, agent=found.agent, expired=True
    )
    effects = Effects(checkpoint=decided, status=None if waits else Status.RUNNING)
    members = {**_members(row, found), "step_index": found.step_index, "agent": found.agent}
    return plan.note(row, EventType.APPROVAL_EXPIRED, members, Facts(effects=effects), by=CONTROL)
