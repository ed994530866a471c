"""The fold of a run's questions: which are open, how each is closed, and what that does to the status."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import event, facts_of, run_row
from tests.support.fakes import START_MS
from towerlog.model.event import EventType as E
from towerlog.model.facts import LaneFacts
from towerlog.model.run import (
    MAX_CLOSED_QUESTIONS,
    MAX_COMMAND_IDS,
    MAX_QUESTION_CHARS,
    MAX_QUESTIONS,
    ClosedQuestion,
    RunRow,
    Status,
)
from towerlog.projections import runs as run_fold
from towerlog.projections.commands import may_have_made
from towerlog.projections.questions import asked_before, has_room, may_have_asked


def told(row: RunRow, kind: E, data: bytes = b"{}", **facts: Any) -> RunRow:
    """The row after one more event."""
    seq = row.last_seq + 1
    return run_fold.fold(row, event(seq, seq, type=kind, data=data, facts=facts_of(**facts)), "a")


def asked(row: RunRow, text: str, key: str | None = None) -> RunRow:
    return told(row, E.RUN_WAITING, question=text, question_key=key)


def answered(row: RunRow, question_id: int, content: str = "yes") -> RunRow:
    data = b'{"content":"%s","by":"me"}' % content.encode()
    return told(row, E.RUN_INPUT, data, requests="input", question_id=question_id)


def open_ids(row: RunRow) -> list[int]:
    return [one.question_id for one in row.questions]


def test_a_run_waits_until_its_last_question_is_closed() -> None:
    row = asked(asked(run_row(), "one?"), "two?")
    assert (open_ids(row), row.status) == ([1, 2], Status.WAITING)
    row = answered(row, 2)
    assert (open_ids(row), row.status) == ([1], Status.WAITING)
    assert row.closed_questions == (ClosedQuestion(2, START_MS + 3, by="me", closed_seq=3),)
    row = answered(row, 1)
    assert (open_ids(row), row.status) == ([], Status.RUNNING)
    assert [(one.type, one.question_id) for one in row.pending] == [("input", 2), ("input", 1)]


@pytest.mark.parametrize("kind", [E.RUN_STARTED, E.RUN_RESUMED])
def test_a_run_with_an_open_question_does_not_run(kind: E) -> None:
    assert told(asked(run_row(), "one?"), kind).status is Status.WAITING


def test_a_checkpoint_does_not_close_a_question() -> None:
    row = told(asked(run_row(), "one?"), E.CHECKPOINT, status=Status.RUNNING)
    assert (open_ids(row), row.status) == ([1], Status.WAITING)


def test_an_answer_to_a_paused_run_leaves_it_paused() -> None:
    row = answered(told(asked(run_row(), "one?"), E.RUN_PAUSED), 1)
    assert (open_ids(row), row.status) == ([], Status.PAUSED)
    assert told(row, E.RUN_RESUMED).status is Status.RUNNING


def test_a_pause_and_its_end_keep_the_question() -> None:
    row = told(told(asked(run_row(), "one?"), E.RUN_PAUSED), E.RUN_RESUMED)
    assert (open_ids(row), row.status) == ([1], Status.WAITING)


def test_a_question_outlives_its_worker_and_the_next_one_finds_it() -> None:
    row = told(asked(run_row(lease_epoch=1), "one?"), E.LANE_LOST)
    assert (open_ids(row), row.status) == ([1], Status.QUEUED)
    row = told(row, E.RUN_STARTED, claims=True)
    assert (open_ids(row), row.status) == ([1], Status.WAITING)


def test_a_question_that_is_asked_again_is_the_same_one() -> None:
    row = asked(asked(run_row(), "one?", "k"), "one?", "k")
    assert open_ids(row) == [1]
    row = answered(row, 1)
    assert asked_before(row, "k") == 1
    row = asked(row, "one?", "k")
    assert (open_ids(row), row.status) == ([], Status.RUNNING), "its answer is on the way"
    row = told(row, E.COMMAND_ACKNOWLEDGED, command_id=row.pending[0].command_id)
    assert asked_before(row, "k") is None
    assert open_ids(asked(row, "one?", "k")) == [row.last_seq + 1], "what was taken is over: this is another question"


def test_only_an_open_question_is_withdrawn_and_an_answer_stays() -> None:
    row = answered(asked(asked(run_row(), "one?", "k"), "two?", "l"), 1)
    row = told(row, E.RUN_QUESTION_WITHDRAWN, question_key="k")
    assert ([one.content for one in row.pending], open_ids(row), row.status) == (["yes"], [2], Status.WAITING)
    first = row.closed_questions[-1]
    assert first == ClosedQuestion(1, START_MS + 3, "k", "me", words=first.words, closed_seq=3)
    row = told(row, E.RUN_QUESTION_WITHDRAWN, question_id=2)
    assert (open_ids(row), row.status) == ([], Status.RUNNING)
    second = row.closed_questions[-1]
    assert second == ClosedQuestion(2, START_MS + 5, "l", withdrawn=True, words=second.words, closed_seq=5)


def test_a_withdrawal_of_nothing_that_is_open_closes_nothing() -> None:
    row = asked(run_row(), "one?")
    for wrong in ({"question_key": "k"}, {"question_id": 7}):
        assert told(row, E.RUN_QUESTION_WITHDRAWN, **wrong).questions == row.questions


def test_an_agents_own_word_closes_the_oldest_question_unless_it_takes_an_answer() -> None:
    row = asked(asked(run_row(), "one?"), "two?")
    row = told(row, E.RUN_INPUT, b'{"responded_by":"Ada"}', acknowledges="input")
    assert (open_ids(row), row.closed_questions[-1].by) == ([2], "Ada")
    row = asked(answered(row, 2), "three?")
    row = told(row, E.RUN_INPUT, acknowledges="input")
    assert (row.pending, len(row.questions)) == ((), 1), "the answer was taken; the third question is still open"
    row = told(row, E.RUN_INPUT, acknowledges="input", question_id=99)
    assert len(row.questions) == 1


def test_without_a_question_an_agents_own_word_takes_a_message() -> None:
    row = told(run_row(), E.RUN_MESSAGE, b'{"content":"hello"}', requests="message")
    assert [(one.type, one.content) for one in row.pending] == [("message", "hello")]
    assert told(row, E.RUN_INPUT, acknowledges="input").pending == ()


def test_an_approval_and_a_question_are_waited_for_both() -> None:
    row = asked(told(run_row(), E.CHECKPOINT, status=Status.WAITING), "one?")
    row = answered(row, 2)
    assert (row.status, row.awaits_approval) == (Status.WAITING, True)
    assert told(row, E.CHECKPOINT, status=Status.RUNNING).status is Status.RUNNING


@pytest.mark.parametrize("kind", [E.RUN_COMPLETED, E.RUN_FAILED, E.RUN_CANCELLED])
def test_an_end_leaves_no_question(kind: E) -> None:
    row = told(asked(told(run_row(), E.CHECKPOINT, status=Status.WAITING), "one?"), kind)
    assert (row.questions, row.awaits_approval) == ((), False)


def test_as_many_questions_as_may_be_open_stay_open() -> None:
    row = run_row()
    for number in range(MAX_QUESTIONS):
        assert has_room(row, None)
        row = asked(row, f"{number}?" * 1000, f"k{number}")
    assert open_ids(row) == list(range(1, MAX_QUESTIONS + 1))
    assert sum(len(one.text or "") for one in row.questions) <= MAX_QUESTION_CHARS
    assert [(one.text or "")[:3] for one in row.questions] == [
        f"{number}?{number}"[:3] for number in range(MAX_QUESTIONS)
    ]
    assert (has_room(row, None), has_room(row, "other"), has_room(row, "k0")) == (False, False, True)


def test_what_only_an_earlier_attempt_has_asked_makes_room() -> None:
    row = run_row(lease_epoch=1)
    for number in range(MAX_QUESTIONS):
        row = asked(row, str(number), f"k{number}")
    row = msgspec.structs.replace(row, lease_epoch=2)
    row = asked(row, "0", "k0")
    assert has_room(row, "new")
    row = asked(row, "new", "new")
    assert open_ids(row) == [1, *range(3, MAX_QUESTIONS + 1), row.last_seq], "2 is the oldest that nobody waits for"


def test_the_answers_of_closed_questions_are_bounded() -> None:
    row = run_row()
    for number in range(MAX_QUESTIONS):
        row = asked(row, str(number))
    for question_id in open_ids(row):
        row = told(row, E.RUN_QUESTION_WITHDRAWN, question_id=question_id)
    assert len(row.closed_questions) == MAX_CLOSED_QUESTIONS


def test_long_questions_are_shortened_and_short_ones_are_not() -> None:
    row = asked(run_row(), "short?")
    for number in range(4):
        row = asked(row, f"{number}" + "q" * 1999)
    texts = [one.text or "" for one in row.questions]
    assert (texts[0], open_ids(row)) == ("short?", [1, 2, 3, 4, 5])
    assert {len(text) for text in texts[1:]} == {(MAX_QUESTION_CHARS - len("short?")) // 4}
    assert all(text.endswith("q…") for text in texts[1:])


def test_what_is_asked_again_is_shown_in_the_words_of_now() -> None:
    row = asked(asked(run_row(), "Delete a?", "k"), "Delete b?", "k")
    assert [(one.question_id, one.text) for one in row.questions] == [(1, "Delete b?")]
    again = [(one.question_id, one.text) for one in asked(row, "", "k").questions]
    assert again == [(1, "Delete b?")], "without words it stays as it was"


def test_it_is_known_which_questions_a_run_never_had() -> None:
    """Open or closed, by id or by key; not once some of them are forgotten."""
    row = asked(asked(run_row(), "one?", "k1"), "two?", "k2")
    row = told(answered(row, 1), E.RUN_QUESTION_WITHDRAWN, question_key="k2")
    row = asked(told(row, E.STEP), "three?", "k3")
    assert [may_have_asked(row, name) for name in (1, 2, 6, "k1", "k2", "k3")] == [True] * 6
    assert [may_have_asked(row, name) for name in (0, 3, 5, 7, "k4")] == [False] * 5
    assert not may_have_asked(None, 1)
    ended = told(row, E.RUN_COMPLETED)
    assert [may_have_asked(ended, name) for name in (6, "k3", 99)] == [True, True, False]
    for _ in range(MAX_CLOSED_QUESTIONS):
        row = told(asked(row, "more?"), E.RUN_QUESTION_WITHDRAWN)
    assert [may_have_asked(row, name) for name in (1, "k1", row.last_seq + 1)] == [True, True, False]


def test_it_is_known_which_commands_a_run_never_had() -> None:
    row = told(told(run_row(), E.STEP), E.RUN_PAUSE_REQUESTED, requests="pause")
    row = told(row, E.COMMAND_ACKNOWLEDGED, command_id=2)
    assert not row.pending
    assert [may_have_made(row, command_id) for command_id in (1, 2, 3, 4)] == [False, True, False, False]
    assert not may_have_made(None, 1)
    assert may_have_made(told(row, E.RUN_COMPLETED), 2)
    row = told(row, E.RUN_MESSAGE, b'{"content":"x"}', requests="message")
    for _ in range(MAX_COMMAND_IDS):
        row = told(
            told(row, E.RUN_PAUSE_REQUESTED, requests="pause"), E.COMMAND_ACKNOWLEDGED, command_id=row.last_seq + 1
        )
    assert len(row.command_ids) == MAX_COMMAND_IDS
    assert [may_have_made(row, command_id) for command_id in (2, 4, row.last_seq, 99_999)] == [True, True, False, False]


def test_metadata_and_questions_share_their_room() -> None:
    """Whichever comes first."""
    large = msgspec.Raw(b'{"m":"%s"}' % (b"m" * 14_000))
    row, number = run_row(), 0
    while has_room(row, f"{number}".rjust(100), "0" * 24):
        row, number = asked(row, f"{number}?", f"{number}".rjust(100)), number + 1
    assert number == MAX_QUESTIONS
    assert told(row, E.RUN_STARTED, metadata=large).metadata is row.metadata
    row, number = told(run_row(), E.RUN_STARTED, metadata=large), 0
    assert row.metadata == large
    while has_room(row, f"{number}".rjust(100), "0" * 24):
        row, number = asked(row, f"{number}?", f"{number}".rjust(100)), number + 1
    assert 20 < number < MAX_QUESTIONS
    assert has_room(row, "0".rjust(100), row.questions[0].words), "one that is open can be asked again"


def test_what_explains_a_run_is_cut_in_its_row() -> None:
    data = msgspec.json.encode({"reason": "ü" * 2000})
    row = told(run_row(), E.RUN_CANCEL_REQUESTED, data, requests="cancel")
    cut = "ü" * 298 + "…"
    assert (row.cancel_reason, [one.content for one in row.pending]) == (cut, [cut])
    row = told(run_row(), E.LANE_REPORT, lane=LaneFacts(phase="\x01" * 200))
    assert row.phase == "\x01" * 99 + "…"
    assert told(run_row(), E.RUN_FAILED, error="\x01" * 500).error == "\x01" * 340 + "…"
