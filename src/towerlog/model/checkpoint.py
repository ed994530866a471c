"""Checkpoints: the row that points at a stored history, and the checkpoint read back with that history."""

from __future__ import annotations

import msgspec


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


class CheckpointView(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint with its figures and its history."""

    row: CheckpointRow
    run_id: str
    trace_id: str
    figures: bytes
    """The sender's data without `history` and `history_meta`: one JSON object."""
    history: list[bytes]
    history_meta: list[bytes] | None
