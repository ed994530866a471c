"""Steering: pause, resume and answer a run that is under way."""

from __future__ import annotations

from towerlog.engine.control.answers import checked_answer, needs_of_check
from towerlog.engine.control.cancel import CONTROL, run_of
from towerlog.engine.control.handed_on import needs_of_later, not_active, open_later
from towerlog.engine.control.room import check_room
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import AwaitsApproval, QuestionClosed, RunNotActive
from towerlog.model.approval import AnswerLink, ClosedQuestion, OpenQuestion
from towerlog.model.command import GiveInput, SteerRun
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import RunChanged, Steered
from towerlog.model.principal import Principal, User
from towerlog.model.run import MAX_CLOSED_QUESTIONS, RunRow, Status
from towerlog.model.times import format_ms, spoken_ms
from towerlog.store.values import Kind

STEER_ACTIONS = {"pause": EventType.RUN_PAUSE_REQUESTED, "resume": EventType.RUN_RESUME_REQUESTED}
"""An action: the event that asks for it."""


SECOND_ANSWER_MS = 5_000
"""For so long after a question was closed, an input that names none is taken for another answer to it, and reaches no
question that was asked since."""
WRITTEN_TO = frozenset({Status.RUNNING, Status.WAITING})
GONE_PAST = "the next attempt has not asked it again"
AS_MESSAGE = (
    'To write to the run all the same, send it a message: `POST /v1/runs/{run_id}/input` with `"type": "message"`, '
    "or `towerlog runs message`."
)


def needs_of_steer(needs: Needs, principal: Principal, command: SteerRun) -> None:
    """The run, and what goes on from it, with their agents."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.notes(row)
        needs_of_later(needs, row)


def steer_run(plan: Plan, principal: Principal, command: SteerRun) -> Steered:
    """Asks the agent to pause or to go on, and those of the runs that go on from it. Raises RunNotActive for a run that
    has ended or is being cancelled."""
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        raise not_active(plan, row, f"The run is not active: {row.status}")
    members = {"requested_by": principal.user_id} | ({"reason": command.reason} if command.reason else {})
    for later in open_later(plan, row):
        _steer(plan, later, command.action, {**members, "resumed_from": row.run_id})
    return Steered(_steer(plan, row, command.action, members))


def _steer(plan: Plan, row: RunRow, action: str, members: dict[str, str]) -> RunRow:
    for one in plan.budgets.of(row.org).all():
        if one.has_paused:  # what a person has said of a run, no budget takes back
            plan.changes.budget_pauses[row.org, one.budget_id, row.run] = False
    if action == "resume" and plan.reactions.on_let_go is not None:
        plan.reactions.on_let_go(plan, row)
    return ask(plan, row, action, members)


def ask(plan: Plan, row: RunRow, action: str, members: dict[str, str]) -> RunRow:
    """Asks an open run's agent to pause or to resume; the very same row where it is asked that already, or is so."""
    requested = [pending.type for pending in row.pending if pending.type in STEER_ACTIONS]
    # A run that lost its worker in a pause is still paused, and so is one that asks beside it.
    paused = row.status is Status.PAUSED or row.pause_taken is not None
    is_so = paused == (action == "pause")
    if requested == [action] or (not requested and is_so):
        return row
    return plan.note(row, STEER_ACTIONS[action], members, Facts(effects=Effects(requests=action)), by=CONTROL)


def needs_of_input(needs: Needs, principal: Principal, command: GiveInput) -> None:
    """The run, and what moves when it goes on; who writes, and who has answered its question already."""
    needs.counters(principal.org)
    needs.want(Kind.USER, (principal.org, principal.user_id))
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return
    needs.moves(row)
    needs_of_later(needs, row)
    if command.question_id is not None:
        closed, asked = closed_question(row, command.question_id), row.question(command.question_id)
    else:
        asked = row.awaited()
        closed = row.closed_questions[-1] if row.closed_questions else None
        closed = closed if asked is None else _closed_before(row, asked)
    if asked is not None:
        needs_of_check(needs, row, asked)
    if closed is not None and closed.by is not None:
        needs.want(Kind.USER, (principal.org, closed.by))


