"""The fold of a run's pending commands: made by people, delivered with a reply, acknowledged by the agent."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event, EventType
from towerlog.model.facts import Effects
from towerlog.model.pending import WITH_CONTENT, Pending
from towerlog.model.row_bounds import MAX_REASON_BYTES, clipped_if_any
from towerlog.model.run import MAX_COMMAND_IDS, MAX_PENDING, RunRow, Status
from towerlog.projections.questions import left_untaken, taken

_replace = msgspec.structs.replace
_STARTED = EventType.RUN_STARTED  # by a name of its own, as in `projections.runs`
_WORK = frozenset({EventType.CHECKPOINT, EventType.MODEL_CALL})
"""What an agent tells when it has done something that a pause or a cancel would have kept it from."""


class _CommandData(msgspec.Struct):
    """What is read of the data of an event that makes a command."""

    content: str = ""
    reason: str | None = None
    budget_id: str | None = None


_decode_command = msgspec.json.Decoder(_CommandData).decode
OPPOSITES = {"pause": "resume", "resume": "pause"}
"""A request for the one withdraws a pending request for the other."""


def fold(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """Commands that an event with effects made, delivered, acknowledged; of a cancel also when that was first."""
    effects = event.effects
    if "resume" in (effects.requests, effects.acknowledges) or effects.requests == "pause":
        changes["pause_taken"] = None
    if effects.requests is not None:
        changes["pending"] = _with_request(row, event, changes)
    elif effects.delivers is not None:
        changes["pending"] = tuple(
            _replace(one, delivered=True) if one.command_id == effects.delivers else one for one in row.pending
        )
        is_cancel = any(one.command_id == effects.delivers and one.type == "cancel" for one in row.pending)
        if is_cancel and row.cancel_delivered_at is None:
            changes["cancel_delivered_at"] = event.recorded_at
    elif effects.lane is not None and effects.lane.epoch > row.lease_epoch:
        tell_again(row, event, changes)
        changes["pause_taken"] = None  # a worker that holds the run works on it, until it takes the pause
    else:
        pending = _unacknowledged(row, effects)
        if pending is not row.pending:
            changes["pending"] = pending
            if effects.untaken:
                changes["closed_questions"] = left_untaken(row, effects.command_id)
            elif row.closed_questions:
                changes["closed_questions"] = taken(row, pending, event.recorded_at)
            changes["pause_taken"] = _pause_taken(row, pending)
            if row.cancel_acknowledged_at is None and "cancel" in _types(row.pending) - _types(pending):
                changes["cancel_acknowledged_at"] = event.recorded_at


def tell_standing(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """Of a run with a pause or a cancel that stands: tells it to an agent that may not know of it."""
    if begins_again(row, event):
        tell_again(row, event, changes)
    elif works_on(row, event):
        tell_at_work(row, event, changes)


def tell_again(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """What the attempt before has acknowledged and what still stands, made anew for the one that this event begins: it
    has not heard of it, and has a receipt of its own."""
    stands = row.pause_taken
    if row.status is Status.CANCELLING:
        stands = Pending(event.seq, "cancel", row.cancel_reason)
    if stands is None or stands.type in _types(row.pending):
        return
    again = _replace(stands, command_id=event.seq, delivered=False)
    changes |= {"pending": (again, *row.pending), "command_ids": _ids_after(row, event)}


def begins_again(row: RunRow, event: Event) -> bool:
    """Whether a start is that of another attempt: of a program that goes on with its run. An attempt of a worker begins
    with its claim."""
    is_start = event.type is _STARTED or event.effects.starts_again
    return is_start and row.started_at is not None and not row.lease_epoch


def works_on(row: RunRow, event: Event) -> bool:
    """Whether an event is work of a run without a lease, whose agent has acknowledged that it pauses or ends: it may
    have been begun again without a word, and has not heard of it then."""
    if event.type not in _WORK or row.lease_epoch or event.facts.foreign or event.facts.by_other:
        return False
    checkpoint = event.effects.checkpoint
    return checkpoint is None or not checkpoint.decision


def tell_at_work(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """Tells it again. Who has been told again and works on is not paused, until they acknowledge that."""
    if row.pause_taken is not None and any(one.type == "pause" and one.delivered for one in row.pending):
        changes["pause_taken"] = None
    else:
        tell_again(row, event, changes)


def _types(pending: tuple[Pending, ...]) -> set[str]:
    return {one.type for one in pending}


def _ids_after(row: RunRow, event: Event) -> tuple[int, ...]:
    return (*row.command_ids, event.seq)[-MAX_COMMAND_IDS:]


def may_have_made(row: RunRow | None, command_id: int) -> bool:
    """Whether a run, None for one that begins, has or had this command; also where it is too long ago to be known."""
    if row is None:
        return False
    made = row.command_ids
    # An end that is told to whoever goes on with the run is named by its seq.
    if command_id in made or command_id == row.ended_seq or any(one.command_id == command_id for one in row.pending):
        return True
    return len(made) >= MAX_COMMAND_IDS and command_id < made[0]


def _with_request(row: RunRow, event: Event, changes: dict[str, Any]) -> tuple[Pending, ...]:
    kind, sent = event.effects.requests or "", _decode_command(event.data)
    reason = clipped_if_any(sent.reason, MAX_REASON_BYTES)
    if kind == "cancel" and row.cancel_requested_at is None:
        changes |= {"cancel_requested_at": event.recorded_at, "cancel_reason": reason}
    # Only the last request counts: an agent must not pause and resume for nothing.
    kept = tuple(one for one in row.pending if one.type != OPPOSITES.get(kind))
    content = sent.content if kind in WITH_CONTENT else reason
    changes["command_ids"] = _ids_after(row, event)
    question_id = event.effects.question_id
    question = None if question_id is None else row.question(question_id)
    key = None if question is None else question.key
    is_expired, budget_id = event.effects.expires is not None, sent.budget_id if kind == "pause" else None
    made = Pending(event.seq, kind, content, False, question_id, key, is_expired, budget_id)
    return _newest((*kept, made.short()))


def _newest(pending: tuple[Pending, ...]) -> tuple[Pending, ...]:
    """MAX_PENDING of them. The server's words about expired questions go first, and no answer of a person."""
    if len(pending) <= MAX_PENDING:
        return pending
    oldest = next((index for index, one in enumerate(pending) if one.expired), 0)
    return pending[:oldest] + pending[oldest + 1 :]


def _pause_taken(row: RunRow, pending: tuple[Pending, ...]) -> Pending | None:
    """The pause that stands, once no more than `pending` waits for the agent."""
    taken = (one for one in row.pending if one.type == "pause" and one not in pending)
    return next(taken, row.pause_taken)


def _unacknowledged(row: RunRow, effects: Effects) -> tuple[Pending, ...]:
    if effects.command_id is not None:
        return tuple(command for command in row.pending if command.command_id != effects.command_id)
    if effects.acknowledges is not None:
        for index, command in enumerate(row.pending):
            if command.type == effects.acknowledges:
                return row.pending[:index] + row.pending[index + 1 :]
    return row.pending
