"""Room for what people write to a run, until its agent takes it: who finds none is refused in words.

Messages have a share of their own, since an agent need not read them; so have answers to what the last attempt asks,
and answers to what only earlier attempts have asked. These wait for their question until the end of the run, and never
stand in the way of what is asked now: where there are too many, an answer to that takes the place of the oldest of them
(`model/left_answers.py`). The server's own words about questions that have expired take no share.
"""

from __future__ import annotations

from towerlog.errors import Conflict
from towerlog.model.approval import OpenQuestion
from towerlog.model.left_answers import left_answers, without_left
from towerlog.model.pending import MAX_ANSWERS, MAX_LEFT_BYTES, MAX_MESSAGES, MAX_PENDING_BYTES, Pending, text_bytes
from towerlog.model.row_bounds import ANSWER_BYTES, MESSAGE_BYTES, has_room, question_bytes
from towerlog.model.run import RunRow


def check_room(row: RunRow, content: str, question: OpenQuestion | None) -> None:
    """Raises Conflict where there is no room for one more message, or for the answer to a question of the run."""
    _check_row(row, question)
    if question is None:
        waiting = [one for one in row.pending if one.type == "message"]
        _check("messages", waiting, content, MAX_MESSAGES, MAX_PENDING_BYTES)
        return
    given = [one for one in row.pending if one.type == "input" and not one.expired]
    left = {one.command_id for one in left_answers(row)}
    if question.epoch == row.lease_epoch:
        waiting = [one for one in given if one.command_id not in left]
        _check("answers", waiting, content, MAX_ANSWERS, MAX_PENDING_BYTES)
    else:
        waiting = [one for one in given if one.command_id in left]
        _check("answers to earlier attempts", waiting, content, MAX_ANSWERS, MAX_LEFT_BYTES)


def _check_row(row: RunRow, question: OpenQuestion | None) -> None:
    more = MESSAGE_BYTES
    if question is not None:
        more = ANSWER_BYTES + 2 * text_bytes(question.key or "") - question_bytes(question)
    is_awaited = question is not None and question.epoch == row.lease_epoch
    if not has_room(without_left(row) if is_awaited else row, more):
        raise Conflict(
            "The run has so many open questions, and so much that its agent has not taken yet, that there is no room "
            "for this; it takes no more until its agent has taken some of it."
        )


def _check(kind: str, waiting: list[Pending], content: str, most: int, most_bytes: int) -> None:
    if len(waiting) >= most:
        raise Conflict(f"The run has {len(waiting)} {kind} that its agent has not taken yet; it takes no more of them.")
    waiting_bytes = sum(one.size() for one in waiting)
    # The last one may be as long as any: else whoever waits for it, and holds the others, might wait for ever.
    has_place = waiting_bytes < most_bytes if kind != "messages" else waiting_bytes + text_bytes(content) <= most_bytes
    if not has_place:
        raise Conflict(
            f"The {kind} that the agent has not taken yet may have {most_bytes} bytes together as JSON; they have "
            f"{waiting_bytes}, and this one has {text_bytes(content)}."
        )
