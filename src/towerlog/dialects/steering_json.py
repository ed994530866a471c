"""What steers a run, as JSON: the stages of a cancel, open questions, pending commands."""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms, format_optional_ms


class QuestionView(msgspec.Struct, frozen=True, gc=False):
    """An open question. An answer names it by its id, the seq of its `run.waiting_for_input`."""

    question_id: v.QuestionId
    question: Annotated[str, v.said("What is asked.", "Send it?")] | None
    asked_at: Annotated[str, v.time("When it was asked.")]


class CancelView(msgspec.Struct, frozen=True, gc=False):
    """The stages of a cancel; null for those not reached. It ends as stopped or as forced."""

    requested_at: Annotated[str, v.time("When it was asked for.")]
    delivered_at: Annotated[str, v.time("When the agent was told.")] | None
    acknowledged_at: Annotated[str, v.time("When the agent said that it knows.")] | None
    stopped_at: Annotated[str, v.time("When the agent had stopped.")] | None
    forced_at: Annotated[str, v.time("When it was ended without its agent.")] | None
    reason: v.Reason | None


def question_views(row: RunRow) -> list[QuestionView]:
    """The open questions, oldest first."""
    return [QuestionView(one.question_id, one.text, format_ms(one.asked_at)) for one in row.questions]


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
