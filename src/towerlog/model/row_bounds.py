"""How many bytes the row of a run may have, and what gives way where all of it together would have more.

A row is read and written anew with events of its run, so none is longer than MAX_ROW_BYTES, whatever is sent. Each of
its parts has bytes that it gets in any case, and these add up to that: a new member of the row has to find room here.
What one does not use is for those that may have more, as long as the whole row fits.

What a run is refused for (a question, an answer, metadata) is held against KEPT_BYTES before it is stored. Where the
row is too long all the same, it forgets what may be forgotten: figures that are folded into sums, and of which nothing
is lost but where they came from (`fitted`).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from towerlog.model.approval import ClosedQuestion, OpenQuestion
from towerlog.model.dormant import DIGEST_CHARS
from towerlog.model.ledger import MAX_CLIENTS_BYTES
from towerlog.model.pending import WITH_CONTENT, Pending, text_bytes
from towerlog.model.run import (
    MAX_METADATA_BYTES,
    MAX_OPEN_TOOL_BYTES,
    MAX_UNPLACED,
    MAX_UNPLACED_BYTES,
    OpenTool,
    RunRow,
    Unplaced,
)
from towerlog.model.spending import Spending

T = TypeVar("T")

MAX_ROW_BYTES = 64 * 1024
"""Of the row of a run as it is stored, as JSON."""
MAX_HEAD_BYTES = 16_640
"""Of all names, ids, times and figures in it that are no lists, and of the cancel and the pause that wait: each as long
as it may be."""
MAX_SHARE_BYTES = 4_864
"""Bytes for one agent; the agent that reported last is always kept."""
SPARE_BYTES = 1_024
"""For numbers that grow with events which tell nothing else."""
ROOM_OF: dict[str, int] = {
    "names, times and figures": MAX_HEAD_BYTES,
    "open calls": MAX_OPEN_TOOL_BYTES,
    "clients": MAX_CLIENTS_BYTES,
    "cells without a model": MAX_UNPLACED_BYTES,
    "the agent that told last": MAX_SHARE_BYTES,
    "spare": SPARE_BYTES,
}
"""What each of these parts gets in any case."""
KEPT_BYTES = MAX_ROW_BYTES - sum(ROOM_OF.values())
"""Of what must not be forgotten: metadata, open questions, and messages and answers that wait for their agent. This has
the rest, of which a test says how much it has to be."""
ASKED_BYTES = KEPT_BYTES - 4_224
"""Of metadata and open questions: so there is room for as many messages as may wait, and for an answer in any case."""
FITTED_BYTES = MAX_ROW_BYTES - MAX_OPEN_TOOL_BYTES - MAX_CLIENTS_BYTES - MAX_UNPLACED_BYTES - SPARE_BYTES
"""Of a row without these. Plain events move them, many at once, so their room is never another's: the row is the same
whether these were folded one by one or together."""

MAX_REASON_BYTES = 600
"""Of why a run is cancelled or paused, in its row; the event has all of it."""
MAX_PHASE_BYTES = 600
MAX_ERROR_BYTES = 2_048
"""Of why it failed. That comes with its end, which takes away questions and commands: this has their room."""
MAX_ANSWERED_BY_BYTES = 600
"""Of the name of who has answered a question."""
MESSAGE_BYTES = 160
"""What a message takes in the row."""
ANSWER_BYTES = 1_088
"""What an answer takes in it with the question that it closes, beside the question's key, which is there twice."""

_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace
weights = attrgetter(
    "metadata", "questions", "closed_questions", "pending", "pause_taken", "shares", "retired", "dormant", "usage",
    "run_total", "run_rest", "told_totals", "computed_cells", "assumed_cells", "calls", "agent", "was_agent",
    "began_cell", "model", "first_model", "start_cell", "end_cell", "parent_key", "thread_id", "phase", "process",
    "price_version", "cancel_reason", "error", "usage_flags",
)  # fmt: skip
"""All that has no fixed length, but for what has a room of its own: where none of it has changed, the row has room."""


