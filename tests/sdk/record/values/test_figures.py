"""Figures and names: what fits is sent as it is meant, what does not is kept aside, and names are made fit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.sdk.support.sinks import told
from towerlog.provider_usage.figures import MAX_COUNT, count, dollars
from towerlog.sdk.record.values.figures import labels, milliseconds, thread_of


class Index:
    def __index__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Index(7)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(150, 150), (150.0, 150), ("150", 150), (" 150 ", 150), ("150.0", 150), (Index(), 7), (Decimal(3), 3)],
    ids=repr,
)
def test_a_whole_number_is_a_count_whatever_its_type(value: Any, expected: int) -> None:
    found = count(value)
    assert (found, type(found)) == (expected, int)


@pytest.mark.parametrize(
    "value", [-1, 1.5, True, "x", "", float("nan"), float("inf"), MAX_COUNT + 1, "1e400", [], Fraction(1, 2)], ids=repr
)
def test_what_is_no_count_is_not_used(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        count(value)


def test_money_and_durations() -> None:
    assert [dollars(value) for value in (0.01, "0.01", Decimal("0.01"), 0)] == [0.01, 0.01, 0.01, 0.0]
    assert [milliseconds(value) for value in (1.5, 2.0, "3", timedelta(seconds=1), Fraction(1, 2))] == [
        1.5,
        2,
        3,
        1000,
        0.5,
    ]
    for fit, value in ((dollars, -1), (dollars, "nan"), (milliseconds, -1), (milliseconds, float("inf"))):
        with pytest.raises(ValueError, match="not a"):
            fit(value)


def test_a_call_with_odd_figures_loses_none_of_the_others() -> None:
    run, events = told()
    run.model_call("m", input_tokens=150.0, output_tokens="3", cached_input_tokens=-1, cost_usd=-1, duration_ms="soon")
    (event,) = events
    assert event["data"] == {
        "model": "m",
        "input_tokens": 150,
        "output_tokens": 3,
        "towerlog_invalid": {"cached_input_tokens": -1, "cost_usd": -1, "duration_ms": "soon"},
    }


@pytest.mark.parametrize("thread", ["t", "feature-login", "Straße 7", "a b", "x" * 200, "...", 'q"\\'])
def test_a_thread_that_is_allowed_stays_as_it_is(thread: str) -> None:
    assert thread_of(thread) == thread


def test_a_thread_that_is_not_allowed_is_made_fit_and_stays_another() -> None:
    given = ["feature/login", "feature-login", "feature\nlogin", ".", "..", "x" * 300, "x" * 301, "half\ud83d", "half?"]
    found = [thread_of(thread) for thread in given]
    assert len(set(found)) == len(given)
    for thread in found:
        assert thread is not None
        assert 0 < len(thread) <= 200
        assert "/" not in thread
        assert thread.isprintable()
        assert thread not in (".", "..")
    assert (thread_of("feature/login") or "").startswith("feature-login-")
    assert (thread_of(""), thread_of(7)) == (None, "7")


def test_labels_are_texts() -> None:
    assert labels({"a": "b", "n": 1, 2: True}) == {"a": "b", "n": "1", "2": "True"}
    for wrong in ({"a": []}, {str(n): "x" for n in range(65)}, 7):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            labels(wrong)
