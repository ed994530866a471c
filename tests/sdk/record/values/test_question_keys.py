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
    resumed.resumed({"step_index": 1})
    assert (resumed.key_of("Go on?"), anew.key_of("Go on?")) == (after, before)
    assert before != after


def test_an_attempt_that_begins_anew_counts_its_own_checkpoints() -> None:
    lost, anew = QuestionKeys(), QuestionKeys()
    keys = []
    for attempt in (lost, anew):
        attempt.checkpoint(None)
        attempt.checkpoint(None)
        keys.append(attempt.key_of("Go on?"))
    resumed = QuestionKeys()
    resumed.resumed({"step_index": 2})
    keys.append(resumed.key_of("Go on?"))
    assert len(set(keys)) == 1
    resumed.checkpoint(None)
    lost.checkpoint(None)
    assert resumed.key_of("Go on?") == lost.key_of("Go on?")


def test_the_checkpoint_that_an_attempt_goes_on_from_is_known_until_it_makes_one() -> None:
    keys, history = QuestionKeys(), [{"role": "user", "content": "go"}]
    assert not keys.goes_on_from(history, None)
    resumed: list[object] = [*history]
    keys.resumed({"step_index": 1, "history": resumed})
    resumed.append({"role": "tool"})
    assert not keys.goes_on_from(resumed, None), "the agent goes on in the list that it was given"
    assert keys.goes_on_from(history, None)
    assert not keys.goes_on_from(history, {"n": 1})
    assert not keys.goes_on_from([*history, {}], None)
    keys.checkpoint(None)
    assert not keys.goes_on_from(history, None)


def test_no_key_comes_twice_although_a_step_does() -> None:
    keys = QuestionKeys()
    found = []
    for step in (1, 2, 1):
        keys.checkpoint(step)
        found.append(keys.key_of("Go on?"))
    keys.resumed({"step_index": 1})
    found.append(keys.key_of("Go on?"))
    assert len(set(found)) == 4


def test_a_key_is_visible_ascii() -> None:
    key = QuestionKeys().key_of("Löschen?\n\ud800" * 1000)
    assert key.isascii()
    assert key.isprintable()
    assert len(key) < 128
