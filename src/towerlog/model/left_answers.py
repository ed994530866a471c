"""Answers that wait for an agent which has not asked for them: only an attempt before it has.

They may be of use to it yet, or to nobody. They never stand in the way of what this attempt asks, or of the answer to
that: where there are too many, the oldest of them go.
"""

from __future__ import annotations

import msgspec

from towerlog.model.pending import MAX_ANSWERS, MAX_LEFT_BYTES, Pending
from towerlog.model.row_bounds import KEPT_BYTES, closed_bytes, kept_bytes, pending_bytes
from towerlog.model.run import RunRow

_replace = msgspec.structs.replace


def left_answers(row: RunRow) -> tuple[Pending, ...]:
    """All of them, and the server's words about such questions that have expired."""
    asked = {one.question_id for one in row.closed_questions if one.epoch == row.lease_epoch}
    return tuple(one for one in row.pending if one.type == "input" and one.question_id not in asked)


def without_left(row: RunRow) -> RunRow:
    """The row without what gives way to the last attempt."""
    left = {one.command_id for one in left_answers(row) if not one.expired}
    return _replace(row, pending=tuple(one for one in row.pending if one.command_id not in left)) if left else row


def newest_left(row: RunRow) -> RunRow:
    """Once what this attempt asks is answered: the newest of them, within their bounds. So what an attempt asks can be
    answered, however many were there before it."""
    left = [one for one in left_answers(row) if not one.expired]
    room, gone = MAX_LEFT_BYTES, list[Pending]()
    for count, one in enumerate(reversed(left)):
        room -= one.size()
        if count >= MAX_ANSWERS or room < 0:
            gone.append(one)
    return with_room(_let_go(row, gone))


def with_room(row: RunRow) -> RunRow:
    """The same where the row is short of room for what this attempt asks, or for the answer to it."""
    excess, gone = kept_bytes(row) - KEPT_BYTES, list[Pending]()
    for one in left_answers(row) if excess > 0 else ():
        if excess > 0 and not one.expired:
            closed = [it for it in row.closed_questions if it.question_id == one.question_id]
            excess -= pending_bytes(one) + sum(map(closed_bytes, closed))
            gone.append(one)
    return _let_go(row, gone)


def _let_go(row: RunRow, gone: list[Pending]) -> RunRow:
    """These reach nobody any more."""
    if not gone:
        return row
    commands, questions = {one.command_id for one in gone}, {one.question_id for one in gone}
    return _replace(
        row,
        pending=tuple(one for one in row.pending if one.command_id not in commands),
        closed_questions=tuple(
            _replace(one, withdrawn=True) if one.question_id in questions else one for one in row.closed_questions
        ),
    )