def clipped(text: str, most_bytes: int) -> str:
    """A text of at most so many bytes as JSON; a cut one ends in `…`."""
    if 6 * len(text) <= most_bytes or text_bytes(text) <= most_bytes:
        return text
    room = most_bytes - len("…".encode())
    for index, letter in enumerate(text):
        room -= text_bytes(letter)
        if room < 0:
            return text[:index] + "…"
    return text


def clipped_if_any(text: str | None, most_bytes: int) -> str | None:
    """The same of a text that may be missing."""
    return None if text is None else clipped(text, most_bytes)


# What has a room of its own


CALL_BYTES = 56
"""Of an open call beside its names, at the most."""
LETTER_BYTES = 6
"""Of a character as JSON, at the most."""


def newest_tools(calls: tuple[OpenTool, ...]) -> tuple[OpenTool, ...]:
    """Those that fit into MAX_OPEN_TOOL_BYTES: past it the oldest are forgotten."""
    letters = sum([len(call.tool) + len(call.call_id) for call in calls])
    if LETTER_BYTES * letters + CALL_BYTES * (1 + len(calls)) <= MAX_OPEN_TOOL_BYTES:  # nearly always
        return calls
    room = MAX_OPEN_TOOL_BYTES - CALL_BYTES
    for index in range(len(calls) - 1, -1, -1):
        room -= text_bytes(calls[index].tool) + text_bytes(calls[index].call_id) + CALL_BYTES
        if room < 0:
            return calls[index + 1 :]
    return calls


CELL_BYTES = 64
"""Of a cell of `unplaced` beside its agent, at the most."""


def has_room_for_cell(unplaced: tuple[Unplaced, ...], agent: str) -> bool:
    """Whether one more cell of this agent may be remembered."""
    if not unplaced:
        return True
    if len(unplaced) >= MAX_UNPLACED:
        return False
    names = text_bytes(agent) + sum([text_bytes(one[1]) for one in unplaced])
    return names + CELL_BYTES * (len(unplaced) + 2) <= MAX_UNPLACED_BYTES


# What is kept


def question_bytes(asked: OpenQuestion) -> int:
    """What an open question takes, with what may come to it: that it has expired, or was asked again."""
    again = 0 if asked.key is None else 56
    return len(_encode(asked)) + again + (16 if asked.expires_at is None else 32)


def pending_bytes(one: Pending) -> int:
    """What a message or an answer takes that waits for its agent, with what may come to it."""
    return len(_encode(one)) + 20


def closed_bytes(closed: ClosedQuestion) -> int:
    """The same of the question that is answered by it."""
    return len(_encode(closed)) + 32


def _asked_bytes(row: RunRow) -> int:
    return memoryview(row.metadata).nbytes + sum(map(question_bytes, row.questions))


def kept_bytes(row: RunRow) -> int:
    """What a row has of what must not be forgotten, with what may come to each of it."""
    size = _asked_bytes(row)
    if not row.pending:
        return size
    waiting = _answered(row)
    size += sum([pending_bytes(one) for one in row.pending if one.type in WITH_CONTENT])
    return size + sum([closed_bytes(one) for one in row.closed_questions if one.question_id in waiting])


def has_room(row: RunRow, more_bytes: int) -> bool:
    """Whether so much more may be kept; what takes no more than before always has room."""
    return more_bytes <= 0 or kept_bytes(row) + more_bytes <= KEPT_BYTES


def has_room_to_ask(row: RunRow, more_bytes: int) -> bool:
    """The same of a question, or of metadata: these leave room for messages, and for an answer."""
    return has_room(row, more_bytes) and (more_bytes <= 0 or _asked_bytes(row) + more_bytes <= ASKED_BYTES)


def metadata_fits(row: RunRow, metadata: msgspec.Raw) -> bool:
    """Whether the row has room for this in place of its metadata."""
    size = memoryview(metadata).nbytes
    return size <= MAX_METADATA_BYTES and has_room_to_ask(row, size - memoryview(row.metadata).nbytes)


def _answered(row: RunRow) -> set[int | None]:
    """The questions whose answers wait for their agent."""
    return {one.question_id for one in row.pending if not one.expired and one.question_id is not None}


# What gives way


