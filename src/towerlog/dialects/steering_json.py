"""What steers a run, as JSON: its input, the stages of a cancel, open questions, pending commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.fields import invalid_field, one_line
from towerlog.dialects.members import kind_of
from towerlog.model.approval import ApprovalState
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms, format_optional_ms

TextOrObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["string", "object", "null"]})]


def input_text(raw: msgspec.Raw, settings: DialectSettings) -> bytes | None:
    """JSON text of what a new run is asked; None for null. Raises Invalid, TooLarge."""
    text = bytes(raw)
    if text == b"null":
        return None
    # A string has no depth, and its line ends are escaped already.
    if text[:1] == b"{":
        return one_line(text, "input", settings.max_depth, settings.max_event_bytes)
    if text[:1] != b'"':
        raise invalid_field("input", f"Expected `string | object`, got {kind_of(text)}")
    if len(text) > settings.max_event_bytes:
        raise errors.TooLarge(f"input: is larger than {settings.max_event_bytes} bytes", field="input")
    return text


class QuestionView(msgspec.Struct, frozen=True, gc=False):
    """An open question. An answer names it by its id, the seq of its `run.waiting_for_input`; with `asked_seq` it is
    one to these words alone."""

    question_id: v.QuestionId
    question: Annotated[str, v.said("What is asked.", "Send it?")] | None
    asked_at: Annotated[str, v.time("When it was asked.")]
    asked_seq: Annotated[
        int, v.said("The event with these words: another one than `question_id` if it was asked anew in others.", 4)
    ]


class ClosedQuestionView(msgspec.Struct, frozen=True, gc=False):
    """What became of a question."""

    question_id: v.QuestionId
    state: Annotated[ApprovalState, v.said("`answered`, `expired` or `withdrawn`.", "answered")]
    closed_at: Annotated[str, v.time("When that was.")]
    answered_by: Annotated[str, v.said("Who has answered; null where nobody has, or it is unknown.", "Ada")] | None
    taken_at: Annotated[str, v.time("When its agent took the answer.")] | None


class CancelView(msgspec.Struct, frozen=True, gc=False):
    """The stages of a cancel; null for those not reached. It ends as stopped or as forced."""

    requested_at: Annotated[str, v.time("When it was asked for.")]
    delivered_at: Annotated[str, v.time("When the agent was told.")] | None
    acknowledged_at: Annotated[str, v.time("When the agent said that it knows.")] | None
    stopped_at: Annotated[str, v.time("When the agent had stopped.")] | None
    forced_at: Annotated[str, v.time("When it was ended without its agent.")] | None
    reason: v.Reason | None


def of_questions(row: RunRow, names: Mapping[str, str] | None) -> dict[str, Any]:
    """The members of a run about what it asks. `names`: of users who have answered; None where that is not shown."""
    awaited = row.awaited()
    return {
        # What an input without a question id answers.
        "question": None if awaited is None else awaited.text,
        "question_id": None if awaited is None else awaited.question_id,
        "questions": question_views(row),
        "closed_questions": None if names is None else _closed(row, names),
    }


def question_views(row: RunRow) -> list[QuestionView]:
    """The open questions, oldest first."""
    return [QuestionView(one.question_id, one.text, format_ms(one.asked_at), one.asked_seq()) for one in row.questions]


def _closed(row: RunRow, names: Mapping[str, str]) -> list[ClosedQuestionView]:
    """Those that were closed last, oldest first."""
    return [
        ClosedQuestionView(
            one.question_id,
            one.state(),
            format_ms(one.closed_at),
            None if one.by is None else names.get(one.by, one.by),
            format_optional_ms(one.taken_at),
        )
        for one in row.closed_questions
    ]


def cancel_view(row: RunRow) -> CancelView | None:
    """How far a cancel has come; None when none was requested."""
    if row.cancel_requested_at is None:
        return None
    # By the server's clock like the other stages, and not by the sender's, as the run's own end is shown.
    ended_at = format_optional_ms(row.ended_at)
    return CancelView(
        requested_at=format_ms(row.cancel_requested_at),
        delivered_at=format_optional_ms(row.cancel_delivered_at),
        acknowledged_at=format_optional_ms(row.cancel_acknowledged_at),
        # Exactly one of the two is set once the run has ended.
        stopped_at=None if row.forced else ended_at,
        forced_at=ended_at if row.forced else None,
        reason=row.cancel_reason,
    )
