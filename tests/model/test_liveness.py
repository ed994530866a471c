"""The verdict over a run, case by case: which clock counts, from when, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import run_row
from tests.support.fakes import START_MS
from towerlog.model.liveness import Liveness, Thresholds, Verdict, is_past, liveness_of
from towerlog.model.run import TERMINAL, RunRow, Status

LIMITS = Thresholds(stalled_ms=100, silent_ms=200, lost_ms=300)
NOW = START_MS + 10_000


def row(**fields: Any) -> RunRow:
    """A run whose agent has just spoken."""
    return run_row(**{"process_at": NOW, "progress_at": NOW, **fields})


def verdict(of: RunRow, *beats: int | None, limits: Thresholds = LIMITS) -> Verdict | None:
    """What is said of it."""
    return liveness_of(of, list(beats), lambda at: NOW - at, limits).verdict


@pytest.mark.parametrize(
    ("silent_ms", "expected"),
    [
        (0, Verdict.ALIVE),
        (99, Verdict.ALIVE),
        (100, Verdict.STALLED),
        (199, Verdict.STALLED),
        (200, Verdict.SILENT),
        (299, Verdict.SILENT),
        (300, Verdict.LOST),
    ],
)
def test_each_threshold_counts_from_the_moment_it_is_reached(silent_ms: int, expected: Verdict) -> None:
    assert verdict(row(process_at=NOW - silent_ms, progress_at=NOW - silent_ms)) is expected


def test_who_only_beats_is_stalled_and_who_has_said_nothing_at_all_counts_from_its_beginning() -> None:
    assert verdict(row(progress_at=NOW - 5000)) is Verdict.STALLED
    assert verdict(run_row(created_at=NOW - 250)) is Verdict.SILENT
    assert verdict(run_row(created_at=NOW - 50)) is Verdict.ALIVE


def test_a_heartbeat_that_is_no_event_shows_that_the_process_is_there_but_saves_no_run_for_ever() -> None:
    quiet = row(process_at=NOW - 250, progress_at=NOW - 250)
    assert verdict(quiet, NOW - 10) is Verdict.STALLED
    assert verdict(quiet, None, NOW - 210) is Verdict.SILENT
    assert verdict(row(process_at=NOW - 300), NOW) is Verdict.LOST
    assert liveness_of(quiet, [None, NOW - 10, NOW - 20], lambda at: NOW - at, LIMITS).process_at == NOW - 10
    born_later = run_row(created_at=NOW - 50)
    assert liveness_of(born_later, [NOW - 60], lambda at: NOW - at, LIMITS).process_at is None, (
        "that heartbeat was not this run's"
    )


def test_nobody_runs_what_waits_in_the_queue() -> None:
    assert verdict(row(status=Status.QUEUED, process_at=1, progress_at=1)) is None
    waiting = row(status=Status.QUEUED, created_at=1, process_at=None)
    found = liveness_of(waiting, [waiting.created_at + 1], lambda at: 10 - at, LIMITS)
    assert (found.verdict, found.process_at) == (None, None), "its agent's heartbeats are of other runs"


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL - {Status.RUNNING, Status.CANCELLING, Status.QUEUED}))
def test_who_owes_nothing_is_alive(status: Status) -> None:
    assert verdict(row(status=status, process_at=1, progress_at=1)) is Verdict.ALIVE
    assert verdict(row(idle=True, process_at=1, progress_at=1)) is Verdict.ALIVE


def test_under_a_lease_only_progress_is_looked_at() -> None:
    assert verdict(row(lease_epoch=1, process_at=1)) is Verdict.ALIVE
    assert verdict(row(lease_epoch=1, process_at=1, progress_at=1)) is Verdict.STALLED


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_is_judged_no_more(status: Status) -> None:
    assert verdict(row(status=status, process_at=1, progress_at=1)) is (Verdict.LOST if status is Status.LOST else None)


@pytest.mark.parametrize("off", ["stalled_ms", "silent_ms", "lost_ms"])
def test_nought_is_off(off: str) -> None:
    limits = Thresholds(**{"stalled_ms": 1, "silent_ms": 2, "lost_ms": 3, off: 0})
    seen = {verdict(row(process_at=NOW - ms, progress_at=NOW - ms), limits=limits) for ms in range(5)}
    left = {"stalled_ms": Verdict.STALLED, "silent_ms": Verdict.SILENT, "lost_ms": Verdict.LOST}
    del left[off]
    assert seen == {Verdict.ALIVE, *left.values()}
    assert not is_past(NOW, 0)


def test_the_clocks_are_shown_beside_the_verdict() -> None:
    shown = liveness_of(row(progress_at=NOW - 1, output_at=NOW - 2), [], lambda at: NOW - at, LIMITS)
    assert shown == Liveness(Verdict.ALIVE, NOW, NOW - 1, NOW - 2)
    assert Liveness() == Liveness(None, None, None, None)


def test_after_an_answer_the_agent_has_the_whole_threshold_again_and_its_clocks_show_only_what_it_did() -> None:
    asked = NOW - 10_000
    of = row(process_at=asked, progress_at=asked, expected_at=NOW - 199)
    assert verdict(of) is Verdict.STALLED
    assert verdict(row(process_at=asked, progress_at=asked, expected_at=NOW - 200)) is Verdict.SILENT
    assert liveness_of(of, [], lambda at: NOW - at, LIMITS).process_at == asked