def give_input(plan: Plan, principal: Principal, command: GiveInput) -> RunChanged:
    """Answers the question that is named, else the oldest one that is waited for; or writes to the run.

    Raises QuestionClosed naming who was first, AwaitsApproval, RunNotActive, Conflict when too many lie unread. A run
    that lost its worker keeps its questions, so it takes their answers too: the next claim delivers them. A message is
    for the newest run of the same agent that goes on from this one; the outcome is that run.
    """
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        if (late := _expired(row, command)) is not None:
            raise refusal_of_closed(plan, row, late)
        raise not_active(plan, row, f"The run is {row.status}{_how_lost(row)} and takes no input")
    question = _meant(plan, row, command)
    if question is None:
        row = _reader_of(plan, row)
    content = command.content if question is None else checked_answer(plan, row, question, command)
    check_room(row, content, question)
    members = {"content": content, **_author(plan, principal, command.link)}
    if question is None:
        facts = Facts(effects=Effects(requests="message"))
        return RunChanged(plan.note(row, EventType.RUN_MESSAGE, members, facts, by=CONTROL), changed=True)
    members["question_id"] = question.question_id
    facts = Facts(effects=Effects(requests="input", question_id=question.question_id))
    row = plan.note(row, EventType.RUN_INPUT, members, facts, by=CONTROL)
    # An attempt that asks what none before it has asked goes another way than they did.
    goes_past = row.lease_epoch > 1 and question.first_epoch == row.lease_epoch
    return RunChanged(_without_left(plan, row) if goes_past else row, changed=True)


def _expired(row: RunRow, command: GiveInput) -> int | None:
    """The question that was meant, where nobody had answered it in time: that may be what ended its run."""
    if command.question_id is not None:
        found = closed_question(row, command.question_id)
    else:
        found = row.closed_questions[-1] if row.closed_questions else None
    return found.question_id if found is not None and found.expired and command.type != "message" else None


def _reader_of(plan: Plan, row: RunRow) -> RunRow:
    """The run that takes a message: this one, or the newest of its agent that goes on from it."""
    later = [one for one in open_later(plan, row) if one.agent == row.agent]
    if not later:
        return row
    if later[-1].status not in WRITTEN_TO:
        named = f"The run {later[-1].run_id}, which goes on from this one,"
        raise RunNotActive(
            f"{named} is {later[-1].status} and takes no message.", details={"resumed_by": later[-1].run_id}
        )
    return later[-1]


def _without_left(plan: Plan, row: RunRow) -> RunRow:
    """The run without the open questions that only attempts before have asked. Answers that were given to such stay:
    this attempt may come to the question yet."""
    for asked in row.questions:
        if asked.epoch != row.lease_epoch:
            members = {"question_id": asked.question_id, "reason": GONE_PAST}
            facts = Facts(effects=Effects(question_id=asked.question_id))
            row = plan.note(row, EventType.RUN_QUESTION_WITHDRAWN, members, facts, by=CONTROL)
    return row


def _author(plan: Plan, principal: Principal, link: AnswerLink | None) -> dict[str, object]:
    """Who writes, for the event's data."""
    if link is not None:
        return {"responded_by": link.sent_to, **told_of_link(link)}
    user: User | None = plan.loaded(Kind.USER, (principal.org, principal.user_id))
    # Readers of the log are shown a name, and there is no looking up while a stream is written.
    author: dict[str, object] = {"by": principal.user_id}
    return author if user is None else author | {"by_name": user.name}


def told_of_link(link: AnswerLink) -> dict[str, object]:
    """What an event says of the link by which an answer came: which it was, and who made it."""
    maker = {"link_of_rule": link.rule_id} if link.rule_id else {"link_made_by": link.user_id}
    return {"via": "link", "link_id": link.nonce, **maker}


def _meant(plan: Plan, row: RunRow, command: GiveInput) -> OpenQuestion | None:
    """The open question that an input answers, None for a message. Raises what refuses the input."""
    if command.type == "message":
        if row.status not in WRITTEN_TO:
            raise RunNotActive(f"The run is {row.status} and takes no message.")
        return None
    if command.question_id is not None:
        question = row.question(command.question_id)
        if question is None:
            raise refusal_of_closed(plan, row, command.question_id)
        check_words(question, command.asked_seq)
        return question
    if (awaited := row.awaited()) is not None:
        if (before := _closed_before(row, awaited)) is not None and _is_recent(before, plan.now_ms):
            raise _names_no_question(plan, row, before, awaited)
        return awaited
    if row.awaits_approval:
        raise AwaitsApproval(_how_to_decide(row))
    just_closed = _just_closed(row, plan.now_ms)
    if just_closed is not None:
        raise refusal_of_closed(plan, row, just_closed, AS_MESSAGE)
    if command.type is not None:
        raise QuestionClosed(f"The run is not asking anything. {AS_MESSAGE}")
    if row.status is not Status.RUNNING:
        raise RunNotActive(f"The run is {row.status} and takes no input.")
    return None


