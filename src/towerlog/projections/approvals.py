"""The fold of an organisation's inbox: what each run leaves open, as rows that are listed in the order of asking.

A row follows from its run's questions, or from a checkpoint that waits; what has ended leaves none.
"""

from __future__ import annotations

from towerlog.model.approval import ApprovalRow, OpenQuestion
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.run import RunRow

Inbox = dict[tuple[int, int], ApprovalRow | None]
"""(run, seq) → what is open there; None for what is not any more."""


def of_question(row: RunRow, question: OpenQuestion) -> ApprovalRow:
    """The row of an open question."""
    return ApprovalRow(
        org=row.org,
        run=row.run,
        seq=question.question_id,
        position=question.position,
        asked_at=question.asked_at,
        asked_seq=question.asked_seq(),
        text=question.text,
        terms=question.terms,
        expires_at=question.expires_at,
        expired=question.expired,
    )


def of_checkpoint(row: CheckpointRow) -> ApprovalRow | None:
    """The row of a checkpoint; None for one that does not wait."""
    if not row.is_awaited():
        return None
    return ApprovalRow(
        org=row.org,
        run=row.run,
        seq=row.seq,
        position=row.position,
        asked_at=row.created_at,
        asked_seq=row.seq,
        agent=row.agent,
        step_index=row.step_index,
        terms=row.terms,
        expires_at=row.expires_at,
        expired=row.expired,
    )


def questions_moved(before: RunRow | None, after: RunRow) -> Inbox:
    """What a run's questions have changed in the inbox since it was like `before`."""
    known = () if before is None else before.questions
    if after.questions is known:
        return {}
    moved: Inbox = {(after.run, one.question_id): None for one in known}
    return moved | {(after.run, one.question_id): of_question(after, one) for one in after.questions}


def checkpoint_moved(before: CheckpointRow | None, after: CheckpointRow) -> Inbox:
    """What a checkpoint has changed in the inbox."""
    moved: Inbox = {}
    if before is not None and before.is_awaited():
        moved[before.run, before.seq] = None
    row = of_checkpoint(after)
    if row is not None:
        moved[after.run, after.seq] = row
    return moved


def inbox_of(
    runs: dict[int, RunRow], checkpoints: dict[tuple[int, str, int], CheckpointRow]
) -> dict[tuple[int, int], ApprovalRow]:
    """The whole inbox of an organisation."""
    found = {}
    for row in runs.values():
        for question in row.questions:
            found[row.run, question.question_id] = of_question(row, question)
    for checkpoint in checkpoints.values():
        run, waiting = runs.get(checkpoint.run), of_checkpoint(checkpoint)
        if waiting is not None and run is not None and not run.is_terminal():
            found[checkpoint.run, checkpoint.seq] = waiting
    return found
