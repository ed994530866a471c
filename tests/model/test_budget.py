"""Budgets as values: periods in UTC, thresholds to the nano-dollar, what people are told."""

from __future__ import annotations

import pytest

from towerlog.model.budget import (
    BudgetScope,
    Period,
    dollars_text,
    period_end,
    period_start,
    warn_nanos,
)
from towerlog.model.times import format_ms

NOON_MS = 1_709_208_000_000  # 2024-02-29T12:00:00Z


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.HOUR, "2024-02-29T12:00:00.000Z", "2024-02-29T13:00:00.000Z"),
        (Period.DAY, "2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        (Period.MONTH, "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
    ],
)
def test_a_period_begins_and_ends_in_utc(period: Period, start: str, end: str) -> None:
    began = period_start(period, NOON_MS + 59 * 60_000 + 59_999)
    ends = period_end(period, began)
    assert ends is not None
    assert (format_ms(began), format_ms(ends)) == (start, end)
    assert period_start(period, ends - 1) == began
    assert period_start(period, ends) == ends


def test_the_month_after_december_is_january() -> None:
    began = period_start(Period.MONTH, 1_735_603_200_000)  # 2024-12-31
    assert format_ms(period_end(Period.MONTH, began) or 0) == "2025-01-01T00:00:00.000Z"


def test_a_total_never_ends() -> None:
    assert period_start(Period.TOTAL, NOON_MS) == 0
    assert period_end(Period.TOTAL, 0) is None


def test_a_threshold_is_rounded_up_and_never_a_float() -> None:
    assert warn_nanos(10_000_000_000, 0.8) == 8_000_000_000
    assert warn_nanos(1, 0.8) == 1
    assert warn_nanos(9_007_199_254_000_000_001, 0.1) == 900_719_925_400_000_001


@pytest.mark.parametrize(
    ("nanos", "text"),
    [(10_000_000_000, "10.00"), (12_500_000, "0.0125"), (500_000_000, "0.50"), (1, "0.000000001"), (0, "0.00")],
)
def test_money_has_two_decimals_and_as_many_more_as_it_needs(nanos: int, text: str) -> None:
    assert dollars_text(nanos) == text


def test_a_scope_covers_what_it_names() -> None:
    assert BudgetScope(organisation=True).covers(None, "t")
    assert BudgetScope(agent="a").covers("a", "t")
    assert not BudgetScope(agent="a").covers(None, "t")
    assert BudgetScope(thread_id="t").covers("a", "t")
    assert not BudgetScope(thread_id="t").covers("a", "u")
    assert not BudgetScope(run_id="r").covers("a", "t")
