"""Approvals: a person answers what an agent waits for, a question or a checkpoint with tool calls."""

from __future__ import annotations

import msgspec

from towerlog.engine.commands.keys import key_of
from towerlog.engine.commands.members import member_or_none
from towerlog.engine.control.answers import has_expired
from towerlog.engine.control.cancel import run_of
from towerlog.engine.control.steering import (
    check_words,
    closed_question,
    give_input,
    needs_of_input,
    refusal_of_closed,
    told_of_link,
)
from towerlog.engine.control.unheard import has_ended
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.sub_agents import REASON
from towerlog.errors import Invalid, LinkExpired, LinkUsed, NotFound, NotWaiting
from towerlog.model.answer_link import NO_LINK, NONCE_CHARS, is_told_by, may_answer_by_link
from towerlog.model.approval import AnswerApproval, AnswerLink, ApprovalDecision, ApprovalState, MakeAnswerLink
from towerlog.model.approval_views import ApprovalAnswered, LinkMade
from towerlog.model.checkpoint import AWAITS_APPROVAL, STATUS_OF_DECISION, CheckpointRow
from towerlog.model.command import Decide, GiveInput
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.key import key_of_member
from towerlog.model.outcome import Decided
from towerlog.model.principal import Principal, User
from towerlog.model.run import RunRow, Status
from towerlog.model.times import format_ms, spoken_ms
from towerlog.projections.questions import may_have_asked
from towerlog.store.values import Kind

APPROVALS = "checkpoints"
"""What decisions are written under."""
MAX_NAMED = 10
"""Agents that a refusal names."""


def needs_of_answer(needs: Needs, principal: Principal, command: AnswerApproval) -> None:
    """What the answer or the decision needs; and whether the link was used."""
    ref = command.ref
    if command.link is not None:
        needs_of_answer_link(needs, command.link)
    if ref.step_index is None:
        needs_of_input(needs, principal, GiveInput(ref.run_id, "", ref.seq, "input"))
        return
    row = needs.run(principal.org, RunById(ref.run_id))
    if row is not None:
        needs_of_decide(needs, principal, Decide(row.trace_id, ref.step_index, ""))
        needs.want(Kind.EVENT, (row.run, ref.seq))


def needs_of_answer_link(needs: Needs, link: AnswerLink) -> None:
    """Whether it was used, and whose it is."""
    needs.counters(link.org)
    needs.want(Kind.SPENT_LINK, (link.org, link.nonce))
    needs.want(Kind.KEY, (link.org, link.key_id))
    needs.want(Kind.USER, (link.org, link.user_id))


def answer_approval(plan: Plan, principal: Principal, command: AnswerApproval) -> ApprovalAnswered:
    """Answers, and spends the link in the same commit. The first answer counts.

    Raises NotFound, LinkUsed; QuestionClosed and NotWaiting naming who was first; RunNotActive; Invalid.
    """
    link = command.link
    if link is None:
        return _answered(plan, principal, command)
    key = (link.org, link.nonce)
    if not _is_good(plan, link):
        raise NotFound("link", NO_LINK)
    if key in plan.changes.spent_links or plan.loaded(Kind.SPENT_LINK, key) is not None:
        raise LinkUsed
    if has_ended(plan, link.expires_at):
        raise LinkExpired
    answered = _answered(plan, principal, command)
    plan.changes.spent_links[key] = link.expires_at  # only now: what is refused must leave nothing behind
    return answered


def _is_good(plan: Plan, link: AnswerLink) -> bool:
    """Whether whoever made it still may, as this group has left keys, members and rules."""
    if link.rule_id:
        return is_told_by(plan.alerts.rule(link.org, link.rule_id), link)
    if link.key_id != link.user_id:
        return may_answer_by_link(key_of(plan, link.org, link.key_id))
    member = member_or_none(plan, link.org, link.user_id)
    return member is not None and may_answer_by_link(key_of_member(member))


