"""When a worker stops to trust its lease."""

from __future__ import annotations

from towerlog.sdk.work.lease import LeaseClock


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_lease_is_trusted_for_four_fifths_from_the_sending() -> None:
    now = Now()
    clock = LeaseClock(10, now)
    sent_at = clock.now()
    now.seconds += 5
    clock.renewed(sent_at)
    # The reply took five seconds: they count against the lease.
    assert clock.left_s == 3
    now.seconds += 3
    assert clock.left_s == 0


def test_an_older_renewal_changes_nothing() -> None:
    now = Now()
    clock = LeaseClock(10, now)
    now.seconds += 4
    clock.renewed(1004)
    clock.renewed(1001)
    assert clock.left_s == 8


def test_a_stopped_process_finds_its_lease_lost() -> None:
    now = Now()
    clock = LeaseClock(60, now)
    now.seconds += 3600
    assert clock.left_s == 0


def test_reports_come_often_enough_and_never_wait_past_a_third() -> None:
    for lease_s in (1, 2, 3, 10, 60, 3600):
        clock = LeaseClock(lease_s, Now())
        assert clock.pause_s <= lease_s / 3
        assert clock.pause_s <= 1
        assert clock.wait_s <= lease_s / 3
    assert LeaseClock(2, Now()).wait_s == 0
    assert LeaseClock(60, Now()).wait_s == 20
