"""The fold of a checkpoint: the newest revision of (run, agent, step), or a person's decision about it."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.approval import NO_TERMS
from towerlog.model.checkpoint import END_STATUS, CheckpointRow
from towerlog.model.event import Event
from towerlog.model.facts import CheckpointFacts
from towerlog.model.run import RunRow, Status

_WORD_OF_END: dict[Status, str] = {status: word for word, status in END_STATUS.items()}


def is_kept(event: Event, run: RunRow) -> bool:
    """Whether the checkpoint of an event moves a row, or leaves one."""
    facts = event.effects.checkpoint
    return facts is not None and (not event.late or is_kept_late(facts, run))


def is_kept_late(facts: CheckpointFacts, run: RunRow) -> bool:
    """Whether a checkpoint that came after its run's end leaves a row: it tells a state, but a decision or a start
    changes none any more, and where the states of the run were erased it stays an event."""
    return not facts.decision and not facts.initial and run.checkpoints_erased_at is None


def fold(row: CheckpointRow | None, event: Event, run: RunRow, agent: str) -> CheckpointRow | None:
    """The row after an event. None when there is none: the event has no checkpoint, or decides about an absent one.

    `run`: after the event.
    """
    facts = event.effects.checkpoint
    if facts is None:
        return row
    if facts.decision:
        if row is None:
            return None
        return _decided(row, facts, event.recorded_at)
    # The start of a run must not overwrite a checkpoint that its agent sent before the start arrived.
    if facts.initial and row is not None:
        return row
    # The first checkpoint of an agent replaces the initial one and is still its first revision.
    revised = row is not None and not row.initial
    return CheckpointRow(
        org=event.org,
        run=event.run,
        agent=agent,
        step_index=facts.step_index,
        thread_id=run.thread_id,
        status=_status(facts, event, run, agent),
        seq=event.seq,
        position=event.position,
        node=facts.node,
        length=facts.length,
        metas=facts.metas,
        has_meta=facts.has_meta,
        digest=facts.digest,
        created_at=row.created_at if row is not None else event.recorded_at,
        updated_at=event.recorded_at,
        revision=row.revision + 1 if row is not None and revised else 1,
        initial=facts.initial,
        held=facts.held,
        terms=facts.terms or NO_TERMS,
        expires_at=None if facts.terms is None else facts.terms.due(event.recorded_at),
        left_at=event.recorded_at if facts.left else None,
    )


def _status(facts: CheckpointFacts, event: Event, run: RunRow, agent: str) -> str:
    """As it was told; of the newest one of a run that has ended, as the end would have left it."""
    if event.late and run.latest_step() == (agent, facts.step_index):
        return _WORD_OF_END.get(run.status, facts.status)
    return facts.status


def _decided(row: CheckpointRow, facts: CheckpointFacts, at: int) -> CheckpointRow:
    """One that has expired may go on waiting; a withdrawal ends the wait, or says of a decision that nobody has taken
    it. The end of the run decides nothing."""
    if facts.left:
        return msgspec.structs.replace(row, left_at=at) if row.is_awaited() or row.decided_at is not None else row
    changes: dict[str, Any] = {"status": facts.status, "updated_at": at, "expired": row.expired or facts.expired}
    if facts.status != row.status and facts.status not in END_STATUS:
        changes |= {"decided_at": at, "decided_by": facts.decided_by, "decision": facts.status}
    return msgspec.structs.replace(row, **changes)


def step_left(run: RunRow | None, event: Event, agent: str) -> int | None:
    """The step at which this agent has waited for approval and which it leaves by an event that brings a later one.

    `run`: its run before the event.
    """
    share, facts = None if run is None else run.share(agent), event.effects.checkpoint
    if share is None or facts is None or facts.decision or not 0 <= share.awaited_step < facts.step_index:
        return None
    return share.awaited_step


def left(row: CheckpointRow, event: Event) -> CheckpointRow:
    """What waited, once its agent has gone on with this event."""
    return msgspec.structs.replace(row, left_at=event.recorded_at) if row.is_awaited() else row
