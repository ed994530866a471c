"""Budgets by whose money they count: each that counts it is found, in its order, whatever has changed before."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.budget import BudgetAction, BudgetRow, BudgetScope, Period
from towerlog.projections.scopes.budgets import BudgetSet

NAMES = ("a", "b")
scopes = st.one_of(
    st.just(BudgetScope(organisation=True)),
    st.sampled_from([BudgetScope(agent=name) for name in NAMES]),
    st.sampled_from([BudgetScope(thread_id=name) for name in NAMES]),
    st.sampled_from([BudgetScope(run_id=name) for name in NAMES]),
)
flags = st.fixed_dictionaries(
    {"spent_nanos": st.integers(9, 11), "deleted": st.booleans(), "reserved_nanos": st.integers(0, 1)}
)
made = st.lists(st.tuples(scopes, flags), max_size=20)
changes = st.lists(st.tuples(st.integers(0, 25), st.one_of(st.none(), st.tuples(scopes, flags))), max_size=20)


def budget(number: int, scope: BudgetScope, flags: dict[str, object]) -> BudgetRow:
    row = BudgetRow(1, f"b{number}", number, "ours", scope, 10, Period.TOTAL, BudgetAction.WARN, 0.8, 8, 0)
    return msgspec.structs.replace(row, **flags)


@given(made, changes, st.sampled_from([*NAMES, None]), st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)))
def test_all_that_count_it_are_found_and_no_other_whatever_has_changed(told, later, agent, thread, above) -> None:
    rows = [budget(number, *one) for number, one in enumerate(told)]
    budgets = BudgetSet(rows)
    budgets.about(agent, thread, above)
    after = budgets.copy()
    for number, change in later:
        known = after.get(f"b{number}")
        # The scope of a budget never changes.
        scope = None if change is None else change[0] if known is None else known.scope
        after.put(f"b{number}", None if change is None else budget(number, scope, change[1]))
    for known in (budgets, after):
        live = [row for row in known.values() if not row.deleted]
        assert known.about(agent, thread, above) == [
            row for row in live if row.scope.covers(agent, thread) or row.scope.run_id in above
        ]
        assert known.of_trees(above) == [row for row in live if row.scope.run_id in above]
        assert known.counts_trees is any(row.scope.run_id for row in live)
        assert known.exceeds is any(row.is_exceeded for row in known.values())
        assert known.exceeds_in_places is any(
            row.is_exceeded and bool(row.scope.run_id or row.scope.thread_id) for row in known.values()
        )
        assert known.holds is any(row.reserved_nanos for row in known.values())
        assert known.held_bytes == BudgetSet(known.all()).held_bytes
    assert list(budgets.values()) == rows