def _answered(plan: Plan, principal: Principal, command: AnswerApproval) -> ApprovalAnswered:
    ref = command.ref
    try:
        row = run_of(plan, principal, ref.run_id)
    except NotFound:
        raise NotFound("approval") from None
    if ref.step_index is not None:
        return _decide(plan, principal, command, row)
    if not may_have_asked(row, ref.seq):
        raise NotFound("approval")
    if closed_question(row, ref.seq) is not None:
        raise refusal_of_closed(plan, row, ref.seq)
    content = command.content if command.decision is None else command.decision.value
    answer = GiveInput(
        ref.run_id, content or "", ref.seq, "input", command.link, ref.asked_seq(), is_text=command.is_text
    )
    give_input(plan, principal, answer)
    return ApprovalAnswered(ref, ApprovalState.ANSWERED)


def _decide(plan: Plan, principal: Principal, command: AnswerApproval, row: RunRow) -> ApprovalAnswered:
    ref, decision = command.ref, command.decision
    assert ref.step_index is not None
    if decision is None:
        raise Invalid("content: tool calls take a decision; send approve or deny", field="content")
    asked = (row.run, ref.seq)
    status, link = STATUS_OF_DECISION[decision], command.link
    told = Decide(row.trace_id, ref.step_index, status, reason=command.reason, asked=asked, link=link)
    try:
        decide(plan, principal, told)
    except NotFound:
        raise NotFound("approval") from None
    return ApprovalAnswered(
        ref, ApprovalState.APPROVED if decision is ApprovalDecision.APPROVE else ApprovalState.DENIED
    )


def needs_of_link(needs: Needs, principal: Principal, command: MakeAnswerLink) -> None:
    """What answering it would need."""
    needs_of_answer(needs, principal, AnswerApproval(command.ref))


def make_link(plan: Plan, principal: Principal, command: MakeAnswerLink) -> LinkMade:
    """A link to what is open. Raises NotFound, QuestionClosed, NotWaiting."""
    ref = command.ref
    try:
        row = run_of(plan, principal, ref.run_id)
        if ref.step_index is not None:
            _meant(plan, principal, Decide(row.trace_id, ref.step_index, "", asked=(row.run, ref.seq)))
    except NotFound:
        raise NotFound("approval") from None
    if ref.step_index is None:
        question = row.question(ref.seq)
        if question is not None:
            check_words(question, ref.asked_seq())
        elif not may_have_asked(row, ref.seq):
            raise NotFound("approval")
        else:
            raise refusal_of_closed(plan, row, ref.seq)
    until, nonce = plan.now_ms + command.lifetime_ms, plan.ids.token(NONCE_CHARS)
    who = principal
    return LinkMade(AnswerLink(who.org, who.org_id, ref, who.user_id, who.key_id, command.sent_to, until, nonce))


def needs_of_decide(needs: Needs, principal: Principal, command: Decide) -> None:
    """The checkpoints that may be meant, each with its run and its agent; and who has decided about them."""
    needs.counters(principal.org)
    for row in needs.want(Kind.DECISION, (principal.org, command.trace_id, command.step_index)) or ():
        needs.agent(row.org, row.agent)
        if row.decided_by is not None:
            needs.want(Kind.USER, (row.org, row.decided_by))
        run = needs.run_by_number(row.run)
        if run is not None:
            needs.moves(run)


def decide(plan: Plan, principal: Principal, command: Decide) -> Decided:
    """Approves or rejects. Raises NotFound for an unknown checkpoint, NotWaiting naming who has decided before."""
    row = _meant(plan, principal, command)
    run_state = plan.run_state_of(row.run)
    if run_state is None:
        raise NotFound("run")
    if run_state.row.status is Status.CANCELLING and command.status == STATUS_OF_DECISION[ApprovalDecision.APPROVE]:
        # A runner that polls for the decision would carry out the calls after all.
        raise NotWaiting("The run is being cancelled: nothing can be approved any more.")
    if has_expired(plan, row.terms, row.expires_at):
        raise NotWaiting(f"This approval expired at {spoken_ms(row.expires_at or 0)}: nobody had decided.")
    link = command.link
    by = principal.user_id if link is None else link.sent_to
    members = {"step_index": row.step_index, "status": command.status, "decided_by": by}
    members |= {"reason": command.reason} if command.reason else {}
    members |= {} if link is None else told_of_link(link)
    decided = CheckpointFacts(row.step_index, command.status, decision=True, decided_by=by)
    facts = Facts(name=command.status, effects=Effects(status=Status.RUNNING, checkpoint=decided))
    data = msgspec.json.encode(members)
    agent = plan.agent(principal.org, row.agent)
    plan.append(run_state, agent, EventType.CHECKPOINT, data, dialect=APPROVALS, facts=facts)
    return Decided(command.trace_id, row.step_index, command.status)


