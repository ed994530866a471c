"""Keys of questions: the same for the same place of a later attempt, and never the same twice in one."""

from __future__ import annotations

from towerlog.sdk.record.values.question_keys import QuestionKeys


def test_the_next_attempt_calls_the_same_question_the_same() -> None:
    first, second = QuestionKeys(), QuestionKeys()
    asked = ["Publish?", "Publish?", "Delete?"]
    keys = [first.key_of(text) for text in asked]
    assert keys == [second.key_of(text) for text in asked]
    assert len(set(keys)) == 3


def test_questions_asked_at_once_may_come_in_another_order() -> None:
    first, second = QuestionKeys(), QuestionKeys()
    assert {first.key_of("a?"), first.key_of("b?")} == {second.key_of("b?"), second.key_of("a?")}


def test_an_attempt_that_goes_on_from_a_checkpoint_calls_what_follows_it_the_same() -> None:
    lost, resumed, anew = QuestionKeys(), QuestionKeys(), QuestionKeys()
    before = lost.key_of("Go on?")
    lost.checkpoint(1)
    after = lost.key_of("Go on?")
    resumed.resumed(1)
    assert (resumed.key_of("Go on?"), anew.key_of("Go on?")) == (after, before)
    assert before != after


def test_no_key_comes_twice_although_a_step_does() -> None:
    keys = QuestionKeys()
    found = []
    for step in (1, 2, 1):
        keys.checkpoint(step)
        found.append(keys.key_of("Go on?"))
    keys.resumed(1)
    found.append(keys.key_of("Go on?"))
    assert len(set(found)) == 4


def test_a_key_is_visible_ascii() -> None:
    key = QuestionKeys().key_of("Löschen?\n\ud800" * 1000)
    assert key.isascii()
    assert key.isprintable()
    assert len(key) < 128
