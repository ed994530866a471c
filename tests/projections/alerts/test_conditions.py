"""When figures make an alert: loops begin once, thresholds are crossed once, rates need runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.alert import AlertConfig, AlertState
from towerlog.projections.alerts.conditions import (
    begins_loop,
    burn_state,
    call_digest,
    crosses,
    failure_state,
    holds_loop,
)

OK, ALERT, NO_DATA = AlertState.OK, AlertState.ALERT, AlertState.NO_DATA


def calls(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


@pytest.mark.parametrize(
    ("text", "times", "begins"),
    [
        ("", 3, False),
        ("aa", 3, False),
        ("aaa", 3, True),
        ("aaaa", 3, False),
        ("axaya", 3, True),
        ("aaab", 3, False),
        ("abab", 3, True),
        ("ababa", 3, True),
        ("xabab", 3, True),
        ("abac", 3, False),
        ("abab", 4, False),
        ("ababab", 4, True),
        ("aaa", None, True),
        ("aa", 2, True),
    ],
)
def test_a_loop_begins_once(text: str, times: int | None, begins: bool) -> None:
    assert begins_loop(calls(text), times) is begins


@given(st.text("abc", max_size=12), st.integers(2, 5))
def test_no_call_makes_two_loops_of_itself(text: str, times: int) -> None:
    found = [end for end in range(1, len(text) + 1) if begins_loop(calls(text[:end]), times)]
    for letter in "abc":
        by_itself = [end for end in found if text[:end].count(letter) == times and text[end - 1] == letter]
        assert len(by_itself) <= 1


def test_a_call_is_the_same_in_another_spelling() -> None:
    same = call_digest("search", b'{"q":"x","n":1}')
    assert call_digest("search", b'{ "n": 1, "q": "\\u0078" }') == same
    assert call_digest("fetch", b'{"q":"x","n":1}') != same
    assert call_digest("search", b'{"q":"x","n":2}') != same
    assert call_digest(None, b"") == call_digest("", b"") != call_digest("a", b"")
    assert call_digest("a", b"not json") != call_digest("a", b"not json either")


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=20), st.sampled_from([None, 1, 2, 3, 4, 5]))
def test_a_loop_is_among_calls_where_one_of_them_has_begun_it(calls: list[bytes], times: int | None) -> None:
    assert holds_loop(calls, times) is any(begins_loop(calls[: end + 1], times) for end in range(len(calls)))


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 100))
def test_a_threshold_is_crossed_once_on_the_way_up(start: int, step: int, threshold: int) -> None:
    assert crosses(start, start + step, threshold) is (start < threshold <= start + step)


@pytest.mark.parametrize(
    ("runs", "failed", "times", "fraction", "state"),
    [
        (0, 0, None, 0.5, NO_DATA),
        (4, 4, None, 0.5, NO_DATA),
        (5, 2, None, 0.5, OK),
        (6, 3, None, 0.5, ALERT),
        (2, 1, 2, 0.5, ALERT),
        (2, 0, 2, 0.01, OK),
    ],
)
def test_a_rate_needs_runs(runs: int, failed: int, times: int | None, fraction: float, state: AlertState) -> None:
    assert failure_state(runs, failed, AlertConfig(times=times, fraction=fraction)) is state


def test_nothing_spent_tells_no_rate() -> None:
    config = AlertConfig(amount_nanos=10)
    assert [burn_state(spent, config) for spent in (0, 9, 10)] == [NO_DATA, OK, ALERT]
