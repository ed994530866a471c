"""Room for what people write to a run, until its agent takes it: who finds none is refused in words.

Messages have a share of their own, since an agent need not read them; so have answers to what the last attempt asks,
and answers to what only earlier attempts have asked. These wait for their question until the end of the run, and never
stand in the way of what is asked now: where there are too many, an answer to that takes the place of the oldest of them
(`projections/questions.py`). The server's own words about questions that have expired take no share.
"""

from __future__ import annotations

from towerlog.errors import Conflict
from towerlog.model.pending import MAX_ANSWERS, MAX_LEFT_BYTES, MAX_MESSAGES, MAX_PENDING_BYTES, Pending, text_bytes
from towerlog.model.run import RunRow
from towerlog.projections.questions import left_answers


def check_room(row: RunRow, content: str, *, is_answer: bool, is_awaited: bool) -> None:
    """Raises Conflict where there is no room for one more message or answer. `is_awaited`: the last attempt asks it."""
    if not is_answer:
        waiting = [one for one in row.pending if one.type == "message"]
        _check("messages", waiting, content, MAX_MESSAGES, MAX_PENDING_BYTES)
        return
    given = [one for one in row.pending if one.type == "input" and not one.expired]
    left = {one.command_id for one in left_answers(row)}
    if is_awaited:
        waiting = [one for one in given if one.command_id not in left]
        _check("answers", waiting, content, MAX_ANSWERS, MAX_PENDING_BYTES)
    else:
        waiting = [one for one in given if one.command_id in left]
        _check("answers to earlier attempts", waiting, content, MAX_ANSWERS, MAX_LEFT_BYTES)


def _check(kind: str, waiting: list[Pending], content: str, most: int, most_bytes: int) -> None:
    if len(waiting) >= most:
        raise Conflict(f"The run has {len(waiting)} {kind} that its agent has not taken yet; it takes no more of them.")
    waiting_bytes = sum(one.size() for one in waiting)
    if waiting_bytes + text_bytes(content) > most_bytes:
        raise Conflict(
            f"The {kind} that the agent has not taken yet may have {most_bytes} bytes together as JSON; they have "
            f"{waiting_bytes}, and this one has {text_bytes(content)}."
        )
