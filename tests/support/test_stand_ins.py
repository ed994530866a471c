"""What is left to the slow tier for another test's sake is there, and so is the other one, in the quick tier."""

from __future__ import annotations

import pytest

from tests.faults.planted import FAULTS
from tests.faults.promises import PROMISES
from tests.support.samples import leave_pairs_to_the_slow_tier
from tests.support.stand_ins import TESTS, ids_of, leave_to_the_slow_tier, pairs_of_ids

LEFT = dict(pairs_of_ids())


@pytest.fixture(scope="module")
def tiers(request: pytest.FixtureRequest) -> dict[str, set[bool]]:
    """The ids of all tests of the files that the table names, of all cases and of one → whether they are slow."""
    found: dict[str, set[bool]] = {}
    for file in sorted({one.partition("::")[0] for pair in LEFT.items() for one in pair}):
        items = [*request.session.genitems(pytest.Module.from_parent(request.session, path=TESTS / file))]
        leave_to_the_slow_tier(items)
        leave_pairs_to_the_slow_tier(items)
        for item in items:
            for one in ids_of(item):
                found.setdefault(one, set()).add(item.get_closest_marker("slow") is not None)
    return found


def test_what_is_left_out_is_there_and_slow(tiers: dict[str, set[bool]]) -> None:
    assert {one: tiers.get(one) for one in LEFT} == {one: {True} for one in LEFT}


def test_what_stands_in_is_there_and_quick(tiers: dict[str, set[bool]]) -> None:
    """Of several cases at least one."""
    assert [one for one in LEFT.values() if False not in tiers.get(one, set())] == []


def test_nothing_is_left_out_that_a_planted_fault_is_found_by() -> None:
    finds = {fault.test for fault in FAULTS} | {fault.test.partition("[")[0] for fault in FAULTS}
    assert [one for one in LEFT if one in finds] == []


def test_every_promise_keeps_a_test() -> None:
    assert [row.says for rows in PROMISES.values() for row in rows if set(row.tests) <= LEFT.keys()] == []
