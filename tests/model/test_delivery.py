"""Deliveries: so many attempts with their pauses, then an end; and all of them anew for who asks."""

from __future__ import annotations

import msgspec

from tests.store.sqlite.alerts.test_alerts import delivery
from towerlog.model.delivery import (
    MAX_ATTEMPTS_KEPT,
    MAX_WAIT_MS,
    Attempt,
    DeliveryState,
    RecordAttempt,
    after_attempt,
    sent_anew,
)

PAUSES = (10, 60)


def tried(count: int, **said: bool) -> list[tuple[DeliveryState, int | None]]:
    """The states and due times of a delivery over its attempts, each at 1,000 ms and 5 ms long."""
    row, found = delivery(1, "d"), []
    for _ in range(count):
        accepted, final = said.get("accepted", False), said.get("final", False)
        row = after_attempt(row, RecordAttempt(1, "d", Attempt(1000, 5, 503), accepted, final), PAUSES)
        found.append((row.state, row.due_at))
    return found


def test_each_pause_comes_before_one_attempt_more() -> None:
    pending, failed = DeliveryState.PENDING, DeliveryState.FAILED
    assert tried(3) == [(pending, 11_005), (pending, 61_005), (failed, None)]
    assert tried(1, accepted=True) == [(DeliveryState.DELIVERED, None)]
    assert tried(1, final=True) == [(failed, None)]


def test_who_asks_for_it_gets_all_attempts_anew_and_none_is_forgotten() -> None:
    row = delivery(1, "d", state=DeliveryState.FAILED, due_at=None, tries=3, attempts=(Attempt(1, 1),) * 3)
    again = sent_anew(row, 77)
    assert (again.state, again.due_at, again.tries, len(again.attempts)) == (DeliveryState.PENDING, 77, 0, 3)
    assert (again.message_id, again.body) == (row.message_id, row.body)


def test_of_many_attempts_the_newest_are_kept() -> None:
    row = delivery(1, "d")
    for number in range(MAX_ATTEMPTS_KEPT + 3):
        done = RecordAttempt(1, "d", Attempt(number, 1), accepted=False, final=False)
        row = after_attempt(msgspec.structs.replace(row, tries=0), done, PAUSES)
    assert [one.at for one in row.attempts] == list(range(3, MAX_ATTEMPTS_KEPT + 3))


def test_a_receiver_can_put_an_attempt_off_and_not_bring_it_forward() -> None:
    for wait_ms, due_in_ms in ((0, 10_000), (9_000, 10_000), (11_000, 11_000), (10 * MAX_WAIT_MS, MAX_WAIT_MS)):
        done = RecordAttempt(1, "d", Attempt(1000, 5, 429), accepted=False, final=False, wait_ms=wait_ms)
        assert after_attempt(delivery(1, "d"), done, PAUSES).due_at == 1005 + due_in_ms
