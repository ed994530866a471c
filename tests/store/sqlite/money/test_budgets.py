"""Budgets in SQLite: found by an index, and damage to them is noticed."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from towerlog.model.budget import BudgetAction, BudgetRow, BudgetScope, BudgetStep, Period, Reservation
from towerlog.store.sqlite.money import budgets
from towerlog.store.sqlite.upkeep.verification import all_rows
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes


def budget(org: int, number: int, **given: object) -> BudgetRow:
    """A budget of a dollar for the organisation."""
    made = BudgetRow(
        org, f"b{number}", number, "ours", BudgetScope(organisation=True), 10**9, Period.TOTAL, BudgetAction.PAUSE,
        0.8, 8 * 10**8, 5,
    )  # fmt: skip
    return BudgetRow(**{**{name: getattr(made, name) for name in made.__struct_fields__}, **given})  # type: ignore[arg-type]


def stepping(scope: BudgetScope, step: BudgetStep = BudgetStep.STOP) -> BudgetRow:
    return budget(1, 1, scope=scope, step=step)


BY_INDEX: dict[str, tuple[Callable[[apsw.Connection], object], str | tuple[str, ...]]] = {
    "all": (lambda db: budgets.budgets_of(db, 1), "budget_by_number (org=?)"),
    "page": (lambda db: budgets.budgets(db, 1, 5, 9), "budget_by_number (org=? AND number<?)"),
    "one": (lambda db: budgets.budget(db, 1, "b"), "PRIMARY KEY (org=? AND budget_id=?)"),
    "due": (lambda db: budgets.budget_due(db, 7), ("budget_due (due_at<?)", "budget_by_period (<expr>>?)")),
    "reservation": (lambda db: budgets.reservation(db, 1, "r"), "PRIMARY KEY (org=? AND reservation_id=?)"),
    "of a run": (lambda db: budgets.reservations_of(db, 7), "reservation_by_run (run=?)"),
    "by key": (lambda db: budgets.reservations_open(db, 1), "reservation_by_key (org=?)"),
    "expired": (lambda db: budgets.reservations_expired(db, 7, 5), "reservation_by_expiry (expires_at<?)"),
    "paused": (
        lambda db: budgets.runs_of_step(db, stepping(BudgetScope(organisation=True), BudgetStep.RESUME), 5),
        "PRIMARY KEY (org=? AND budget_id=? AND run>?)",
    ),
    "agent": (
        lambda db: budgets.runs_of_step(db, stepping(BudgetScope(agent="a")), 5),
        "run_by_agent (org=? AND agent",
    ),
    "thread": (
        lambda db: budgets.runs_of_step(db, stepping(BudgetScope(thread_id="t")), 5),
        "run_by_thread (org=? AND thread_id=?",
    ),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_question_goes_by_an_index_and_sorts_nothing(db: apsw.Connection, org: int, name: str) -> None:
    question, index = BY_INDEX[name]
    for sql, steps in plans_of(db, lambda: question(db)).items():
        assert any(one in steps[0] for one in ((index,) if isinstance(index, str) else index)), (sql, steps)
        assert len(steps) == 1, (sql, steps)


def test_what_is_gone_takes_its_pauses_along(db: apsw.Connection, org: int) -> None:
    rows = {(org, f"b{number}"): budget(org, number) for number in (1, 2)}
    write_changes(db, Changes(budgets=dict(rows), budget_pauses={(org, "b1", 7): True, (org, "b2", 7): True}))
    write_changes(db, Changes(budgets={(org, "b1"): None}))
    assert [one.budget_id for one in budgets.budgets_of(db, org)] == ["b2"]
    assert list(db.execute("SELECT budget_id FROM budget_pause")) == [("b2",)]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("budget", "number"),
        ("budget", "due_at"),
        ("budget", "doc"),
        ("reservation", "key_id"),
        ("reservation", "run"),
        ("reservation", "expires_at"),
        ("reservation", "doc"),
    ],
)
def test_a_check_notices_a_changed_column_and_a_rotten_row(
    db: apsw.Connection, org: int, table: str, column: str
) -> None:
    held = Reservation(org, "r1", 1, 5, 1000, 2000)
    write_changes(db, Changes(budgets={(org, "b1"): budget(org, 1)}, reservations={(org, "r1"): held}))
    assert all_rows(db, org).faults == []
    db.execute(f"UPDATE {table} SET {column} = 99")
    [fault] = all_rows(db, org).faults
    assert fault.startswith(f"{table} ")
