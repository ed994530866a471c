"""Tickets: bounded, and given back when their time is over."""

from __future__ import annotations

import pytest

from towerlog.ambient import SystemClock, SystemIds
from towerlog.asgi.guard import tickets
from towerlog.asgi.guard.tickets import LIFETIME_MS, MIN_LEFT_MS, GivenTicket, Repeat, Tickets
from towerlog.errors import IdempotencyMismatch, Overloaded


@pytest.fixture
def box() -> Tickets:
    return Tickets(SystemIds(SystemClock()))


def test_there_are_never_more_than_the_bound(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS", 3)
    given = [box.give(b"k", 1, at).text for at in range(3)]
    with pytest.raises(Overloaded, match=r"The server has .*\(3\)") as refused:
        box.give(b"k", 1, 3)
    assert refused.value.retry_after == 60
    assert box.take(given[1], 3) == b"k"
    assert box.give(b"k", 1, 3)
    with pytest.raises(Overloaded):
        box.give(b"k", 1, LIFETIME_MS - 1)
    assert box.give(b"k", 1, LIFETIME_MS), "the first has run out"


def test_one_key_cannot_take_all_of_them(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_KEY", 2)
    given = [box.give(b"k", 1, at).text for at in range(2)]
    with pytest.raises(Overloaded, match=r"This key has .*\(2\)") as refused:
        box.give(b"k", 1, LIFETIME_MS - 1500)
    assert refused.value.retry_after == 2, "the oldest of the key is over then"
    assert box.give(b"other", 1, 2)
    assert box.take(given[0], 2) == b"k"
    assert box.take(given[0], 2) is None, "used up: it counts once"
    assert box.give(b"k", 1, 2)
    with pytest.raises(Overloaded):
        box.give(b"k", 1, 2)
    assert box.give(b"k", 1, LIFETIME_MS + 1), "the one of time 1 has run out"
    assert box.take("unknown", 0) is None


def test_one_organisation_cannot_take_all_of_them(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys it has."""
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_ORGANISATION", 3)
    given = [box.give(b"k%d" % number, 1, number).text for number in range(3)]
    with pytest.raises(Overloaded, match=r"This organisation has .*\(3\)") as refused:
        box.give(b"k3", 1, 3)
    assert refused.value.retry_after == 60, "the oldest of the organisation is over then"
    assert box.give(b"k4", 2, 3), "another organisation's share is its own"
    assert box.take(given[1], 3) == b"k1"
    assert box.give(b"k3", 1, 3)
    with pytest.raises(Overloaded):
        box.give(b"k4", 1, 3)
    assert box.give(b"k4", 1, LIFETIME_MS), "the one of time 0 has run out"


def test_each_is_another(box: Tickets) -> None:
    given = {box.give(b"k", 1, 0).text for _ in range(100)}
    assert len(given) == 100
    assert min(map(len, given)) >= 32


def test_a_repeated_request_gets_its_ticket_until_that_is_used_or_over(box: Tickets) -> None:
    once = Repeat("a", b"body")
    first = box.give(b"k", 1, 0, once).text
    assert box.give(b"k", 1, 1, once) == GivenTicket(first, LIFETIME_MS - 1)
    assert box.give(b"k", 1, 1, Repeat("b", b"body")).text != first
    assert box.give(b"other", 1, 1, once).text != first, "an Idempotency-Key is the caller's own"
    with pytest.raises(IdempotencyMismatch):
        box.give(b"k", 1, 1, Repeat("a", b"another body"))
    assert box.take(first, 1) == b"k"
    second = box.give(b"k", 1, 2, once).text
    assert second != first
    third = box.give(b"k", 1, LIFETIME_MS + 2, once)
    assert third.text != second
    assert third.left_ms == LIFETIME_MS
    assert box.take(second, LIFETIME_MS + 2) is None


@pytest.mark.parametrize("at", [LIFETIME_MS - MIN_LEFT_MS + 1, LIFETIME_MS - 1, LIFETIME_MS, 10 * LIFETIME_MS])
def test_a_repeated_request_gets_no_ticket_that_runs_out_on_the_way(box: Tickets, at: int) -> None:
    once = Repeat("a", b"body")
    first = box.give(b"k", 1, 0, once).text
    assert box.give(b"k", 1, LIFETIME_MS - MIN_LEFT_MS, once) == GivenTicket(first, MIN_LEFT_MS)
    later = box.give(b"k", 1, at, once)
    assert later.text != first
    assert later.left_ms == LIFETIME_MS
    assert box.give(b"k", 1, at + 1, once) == GivenTicket(later.text, LIFETIME_MS - 1)
    assert box.take(later.text, at + LIFETIME_MS - 1) == b"k"


def test_repeats_take_no_place_of_their_own(box: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_KEY", 2)
    given = [box.give(b"k", 1, 0, Repeat(key, b"")).text for key in "aabb"]
    assert len(set(given)) == 2
    with pytest.raises(Overloaded):
        box.give(b"k", 1, 0, Repeat("c", b""))
