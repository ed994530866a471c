"""Room in the row of a run for what people write to it, beside the bounds in number."""

from __future__ import annotations

import pytest

from tests.model.test_left_answers import row_with
from towerlog.engine.control.room import check_room
from towerlog.errors import Conflict
from towerlog.model.approval import OpenQuestion
from towerlog.model.pending import MAX_ANSWERS

LEFT = OpenQuestion(50, 1, "left?", epoch=1)
AWAITED = OpenQuestion(51, 1, "now?", epoch=2)


@pytest.mark.parametrize("question", [None, LEFT])
def test_what_has_no_room_in_the_row_is_refused_in_words(question: OpenQuestion | None) -> None:
    check_room(row_with(MAX_ANSWERS - 1), "x", question)
    with pytest.raises(Conflict, match=r"no room for this; it takes no more until its agent has taken some of it"):
        check_room(row_with(MAX_ANSWERS - 1, metadata=16_000), "x", question)


def test_answers_that_earlier_attempts_have_left_take_no_room_from_one_to_what_is_asked() -> None:
    check_room(row_with(MAX_ANSWERS, metadata=16_000), "x", AWAITED)
    with pytest.raises(Conflict, match="no room for this"):
        check_room(row_with(0, own=MAX_ANSWERS - 1, metadata=16_000), "x", AWAITED)
