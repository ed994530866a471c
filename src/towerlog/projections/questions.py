"""The fold of a run's questions: which are open, and what became of those that are not.

A question is closed by the answer of a person, by its agent's own word that somebody has answered it elsewhere, by its
withdrawal, by its expiry, or by the end of the run. Losing its worker does not close it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from towerlog.model.approval import NO_TERMS, ClosedQuestion, OnExpiry, OpenQuestion, Terms
from towerlog.model.event import Event, EventType
from towerlog.model.left_answers import left_answers, newest_left, with_room, without_left
from towerlog.model.pending import Pending, text_bytes
from towerlog.model.question_digest import words_of
from towerlog.model.row_bounds import (
    LETTER_BYTES,
    MAX_ANSWERED_BY_BYTES,
    clipped,
    clipped_if_any,
    has_room_to_ask,
    question_bytes,
)
from towerlog.model.run import MAX_CLOSED_QUESTIONS, MAX_QUESTION_BYTES, MAX_QUESTION_CHARS, MAX_QUESTIONS, RunRow


class _AnswerData(msgspec.Struct, frozen=True):
    """Who answered: a user id in our own events, a name in an agent's."""

    by: msgspec.Raw = msgspec.Raw(b"")
    responded_by: msgspec.Raw = msgspec.Raw(b"")


_decode_answer = msgspec.json.Decoder(_AnswerData).decode
_replace = msgspec.structs.replace
_decode_text = msgspec.json.Decoder(str).decode
MAX_NAME_CHARS = 200
LONGEST = 10**13 - 1
"""A number with as many digits as a time or a place in the log may have."""


