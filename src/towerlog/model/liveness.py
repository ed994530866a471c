"""Liveness: three clocks of a run, and what they say together. A verdict is for people; what ends a run is an event."""

from __future__ import annotations

import enum

import msgspec

from towerlog.model.run import TERMINAL, RunRow, Status

UNJUDGED = frozenset({Status.QUEUED, Status.WAITING, Status.PAUSED})
"""Nothing is owed by a run that is in the queue, waits for a person, or was set aside."""


class Verdict(enum.StrEnum):
    """How a run that has not ended is doing, and `lost` for one that was given up."""

    ALIVE = "alive"
    SILENT = "silent"
    STALLED = "stalled"
    LOST = "lost"


class Thresholds(msgspec.Struct, frozen=True):
    """After how many ms each verdict falls; 0 = never."""

    stalled_ms: int = 900_000
    silent_ms: int = 900_000
    lost_ms: int = 86_400_000


USUAL = Thresholds()


class Liveness(msgspec.Struct, frozen=True, gc=False):
    """The clocks in wall ms, and the verdict: None for a run that has ended."""

    verdict: Verdict | None = None
    process_at: int | None = None
    """The last sign of life: an event, or a heartbeat of its agent or its worker."""
    progress_at: int | None = None
    """The last event that is no heartbeat."""
    output_at: int | None = None
    """The last piece of an answer."""


def liveness_of(row: RunRow, beats: list[int | None], now_ms: int, thresholds: Thresholds) -> Liveness:
    """The clocks of a run and the verdict at this time. `beats`: heartbeats that are no events."""
    after = [at for at in (row.process_at, *beats) if at is not None and at >= row.created_at]
    process_at = max(after, default=None)
    verdict = _verdict(row, process_at, now_ms, thresholds)
    return Liveness(verdict, process_at, row.progress_at, row.output_at)


def _verdict(row: RunRow, process_at: int | None, now_ms: int, thresholds: Thresholds) -> Verdict | None:
    if row.status in TERMINAL:
        return Verdict.LOST if row.status is Status.LOST else None
    if row.status in UNJUDGED or row.idle:
        return Verdict.ALIVE
    if row.is_watched():
        if is_past(row.process_at or row.created_at, now_ms, thresholds.lost_ms):
            return Verdict.LOST
        if is_past(process_at or row.created_at, now_ms, thresholds.silent_ms):
            return Verdict.SILENT
    # A lease shows by itself that its worker is there: it would have run out otherwise.
    stalled = is_past(row.progress_at or row.created_at, now_ms, thresholds.stalled_ms)
    return Verdict.STALLED if stalled else Verdict.ALIVE


def is_past(since_ms: int, now_ms: int, threshold_ms: int) -> bool:
    """Whether a threshold that is not off has passed."""
    return threshold_ms > 0 and now_ms - since_ms >= threshold_ms
