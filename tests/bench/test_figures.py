"""The arithmetic behind every figure and verdict."""

import pytest

from bench.figures import Row, percentile


def test_a_percentile_is_one_of_the_values_and_never_beyond_them() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_a_percentile_of_nothing_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_row_is_judged_by_towerlog_over_the_floor() -> None:
    row = Row("single", "rate", "events/s", 6_000.0, 10_000.0, compares="ratio", bound="at least", threshold=0.55)
    assert row.measured == pytest.approx(0.6)
    assert row.verdict == "ok"
    slower = Row("single", "rate", "events/s", 5_000.0, 10_000.0, compares="ratio", bound="at least", threshold=0.55)
    assert slower.verdict == "short"


def test_a_value_row_is_judged_by_itself_whatever_the_floor_did() -> None:
    assert Row("start", "ready", "s", 0.9, 0.1, threshold=1.0).verdict == "ok"
    assert Row("start", "ready", "s", 1.1, 5.0, threshold=1.0).verdict == "short"


@pytest.mark.parametrize("bound", ["at least", "at most"])
def test_a_threshold_that_is_just_met_is_met(bound: str) -> None:
    row = Row("x", "x", "", 1.0, threshold=1.0, bound="at least" if bound == "at least" else "at most")
    assert row.verdict == "ok"


def test_a_row_without_a_threshold_is_for_information() -> None:
    assert Row("single", "p50", "ms", 4.0, 2.0, compares="ratio").verdict == "info"


def test_what_was_not_measured_never_passes() -> None:
    assert Row("single", "rate", "events/s", None, 10_000.0, compares="ratio", threshold=0.55).verdict == "failed"
    assert Row("single", "rate", "events/s", 10.0, None, compares="ratio", threshold=0.55).verdict == "failed"
    assert Row("idle", "idle", "", problem="it fell over").verdict == "failed"


def test_a_row_in_json_carries_the_judged_figure_and_the_verdict() -> None:
    found = Row("a", "b", "ms", 3.0, 2.0, compares="ratio", threshold=2.0, detail={"n": 1}).as_json()
    assert (found["measured"], found["verdict"], found["threshold"], found["detail"]) == (1.5, "ok", 2.0, {"n": 1})
