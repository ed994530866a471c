"""Tickets: bounded, and given back when their time is over."""

from __future__ import annotations

import pytest

from towerlog.ambient import SystemClock, SystemIds
from towerlog.asgi.guard import tickets
from towerlog.asgi.guard.tickets import LIFETIME_MS, Tickets
from towerlog.errors import Overloaded


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


def test_each_is_another(box: Tickets) -> None:
    given = {box.give(b"k", 0) for _ in range(100)}
    assert len(given) == 100
    assert min(map(len, given)) >= 32
