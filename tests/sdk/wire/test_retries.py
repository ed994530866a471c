"""When it is tried again, after how long, and when it is given up."""

from __future__ import annotations

import pytest

from towerlog.sdk.wire.errors import ApiError, BadAnswer, Unreachable
from towerlog.sdk.wire.retries import HELD_S, HURRIED_S, Backoff, Pace, Retries, is_worth_repeating

BUSY = ApiError(503, "overloaded", "m")


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    retries = Retries(attempts=100, first_s=1, longest_s=8)
    for tried, ceiling in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (90, 8)):
        pauses = [retries.pause_s(tried, BUSY) for _ in range(50)]
        assert all(pause is not None and ceiling / 2 <= pause <= ceiling for pause in pauses)
        assert len(set(pauses)) > 1


def test_it_is_given_up_after_so_many_times() -> None:
    retries = Retries(attempts=3)
    assert [retries.pause_s(tried, Unreachable()) is None for tried in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize("error", [BadAnswer("redirect"), ApiError(404, "not_found", "m"), ApiError(500, "x", "m")])
def test_what_will_not_pass_is_not_tried_again(error) -> None:
    assert not is_worth_repeating(error)
    assert Retries().pause_s(1, error) is None


def test_the_server_says_when_and_not_for_ever() -> None:
    retries = Retries(first_s=0.01, longest_told_s=30)
    assert retries.pause_s(1, ApiError(429, "rate_limited", "m", retry_after=7)) == 7
    assert retries.pause_s(1, ApiError(429, "rate_limited", "m", retry_after=31)) is None


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


def test_polls_that_are_answered_at_once_become_rare_until_one_is_held_back_or_brings_news() -> None:
    pace = Pace(5.0)
    for is_news, took_s, least_s in ((False, HELD_S, 0.0), (True, 0.0, HURRIED_S)):
        pauses = [pace.pause_s(0.01, is_news=False) for _ in range(9)]
        assert HURRIED_S / 2 <= pauses[0] <= HURRIED_S
        assert 2.5 <= pauses[-1] <= 5.0
        assert pace.pause_s(took_s, is_news) == least_s
    assert pace.pause_s(0.01, is_news=False) <= HURRIED_S
