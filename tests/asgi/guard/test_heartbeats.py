"""Heartbeats: known holders pass a limit six times a lease, inventions and the busy do not."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.asgi.guard.heartbeats import MAX_HOLDERS, PER_LEASE, Heartbeats
from towerlog.model.command import Report
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Claimed, NothingToClaim, Reported, RunView
from towerlog.model.question import ListLanes
from towerlog.model.run import RunRow, Status

LEASE_MS = 60_000
ROW = RunRow(run=1, org=1, run_id="r", thread_id="t", trace_id="x", status=Status.RUNNING, created_at=0)


def lane_of(worker: str | None) -> Lane:
    return Lane(
        run=1, org=1, state=QueueState.HELD, agent="a", queued_at=0, worker_id=worker, key_id="k", lease_ms=LEASE_MS
    )


def view_of(run_id: str) -> RunView:
    return RunView(row=msgspec.structs.replace(ROW, run_id=run_id), org_id="o")


def claimed(worker: str, run_id: str = "r") -> Claimed:
    return Claimed(view_of(run_id), lane_of(worker))


def reported(worker: str | None, run_id: str = "r") -> Reported:
    return Reported(view_of(run_id), lane_of(worker))


def report(worker: str, run_id: str = "r") -> Report:
    return Report(run_id, worker, [])


def test_a_holder_passes_six_times_a_lease() -> None:
    known = Heartbeats()
    known.note(claimed("w"), 0)
    for n in range(PER_LEASE):
        assert known.allows("k", report("w"), n)
        known.note(reported("w"), n, is_counted=True)
    assert not known.allows("k", report("w"), PER_LEASE)
    assert not known.allows("k", report("w"), LEASE_MS - 1)
    assert known.allows("k", report("w"), LEASE_MS), "the first is a lease ago"


def test_reports_that_are_refused_count_too() -> None:
    """Whoever holds a lease may not send bad reports without end, past the limit."""
    known = Heartbeats()
    known.note(claimed("w"), 0)
    assert [known.allows("k", report("w"), n) for n in range(PER_LEASE + 2)] == [True] * PER_LEASE + [False] * 2


def test_who_has_reported_a_hundred_times_does_not_pass() -> None:
    known = Heartbeats()
    for n in range(100):
        known.note(reported("w"), n)
    assert not known.allows("k", report("w"), 100)


def test_nobody_gets_past_by_a_name() -> None:
    known = Heartbeats()
    known.note(claimed("w"), 0)
    known.note(NothingToClaim(), 0)
    known.note(reported(None), 0)
    for command in (report("x"), report("w", "another"), ListLanes(10)):
        assert not known.allows("k", command, 0)


def test_another_key_does_not_pass_by_the_holders_name() -> None:
    known = Heartbeats()
    known.note(claimed("w"), 0)
    assert not known.allows("another", report("w"), 0)
    assert known.allows("k", report("w"), 0)


def test_what_is_known_is_bounded() -> None:
    known = Heartbeats()
    for n in range(MAX_HOLDERS + 1):
        known.note(claimed("w", f"r{n}"), 0)
    allowed: list[Any] = [known.allows("k", report("w", run_id), 0) for run_id in ("r0", "r1", f"r{MAX_HOLDERS}")]
    assert allowed == [False, True, True]
