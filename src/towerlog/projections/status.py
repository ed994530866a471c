"""The fold of a run's status, of what an end closes, and of what an erasure takes away.

An open question or approval keeps a run waiting; a run back in the queue leaves it by a claim or an end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.approval import awaited
from towerlog.model.event import QUESTION_TYPES, TARGET_STATUS, Event, EventType
from towerlog.model.facts import Effects, Erases
from towerlog.model.row_bounds import LETTER_BYTES, MAX_ERROR_BYTES, clipped
from towerlog.model.run import TRANSITIONS, RunRow, Status
from towerlog.projections import commands
from towerlog.projections.questions import at_the_end

# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_STARTED, _RESUMED = EventType.RUN_STARTED, EventType.RUN_RESUMED
_CANCEL_REQUESTED, _ACKNOWLEDGED = EventType.RUN_CANCEL_REQUESTED, EventType.COMMAND_ACKNOWLEDGED

STATUS_ONCE_ACKNOWLEDGED = {"pause": Status.PAUSED, "resume": Status.RUNNING}
"""The status that an acknowledged command gives its run."""


def reports_recovery(row: RunRow, kind: EventType, effects: Effects) -> bool:
    """Whether a completion says that its failed run recovered: SDKs report errors before they know the outcome."""
    return effects.recovered and kind is EventType.RUN_COMPLETED and row.status is Status.FAILED


def fold(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """What an event changes of the status; comes after the folds of commands and questions."""
    if event.effects.budget_id is not None:
        return  # the server's word about a budget: what follows from it has events of its own
    target = event.effects.status or TARGET_STATUS.get(event.type) or _status_once_acknowledged(row, event, changes)
    if target is None and row.status is Status.PAUSED and commands.works_on(row, event) and "pause_taken" in changes:
        target = Status.RUNNING
    if event.type is _STARTED and row.started_at is None:
        changes["started_at"] = event.recorded_at
    if event.type in QUESTION_TYPES and event.effects.checkpoint is None:
        target = _status_asked(row, target)
    if target is None or _stays_queued(row, event, target):
        return
    if event.type is _CANCEL_REQUESTED and row.cancel_requested_at is None:
        changes["cancel_requested_at"] = event.recorded_at
    # A checkpoint brings its own status: whether it waits for an approval. A start waits for none.
    if event.effects.status is not None or event.type is _STARTED:
        decided = event.effects.checkpoint is not None and event.effects.checkpoint.decision
        changes["awaits_approval"] = target is Status.WAITING or (decided and _is_awaited(row, changes))
    if event.type is _RESUMED:
        changes["pause_taken"] = None
    if event.type is _STARTED and row.status is Status.PAUSED and changes.get("pause_taken", row.pause_taken):
        target = Status.PAUSED  # begun again: it is told of the pause anew, whatever it asks beside that
    elif target in (Status.RUNNING, Status.WAITING):
        target = _status_open(row, changes)
    if target in TRANSITIONS[row.status] or reports_recovery(row, event.type, event.effects):
        changes["status"] = target
        if target is Status.RUNNING and row.started_at is None:
            changes.setdefault("started_at", event.recorded_at)
        # No status may follow an end, so an empty row of the table marks one.
        if not TRANSITIONS[target]:
            _fold_end(row, event, changes)


def _is_awaited(row: RunRow, changes: dict[str, Any]) -> bool:
    """Whether another agent of the run waits for approval, after a decision about one."""
    dormant = changes.get("dormant", row.dormant)
    is_dormant = dormant is not None and dormant.awaiting > 0
    return is_dormant or any(share.awaited_step >= 0 for share in changes.get("shares", row.shares).values())


def _status_asked(row: RunRow, target: Status | None) -> Status | None:
    """What closes a question moves only a run that waits: an answer to a paused one leaves it paused."""
    return target if target is Status.WAITING or row.status is Status.WAITING else None


def _status_open(row: RunRow, changes: dict[str, Any]) -> Status:
    """Of a run that works: it waits while a question or an approval is open, whatever else its agent does; and it is
    paused until the pause that an agent has taken is ended by somebody."""
    questions = changes.get("questions", row.questions)
    is_open = awaited(questions, changes.get("asking_epoch", row.asking_epoch))
    if is_open or changes.get("awaits_approval", row.awaits_approval):
        return Status.WAITING
    return Status.RUNNING if changes.get("pause_taken", row.pause_taken) is None else Status.PAUSED


def _status_once_acknowledged(row: RunRow, event: Event, changes: dict[str, Any]) -> Status | None:
    """The status for an acknowledged pause or resume: some dialects have no event for having paused, so it counts."""
    if event.type is not _ACKNOWLEDGED or "pending" not in changes:
        return None
    taken = next((one for one in row.pending if one not in changes["pending"]), None)
    if taken is None or (taken.type == "resume" and row.status is not Status.PAUSED):
        return None
    return STATUS_ONCE_ACKNOWLEDGED.get(taken.type)


def _stays_queued(row: RunRow, event: Event, target: Status) -> bool:
    """Whether the status stays: a run back in the queue is taken out of it only by a claim or an end."""
    requeued = row.status is Status.QUEUED and row.lease_epoch > 0
    return requeued and not event.effects.claims and bool(TRANSITIONS[target])


def _fold_end(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    if row.pending and row.closed_questions:
        changes.setdefault("closed_questions", at_the_end(row))
    changes["ended_at"] = event.recorded_at
    changes["end_told_at"] = event.told_at()
    changes["ended_seq"] = event.seq
    changes["ended_position"] = event.position
    error = event.facts.error
    is_long = error is not None and LETTER_BYTES * len(error) > MAX_ERROR_BYTES
    changes["error"] = clipped(error, MAX_ERROR_BYTES) if error is not None and is_long else error
    changes["forced"] = event.effects.forced
    changes |= {"pending": (), "questions": (), "awaits_approval": False, "pause_taken": None}


_WITH = {
    Erases.DELTAS: ("deltas_erased_at",),
    Erases.CHECKPOINTS: ("deltas_erased_at", "checkpoints_erased_at"),
    Erases.EVENTS: ("deltas_erased_at", "checkpoints_erased_at", "events_erased_at"),
}
_GONE: dict[str, Any] = {
    "error": None,
    "phase": None,
    "cancel_reason": None,
    "questions": (),
    "closed_questions": (),
    "pending": (),
    "command_ids": (),
    "pause_taken": None,
    "open_tools": (),
    "clients": {},
    "uncounted_clients": False,
    "metadata": msgspec.Raw(b"{}"),
}
"""What a row has of what agents and people wrote."""


def is_word_of_server(effects: Effects) -> bool:
    """Whether an event that came after its run's end is no late report, but what the server says of the run."""
    corrects = effects.repriced or effects.recount
    return effects.budget_id is not None or corrects is not None or effects.erases is not None


def erased(row: RunRow, event: Event) -> RunRow:
    """The row with what an erasure has taken from it; the same for any other event."""
    scope = event.effects.erases
    if scope is None:
        return row
    changes: dict[str, Any] = dict.fromkeys(_WITH[scope], event.recorded_at)
    if scope is Erases.EVENTS:
        changes |= _GONE | {"erased_seq": event.seq}
    return msgspec.structs.replace(row, **changes)
