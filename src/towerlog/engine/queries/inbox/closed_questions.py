"""What became of a question that the row of its run does not have any more, read from the log.

The row has the last MAX_CLOSED_QUESTIONS. Of older ones the log knows who answered, when, and whether the agent took
it. Where it does not tell, nobody knows any more, and that is what is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from towerlog.engine.queries.context import QueryContext
from towerlog.model.approval import ApprovalRef, ApprovalState, ClosedApproval, OnExpiry
from towerlog.model.event import QUESTION_TYPES, DamagedEvent, Event, EventType, Logged
from towerlog.model.question_digest import words_of
from towerlog.model.run import MAX_CLOSED_QUESTIONS, RunRow
from towerlog.projections.questions import answered_by

MAX_EVENTS_LOOKED_AT = 2_000
"""Events about questions, after the one that asks, among which its answer is looked for."""
_PAGE = 200
_TYPES = (*sorted(QUESTION_TYPES), EventType.COMMAND_ACKNOWLEDGED)
NO_LONGER_KNOWN = ClosedApproval(ApprovalState.UNKNOWN)
_WITHDRAWN = ClosedApproval(ApprovalState.WITHDRAWN)


class _Story(NamedTuple):
    """What the log has told of a question so far."""

    closed: ClosedApproval | None = None
    command_id: int | None = None
    """The answer's, while nobody has acknowledged it."""
    asked: int | None = None
    """The event that has asked it anew in other words last."""
    words: str = ""
    key: str | None = None
    is_sure: bool = True
    """False where an event is damaged that may have closed it."""


def is_forgotten(run: RunRow) -> bool:
    """Whether a question of which the row has nothing may have been closed as anything."""
    return len(run.closed_questions) >= MAX_CLOSED_QUESTIONS or run.events_erased_at is not None


async def closed_by_the_log(source: QueryContext, run: RunRow, ref: ApprovalRef) -> ClosedApproval:
    """How a question that is not open was closed, by name of who answered where it has one."""
    story, after = _Story(), ref.seq - 1
    for _ in range(MAX_EVENTS_LOOKED_AT // _PAGE):
        page = await source.store.events(run.org, run.run, after, _PAGE, _TYPES)
        story = _after(story, page, ref.seq)
        if not page or _is_told(story):
            return _ending(story, run, ref)
        after = page[-1].seq
    return NO_LONGER_KNOWN if story.closed is None else _ending(story, run, ref)


def _is_told(story: _Story) -> bool:
    """Whether nothing that comes later changes what became of it. One that was withdrawn may be asked again."""
    closed = story.closed
    return closed is not None and story.command_id is None and closed.state is not ApprovalState.WITHDRAWN


def _ending(story: _Story, run: RunRow, ref: ApprovalRef) -> ClosedApproval:
    if story.asked != ref.asked:
        return _WITHDRAWN  # other words are asked since
    if story.closed is not None:
        return story.closed
    if not story.is_sure or run.events_erased_at is not None:
        return NO_LONGER_KNOWN
    # Of a run that goes on: one of a lost attempt, which has made room for what is asked since.
    return ClosedApproval(ApprovalState.ENDED, run.ended_at) if run.is_terminal() else _WITHDRAWN


def _after(story: _Story, page: Iterable[Logged], question_id: int) -> _Story:
    for event in page:
        if isinstance(event, DamagedEvent):
            story = story._replace(is_sure=False)
        elif event.late:
            continue
        elif event.type is EventType.RUN_WAITING:
            story = _asked(story, event, question_id)
        elif story.closed is None:
            story = _closed(story, event, question_id)
        elif _acknowledges(event, story, question_id):
            story = _acknowledged(story, story.closed, event)
    return story


def _asked(story: _Story, event: Event, question_id: int) -> _Story:
    effects = event.effects
    if event.seq == question_id:
        words = "" if effects.question_key is None else words_of(event.facts, event.data)
        return story._replace(words=words, key=effects.question_key)
    if effects.question_id != question_id:
        is_left = story.command_id is not None and story.key is not None and effects.question_key == story.key
        return _left(story, story.closed) if is_left and story.closed is not None else story
    if story.command_id is not None:  # its answer lies ready
        return story
    words = words_of(event.facts, event.data)
    is_other = words != story.words and (event.facts.question or effects.terms)
    story = story._replace(closed=None)
    return story._replace(asked=event.seq, words=words) if is_other else story


def _closed(story: _Story, event: Event, question_id: int) -> _Story:
    effects, at = event.effects, event.recorded_at
    command_id = event.seq if effects.requests else None
    is_named = effects.question_id == question_id or (
        effects.question_id is None and effects.question_key is not None and effects.question_key == story.key
    )
    if not is_named:
        return story
    match event.type:
        case EventType.RUN_INPUT:
            closed = ClosedApproval(ApprovalState.ANSWERED, at, answered_by(event))
            return story._replace(closed=closed, command_id=command_id)
        case EventType.RUN_QUESTION_WITHDRAWN:
            return story._replace(closed=ClosedApproval(ApprovalState.WITHDRAWN, at))
        case EventType.APPROVAL_EXPIRED if effects.expires not in (None, OnExpiry.WAIT):
            return story._replace(closed=ClosedApproval(ApprovalState.EXPIRED, at), command_id=command_id)
        case _:
            return story


def _acknowledges(event: Event, story: _Story, question_id: int) -> bool:
    """Agents of dialects without ids of commands say "input" for an answer that they have: of which question, the log
    has from the server."""
    effects = event.effects
    if story.command_id is None or effects.requests is not None:
        return False
    if effects.command_id is not None:
        return effects.command_id == story.command_id
    return event.type is EventType.RUN_INPUT and effects.question_id == question_id


def _acknowledged(story: _Story, closed: ClosedApproval, event: Event) -> _Story:
    if event.effects.untaken:
        return _left(story, closed)
    taken = ClosedApproval(closed.state, closed.at, closed.by, resumed_at=event.recorded_at)
    return story._replace(closed=taken, command_id=None)


def _left(story: _Story, closed: ClosedApproval) -> _Story:
    """Its answer has reached nobody."""
    return story._replace(closed=ClosedApproval(ApprovalState.WITHDRAWN, closed.at, closed.by), command_id=None)
