"""Budgets as the native API reads and shows them: amounts by their text, scopes by exactly one member."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.calls import RUN, call
from towerlog.dialects.native import NATIVE
from towerlog.errors import Invalid, NotFound
from towerlog.model.budget import (
    BudgetAction,
    BudgetNow,
    BudgetRow,
    BudgetScope,
    ChangeBudget,
    CreateBudget,
    Period,
    ReserveBudget,
    Reserved,
    SpendingPace,
)

NEW: dict[str, Any] = {"name": "ours", "scope": {"organisation": True}, "amount_usd": 10}
BUDGET_ID = "0189d3f0-0000-7000-8000-000000000009"


def decoded(name: str, body: Any, **path: str) -> Any:
    [endpoint] = [one for one in NATIVE.endpoints if one.name == name]
    return endpoint.decode(call(body, path=path))


def encoded(name: str, outcome: Any) -> tuple[int, Any]:
    [endpoint] = [one for one in NATIVE.endpoints if one.name == name]
    reply = endpoint.encode(outcome, None, call())
    return reply.status, msgspec.json.decode(reply.body)


def test_an_amount_is_read_by_its_text() -> None:
    body = b'{"name":" ours ","scope":{"agent":"a"},"amount_usd":0.300000001,"period":"day","action":"pause"}'
    asked = decoded("create_budget", body)
    assert asked == CreateBudget("ours", BudgetScope(agent="a"), 300_000_001, Period.DAY, BudgetAction.PAUSE, 0.8)


@pytest.mark.parametrize(
    ("scope", "read"),
    [
        ({"organisation": True}, BudgetScope(organisation=True)),
        ({"thread_id": "t"}, BudgetScope(thread_id="t")),
        ({"run_id": RUN.upper()}, BudgetScope(run_id=RUN)),
    ],
)
def test_a_scope_has_one_member(scope: Any, read: BudgetScope) -> None:
    assert decoded("create_budget", NEW | {"scope": scope}).scope == read


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"organisation": True, "agent": "a"},
        {"run_id": "x"},
        {"agent": "\u0000"},
        {"agent": "a", "thread_id": None},
        {"agent": "a", "run_id": ""},
    ],
)
def test_another_scope_is_refused(wrong: Any) -> None:
    with pytest.raises(Invalid):
        decoded("create_budget", NEW | {"scope": wrong})


def test_a_change_names_what_changes() -> None:
    assert decoded("change_budget", {}, budget_id=BUDGET_ID) == ChangeBudget(BUDGET_ID)
    asked = decoded("change_budget", {"amount_usd": 2, "warn_at": 1}, budget_id=BUDGET_ID)
    assert asked == ChangeBudget(BUDGET_ID, amount_nanos=2_000_000_000, warn_at=1)
    with pytest.raises(Invalid):
        decoded("change_budget", {"amount_usd": 0}, budget_id=BUDGET_ID)
    with pytest.raises(NotFound):
        decoded("change_budget", {}, budget_id="reserve")


def test_a_reservation_has_a_time() -> None:
    assert decoded("reserve_budget", {"run_id": "k", "amount_usd": 1}) == ReserveBudget("k", 1_000_000_000, 60_000)
    named = decoded("reserve_budget", {"run_id": "k", "amount_usd": 1, "agent": "a"})
    assert named == ReserveBudget("k", 1_000_000_000, 60_000, "a")


def test_a_budget_is_shown_to_the_nano_dollar() -> None:
    row = BudgetRow(
        1, BUDGET_ID, 1, "ours", BudgetScope(agent="a"), 10**10, Period.HOUR, BudgetAction.WARN, 0.8, 8 * 10**9, 0,
        period_start=3_600_000, spent_nanos=1, reserved_nanos=2_500_000_000,
    )  # fmt: skip
    status, shown = encoded("get_budget", BudgetNow(row, pace=SpendingPace(5, 7_000)))
    assert status == 200
    assert shown == {
        "budget_id": BUDGET_ID, "name": "ours", "scope": {"agent": "a"}, "amount_usd": 10, "period": "hour",
        "action": "warn", "warn_at": 0.8, "spent_usd": 1e-9, "reserved_usd": 2.5, "state": "ok",
        "resets_at": "1970-01-01T02:00:00.000Z", "created_at": "1970-01-01T00:00:00.000Z",
        "spent_usd_per_hour": 5e-9, "ends_at": "1970-01-01T00:00:07.000Z", "unpriced_calls": 0,
    }  # fmt: skip
    assert encoded("create_budget", BudgetNow(row, created=True))[0] == 201
    refused = {"granted": False, "reservation_id": None, "refused_by": "b"}
    assert encoded("reserve_budget", Reserved(None, "b")) == (200, refused)
