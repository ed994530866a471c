"""The inbox: each command acts once, is acknowledged when it has acted, and wakes who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from towerlog.sdk.record.commands import Inbox, QuestionRefused, RunCancelled, refusal_of, settlement_of, storage_of
from towerlog.sdk.record.values.held_answers import MAX_HELD, MAX_HELD_BYTES, MAX_KEPT


@pytest.fixture
def acknowledged() -> list[object]:
    return []


@pytest.fixture
def inbox(acknowledged: list[object]) -> Inbox:
    def acknowledge(command: Mapping[str, Any]) -> None:
        number = command["command_id"]
        acknowledged.append(f"{number} not taken" if command.get("taken") is False else number)

    return Inbox(acknowledge)


def wish(number: int, kind: str, **more: object) -> dict[str, object]:
    return {"command_id": number, "type": kind, **more}


def answer(number: int, key: str) -> dict[str, object]:
    return wish(number, "input", content="yes", question_key=key)


def line_of(key: str) -> bytes:
    return b'{"type":"run.waiting_for_input","data":{"question":"Really?","question_key":"%s"}}' % key.encode()


def asked(inbox: Inbox, key: str) -> Future[Any]:
    """The answer to a question that the server has."""
    future = inbox.answer(key)
    stored(inbox, key)
    return future


def stored(inbox: Inbox, key: str) -> None:
    """The beginning of the reply to a question."""
    word = storage_of(line_of(key))
    assert word is not None
    inbox.take(word)


def replied(inbox: Inbox, key: str, seq: object) -> None:
    """The end of the reply to a question: it is in the log with this seq."""
    word = settlement_of(line_of(key), seq)
    assert word is not None
    inbox.take(word)


def test_an_answer_goes_to_its_question(inbox: Inbox, acknowledged: list[object]) -> None:
    first, second = asked(inbox, "a"), asked(inbox, "b")
    inbox.take(answer(1, "b"))
    assert (first.done(), second.result(0), acknowledged) == (False, "yes", [1])


def test_an_answer_that_came_before_its_question_is_taken_from_the_reply_to_that(
    inbox: Inbox, acknowledged: list[object]
) -> None:
    """With the claim, say: the server may have withdrawn it since."""
    inbox.take(answer(1, "b"))
    waits = inbox.answer("b")
    inbox.take(answer(1, "b"))
    assert (waits.done(), acknowledged) == (False, []), "a reply that was under way when it was asked"
    stored(inbox, "b")
    inbox.take(answer(1, "b"))
    assert (waits.result(0), acknowledged) == ("yes", [1])


@pytest.mark.parametrize("seq", [5, None, "5"], ids=["seq", "none", "text"])
def test_an_answer_that_the_reply_to_its_question_does_not_have_was_withdrawn(
    inbox: Inbox, acknowledged: list[object], seq: object
) -> None:
    waits = asked(inbox, "a")
    replied(inbox, "a", seq)
    if seq == 5:
        inbox.take(answer(4, "a"))
    assert (waits.done(), acknowledged) == (False, [])
    inbox.take(answer(6, "a"))
    assert (waits.result(0), acknowledged) == ("yes", [6])


def test_whoever_asked_what_was_refused_is_told(inbox: Inbox, acknowledged: list[object]) -> None:
    refused = refusal_of(line_of("a"), "too many")
    assert refused is not None
    future = inbox.answer("a")
    inbox.take(refused)
    with pytest.raises(QuestionRefused, match="too many"):
        future.result(0)
    assert acknowledged == []
    assert refusal_of(b'{"type":"step","data":{"name":"run.waiting_for_input"}}', "no") is None


def test_a_repeated_command_acts_once(inbox: Inbox, acknowledged: list[object]) -> None:
    future = asked(inbox, "a")
    for _ in range(3):
        inbox.take(answer(1, "a"))
    assert future.result(0) == "yes"
    again = asked(inbox, "a")
    inbox.take(answer(1, "a"))
    assert not again.done()
    assert acknowledged == [1]


def test_a_cancel_wakes_all_that_wait_and_calls_back_once(inbox: Inbox, acknowledged: list[object]) -> None:
    calls: list[str] = []
    inbox.on_cancel(lambda: calls.append("before"))
    waits = [inbox.answer("a"), inbox.answer("b")]
    inbox.take(wish(1, "cancel"))
    inbox.take(wish(1, "cancel"))
    inbox.on_cancel(lambda: calls.append("after"))
    for wait in (*waits, inbox.answer("c")):
        assert isinstance(wait.exception(0), RunCancelled)
    assert (calls, acknowledged, inbox.cancelled) == (["before", "after"], [1], True)
    with pytest.raises(RunCancelled):
        inbox.check()


def checked(inbox: Inbox) -> None:
    with pytest.raises(RunCancelled):
        inbox.check()


NOTICING: list[Callable[[Inbox], object]] = [
    lambda inbox: inbox.notices_cancel(),
    checked,
    lambda inbox: inbox.on_cancel(lambda: None),
    lambda inbox: inbox.answer("a"),
]


@pytest.mark.parametrize("notice", NOTICING, ids=["flag", "check", "callback", "question"])
def test_a_cancel_is_acknowledged_when_the_program_learns_of_it(
    inbox: Inbox, acknowledged: list[object], notice: Callable[[Inbox], object]
) -> None:
    for _ in range(2):
        inbox.take(wish(1, "cancel"))
        assert acknowledged == []
    for _ in range(2):
        notice(inbox)
        assert acknowledged == [1]


@pytest.mark.parametrize(("sent", "words"), [({"content": "too dear"}, "too dear"), ({}, "cancelled")])
def test_who_is_cancelled_learns_why(inbox: Inbox, sent: dict[str, str], words: str) -> None:
    waiting = inbox.answer("q")
    inbox.take({"command_id": 1, "type": "cancel", **sent})
    with pytest.raises(RunCancelled, match=f"^{words}$"):
        waiting.result(0)
    with pytest.raises(RunCancelled, match=f"^{words}$"):
        inbox.check()


def test_a_pause_begins_where_the_run_looks_and_ends_with_a_resume(inbox: Inbox, acknowledged: list[object]) -> None:
    assert inbox.pause() is None
    inbox.take(wish(1, "pause"))
    assert (inbox.pausing, acknowledged) == (True, [])
    paused = inbox.pause()
    assert paused is not None
    assert (paused.done(), acknowledged) == (False, [1])
    inbox.take(wish(2, "resume"))
    assert (paused.done(), acknowledged) == (True, [1, 2])


def test_a_pause_that_was_taken_back_never_begins(inbox: Inbox, acknowledged: list[object]) -> None:
    inbox.take(wish(1, "pause"))
    inbox.take(wish(2, "resume"))
    assert inbox.pause() is None
    assert acknowledged == [1, 2]


def test_who_gave_up_gets_no_answer_and_nobody_else_does(inbox: Inbox, acknowledged: list[object]) -> None:
    gone, waits = inbox.answer("a"), asked(inbox, "b")
    assert inbox.give_up("a")
    inbox.take(answer(1, "a"))
    assert (gone.done(), waits.done(), acknowledged) == (False, False, ["1 not taken"])
    inbox.take(answer(2, "b"))
    assert not inbox.give_up("b"), "its answer is there"


def test_whoever_has_withdrawn_is_told_by_the_reply_what_was_first(inbox: Inbox, acknowledged: list[object]) -> None:
    first, second = asked(inbox, "a"), asked(inbox, "b")
    inbox.take(answer(1, "a"))
    for key in ("a", "b"):
        line = b'{"type":"run.question_withdrawn","data":{"question_key":"%s"}}' % key.encode()
        settled = settlement_of(line, 7)
        assert settled is not None
        inbox.take(settled)
    assert first.result(0) == "yes"
    with pytest.raises(TimeoutError, match="no answer in time"):
        second.result(0)
    assert acknowledged == [1]
    assert settlement_of(b'{"type":"step","data":{"name":"run.question_withdrawn"}}', 7) is None


def test_an_answer_without_a_key_reaches_nobody(inbox: Inbox) -> None:
    """It answers a question that the agent has told by hand."""
    waits = asked(inbox, "a")
    inbox.take(wish(1, "input", content="yes"))
    assert not waits.done()


def test_an_unknown_command_is_left_alone(inbox: Inbox, acknowledged: list[object]) -> None:
    inbox.take(wish(1, "dance"))
    assert acknowledged == []


def test_a_resume_ends_the_pause_of_each_branch_that_was_told_to_pause() -> None:
    told: list[object] = []
    inbox = Inbox(lambda command: told.append(command["command_id"]))
    paused = []
    for number in (1, 2):  # the second is told since another branch worked on
        inbox.take({"type": "pause", "command_id": number})
        paused.append(inbox.pause())
    assert not any(one is None or one.done() for one in paused)
    inbox.take({"type": "resume", "command_id": 3})
    assert all(one is not None and one.done() for one in paused)
    assert told == [1, 2, 3]


def held(inbox: Inbox, key: str) -> Future[Any]:
    """As `asked`, of an answer that is acknowledged once it is used."""
    future = inbox.answer(key, holds=True)
    stored(inbox, key)
    return future


def test_a_held_answer_is_acknowledged_once_it_is_used(inbox: Inbox, acknowledged: list[object]) -> None:
    future = held(inbox, "a")
    inbox.take(answer(1, "a"))
    assert (future.result(0), acknowledged) == ("yes", [])
    assert held(inbox, "a").result(0) == "yes", "whoever asks the same gets it again"
    inbox.settle_answer("a", taken=True)
    inbox.settle_answer("a", taken=True)
    assert acknowledged == [1]
    assert not held(inbox, "a").done()


def test_a_held_answer_that_nobody_uses_is_told_as_not_taken(inbox: Inbox, acknowledged: list[object]) -> None:
    held(inbox, "a")
    inbox.take(answer(1, "a"))
    inbox.settle_answer("a", taken=False)
    assert acknowledged == ["1 not taken"]


def ask_held(inbox: Inbox, count: int) -> None:
    for number in range(1, count + 1):
        held(inbox, str(number))


def test_there_is_no_more_room_once_a_server_keeps_no_more_and_nothing_is_acknowledged(
    inbox: Inbox, acknowledged: list[object]
) -> None:
    """A process that ends before it has gone on has lost nothing, however many there are."""
    ask_held(inbox, 2 * MAX_KEPT)
    full = inbox.full()
    for number in range(1, MAX_KEPT + 1):
        assert not full.done()
        inbox.take(answer(number, str(number)))
    assert (full.done(), inbox.full().done(), acknowledged) == (True, True, [])
    inbox.settle_answer("1", taken=True)
    assert (inbox.full().done(), acknowledged) == (False, [1])


def test_long_answers_take_the_room_of_many(inbox: Inbox) -> None:
    """A server refuses more than 64 KiB, so that nobody could answer the rest."""
    ask_held(inbox, 3)
    for number in (1, 2):
        assert not inbox.full().done()
        inbox.take(wish(number, "input", content="x" * (MAX_HELD_BYTES * 2 // 3), question_key=str(number)))
    assert inbox.full().done()
    inbox.let_oldest_go()
    assert [inbox.was_let_go(str(number)) for number in (1, 2)] == [True, False]


def test_the_oldest_are_let_go_where_the_asker_says_so(inbox: Inbox, acknowledged: list[object]) -> None:
    ask_held(inbox, MAX_KEPT)
    for number in range(1, MAX_KEPT + 1):
        inbox.take(answer(number, str(number)))
    inbox.let_oldest_go()
    assert acknowledged == [*range(1, MAX_KEPT - MAX_HELD + 1)]
    assert not inbox.full().done()


@pytest.mark.parametrize("taken", [True, False])
def test_answers_to_what_an_attempt_before_has_asked_are_settled(
    inbox: Inbox, acknowledged: list[object], taken: bool
) -> None:
    """They come with the first reply, and again; what this attempt asks as well is its own."""
    for _ in range(2):
        for number, key in enumerate(("before", "again"), 1):
            inbox.take(answer(number, key))
    assert acknowledged == [], "nobody knows yet"
    held(inbox, "again")
    inbox.settle_left(taken=taken)
    late = answer(3, "late")
    inbox.take(late)
    inbox.take(late)
    assert acknowledged == ([1, 3] if taken else ["1 not taken", "3 not taken"])
