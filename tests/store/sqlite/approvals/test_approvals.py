"""The inbox in SQLite: found by an index, and damage to it is noticed."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from towerlog.model.approval import ApprovalKind, ApprovalRow
from towerlog.store.sqlite.approvals import approvals
from towerlog.store.sqlite.upkeep.verification import all_rows
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes


def approval(org: int, run: int, seq: int, **given: object) -> ApprovalRow:
    """Something open, asked at the position `10 * seq + run`."""
    return ApprovalRow(org, run, seq, 10 * seq + run, 5, seq, **given)  # type: ignore[arg-type]


BY_INDEX: dict[str, tuple[Callable[[apsw.Connection], object], str]] = {
    "page": (lambda db: approvals.approvals(db, 1, 5, 9, None, None), "approval_by_org (org=? AND position>?)"),
    "kind": (
        lambda db: approvals.approvals(db, 1, 5, 9, ApprovalKind.QUESTION, None),
        "approval_by_org (org=? AND position>?)",
    ),
    "one": (lambda db: approvals.approval(db, 1, 2, 3), "PRIMARY KEY (run=? AND seq=?)"),
    "due": (lambda db: approvals.approvals_due(db, 6, 7, 5), "approval_due (due_at>? AND due_at<?)"),
    "spent": (lambda db: approvals.link_spent(db, 1, "n"), "PRIMARY KEY (org=? AND nonce=?)"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_question_goes_by_an_index_and_sorts_nothing(db: apsw.Connection, org: int, name: str) -> None:
    question, index = BY_INDEX[name]
    for sql, steps in plans_of(db, lambda: question(db)).items():
        assert index in steps[0], (sql, steps)
        assert len(steps) == 1, (sql, steps)


def test_a_column_that_says_something_else_is_noticed(db: apsw.Connection, org: int) -> None:
    write_changes(db, Changes(approvals={(1, 2): approval(org, 1, 2, expires_at=9)}))
    assert all_rows(db, org).faults == []
    db.execute("UPDATE approval SET due_at = 10")
    [fault] = all_rows(db, org).faults
    assert fault.startswith("approval ")


def test_an_end_comes_after_what_was_opened_with_it(db: apsw.Connection, org: int) -> None:
    write_changes(db, Changes(approvals={(1, 2): approval(org, 1, 2), (3, 2): approval(org, 3, 2)}, ended=[1]))
    assert [row.run for row in approvals.approvals(db, org, 9, 0, None, None)] == [3]