def fold(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """What an event of `QUESTION_TYPES` changes. Comes after the fold of commands, whose `pending` it may shorten."""
    match event.type:
        case EventType.RUN_WAITING:
            _ask(row, event, changes)
        case EventType.RUN_INPUT:
            _answer(row, event, changes)
        case EventType.RUN_QUESTION_WITHDRAWN:
            _withdraw(row, event, changes)
        case EventType.APPROVAL_EXPIRED:
            _expire(row, event, changes)
        case _:
            raise ValueError(f"{event.type} is not about questions")


def asked_before(row: RunRow, key: str | None, words: str | None = None) -> int | None:
    """The id of the question that a key stands for: one that is open, whose answer the agent has not taken yet, or that
    was withdrawn without an answer while only an attempt before had asked it.

    An attempt that begins anew asks again what the lost one had asked: that is the same question. Whoever has answered
    it meanwhile must not be asked twice, and whoever has a link to it can answer it. `words`: what is asked now; the
    answer to other words is none to it.
    """
    if key is None:
        return None
    known = [one.question_id for one in row.questions if one.key == key]
    taken = [one.question_id for one in row.pending if one.question_key == key and one.question_id is not None]
    known += [one for one in taken if words is None or words == _answered_words(row, one)]
    left = _left_open(row, key, words)
    return known[0] if known else None if left is None else left.question_id


def _left_open(row: RunRow, key: str, words: str | None) -> ClosedQuestion | None:
    """The question of this key and these words that an attempt before has asked, and that was withdrawn unanswered."""
    for one in reversed(row.closed_questions):
        if one.key == key:
            is_left = one.withdrawn and one.by is None and one.epoch < row.lease_epoch
            return one if is_left and words in (None, one.words) else None
    return None


def _answered_words(row: RunRow, question_id: int | None) -> str | None:
    return next((one.words for one in row.closed_questions if one.question_id == question_id), None)


def may_have_asked(row: RunRow | None, name: int | str) -> bool:
    """Whether a run, None for one that begins, has or had a question of this id or key; also where nobody knows."""
    if row is None or (isinstance(name, int) and name > row.last_seq):
        return False
    # Questions that were open at the end are forgotten, and so are old ones that were closed.
    if row.is_terminal() or len(row.closed_questions) >= MAX_CLOSED_QUESTIONS:
        return True
    known = [(one.question_id, one.key) for one in row.questions]
    known += [(one.question_id, one.key) for one in row.closed_questions]
    return any(name in one for one in known)


def has_room(
    row: RunRow, key: str | None, words: str | None = None, text: str | None = None, terms: Terms = NO_TERMS
) -> bool:
    """Whether a question of this key can be asked: the attempt has fewer than MAX_QUESTIONS open, or has this one, and
    the row has room for its words and terms.

    What earlier attempts have left open takes no room from it: nobody waits for those answers.
    """
    known = asked_before(row, key, words)
    is_there = known is not None and _is_there(row, known)
    if is_there and all(one.question_id != known for one in row.questions):
        return True  # its answer lies ready
    epoch, is_few = row.lease_epoch, is_there or len(row.questions) < MAX_QUESTIONS
    if not is_few and sum(one.epoch == epoch for one in row.questions) >= MAX_QUESTIONS:
        return False
    others = tuple(one for one in row.questions if one.question_id != known)
    asked = OpenQuestion(
        LONGEST, LONGEST, text, key, epoch, LONGEST, words=words or "", terms=terms, expires_at=terms.due(LONGEST),
        first_epoch=epoch,
    )  # fmt: skip
    questions = _shortened((*(others if is_few else _with_room(others, epoch)), asked))
    more = sum(map(question_bytes, questions)) - sum(map(question_bytes, row.questions))
    return has_room_to_ask(without_left(row), more)


def _is_there(row: RunRow, question_id: int) -> bool:
    """Whether a question is open, or its answer lies ready."""
    return row.question(question_id) is not None or any(one.question_id == question_id for one in row.pending)


def _ask(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    key, epoch, text = event.effects.question_key, row.lease_epoch, event.facts.question
    changes["asking_epoch"] = epoch
    words = "" if key is None else words_of(event.facts, event.data)
    known = asked_before(row, key, words)
    terms = event.effects.terms or NO_TERMS
    asked = OpenQuestion(
        event.seq, event.recorded_at, text, key, epoch, event.position,
        first_epoch=_first_epoch(row, key), words=words, terms=terms, expires_at=terms.due(event.recorded_at),
    )  # fmt: skip
    if known is None:
        _leave_answers(row, key, changes)
        questions = (*_with_room(row.questions, epoch), asked)
    elif row.question(known) is not None:
        questions = tuple(_again(one, asked) if one.question_id == known else one for one in row.questions)
    elif any(one.question_id == known for one in row.pending):  # its answer lies ready
        questions = row.questions
        changes["closed_questions"] = tuple(
            _replace(one, epoch=epoch) if one.question_id == known else one for one in row.closed_questions
        )
    else:
        questions = (*_with_room(row.questions, epoch), _reopened(row, known, asked, changes))
    changes["questions"] = _shortened(questions)
    _keep_left(row, changes, with_room)


def _first_epoch(row: RunRow, key: str | None) -> int:
    """Lease epoch of the attempt that has asked first what this key stands for; 0 where nobody knows any more."""
    if key is None:
        return row.lease_epoch
    before = [one.first_epoch for one in row.closed_questions if one.key == key]
    is_forgotten = len(row.closed_questions) >= MAX_CLOSED_QUESTIONS
    return min(before, default=0 if is_forgotten else row.lease_epoch)


def _reopened(row: RunRow, question_id: int, asked: OpenQuestion, changes: dict[str, Any]) -> OpenQuestion:
    """A withdrawn question that is asked again in the same words: links to it are good as before."""
    closed = next(one for one in row.closed_questions if one.question_id == question_id)
    changes["closed_questions"] = tuple(one for one in row.closed_questions if one is not closed)
    return _replace(asked, question_id=question_id, told_seq=closed.told_seq, again_seq=asked.question_id)


def _again(known: OpenQuestion, asked: OpenQuestion) -> OpenQuestion:
    """A question that is asked again: who answers has to read what is asked now, in whichever words, and has until
    then. What is asked in the same words is the same approval; in other words it is another."""
    if not asked.text and asked.terms == NO_TERMS:
        return _replace(known, epoch=asked.epoch, again_seq=asked.question_id)
    now = _replace(
        known,
        epoch=asked.epoch,
        again_seq=asked.question_id,
        terms=asked.terms,
        expires_at=asked.expires_at,
        expired=False,
    )
    if asked.words == known.words:
        return now
    return _replace(now, text=asked.text or known.text, told_seq=asked.question_id, words=asked.words)


def _leave_answers(row: RunRow, key: str | None, changes: dict[str, Any]) -> None:
    """Answers to what this key stood for before, in other words, reach nobody any more."""
    pending = changes.get("pending", row.pending)
    left = {one.question_id for one in pending if key is not None and one.question_key == key}
    if left:
        changes["pending"] = tuple(one for one in pending if one.question_id not in left)
        changes["closed_questions"] = tuple(
            _replace(one, withdrawn=True) if one.question_id in left else one for one in row.closed_questions
        )


def _with_room(questions: tuple[OpenQuestion, ...], epoch: int) -> tuple[OpenQuestion, ...]:
    """Room for one more: without the oldest that only an earlier attempt has asked, if there are MAX_QUESTIONS."""
    if len(questions) < MAX_QUESTIONS:
        return questions
    left = next((index for index, one in enumerate(questions) if one.epoch != epoch), 0)
    return questions[:left] + questions[left + 1 :]


def _shortened(questions: tuple[OpenQuestion, ...]) -> tuple[OpenQuestion, ...]:
    """All of them, with at most MAX_QUESTION_CHARS characters of text together, and MAX_QUESTION_BYTES of it: the
    longest lose their ends."""
    lengths = [len(one.text or "") for one in questions]
    if sum(lengths) > MAX_QUESTION_CHARS:
        share = _share(lengths, MAX_QUESTION_CHARS)
        questions = tuple(
            _replace(one, text=one.text[: share - 1] + "…") if one.text and len(one.text) > share else one
            for one in questions
        )
    elif LETTER_BYTES * sum(lengths) <= MAX_QUESTION_BYTES:
        return questions
    lengths = [text_bytes(one.text or "") for one in questions]
    if sum(lengths) <= MAX_QUESTION_BYTES:
        return questions
    share = _share(lengths, MAX_QUESTION_BYTES)
    return tuple(_replace(one, text=clipped_if_any(one.text, share)) for one in questions)


def _share(lengths: list[int], room: int) -> int:
    """How long each of these may be so that all of them have room."""
    share = room
    for index, length in enumerate(sorted(lengths)):
        share = room // (len(lengths) - index)
        if length > share:
            break
        room -= length
    return share


def _answer(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """A person's answer names its question. An agent's own word closes one only if it acknowledges no command."""
    effects = event.effects
    if effects.requests is None and (effects.command_id is not None or "pending" in changes):
        return
    found = named_question(row, effects.question_id, None)
    if found is not None:
        _close(row, changes, _closed(found, event, by=answered_by(event)))
        if effects.requests is not None and found.epoch == row.lease_epoch:
            _keep_left(row, changes, newest_left)
    elif effects.requests is None and effects.acknowledges is not None:
        # Agents of dialects without acknowledgements say "input" for whatever they were told.
        changes["pending"] = _without_first(row.pending, "message")


def _withdraw(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """One that was answered before stays so: its answer reaches the agent all the same."""
    found = named_question(row, event.effects.question_id, event.effects.question_key)
    if found is not None:
        _close(row, changes, _closed(found, event, withdrawn=True))


def _expire(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """Nobody has answered: it goes on waiting, marked, or it is closed as what it is."""
    found = named_question(row, event.effects.question_id, None)
    if found is None or event.effects.expires is None:
        return
    if event.effects.expires is OnExpiry.WAIT:
        changes["questions"] = tuple(_replace(one, expired=True) if one is found else one for one in row.questions)
    else:
        _close(row, changes, _closed(found, event, expired=True))


def taken(row: RunRow, kept: tuple[Pending, ...], at: int) -> tuple[ClosedQuestion, ...]:
    """The closed questions, once their agent has acknowledged the answers that do not wait any more."""
    left = {one.question_id for one in row.pending if one.type == "input" and one not in kept}
    return tuple(_replace(one, taken_at=at) if one.question_id in left else one for one in row.closed_questions)


def left_untaken(row: RunRow, command_id: int | None) -> tuple[ClosedQuestion, ...]:
    """The closed questions, once an answer came too late for its agent: who answers next must not be told that it
    counts."""
    answered = {one.question_id for one in row.pending if one.command_id == command_id and one.type == "input"}
    return tuple(_replace(one, withdrawn=True) if one.question_id in answered else one for one in row.closed_questions)


def _keep_left(row: RunRow, changes: dict[str, Any], kept: Callable[[RunRow], RunRow]) -> None:
    """Of the answers that earlier attempts have left unread those that `kept` leaves."""
    now = _replace(row, **changes)
    left = kept(now)
    if left is not now:
        changes |= {"pending": left.pending, "closed_questions": left.closed_questions}


def at_the_end(row: RunRow) -> tuple[ClosedQuestion, ...]:
    """The closed questions at the end: nobody has taken the answers that only an attempt before has asked for, nor
    those that no reply has carried."""
    left = {one.question_id for one in left_answers(row)} if row.lease_epoch else set()
    left |= {one.question_id for one in row.pending if one.type == "input" and not one.delivered}
    return tuple(_replace(one, withdrawn=True) if one.question_id in left else one for one in row.closed_questions)


def named_question(row: RunRow, question_id: int | None, key: str | None) -> OpenQuestion | None:
    """The open question of this id or key; the oldest that is waited for where neither is given."""
    if question_id is not None:
        return row.question(question_id)
    if key is not None:
        return next((one for one in row.questions if one.key == key), None)
    return row.awaited()


def _closed(found: OpenQuestion, event: Event, **how: Any) -> ClosedQuestion:
    return ClosedQuestion(
        found.question_id,
        event.recorded_at,
        found.key,
        told_seq=found.told_seq,
        words=found.words,
        closed_seq=event.seq,
        epoch=found.epoch,
        first_epoch=found.first_epoch,
        **how,
    )


def _close(row: RunRow, changes: dict[str, Any], closed: ClosedQuestion) -> None:
    changes["questions"] = tuple(one for one in row.questions if one.question_id != closed.question_id)
    changes["closed_questions"] = _newest((*row.closed_questions, closed), row.pending)


def _newest(closed: tuple[ClosedQuestion, ...], pending: tuple[Pending, ...]) -> tuple[ClosedQuestion, ...]:
    """MAX_CLOSED_QUESTIONS of them, and the newest one. One whose answer still waits for its agent stays: without it
    the answer would be none to what is asked again."""
    excess = len(closed) - MAX_CLOSED_QUESTIONS
    if excess <= 0:
        return closed
    # The server's words about expired questions are no answers.
    waiting = {one.question_id for one in pending if not one.expired}
    gone = [one.question_id for one in closed[:-1] if one.question_id not in waiting][:excess]
    return tuple(one for one in closed if one.question_id not in gone)


def answered_by(event: Event) -> str | None:
    """Who has answered, as an event of an answer says: a user id in our own, a name in an agent's."""
    sent = _decode_answer(event.data)
    for raw in (bytes(sent.by), bytes(sent.responded_by)):
        if raw[:1] == b'"':
            return clipped(_decode_text(raw)[:MAX_NAME_CHARS], MAX_ANSWERED_BY_BYTES) or None
    return None


def _without_first(pending: tuple[Pending, ...], kind: str) -> tuple[Pending, ...]:
    for index, command in enumerate(pending):
        if command.type == kind:
            return pending[:index] + pending[index + 1 :]
    return pending
