"""The sliding window: never more than the limit in any minute, and told how long to wait."""

from __future__ import annotations

import random

import pytest

from tests.support.tables import table
from towerlog.asgi.guard import limits
from towerlog.asgi.guard.limits import WINDOW_MS, Limiter, Sharing


def passed(limiter: Limiter, steady_ms: int, who: str = "me") -> bool:
    return limiter.take(who, steady_ms, 0)[1] is None


def test_the_limit_is_exact() -> None:
    limiter = Limiter(5)
    assert [passed(limiter, n) for n in range(7)] == [True] * 5 + [False] * 2
    assert not passed(limiter, WINDOW_MS - 1)
    assert passed(limiter, WINDOW_MS), "the first is a minute ago"
    assert not passed(limiter, WINDOW_MS), "the second is not"
    assert passed(limiter, WINDOW_MS + 1)


def test_in_no_minute_are_more_let_through() -> None:
    chance, limiter, now, times = random.Random(7), Limiter(20), 0, []
    for _ in range(5000):
        now += chance.choice([0, 1, 50, 1000, 3000])
        if passed(limiter, now):
            times.append(now)
    assert len(times) > 500
    assert max(sum(start <= time < start + WINDOW_MS for time in times) for start in times) == 20


def test_a_burst_at_the_edge_of_a_minute_gets_no_second_helping() -> None:
    limiter = Limiter(200)
    edge = 10 * WINDOW_MS
    assert sum(passed(limiter, edge - 1) for _ in range(300)) == 200
    assert sum(passed(limiter, edge + 1) for _ in range(300)) == 0


def test_everybody_has_a_window_of_his_own() -> None:
    limiter = Limiter(1)
    assert [passed(limiter, 0, who) for who in ("a", "b", "a", "b")] == [True, True, False, False]


def test_the_headers_tell_what_is_left_and_when_there_is_more() -> None:
    limiter = Limiter(2)
    seen = [dict(limiter.take("me", now, 1_000_000 + now)[0]) for now in (0, 10_000, 20_000)]
    assert [headers[b"x-ratelimit-limit"] for headers in seen] == [b"2"] * 3
    assert [headers[b"x-ratelimit-remaining"] for headers in seen] == [b"1", b"0", b"0"]
    assert [headers[b"x-ratelimit-reset"] for headers in seen] == [b"1060"] * 3


@pytest.mark.parametrize(("longest", "waits"), [(60, [60, 31, 1]), (20, [20, 20, 1])])
def test_the_refused_are_told_how_long_to_wait(longest: int, waits: list[int]) -> None:
    limiter = Limiter(1, longest)
    limiter.take("me", 0, 0)
    refusals = [limiter.take("me", now, 0)[1] for now in (0, 29_001, 59_999)]
    assert [refusal.retry_after for refusal in refusals if refusal] == waits
    assert limiter.refused == 3


def test_windows_are_bounded_and_the_one_unused_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WINDOWS", 2)
    limiter = Limiter(1)
    assert passed(limiter, 0, "a")
    assert passed(limiter, 0, "b")
    assert not passed(limiter, 0, "a")
    assert passed(limiter, 0, "c"), "takes the place of b"
    assert not passed(limiter, 0, "a")
    assert passed(limiter, 0, "b")


# Several nodes


class Node:
    """A node's limiter, and what it has told the others."""

    def __init__(self, limit: int, nodes: int) -> None:
        self.limiter = Limiter(limit)
        self.told = 0
        self.limiter.sharing = Sharing(lambda: nodes, lambda _: self.count())

    def count(self) -> None:
        """One more to tell."""
        self.told += 1


def let_through(nodes: list[Node], limit: int, each_ms: int, lag_ms: int, seconds: int, busy: int) -> int:
    """How many pass where `busy` of these nodes are asked all the time, and each hears of the others after `lag_ms`."""
    passed = 0
    for now in range(0, seconds * 1000, each_ms):
        for node in nodes[:busy]:
            passed += node.limiter.take("k", now, now)[1] is None
        if not now % lag_ms:
            for node in nodes:
                for other in nodes:
                    if other is not node and node.told:
                        other.limiter.hear("k", node.told, now)
                node.told = 0
    return passed


@table("busy", [1, 2, 3])
@table("each_ms", [1, 5, 20])
@table("limit", [60, 200, 600])
def test_several_nodes_let_through_what_one_would(limit: int, each_ms: int, busy: int) -> None:
    nodes = [Node(limit, 3) for _ in range(3)]
    passed = let_through(nodes, limit, each_ms, 50, 15, busy)
    assert 0.9 * limit <= min(passed, 15_000 // each_ms * busy)
    assert passed <= 1.1 * limit, passed


def test_what_others_let_through_leaves_the_window_in_time() -> None:
    [node] = [Node(10, 2)]
    node.limiter.hear("k", 10, 0)
    assert node.limiter.take("k", 500, 500)[1] is not None
    assert node.limiter.take("k", 60_500, 60_500)[1] is None


def test_what_was_heard_never_takes_more_than_the_limit_holds() -> None:
    [node] = [Node(10, 2)]
    for at in range(50):
        node.limiter.hear("k", 1000, at)
    assert node.limiter._windows["k"].used(60, 10) == 10
