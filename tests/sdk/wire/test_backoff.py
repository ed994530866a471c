"""Pauses grow, are bounded, differ, and honour what the server wants."""

from __future__ import annotations

from towerlog.sdk.wire.backoff import Backoff


def test_pauses_grow_up_to_the_longest() -> None:
    pause = Backoff(2.0)
    pauses = [pause.next_s(None) for _ in range(20)]
    assert pauses[0] <= 0.05
    assert all(0 < seconds <= 2.0 for seconds in pauses)
    assert min(pauses[10:]) >= 1.0
    pause.reset()
    assert pause.next_s(None) <= 0.05


def test_many_clients_do_not_come_back_in_step() -> None:
    assert len({Backoff(2.0).next_s(None) for _ in range(20)}) > 10


def test_the_server_may_want_a_longer_pause() -> None:
    assert Backoff(2.0).next_s(7.0) == 7.0
