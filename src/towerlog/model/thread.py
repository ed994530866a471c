"""The row of a thread: its runs, open and newest, and how a second run in it is treated."""

from __future__ import annotations

import msgspec


class ThreadRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A thread as folded from its runs' beginnings and ends."""

    org: int
    thread_id: str
    created_at: int
    title: str | None = None
    run_count: int = 0
    newest_run: int = 0
    open_runs: tuple[int, ...] = ()
    """Numbers of the runs that have not ended, oldest first."""
    lane_runs: tuple[int, ...] = ()
    """Those among them that were made for workers: one at a time is claimable, the rest wait behind it."""
    updated_at: int = 0
    policy: str = "enqueue"
    """What a new run finds when one is open: `enqueue`, `reject` or `cancel_previous`."""