def check_words(question: OpenQuestion, asked_seq: int | None) -> None:
    """Raises QuestionClosed where somebody answers other words than those that are asked now. None: unknown."""
    if asked_seq is not None and asked_seq != question.asked_seq():
        raise QuestionClosed(
            f"Question {question.question_id} was asked anew in other words: read it again and answer that."
        )


def _closed_before(row: RunRow, asked: OpenQuestion) -> ClosedQuestion | None:
    """The last question that was closed before this one was asked, be it for the first time or once more."""
    asked_seq = max(asked.asked_seq(), asked.again_seq)
    return next((one for one in reversed(row.closed_questions) if one.closed_seq < asked_seq), None)


def _is_recent(closed: ClosedQuestion, now_ms: int) -> bool:
    return 0 <= now_ms - closed.closed_at < SECOND_ANSWER_MS


def _names_no_question(plan: Plan, row: RunRow, before: ClosedQuestion, asked: OpenQuestion) -> QuestionClosed:
    """Refuses an input that names no question, where another was open a moment ago: its sender may have read that."""
    hint = (
        f"The agent has asked question {asked.question_id} since. To answer that one, send its question_id with the "
        f"answer."
    )
    refusal = refusal_of_closed(plan, row, before.question_id, hint)
    details = {"question_id": str(before.question_id), "open_question_id": str(asked.question_id)}
    return QuestionClosed(refusal.message, details=refusal.details | details)


def _just_closed(row: RunRow, now_ms: int) -> int | None:
    """The question that whoever names none most likely means: one that was there a moment ago.

    Two people see the same question, or one clicks twice. The agent may have taken the first answer by then, but the
    second is an answer all the same, and not a message.
    """
    untaken = [pending.question_id for pending in row.pending if pending.type == "input"]
    if untaken:
        return untaken[-1] or 0
    newest = row.closed_questions[-1] if row.closed_questions else None
    return newest.question_id if newest is not None and _is_recent(newest, now_ms) else None


def closed_question(row: RunRow, question_id: int) -> ClosedQuestion | None:
    """What became of a question; None for one that is open, or too long closed to be known."""
    return next((one for one in row.closed_questions if one.question_id == question_id), None)


def refusal_of_closed(plan: Plan, row: RunRow, question_id: int, hint: str = "") -> QuestionClosed:
    """Who was first, and when."""
    hint = hint and f" {hint}"
    found = closed_question(row, question_id)
    if found is None:
        if len(row.closed_questions) >= MAX_CLOSED_QUESTIONS and question_id <= row.last_seq:
            return QuestionClosed(
                f"Question {question_id} is not open, and what became of it is no longer known here: "
                f"{MAX_CLOSED_QUESTIONS} others were closed since. Its approval has it from the log: "
                f"{row.run_id}.q{question_id}."
            )
        open_ids = ", ".join(str(one.question_id) for one in row.questions) or "none"
        return QuestionClosed(f"The run has no open question {question_id}; open questions: {open_ids}.")
    when = spoken_ms(found.closed_at)
    if found.expired:
        return QuestionClosed(f"Question {question_id} expired at {when}: nobody had answered it.{hint}")
    if found.withdrawn and found.by is not None:
        return QuestionClosed(
            f"Question {question_id} was answered at {when}, but its agent had stopped waiting: nobody has taken the "
            f"answer.{hint}"
        )
    if found.withdrawn:
        return QuestionClosed(
            f"Question {question_id} was withdrawn by its agent at {when}: nobody waits for an answer"
            f"{_how_lost(row)}.{hint}"
        )
    details, who = {"answered_at": format_ms(found.closed_at)}, ""
    if found.by is not None:
        # A user's id in our own events, which is of use to programs; in an agent's the name that it gave.
        user: User | None = plan.loaded(Kind.USER, (row.org, found.by))
        name = found.by if user is None else user.name
        details |= {"answered_by": name} | ({} if user is None else {"answered_by_user_id": user.user_id})
        who = f"by {name} "
    return QuestionClosed(
        f"Question {question_id} was answered {who}at {when}; the first answer counts.{hint}", details=details
    )


def _how_lost(row: RunRow) -> str:
    """Of a run that was lost, why: it may name the run that its runner went on in."""
    return f" ({row.error})" if row.status is Status.LOST and row.error else ""


def _how_to_decide(row: RunRow) -> str:
    latest = row.latest_step()
    step = "{step_index}" if latest is None else latest[1]
    return (
        "The run waits for an approval, which an input does not give. "
        f"Decide with POST /approvals/{row.trace_id}/{step}/approve or …/reject, "
        f"or with `towerlog approvals`."
    )
