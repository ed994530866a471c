"""Two clocks: what is small is the time of asking, what is large is followed."""

from __future__ import annotations

from tests.contract.test_leases import lane
from towerlog.model.budget import Reservation
from towerlog.model.lane import QueueState
from towerlog.store.postgres.times import ASKING_MS, DatabaseTimes, moved_lane, moved_reservation


def test_a_time_is_told_alike_until_the_clocks_part() -> None:
    times = DatabaseTimes(10_000, 4_000)
    for late in (0, 14, -14, ASKING_MS, -ASKING_MS):
        times.note(20_000 + late, 14_000)
        assert times.offset_ms == 6_000
    times.note(30_000, 21_000)
    assert times.offset_ms == 9_000, "this node did not hear for a while"


def test_all_times_of_a_lease_move_and_come_back() -> None:
    held = lane(
        1, 1, QueueState.HELD, queued_at=1, claimed_at=2, expires_at=3, last_heartbeat=4, lease_ms=5, queue_position=6
    )
    moved = moved_lane(held, 100)
    assert (moved.queued_at, moved.claimed_at, moved.expires_at, moved.last_heartbeat) == (101, 102, 103, 104)
    assert (moved.lease_ms, moved.queue_position) == (5, 6)
    assert moved_lane(moved, -100) == held
    assert moved_lane(lane(1, 2, queued_at=1), 7).expires_at is None
    reservation = Reservation(1, "r", 3, 5, 60_000, 8)
    assert moved_reservation(moved_reservation(reservation, 9), -9) == reservation
