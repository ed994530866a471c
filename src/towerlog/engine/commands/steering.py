"""Steering: pause, resume and answer a run that is under way."""

from __future__ import annotations

from towerlog.engine.commands.cancel import CONTROL, run_of
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.errors import AwaitsApproval, Conflict, QuestionClosed, RunNotActive
from towerlog.model.command import GiveInput, SteerRun
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import RunChanged, Steered
from towerlog.model.principal import Principal
from towerlog.model.run import MAX_INPUTS, MAX_PENDING_BYTES, OpenQuestion, RunRow, Status
from towerlog.model.times import format_ms

STEER_ACTIONS = {
    "pause": (EventType.RUN_PAUSE_REQUESTED, Status.PAUSED),
    "resume": (EventType.RUN_RESUME_REQUESTED, Status.RUNNING),
}
"""An action: the event that asks for it, and where the run is when it has come about."""


def needs_of_steer(needs: Needs, principal: Principal, command: SteerRun) -> None:
    """The run and its agent."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.notes(row)


def steer_run(plan: Plan, principal: Principal, command: SteerRun) -> Steered:
    """Asks the agent to pause or to go on. Raises RunNotActive for a run that has ended or is being cancelled."""
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        raise RunNotActive(f"The run is not active: {row.status}.")
    kind, target = STEER_ACTIONS[command.action]
    requested = [pending.type for pending in row.pending if pending.type in STEER_ACTIONS]
    is_so = row.status is target if command.action == "pause" else row.status is not Status.PAUSED
    if requested == [command.action] or (not requested and is_so):
        return Steered(row)
    members = {"requested_by": principal.user_id} | ({"reason": command.reason} if command.reason else {})
    facts = Facts(effects=Effects(requests=command.action))
    return Steered(plan.note(row, kind, members, facts, by=CONTROL))


def needs_of_input(needs: Needs, principal: Principal, command: GiveInput) -> None:
    """The run, and what moves when it goes on."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.moves(row)


def give_input(plan: Plan, principal: Principal, command: GiveInput) -> RunChanged:
    """Answers the question that is named, else the oldest open one; to a running run without one it is a message.

    Raises QuestionClosed naming who was first, AwaitsApproval, RunNotActive, Conflict when too many lie unread. A run
    that lost its worker keeps its questions, so it takes their answers too: the next claim delivers them.
    """
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        raise RunNotActive(f"The run takes no input: {row.status}.")
    question = _meant(row, command.question_id)
    kind = "message" if question is None else "input"
    if sum(pending.type == kind for pending in row.pending) >= MAX_INPUTS:
        raise Conflict(f"The run has {MAX_INPUTS} {kind}s that its agent has not taken yet.")
    if row.pending_bytes() + len(command.content.encode()) > MAX_PENDING_BYTES:
        raise Conflict(f"The run has {MAX_PENDING_BYTES} bytes of commands that its agent has not taken yet.")
    members: dict[str, object] = {"content": command.content, "by": principal.user_id}
    if question is None:
        facts = Facts(effects=Effects(requests="message"))
        return RunChanged(plan.note(row, EventType.RUN_MESSAGE, members, facts, by=CONTROL), changed=True)
    members["question_id"] = question.question_id
    facts = Facts(effects=Effects(requests="input", question_id=question.question_id))
    return RunChanged(plan.note(row, EventType.RUN_INPUT, members, facts, by=CONTROL), changed=True)


def _meant(row: RunRow, question_id: int | None) -> OpenQuestion | None:
    """The open question that an input answers, None for a message. Raises what refuses the input."""
    if question_id is not None:
        question = row.question(question_id)
        if question is None:
            raise _closed(row, question_id)
        return question
    if row.questions:
        return row.questions[0]
    if row.awaits_approval:
        raise AwaitsApproval(_how_to_decide(row))
    untaken = [pending.question_id for pending in row.pending if pending.type == "input"]
    if untaken:
        # Whoever answers twice, or second, means the question that was there a moment ago.
        raise _closed(row, untaken[-1] or 0)
    if row.status is not Status.RUNNING:
        raise RunNotActive(f"The run takes no input: {row.status}.")
    return None


def _closed(row: RunRow, question_id: int) -> QuestionClosed:
    """Who was first, and when."""
    found = next((one for one in row.closed_questions if one.question_id == question_id), None)
    if found is None:
        open_ids = ", ".join(str(one.question_id) for one in row.questions) or "none"
        return QuestionClosed(f"The run has no open question {question_id}; open questions: {open_ids}.")
    when = format_ms(found.closed_at)
    if found.withdrawn:
        return QuestionClosed(
            f"Question {question_id} was withdrawn by its agent at {when}: nobody waits for an answer."
        )
    details = {"answered_at": when} | ({"answered_by": found.by} if found.by else {})
    who = f"by {found.by} " if found.by else ""
    return QuestionClosed(
        f"Question {question_id} was answered {who}at {when}; the first answer counts.", details=details
    )


def _how_to_decide(row: RunRow) -> str:
    latest = row.latest_step()
    step = "{step_index}" if latest is None else latest[1]
    return (
        "The run waits for an approval, which an input does not give. "
        f"Decide with POST /approvals/{row.trace_id}/{step}/approve or …/reject, "
        f"or with `towerlog approve {row.trace_id} {step}`."
    )
