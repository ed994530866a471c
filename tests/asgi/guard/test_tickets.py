"""Tickets: bounded, and given back when their time is over."""

from __future__ import annotations

import pytest

from towerlog.ambient import SystemClock, SystemIds
from towerlog.asgi.guard import tickets
from towerlog.asgi.guard.tickets import LIFETIME_MS, Repeat, Tickets
from towerlog.errors import IdempotencyMismatch, Overloaded


@pytest.fixture
def box() -> Tickets:
    return Tickets(SystemIds(SystemClock()))


def test_there_are_never_more_than_the_bound(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS", 3)
    given = [box.give(b"k", at) for at in range(3)]
    with pytest.raises(Overloaded):
        box.give(b"k", 3)
    assert box.take(given[1], 3) == b"k"
    assert box.give(b"k", 3)
    with pytest.raises(Overloaded):
        box.give(b"k", LIFETIME_MS - 1)
    assert box.give(b"k", LIFETIME_MS), "the first has run out"


def test_one_key_cannot_take_all_of_them(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_KEY", 2)
    given = [box.give(b"k", at) for at in range(2)]
    with pytest.raises(Overloaded):
        box.give(b"k", 2)
    assert box.give(b"other", 2)
    assert box.take(given[0], 2) == b"k"
    assert box.take(given[0], 2) is None, "used up: it counts once"
    assert box.give(b"k", 2)
    with pytest.raises(Overloaded):
        box.give(b"k", 2)
    assert box.give(b"k", LIFETIME_MS + 1), "the one of time 1 has run out"
    assert box.take("unknown", 0) is None


def test_each_is_another(box: Tickets) -> None:
    given = {box.give(b"k", 0) for _ in range(100)}
    assert len(given) == 100
    assert min(map(len, given)) >= 32


def test_a_repeated_request_gets_its_ticket_until_that_is_used_or_over(box: Tickets) -> None:
    once = Repeat("a", b"body")
    first = box.give(b"k", 0, once)
    assert box.give(b"k", 1, once) == first
    assert box.give(b"k", 1, Repeat("b", b"body")) != first
    assert box.give(b"other", 1, once) != first, "an Idempotency-Key is the caller's own"
    with pytest.raises(IdempotencyMismatch):
        box.give(b"k", 1, Repeat("a", b"another body"))
    assert box.take(first, 1) == b"k"
    second = box.give(b"k", 2, once)
    assert second != first
    assert box.give(b"k", LIFETIME_MS + 2, once) != second
    assert box.take(second, LIFETIME_MS + 2) is None


def test_repeats_take_no_place_of_their_own(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_KEY", 2)
    given = [box.give(b"k", 0, Repeat(key, b"")) for key in "aabb"]
    assert len(set(given)) == 2
    with pytest.raises(Overloaded):
        box.give(b"k", 0, Repeat("c", b""))
