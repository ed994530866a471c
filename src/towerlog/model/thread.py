"""The row of a thread: its open runs, its newest run, and what happens to a run created while another is open."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

MAX_PROCESSES = 32
"""Processes of a thread whose counted cost is remembered. One that tells its cost after that many others have is
counted on from what the run in question has counted."""
MAX_PROCESS_BYTES = 8 * 1024
"""Of their names as JSON; past it the same."""
MAX_COST_PLACES = 16
"""Places of a process's cost that are remembered, the highest ones. A lower cost that comes later moves nothing of what
is below them."""
MAX_COST_PLACES_BYTES = 4 * 1024
"""Of those of all processes of a thread as JSON. Past it they are forgotten of the process that told longest ago, the
lowest first."""
MAX_THREAD_BYTES = 56 * 1024
"""Of the row as it is stored: these, and the numbers of its open runs."""


class CostTelling(NamedTuple):
    """Of a told cost, what says which of two that are equal comes first."""

    at_ms: float
    """By its sender's clock; infinite where that told nothing."""
    step: int
    """Of the checkpoint that told it; -1 for none."""
    agent: str
    model: str


class CostPlace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a cost of a process counts beyond the next lower one, and where: from the one to the other, nano-dollars."""

    low: int
    high: int
    run: int
    agent: str
    hour: int
    """Since the epoch; with agent, model and status the roll-up cell that counts it."""
    model: str
    status: str
    arrived: int
    """When it arrived here, in minutes since the epoch."""
    at_ms: int
    """When it was told by its sender's clock; -1: that told nothing."""
    step: int
    """Of the checkpoint that told it; -1 for none."""
    named: str = ""
    """The model that it has named itself."""

    def telling(self) -> CostTelling:
        """As it was told."""
        return CostTelling(math.inf if self.at_ms < 0 else self.at_ms, self.step, self.agent, self.named)


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
    cost_places: dict[str, tuple[CostPlace, ...]] = {}
    """Process → where its cost counts, the lowest first."""
    erased_at: int | None = None
    """When the content of its runs and its title were erased, wall ms."""
