"""The fold of an erasure: what it leaves of a run's row. What was counted of the run stays, and so do its names."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import Event
from towerlog.model.facts import Effects, Erases
from towerlog.model.run import RunRow

_replace = msgspec.structs.replace
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
    return effects.budget_id is not None or effects.repriced is not None or effects.erases is not None


def after(row: RunRow, event: Event) -> RunRow:
    """The row with what an erasure has taken from it; the same for any other event."""
    scope = event.effects.erases
    if scope is None:
        return row
    changes: dict[str, Any] = dict.fromkeys(_WITH[scope], event.recorded_at)
    if scope is Erases.EVENTS:
        changes |= _GONE | {"erased_seq": event.seq}
    return _replace(row, **changes)
