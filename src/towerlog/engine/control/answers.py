"""Answers to questions: held against the expiry of the question and against the schema that its agent gave."""

from __future__ import annotations

import msgspec

from towerlog.engine.control.unheard import has_come
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Invalid, QuestionClosed
from towerlog.model.agent import is_blank
from towerlog.model.answer_schema import UnfitAnswer, UnusableSchema, fitting
from towerlog.model.approval import OnExpiry, OpenQuestion, Terms
from towerlog.model.command import GiveInput
from towerlog.model.run import RunRow
from towerlog.model.times import spoken_ms
from towerlog.store.values import Kind


class _Asked(msgspec.Struct, frozen=True):
    schema: msgspec.Raw


_decode_asked = msgspec.json.Decoder(_Asked).decode


def needs_of_check(needs: Needs, row: RunRow, question: OpenQuestion) -> None:
    """The event with the schema, where there is one."""
    if question.terms.has_schema:
        needs.want(Kind.EVENT, (row.run, question.asked_seq()))


def has_expired(plan: Plan, terms: Terms, expires_at: int | None) -> bool:
    """Whether it is too late for an answer. What waits on takes one at any time."""
    return terms.on_expiry is not OnExpiry.WAIT and expires_at is not None and has_come(plan, expires_at)


def checked_answer(plan: Plan, row: RunRow, question: OpenQuestion, answer: GiveInput) -> str:
    """The answer as it is given to the agent. Raises QuestionClosed for one that is too late, Invalid for one that does
    not fit the schema."""
    content = answer.content
    if has_expired(plan, question.terms, question.expires_at):
        when = spoken_ms(question.expires_at or 0)
        raise QuestionClosed(f"Question {question.question_id} expired at {when}: nobody had answered it.")
    if not question.terms.has_schema:
        if not answer.is_text:
            raise _unfit("must be a text: the question has no schema that asks for other JSON")
        if is_blank(content):
            raise _unfit("must not be blank")
        return content
    event = plan.event_at(row.run, question.asked_seq())
    if event is None:  # trimmed away with the beginning of a long run
        return content
    try:
        return fitting(bytes(_decode_asked(event.data).schema), content)
    except (UnfitAnswer, UnusableSchema) as fault:
        raise _unfit(str(fault)) from None


def _unfit(why: str) -> Invalid:
    return Invalid(f"content: {why}", field="content")