def fitted(row: RunRow) -> RunRow:
    """The row as it is, or, where it is too long, without what may be forgotten. One of FITTED_BYTES or less is not."""
    excess = _excess(row)
    for give_way in GIVING_WAY:
        if excess <= 0:
            break
        row = give_way(row, excess)
        excess = _excess(row)
    return row


def _excess(row: RunRow) -> int:
    return len(_encode(_replace(row, open_tools=(), clients={}, unplaced=()))) - FITTED_BYTES


def _of(name: str, *, newest: bool = False) -> Callable[[RunRow, int], RunRow]:
    """Forgets the oldest of a list, or the newest."""

    def give_way(row: RunRow, excess: int) -> RunRow:
        items: tuple[Any, ...] = getattr(row, name)
        left = _without_first(items[::-1], excess)[::-1] if newest else _without_first(items, excess)
        return _replace(row, **{name: left})

    return give_way


def _without_first(items: tuple[T, ...], excess: int) -> tuple[T, ...]:
    """Without as many of the first ones as have so many bytes."""
    for index, one in enumerate(items):
        if excess <= 0:
            return items[index:]
        excess -= len(_encode(one)) + 1
    return ()


def _closed_questions(row: RunRow, excess: int) -> RunRow:
    """Those whose answers wait stay: without them the answer would be none to what is asked again."""
    waiting, gone = _answered(row), set[int]()
    for one in row.closed_questions:
        if excess > 0 and one.question_id not in waiting:
            gone.add(one.question_id)
            excess -= len(_encode(one)) + 1
    return _replace(row, closed_questions=tuple([one for one in row.closed_questions if one.question_id not in gone]))


def _calls(row: RunRow, excess: int) -> RunRow:
    return _replace(row, calls=row.calls.shorter(excess))


def _points(row: RunRow, excess: int) -> RunRow:
    """Running totals of agents whose shares are packed."""
    dormant = row.dormant
    while dormant is not None and excess > 0:
        fewer = dormant.with_fewer_points()
        if fewer is None:
            break
        excess -= dormant.size() - fewer.size()
        dormant = fewer
    return _replace(row, dormant=dormant)


def _dormant(row: RunRow, excess: int) -> RunRow:
    """Agents whose shares are packed, those that wait for an approval at the end."""
    spending = row.spending()
    while excess > 0 and spending.dormant is not None and spending.dormant.shares:
        before = _spending_bytes(spending)
        spending = spending.without(spending.dormant.oldest())
        excess -= before - _spending_bytes(spending)
    return _with_spending(row, spending)


FLAG_BYTES = 32
"""For the word that some have no digest."""


def _digests(row: RunRow, excess: int) -> RunRow:
    """What those that are forgotten are known by."""
    dormant = row.dormant
    if dormant is None:
        return row
    left = (len(dormant.forgotten) - excess - FLAG_BYTES) // DIGEST_CHARS
    spending = row.spending().with_digests(left) if left > 0 else row.spending().without_digests()
    return _with_spending(row, spending)


def _spending_bytes(spending: Spending) -> int:
    return len(_encode((spending.dormant, spending.retired)))


def _with_spending(row: RunRow, spending: Spending) -> RunRow:
    return _replace(
        row, shares=spending.shares, retired=spending.retired, dormant=spending.dormant, usage_flags=spending.flags
    )


def _shares(row: RunRow, excess: int) -> RunRow:
    """All but the agent that told last. Those that wait for an approval are the last to go."""
    spending = row.spending()
    names = sorted(list(spending.shares)[:-1], key=lambda name: spending.shares[name].awaited_step >= 0)
    for index, name in enumerate(names):
        excess -= len(_encode({name: spending.shares[name]}))
        spending = spending.without(name)
        if excess <= 0 or index == len(names) - 1:
            row = _with_spending(row, spending)
            excess = _excess(row)  # what is added to has grown
            if excess <= 0:
                break
    return row


GIVING_WAY = (
    _of("told_totals"),
    _of("assumed_cells", newest=True),
    _of("computed_cells"),
    _closed_questions,
    _calls,
    _points,
    _dormant,
    _shares,
    _digests,
)
"""In this order: first what only says where a sum is counted, then what later figures are compared with."""