def _meant(plan: Plan, principal: Principal, command: Decide) -> CheckpointRow:
    """The one checkpoint that waits. Raises NotFound, NotWaiting."""
    rows = meant(plan, principal, command)
    if not rows:
        raise _replaced(plan, command) or NotFound("checkpoint")
    waiting = [row for row in rows if row.is_awaited() and not _is_over(plan, row)]
    if not waiting:
        raise _refusal(plan, rows[0])
    if len(waiting) > 1:
        names = ", ".join(sorted({repr(row.agent) for row in waiting})[:MAX_NAMED])
        raise NotWaiting(
            f"{len(waiting)} checkpoints wait at this step, of the agents {names}: name one by agent_id, or decide"
            " by its approval_id."
        )
    if command.asked_seq not in (None, waiting[0].seq):
        raise NotWaiting("The tool calls were replaced by others: read what waits now, and decide about that.")
    return waiting[0]


def _is_over(plan: Plan, row: CheckpointRow) -> bool:
    run = plan.run_by_number(row.run)
    return run is None or run.is_terminal()


def _replaced(plan: Plan, command: Decide) -> NotWaiting | None:
    """Of tool calls whose agent has put others in their place, or gone on at that step: they were there."""
    event = None if command.asked is None else plan.event_at(*command.asked)
    facts = None if event is None else event.effects.checkpoint
    if facts is None or facts.decision or (facts.step_index, facts.status) != (command.step_index, AWAITS_APPROVAL):
        return None
    return NotWaiting("These tool calls were replaced: their agent does not wait for this answer any more.")


def meant(plan: Plan, principal: Principal, command: Decide) -> list[CheckpointRow]:
    """The checkpoints that a decision may be about, those of the newest run first."""
    stored = plan.loaded(Kind.DECISION, (principal.org, command.trace_id, command.step_index))
    rows = [plan.checkpoint(row.run, row.agent, row.step_index) or row for row in stored or ()]
    if command.asked is not None:
        rows = [row for row in rows if (row.run, row.seq) == command.asked]
    return [row for row in rows if command.agent in (None, row.agent)]


def _refusal(plan: Plan, row: CheckpointRow) -> NotWaiting:
    run = plan.run_by_number(row.run)
    error = "" if run is None or run.error is None else run.error
    why = f" ({error})" if run is not None and (run.status is Status.LOST or error.startswith(REASON)) else ""
    if row.left_at is not None and why:
        return NotWaiting(f"Nobody waits for this decision since {spoken_ms(row.left_at)}: the run is lost{why}.")
    if row.left_at is not None:
        return NotWaiting(f"Its agent went on without a decision at {spoken_ms(row.left_at)}.")
    if row.decided_at is None and run is not None and run.is_terminal():
        return NotWaiting(f"The run has ended: {run.status}{why}.")
    if row.decided_at is None:
        return NotWaiting(f"This checkpoint is not waiting for approval: it is {row.status}. It is decided once.")
    when = spoken_ms(row.decided_at)
    if row.expired and row.decided_by is None:
        return NotWaiting(f"This approval expired at {when}: nobody had decided.")
    details, who = {"answered_at": format_ms(row.decided_at)}, ""
    if row.decided_by is not None:
        user: User | None = plan.loaded(Kind.USER, (row.org, row.decided_by))
        name = row.decided_by if user is None else user.name
        details |= {"answered_by": name} | ({} if user is None else {"answered_by_user_id": user.user_id})
        who = f" by {name}"
    status = row.decision or row.status
    return NotWaiting(f"This checkpoint was {status}{who} at {when}; the first answer counts.", details=details)
