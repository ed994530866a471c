"""Room for what people write to a run, until its agent takes it: who finds none is refused in words.

Messages have a share of their own, since an agent need not read them; so have answers to what the present attempt asks,
and answers to what only earlier attempts have asked. These wait for their question until the end of the run. None takes
room from another, and what was taken in is never thrown out for something else. The server's own words about questions
that have expired take no share.
"""

from __future__ import annotations

from towerlog.errors import Conflict
from towerlog.model.run import MAX_INPUTS, MAX_PENDING_BYTES, Pending, RunRow, text_bytes
from towerlog.projections.questions import left_answers


def check_room(row: RunRow, content: str, *, is_answer: bool, is_awaited: bool) -> None:
    """Raises Conflict where there is no room for one more message or answer. `is_awaited`: the last attempt asks it."""
    if not is_answer:
        _check("messages", [one for one in row.pending if one.type == "message"], content)
        return
    given = [one for one in row.pending if one.type == "input" and not one.expired]
    left = {one.command_id for one in left_answers(row)}
    if is_awaited:
        _check("answers", [one for one in given if one.command_id not in left], content)
    else:
        _check("answers to earlier attempts", [one for one in given if one.command_id in left], content)
    # What this attempt has not taken is left to the next one, beside what was left before.
    _check("answers, those to earlier attempts with them,", given, content, shares=2)


def _check(kind: str, waiting: list[Pending], content: str, shares: int = 1) -> None:
    if len(waiting) >= shares * MAX_INPUTS:
        raise Conflict(f"The run has {len(waiting)} {kind} that its agent has not taken yet; it takes no more of them.")
    waiting_bytes = sum(text_bytes(one.content or "") for one in waiting)
    if waiting_bytes + text_bytes(content) > shares * MAX_PENDING_BYTES:
        raise Conflict(
            f"The {kind} that the agent has not taken yet may have {shares * MAX_PENDING_BYTES} bytes together as "
            f"JSON; they have {waiting_bytes}, and this one has {text_bytes(content)}."
        )
