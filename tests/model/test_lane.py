"""Lanes: who holds a run is a question of state and of time."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.lane import DEFAULT_LEASE_SECONDS, MAX_LEASE_SECONDS, Lane, QueueState

HELD = Lane(1, 1, QueueState.HELD, "agent", 0, worker_id="w", epoch=1, attempt=1, expires_at=1000)


@pytest.mark.parametrize(("now_ms", "held"), [(0, True), (999, True), (1000, False), (1001, False)])
def test_a_lease_runs_until_its_deadline(now_ms: int, held: bool) -> None:
    assert HELD.is_held(now_ms) is held


@pytest.mark.parametrize("state", sorted(set(QueueState) - {QueueState.HELD}))
def test_a_lane_that_is_not_held_is_held_by_no_deadline(state: QueueState) -> None:
    assert not msgspec.structs.replace(HELD, state=state).is_held(0)


def test_a_renewal_moves_nothing_but_the_deadline_and_what_is_told() -> None:
    renewed = msgspec.structs.replace(HELD, expires_at=2000, last_heartbeat=1000, reported=True, phase="packing")
    assert renewed.is_renewal_of(HELD)
    assert not renewed.is_renewal_of(None)


@pytest.mark.parametrize("moved", [{"state": QueueState.QUEUED}, {"queue_position": 7}, {"queued_at": 7}])
def test_a_lane_that_moves_in_the_queue_is_no_renewal(moved: dict[str, object]) -> None:
    assert not msgspec.structs.replace(HELD, **moved).is_renewal_of(HELD)


def test_a_lease_without_a_deadline_is_none() -> None:
    assert not msgspec.structs.replace(HELD, expires_at=None).is_held(0)


def test_a_lane_survives_its_storage() -> None:
    lane = msgspec.structs.replace(HELD, labels={"gpu": "yes"}, phase="packing", reported=True)
    assert msgspec.json.decode(msgspec.json.encode(lane), type=Lane) == lane


def test_a_lease_is_five_minutes_long_and_an_hour_at_most() -> None:
    assert Lane(1, 1, QueueState.QUEUED, "agent", 0).lease_ms == DEFAULT_LEASE_SECONDS * 1000 == 300_000
    assert MAX_LEASE_SECONDS == 3600
