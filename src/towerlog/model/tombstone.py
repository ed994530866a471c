"""Tombstones: what stands for an event whose content was erased.

A tombstone keeps the event's place, its times and its hash, so that the chain of its run goes on over it, and of its
facts what folds need, so that a rebuild gives the same figures. Its hash cannot be worked out any more: a seal covers
what is left (`model/chain.py`). That it was erased by somebody's word, a later `run.erased` of the same run says.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import assert_never

import msgspec

from towerlog.model.chain import seal
from towerlog.model.event import OF_ERASED, Event, EventType
from towerlog.model.facts import NO_FACTS, CheckpointFacts, Effects, Erases, Facts, LaneFacts, some
from towerlog.model.question_digest import words_of

ID_BYTES = 12
"""Of the digest that stands for an erased event's id, or for what its agent has called a question."""
_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode
_DELTA = EventType.MESSAGE_DELTA.value


def erased_id(event_id: str) -> str:
    """What an event's id is kept under once its content is erased: the same id sent again is known by it."""
    return event_id if event_id.startswith(OF_ERASED) else OF_ERASED + _digest(event_id)


def original_type(event: Event) -> EventType:
    """The type that an event had before its content was erased."""
    return event.type if event.facts.erased is None else EventType(event.facts.erased)


def covers(scope: Erases, event: Event) -> bool:
    """Whether an event, or what is left of it, is among what is erased; what tells of an erasure never is."""
    if event.effects.erases is not None:
        return False
    match scope:
        case Erases.DELTAS:
            return original_type(event) is EventType.MESSAGE_DELTA
        case Erases.CHECKPOINTS:
            facts = event.effects.checkpoint
            return original_type(event) is EventType.MESSAGE_DELTA or (facts is not None and not facts.decision)
        case Erases.EVENTS:
            return True
        case _:
            assert_never(scope)


def is_bare(event: Event, scope: Erases) -> bool:
    """Whether nothing is left to erase of an event."""
    return event.type is EventType.ERASED and (scope is not Erases.EVENTS or event.facts == _bare(event.facts))


def tombstone(event: Event, scope: Erases, previous: bytes) -> Event:
    """What is left of an event; `previous`: the hash before it in its run."""
    whole = scope is Erases.EVENTS
    facts = _bare(event.facts) if whole else _without_history(event.facts)
    kind = original_type(event)
    facts = _replace(facts, erased=kind.value)
    made = _replace(
        event,
        type=EventType.ERASED,
        facts=facts,
        facts_json=b"" if facts == NO_FACTS else _encode(facts),
        data=event.data if event.type is EventType.ERASED else _data_left(event, kind),
        event_id=None if event.event_id is None else erased_id(event.event_id),
        content=b"",
    )
    return _replace(made, content=seal(previous, made))


def as_folded(event: Event) -> Event:
    """An event as the folds take it: a tombstone counts as what it stands for."""
    return event if event.facts.erased is None else _replace(event, type=original_type(event))


def _data_left(event: Event, kind: EventType) -> bytes:
    """Readers see the type. The words of a question leave a digest: by it the fold knows one that is asked again."""
    left = {"erased_type": kind.value}
    if kind is EventType.RUN_WAITING:
        left["question"] = words_of(event.facts, event.data)
    return _encode(left)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()


def _optional_digest(text: str | None) -> str | None:
    return None if text is None else _digest(text)


def _without_history(facts: Facts) -> Facts:
    """The facts without where a history lies."""
    effects, is_digest = facts.effects, facts.erased is not None
    facts = _replace(facts, question=_again(facts.question, is_digest))
    if effects is None:
        return facts
    checkpoint = None if effects.checkpoint is None else _bare_checkpoint(effects.checkpoint)
    key = _again(effects.question_key, is_digest)
    return _replace(facts, effects=_replace(effects, checkpoint=checkpoint, question_key=key))


def _bare_checkpoint(checkpoint: CheckpointFacts) -> CheckpointFacts:
    return CheckpointFacts(
        checkpoint.step_index,
        checkpoint.status,
        initial=checkpoint.initial,
        decision=checkpoint.decision,
        agent=checkpoint.agent,
        left=checkpoint.decision and checkpoint.left,
        expired=checkpoint.expired,
    )


def _bare(facts: Facts) -> Facts:
    """Figures, names of agents and models, and what moves a status: no text of an agent or a person."""
    told = facts.effects
    return Facts(
        spent=facts.spent,
        taken_back=facts.taken_back,
        claimed=facts.claimed,
        success=facts.success,
        duration_ms=facts.duration_ms,
        question=_again(facts.question, facts.erased is not None),
        foreign=facts.foreign,
        by_other=facts.by_other,
        erased=facts.erased,
        effects=None if told is None else some(_bare_effects(told, facts)),
    )


def _again(text: str | None, is_digest: bool) -> str | None:
    return text if is_digest else _optional_digest(text)


def _bare_effects(told: Effects, facts: Facts) -> Effects:
    lane, checkpoint = told.lane, told.checkpoint
    return _replace(
        told,
        question_key=_again(told.question_key, facts.erased is not None),
        checkpoint=None if checkpoint is None else _bare_checkpoint(checkpoint),
        lane=None if lane is None else LaneFacts(epoch=lane.epoch, attempt=lane.attempt),
        metadata=msgspec.UNSET,
    )
