"""Answers that earlier attempts have left give way to what the last one asks, and to nothing else."""

from __future__ import annotations

import msgspec

from tests.support.factories import run_row
from towerlog.model.approval import ClosedQuestion
from towerlog.model.left_answers import left_answers, newest_left, with_room, without_left
from towerlog.model.pending import MAX_ANSWERS, Pending
from towerlog.model.row_bounds import KEPT_BYTES, kept_bytes
from towerlog.model.run import RunRow

KEY = "k" * 128


def row_with(left: int, own: int = 2, *, metadata: int = 2) -> RunRow:
    """In the second attempt: answers that the first has left, and some to what this one asks."""
    epochs = [1] * left + [2] * own
    return run_row(
        lease_epoch=2,
        metadata=msgspec.Raw(b'{"m":"%s"}' % (b"m" * metadata)),
        pending=(
            Pending(999, "message", "m"),
            *(Pending(1000 + n, "input", "a", question_id=n, question_key=KEY) for n in range(len(epochs))),
        ),
        closed_questions=tuple(ClosedQuestion(n, 1, KEY, "me", epoch=epoch) for n, epoch in enumerate(epochs)),
    )


def test_what_an_earlier_attempt_has_left_is_known() -> None:
    row = row_with(3)
    assert [one.question_id for one in left_answers(row)] == [0, 1, 2]
    assert [one.command_id for one in without_left(row).pending] == [999, 1003, 1004]


def test_the_oldest_of_them_go_where_the_row_is_short_of_room() -> None:
    row = row_with(MAX_ANSWERS, metadata=16_000)
    excess = kept_bytes(row) - KEPT_BYTES
    assert excess > 0
    found = with_room(row)
    assert KEPT_BYTES - 1000 < kept_bytes(found) <= KEPT_BYTES
    gone = len(row.pending) - len(found.pending)
    assert [one.question_id for one in left_answers(found)] == list(range(gone, MAX_ANSWERS))
    assert found.pending[0].type == "message"
    assert [one.command_id for one in found.pending[-2:]] == [1032, 1033], "what this attempt asks stays answered"
    assert [one.withdrawn for one in found.closed_questions] == [True] * gone + [False] * (MAX_ANSWERS + 2 - gone)


def test_they_stay_where_there_is_room() -> None:
    row = row_with(5)
    assert with_room(row) is row
    assert newest_left(row) is row
