"""The row of a thread: its open runs, its newest run, and what happens to a run created while another is open."""

from __future__ import annotations

import msgspec

MAX_PROCESSES = 32
"""Processes of a thread whose counted cost is remembered. One that tells its cost after that many others have is
counted on from what the run in question has counted."""
MAX_PROCESS_BYTES = 8 * 1024
"""Of their names as JSON; past it the same."""
MAX_THREAD_BYTES = 52 * 1024
"""Of the row as it is stored: these, and the numbers of its open runs."""


class ThreadRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A thread as folded from the first and the terminal events of its runs."""

    org: int
    thread_id: str
    created_at: int
    title: str | None = None
    run_count: int = 0
    newest_run: int = 0
    """Number of the run that was created last; 0 for none."""
    newest_parentless: int = 0
    """Number of the newest run that named no parent at its beginning; 0 for none."""
    open_runs: tuple[int, ...] = ()
    """Numbers of the runs that have not ended, oldest first."""
    lane_runs: tuple[int, ...] = ()
    """Those of them that were created for workers. One at a time is claimable, in this order."""
    updated_at: int = 0
    policy: str = "enqueue"
    """What happens to a run that is created while one is open: `enqueue`, `reject` or `cancel_previous`."""
    process_costs: dict[str, int] = {}
    """Process (`UsageReport.process`) → nano-dollars that the roll-ups have counted of it, the one told last at the
    end."""
    erased_at: int | None = None
    """When the content of its runs and its title were erased, wall ms."""
