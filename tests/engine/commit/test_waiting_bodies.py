"""Replies that wait to be stored are bounded in number and in bytes; the oldest is left out first."""

from __future__ import annotations

from towerlog.engine.commit.replies import MAX_WAITING_BYTES, WaitingBodies
from towerlog.store.values import ReplyBody


def body(name: str, size: int = 1) -> ReplyBody:
    return ReplyBody(1, name, 200, b"x" * size)


def names(bodies: WaitingBodies) -> list[str]:
    return [one.name for one in bodies.take()]


def test_past_its_number_the_oldest_goes() -> None:
    bodies = WaitingBodies(2)
    for name in "abc":
        bodies.add(body(name))
    assert names(bodies) == ["b", "c"]
    assert names(bodies) == []


def test_past_its_bytes_the_oldest_goes() -> None:
    bodies = WaitingBodies(100)
    for name in "abc":
        bodies.add(body(name, MAX_WAITING_BYTES // 2))
    assert names(bodies) == ["b", "c"]
    bodies.add(body("d", MAX_WAITING_BYTES + 1))
    assert names(bodies) == []
