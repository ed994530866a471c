"""The fold of a run's questions: which are open, and what became of those that are not.

A question is closed by the answer of a person, by its agent's own word that somebody has answered it elsewhere, by its
withdrawal, or by the end of the run. Losing its worker does not close it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event, EventType
from towerlog.model.facts import Effects
from towerlog.model.run import (
    MAX_CLOSED_QUESTIONS,
    MAX_QUESTION_CHARS,
    MAX_QUESTIONS,
    ClosedQuestion,
    OpenQuestion,
    Pending,
    RunRow,
)


class _AnswerData(msgspec.Struct, frozen=True):
    """Who answered: a user id in our own events, a name in an agent's."""

    by: msgspec.Raw = msgspec.Raw(b"")
    responded_by: msgspec.Raw = msgspec.Raw(b"")


_decode_answer = msgspec.json.Decoder(_AnswerData).decode
_replace = msgspec.structs.replace
_decode_text = msgspec.json.Decoder(str).decode
MAX_NAME_CHARS = 200


def fold(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """What an event of `QUESTION_TYPES` changes. Comes after the fold of commands, whose `pending` it may shorten."""
    match event.type:
        case EventType.RUN_WAITING:
            _ask(row, event, changes)
        case EventType.RUN_INPUT:
            _answer(row, event, changes)
        case EventType.RUN_QUESTION_WITHDRAWN:
            _withdraw(row, event, changes)
        case _:
            raise ValueError(f"{event.type} is not about questions")


def asked_before(row: RunRow, key: str | None) -> int | None:
    """The id of the question that a key stands for: one that is open, or whose answer the agent has not taken yet.

    An attempt that begins anew asks again what the lost one had asked: that is the same question, and whoever has
    answered it meanwhile must not be asked twice.
    """
    if key is None:
        return None
    taken = [one.question_id for one in row.pending if one.question_key == key]
    return next((one.question_id for one in row.questions if one.key == key), taken[0] if taken else None)


def has_room(row: RunRow, key: str | None) -> bool:
    """Whether a question of this key can be asked: the attempt has fewer than MAX_QUESTIONS open, or has this one.

    What earlier attempts have left open takes no room from it: nobody waits for those answers.
    """
    if len(row.questions) < MAX_QUESTIONS or asked_before(row, key) is not None:
        return True
    return sum(one.epoch == row.lease_epoch for one in row.questions) < MAX_QUESTIONS


def _ask(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    key, epoch, text = event.effects.question_key, row.lease_epoch, event.facts.question
    changes["asking_epoch"] = epoch
    known = asked_before(row, key)
    if known is None:
        asked = OpenQuestion(event.seq, event.recorded_at, text, key, epoch)
        questions = (*_with_room(row.questions, epoch), asked)
    else:
        # Who answers has to read what is asked now, in whichever words.
        questions = tuple(
            _replace(one, epoch=epoch, text=text or one.text) if one.question_id == known else one
            for one in row.questions
        )
    changes["questions"] = _shortened(questions)


def _with_room(questions: tuple[OpenQuestion, ...], epoch: int) -> tuple[OpenQuestion, ...]:
    """Room for one more: without the oldest that only an earlier attempt has asked, if there are MAX_QUESTIONS."""
    if len(questions) < MAX_QUESTIONS:
        return questions
    left = next((index for index, one in enumerate(questions) if one.epoch != epoch), 0)
    return questions[:left] + questions[left + 1 :]


def _shortened(questions: tuple[OpenQuestion, ...]) -> tuple[OpenQuestion, ...]:
    """All of them, with at most MAX_QUESTION_CHARS characters of text together: the longest lose their ends."""
    lengths = sorted(len(one.text or "") for one in questions)
    room = share = MAX_QUESTION_CHARS
    if sum(lengths) <= room:
        return questions
    for index, length in enumerate(lengths):
        share = room // (len(lengths) - index)
        if length > share:
            break
        room -= length
    return tuple(
        _replace(one, text=one.text[: share - 1] + "…") if one.text and len(one.text) > share else one
        for one in questions
    )


def _answer(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """A person's answer names its question. An agent's own word closes one only if it acknowledges no command."""
    effects = event.effects
    if effects.requests is None and (effects.command_id is not None or "pending" in changes):
        return
    found = _named(row, effects.question_id, None)
    if found is not None:
        _close(row, changes, ClosedQuestion(found.question_id, event.recorded_at, _answered_by(event)))
    elif effects.requests is None and effects.acknowledges is not None:
        # Agents of dialects without acknowledgements say "input" for whatever they were told.
        changes["pending"] = _without_first(row.pending, "message")


def _withdraw(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """An answer that is on its way to the agent is for nobody now: it must not be kept for another question."""
    effects = event.effects
    found = _named(row, effects.question_id, effects.question_key)
    untaken = answers_withdrawn(row, effects)
    changes["pending"] = tuple(one for one in changes.get("pending", row.pending) if one not in untaken)
    if found is not None:
        _close(row, changes, ClosedQuestion(found.question_id, event.recorded_at, withdrawn=True))
    elif untaken:
        # Who comes second must not be told that the first answer counts.
        gone = {one.question_id for one in untaken}
        changes["closed_questions"] = tuple(
            _replace(one, withdrawn=True) if one.question_id in gone else one for one in row.closed_questions
        )


def answers_withdrawn(row: RunRow, effects: Effects) -> tuple[Pending, ...]:
    """The answers that wait for the agent and that a withdrawal makes nobody's."""
    found = _named(row, effects.question_id, effects.question_key)
    question_id = effects.question_id if found is None else found.question_id
    key = effects.question_key
    return tuple(
        one
        for one in row.pending
        if one.type == "input" and (one.question_id == question_id or (key is not None and one.question_key == key))
    )


def _named(row: RunRow, question_id: int | None, key: str | None) -> OpenQuestion | None:
    """The open question of this id or key; the oldest that is waited for where neither is given."""
    if question_id is not None:
        return row.question(question_id)
    if key is not None:
        return next((one for one in row.questions if one.key == key), None)
    return row.awaited()


def _close(row: RunRow, changes: dict[str, Any], closed: ClosedQuestion) -> None:
    changes["questions"] = tuple(one for one in row.questions if one.question_id != closed.question_id)
    changes["closed_questions"] = (*row.closed_questions, closed)[-MAX_CLOSED_QUESTIONS:]


def _answered_by(event: Event) -> str | None:
    sent = _decode_answer(event.data)
    for raw in (bytes(sent.by), bytes(sent.responded_by)):
        if raw[:1] == b'"':
            return _decode_text(raw)[:MAX_NAME_CHARS] or None
    return None


def _without_first(pending: tuple[Pending, ...], kind: str) -> tuple[Pending, ...]:
    for index, command in enumerate(pending):
        if command.type == kind:
            return pending[:index] + pending[index + 1 :]
    return pending
