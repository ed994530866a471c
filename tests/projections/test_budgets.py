"""The counter of a budget: thresholds are crossed once a period, whatever the steps in which money is spent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table
from towerlog.model.budget import (
    BudgetAction,
    BudgetRow,
    BudgetScope,
    BudgetState,
    BudgetStep,
    Period,
    period_end,
    period_start,
    warn_nanos,
)
from towerlog.projections import budgets as fold

NOW_MS = 1_709_208_000_000
HOUR_MS = 3_600_000
DOLLAR = 1_000_000_000


def budget(**given: Any) -> BudgetRow:
    """Ten dollars for the organisation."""
    period = given.get("period", Period.TOTAL)
    row = BudgetRow(
        org=1,
        budget_id="b",
        number=1,
        name="ours",
        scope=BudgetScope(organisation=True),
        amount_nanos=10 * DOLLAR,
        period=period,
        action=BudgetAction.PAUSE,
        warn_at=0.8,
        warn_nanos=warn_nanos(10 * DOLLAR, 0.8),
        created_at=NOW_MS,
        period_start=period_start(period, NOW_MS),
    )
    return msgspec.structs.replace(row, **given)


@given(st.lists(st.integers(1, 3 * DOLLAR), max_size=30))
def test_each_threshold_is_crossed_once_and_the_sum_is_exact(costs: list[int]) -> None:
    row, warned, exceeded = budget(), 0, 0
    for cost in costs:
        row, warns, exceeds = fold.spent(row, cost, NOW_MS)
        warned, exceeded = warned + warns, exceeded + exceeds
    assert row.spent_nanos == sum(costs)
    assert warned == (sum(costs) >= 8 * DOLLAR)
    assert exceeded == (sum(costs) >= 10 * DOLLAR)


def test_what_is_exactly_the_amount_leaves_nothing() -> None:
    row, _, exceeds = fold.spent(budget(), 10 * DOLLAR - 1, NOW_MS)
    assert not exceeds
    row, _, exceeds = fold.spent(row, 1, NOW_MS)
    assert exceeds
    assert row.state is BudgetState.EXCEEDED


@pytest.mark.parametrize("period", [Period.HOUR, Period.DAY, Period.MONTH])
def test_a_new_period_begins_with_nothing_and_tells_again(period: Period) -> None:
    row, _, exceeds = fold.spent(budget(period=period), 11 * DOLLAR, NOW_MS)
    assert exceeds
    ends = period_end(period, row.period_start) or 0
    assert fold.current(row, ends - 1) is row
    after, warns, exceeds = fold.spent(row, DOLLAR, ends)
    assert (after.spent_nanos, after.state, warns, exceeds) == (DOLLAR, BudgetState.OK, False, False)
    _, warns, exceeds = fold.spent(after, 9 * DOLLAR, ends)
    assert warns
    assert exceeds


@table("period", [Period.HOUR, Period.DAY, Period.MONTH])
@table("days", [2, 70, -2, -70])
def test_wherever_the_clock_was_a_period_goes_on_with_what_it_has_counted(period: Period, days: int) -> None:
    away_ms = NOW_MS + days * 24 * HOUR_MS
    row, _, _ = fold.spent(budget(period=period), DOLLAR, NOW_MS)
    away, _, _ = fold.spent(row, 11 * DOLLAR, away_ms)
    back, _, exceeds = fold.spent(away, DOLLAR, NOW_MS)
    assert back.period_start == row.period_start
    is_same = away.period_start == row.period_start
    assert (back.spent_nanos, back.is_exceeded, exceeds) == ((13 if is_same else 2) * DOLLAR, is_same, False)
    again = fold.current(back, away_ms)
    assert (again.period_start, again.spent_nanos, again.is_exceeded) == (
        away.period_start,
        away.spent_nanos + is_same * DOLLAR,
        True,
    )


def test_what_was_told_ahead_counts_when_its_time_comes_and_is_known_until_then() -> None:
    row, _, _ = fold.spent(budget(period=Period.HOUR), DOLLAR, NOW_MS + 48 * HOUR_MS)
    for hour in range(48):
        row, _, _ = fold.spent(row, DOLLAR, NOW_MS + hour * HOUR_MS)
        assert row.spent_nanos == DOLLAR
        assert len(row.aside) <= 2
    assert fold.current(row, NOW_MS + 48 * HOUR_MS).spent_nanos == DOLLAR


def test_money_that_is_taken_back_tells_nothing_anew() -> None:
    row, _, _ = fold.spent(budget(), 10 * DOLLAR, NOW_MS)
    row, _, exceeds = fold.spent(row, -DOLLAR, NOW_MS)
    assert row.spent_nanos == 9 * DOLLAR
    _, warns, exceeds = fold.spent(row, DOLLAR, NOW_MS)
    assert not warns
    assert not exceeds


def test_state_and_stop_follow_the_sum_whatever_was_told() -> None:
    row, _, _ = fold.spent(budget(), 10 * DOLLAR, NOW_MS)
    row = msgspec.structs.replace(row, step=None, has_paused=True)
    back, _, _ = fold.spent(row, -DOLLAR, NOW_MS)
    assert (back.state, back.is_stopping(), back.step) == (BudgetState.WARNING, False, BudgetStep.RESUME)
    assert fold.unnoticed_below(back) == back.amount_nanos, "who uses it up again stops it again"
    again, *told = fold.spent(back, DOLLAR, NOW_MS)
    assert (again.state, again.step, told) == (BudgetState.EXCEEDED, BudgetStep.STOP, [False, False])
    empty, _, _ = fold.spent(back, -9 * DOLLAR, NOW_MS)
    assert empty.state is BudgetState.OK


def test_a_correction_ends_a_stop_that_has_reached_nobody() -> None:
    row, _, _ = fold.spent(budget(), 10 * DOLLAR, NOW_MS)
    back, _, _ = fold.spent(row, -DOLLAR, NOW_MS)
    assert (row.step, back.step, back.due_at()) == (BudgetStep.STOP, None, None)


def test_a_row_that_was_stopped_by_what_it_had_told_goes_on() -> None:
    """As rows were stored: used up once, and some of the money taken back since."""
    doc = msgspec.json.decode(msgspec.json.encode(budget(spent_nanos=DOLLAR, has_paused=True)))
    row = msgspec.json.decode(msgspec.json.encode(doc | {"warned": True, "exceeded": True}), type=BudgetRow)
    assert (row.warning_told, row.exceeded_told, row.state) == (True, True, BudgetState.OK)
    assert fold.unnoticed_below(row) < row.spent_nanos, "the next sum takes the long way"
    assert fold.spent(row, 1, NOW_MS).row.step is BudgetStep.RESUME
    assert fold.changed(row, NOW_MS, was=row).step is BudgetStep.RESUME, "and so does any change of it"


def test_a_raised_budget_lets_its_runs_go_on_and_a_lowered_one_stops_them() -> None:
    used, _, _ = fold.spent(budget(), 10 * DOLLAR, NOW_MS)
    assert used.step is BudgetStep.STOP
    used = msgspec.structs.replace(used, step=None, has_paused=True)
    raised = fold.changed(msgspec.structs.replace(used, amount_nanos=20 * DOLLAR), NOW_MS, was=used)
    assert (raised.step, raised.is_exceeded) == (BudgetStep.RESUME, False)
    lowered = fold.changed(msgspec.structs.replace(raised, amount_nanos=5 * DOLLAR), NOW_MS, was=raised)
    assert (lowered.step, lowered.is_exceeded) == (BudgetStep.STOP, True)
    named = fold.changed(msgspec.structs.replace(used, name="other"), NOW_MS, was=used)
    assert named.step is None


def test_a_deleted_budget_is_kept_until_its_runs_go_on() -> None:
    assert fold.deleted(budget()) is None
    going = fold.deleted(budget(has_paused=True))
    assert going is not None
    assert going.due_at() == 0
    assert fold.stepped(going, 7) == msgspec.structs.replace(going, step_after=7)
    assert fold.stepped(going, None) is None


def test_a_forecast_is_within_the_period() -> None:
    day = budget(period=Period.DAY, spent_nanos=5 * DOLLAR)
    at_noon = day.period_start + 12 * 3_600_000
    pace = fold.pace(day, 5 * DOLLAR, 5 * 3_600_000, at_noon)
    assert (pace.nanos_per_hour, pace.ends_at) == (DOLLAR, at_noon + 5 * 3_600_000)
    assert fold.pace(day, DOLLAR, 12 * 3_600_000, at_noon).ends_at is None
    assert fold.pace(day, 0, 1, at_noon).ends_at is None
    assert fold.pace(day, DOLLAR, 1, at_noon) == fold.pace(day, DOLLAR, 300_000, at_noon)


def test_what_was_told_stays_told_where_the_thresholds_stay() -> None:
    told, _, _ = fold.spent(budget(), 10 * DOLLAR, NOW_MS)
    back, _, _ = fold.spent(told, -DOLLAR, NOW_MS)
    named = fold.changed(msgspec.structs.replace(back, name="other"), NOW_MS, was=back)
    assert named.exceeded_told
    raised = fold.changed(msgspec.structs.replace(back, amount_nanos=11 * DOLLAR), NOW_MS, was=back)
    assert not raised.is_exceeded


@table("exceeds", [True, False])
def test_a_change_of_the_fraction_alone_tells_the_end_of_the_amount_no_second_time(exceeds: bool) -> None:
    """The same holds for a change of the amount that leaves where it warns, and for periods set aside."""
    period, cost = Period.HOUR, (10 if exceeds else 8) * DOLLAR
    before, _, _ = fold.spent(budget(period=period), cost, NOW_MS)
    told = fold.current(before, NOW_MS + HOUR_MS)
    asked = msgspec.structs.replace(told, warn_at=0.5, warn_nanos=5 * DOLLAR)
    after = fold.current(fold.changed(asked, NOW_MS + HOUR_MS, was=told), NOW_MS)
    assert (after.warning_told, after.exceeded_told) == (False, exceeds)
    _, warns, exceeds_again = fold.spent(after, 1, NOW_MS)
    assert (warns, exceeds_again) == (True, False)
    now = fold.changed(msgspec.structs.replace(before, warn_at=0.5, warn_nanos=5 * DOLLAR), NOW_MS, was=before)
    assert (now.warning_told, now.exceeded_told) == (False, exceeds)
    more = fold.changed(msgspec.structs.replace(before, amount_nanos=16 * DOLLAR, warn_at=0.5), NOW_MS, was=before)
    assert (more.warning_told, more.exceeded_told) == (True, False)
