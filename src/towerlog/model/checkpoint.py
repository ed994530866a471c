"""Checkpoints: the row that points at a stored history, and the checkpoint read back with that history."""

from __future__ import annotations

import msgspec

from towerlog.model.approval import NO_TERMS, Terms
from towerlog.model.run import Status

END_STATUS: dict[str, Status] = {
    "completed": Status.COMPLETED,
    "error": Status.FAILED,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
}
"""Statuses of a checkpoint that its agent does not go on from → how its run has ended, where nothing else says so."""
AWAITS_APPROVAL = "waiting_for_approval"
"""Status of a checkpoint whose pending tool calls a person has to decide about."""


class StoredState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a history lies in the content store."""

    node: str
    """Hex key of its last node; empty for the empty history."""
    length: int
    metas: str = ""
    """Hex key of its meta list; empty for an empty one."""
    has_meta: bool = True


class CheckpointRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The newest revision of (run, agent, step_index), folded from `checkpoint` events."""

    org: int
    run: int
    agent: str
    step_index: int
    thread_id: str
    status: str
    seq: int
    """The event that holds the figures (not the one of a later decision)."""
    position: int
    node: str
    """Hex key of the last node of the history; empty for an empty one."""
    length: int
    has_meta: bool
    digest: str
    created_at: int
    updated_at: int
    revision: int = 1
    """How many different contents this step has had."""
    initial: bool = False
    """Written by the start of a run; replaced by the first one of its agent."""
    metas: str = ""
    held: StoredState | None = None
    """Of one that waits for approval and came without a history: its agent's newest one, to resume from."""
    terms: Terms = NO_TERMS
    expires_at: int | None = None
    """When its wait for approval expires, or has expired."""
    expired: bool = False
    """Nobody has decided in time."""
    decided_at: int | None = None
    decided_by: str | None = None
    """A user id; None where it expired, or its runner says so itself."""

    def state(self) -> StoredState:
        """The history as it was sent."""
        return StoredState(self.node, self.length, self.metas, self.has_meta)

    def resume_state(self) -> StoredState:
        """The history that a runner goes on with."""
        return self.held or self.state()


class CheckpointView(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint with its figures and its history."""

    row: CheckpointRow
    run_id: str
    trace_id: str
    figures: bytes
    """The sender's data without `history` and `history_meta`: one JSON object."""
    history: list[bytes]
    history_meta: list[bytes] | None
