"""Liveness: three clocks of a run, and the verdict computed from them when somebody reads the run.

A verdict changes nothing; only the events of `engine/timers` mark or end a run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from towerlog.model.event import EventType
from towerlog.model.facts import Effects
from towerlog.model.outline import MomentEffects
from towerlog.model.run import TERMINAL, RunRow, Status

NO_REPORTS_EXPECTED = frozenset({Status.QUEUED, Status.WAITING, Status.PAUSED})
"""A run in one of these is not expected to report: it stays `alive`, or, in the queue, has no verdict."""
NOT_FROM_AGENT = frozenset(
    {
        EventType.RUN_QUEUED,
        EventType.RUN_CANCEL_REQUESTED,
        EventType.RUN_PAUSE_REQUESTED,
        EventType.RUN_RESUME_REQUESTED,
        EventType.RUN_SILENT,
        EventType.RUN_LOST,
        EventType.APPROVAL_EXPIRED,
        EventType.COMMAND_DELIVERED,
        EventType.LANE_LOST,
        EventType.COST_REPRICED,
        EventType.USAGE_RECOUNTED,
        EventType.RUN_ERASED,
        EventType.ERASED,
    }
)
"""Types that only the server writes about a run."""


Elapsed = Callable[[int], int]
"""From a stamp of the wall clock to the ms in which the server could have heard more since."""


class Verdict(enum.StrEnum):
    """The state of a run that somebody works on; `lost` also for one that ended as lost."""

    ALIVE = "alive"
    SILENT = "silent"
    STALLED = "stalled"
    LOST = "lost"


class Thresholds(msgspec.Struct, frozen=True):
    """After how many ms without a sign of life each verdict is given; 0 = never."""

    stalled_ms: int = 900_000
    silent_ms: int = 900_000
    lost_ms: int = 86_400_000


DEFAULT_THRESHOLDS = Thresholds()


class Liveness(msgspec.Struct, frozen=True, gc=False):
    """The clocks in wall ms, and the verdict: None for a run that has ended, and for one that waits in the queue."""

    verdict: Verdict | None = None
    process_at: int | None = None
    """The last sign of life: an event, or a heartbeat of its agent or its worker."""
    progress_at: int | None = None
    """The last event that is no heartbeat."""
    output_at: int | None = None
    """The last `message.delta`."""


def liveness_of(
    row: RunRow, beats: list[int | None], elapsed_ms: Elapsed, thresholds: Thresholds, lasted_ms: Elapsed | None = None
) -> Liveness:
    """The clocks of a run and the verdict now; `elapsed_ms` tells how long the server has listened since a stamp.

    `beats`: times of heartbeats that are not events, of its agent or its worker; of a run that nobody has taken they
    say nothing. `lasted_ms`: the same by what was known before the server could not hear, where that is longer.
    """

    known = [] if row.status is Status.QUEUED else [at for at in beats if at is not None]
    process_at = _process_at(row, known, elapsed_ms)
    verdict = _verdict(row, process_at, elapsed_ms, thresholds, lasted_ms or elapsed_ms)
    return Liveness(verdict, process_at, row.progress_at, row.output_at)


def _process_at(row: RunRow, beats: list[int], elapsed_ms: Elapsed) -> int | None:
    """The last sign of life: what the run itself told, or one of these heartbeats."""
    if not beats:
        # The usual case of a list, in which to tell ages would be the dearest part of a row.
        return row.process_at

    def age(at: int) -> tuple[int, int]:
        """Stamps do not tell the order of things where the wall clock was set back between them."""
        return elapsed_ms(at), -at

    # A heartbeat from before the run says nothing about the run.
    of_run = [at for at in beats if age(at) <= age(row.created_at)]
    return min([*of_run, *([] if row.process_at is None else [row.process_at])], key=age, default=None)


def _verdict(
    row: RunRow, process_at: int | None, elapsed_ms: Elapsed, thresholds: Thresholds, lasted_ms: Elapsed
) -> Verdict | None:
    if row.status in TERMINAL:
        return Verdict.LOST if row.status is Status.LOST else None
    if row.status is Status.QUEUED:
        return None
    if is_waiting(row):
        return Verdict.ALIVE
    if row.is_silence_timed():
        # `lost` counts only what the run itself sent: an agent that is alive may have forgotten one of its runs.
        if is_past(silence_ms(row, elapsed_ms), thresholds.lost_ms):
            return Verdict.LOST
        is_noted = row.silent_at is not None and process_at == row.process_at
        if is_noted or is_past(_expected_ms(row, process_at, elapsed_ms), thresholds.silent_ms):
            return Verdict.SILENT
    # A run under a lease is never silent here: without reports its lease expires and it goes back to the queue.
    stalled = is_past(standstill_ms(row, lasted_ms), thresholds.stalled_ms)
    return Verdict.STALLED if stalled else Verdict.ALIVE


def is_waiting(row: RunRow) -> bool:
    """Whether nothing is expected of the run's agent now."""
    return row.status in NO_REPORTS_EXPECTED or row.idle


def silence_ms(row: RunRow, elapsed_ms: Elapsed) -> int:
    """How long a run has sent nothing although reports were expected."""
    return _expected_ms(row, row.process_at, elapsed_ms)


def standstill_ms(row: RunRow, elapsed_ms: Elapsed) -> int:
    """How long a run has sent nothing but heartbeats although reports were expected."""
    return _expected_ms(row, row.progress_at, elapsed_ms)


def standstill_since(row: RunRow) -> int:
    """What stands for the standstill that a run is in: the stamp of what it sent last, or of when reports were expected
    again. Another one is another standstill; which of two was first, it does not tell."""
    at = row.created_at if row.progress_at is None else row.progress_at
    return at if row.expected_at is None else max(at, row.expected_at)


def _expected_ms(row: RunRow, at: int | None, elapsed_ms: Elapsed) -> int:
    """The time since a stamp, or since reports are expected again: an answer after days makes no agent silent."""
    since_ms = elapsed_ms(row.created_at if at is None else at)
    return since_ms if row.expected_at is None else min(since_ms, elapsed_ms(row.expected_at))


def is_past(elapsed_ms: int, threshold_ms: int) -> bool:
    """Whether `threshold_ms` has passed; never for a threshold of 0."""
    return 0 < threshold_ms <= elapsed_ms


def is_of_agent(kind: EventType, effects: Effects | MomentEffects | None) -> bool:
    """Whether a run's agent or its worker told an event: what people and the server do is no sign of life."""
    if kind in NOT_FROM_AGENT:
        return False
    if effects is None:
        return True
    if effects.of_server:
        return effects.beat  # the server's note that the agent has told again what it had told
    point = effects.checkpoint
    is_decision = point is not None and (point.decided_by is not None or point.expired)
    return effects.requests is None and effects.budget_id is None and not is_decision
