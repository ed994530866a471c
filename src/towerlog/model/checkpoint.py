"""Checkpoints: the row that points at a stored history, and the checkpoint read back with that history."""

from __future__ import annotations

import msgspec

from towerlog.model.approval import NO_TERMS, ApprovalDecision, ApprovalState, Terms
from towerlog.model.run import RunRow, Status

END_STATUS: dict[str, Status] = {
    "completed": Status.COMPLETED,
    "error": Status.FAILED,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
}
"""Statuses of a checkpoint that its agent does not go on from → how its run has ended, where nothing else says so."""
AWAITS_APPROVAL = "waiting_for_approval"
"""Status of a checkpoint whose pending tool calls a person has to decide about."""
APPROVED = "approved"
"""Status of a checkpoint whose tool calls are to be carried out."""
REJECTED = "rejected"
"""Status of a checkpoint whose tool calls are not to be carried out."""
STATUS_OF_DECISION = {ApprovalDecision.APPROVE: APPROVED, ApprovalDecision.DENY: REJECTED}
"""A decision → the status of its checkpoint."""
STATE_OF_DECIDED = {APPROVED: ApprovalState.APPROVED, REJECTED: ApprovalState.DENIED}
"""Status of a checkpoint that was decided about → what became of its approval."""


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
    decision: str | None = None
    """The status that the decision gave it; an end of the run may give it another."""
    left_at: int | None = None
    """When its agent went on to a later step while this one waited for approval."""

    def is_awaited(self) -> bool:
        """Whether a decision about it is waited for, if its run is open."""
        return self.status == AWAITS_APPROVAL and self.left_at is None

    def state(self) -> StoredState:
        """The history as it was sent."""
        return StoredState(self.node, self.length, self.metas, self.has_meta)

    def in_thread(self, thread_id: str) -> CheckpointRow:
        """The same of a run that stands in this thread now."""
        return msgspec.structs.replace(self, thread_id=thread_id)

    def resume_state(self) -> StoredState:
        """The history that a runner goes on with."""
        return self.held or self.state()


def as_told(row: CheckpointRow, run: RunRow) -> CheckpointRow:
    """The checkpoint with the status that is told of it: what waits for approval in a run that is over, or is being
    cancelled, can be approved by nobody any more, and so is rejected. So is what was approved and not gone on from."""
    return msgspec.structs.replace(row, status=REJECTED) if is_void(row, run) else row


def is_void(row: CheckpointRow, run: RunRow) -> bool:
    """Whether the tool calls of a checkpoint wait, or are approved, in a run that carries out nothing any more."""
    if not run.is_terminal() and run.status is not Status.CANCELLING:
        return False
    share = run.share(row.agent)
    is_newest = share is None or share.step_index <= row.step_index
    return row.status == AWAITS_APPROVAL or (row.status == APPROVED and is_newest)


class CheckpointView(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint with its figures and its history."""

    row: CheckpointRow
    run_id: str
    trace_id: str
    figures: bytes
    """The sender's data without `history` and `history_meta`: one JSON object."""
    history: list[bytes]
    history_meta: list[bytes] | None
