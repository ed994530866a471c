"""The quick tier's sample of pairs leaves out none of the two lists; the slow tier leaves out no pair."""

from __future__ import annotations

from tests.support.samples import pairs

FIRST, SECOND = ["a", "b", "c"], ["1", "2", "3", "4", "5"]


def test_all_pairs_are_there_and_the_quick_ones_have_something_of_everything() -> None:
    made = pairs(FIRST, SECOND)
    assert {one.values for one in made} == {(one, other) for one in FIRST for other in SECOND}
    quick = [one.values for one in made if not one.marks]
    assert [other for _, other in quick] == SECOND
    assert {one for one, _ in quick} == set(FIRST)


def test_several_of_the_first_are_tried_where_it_is_asked_for() -> None:
    quick = [one.values for one in pairs(FIRST, SECOND, quick=2) if not one.marks]
    assert len(quick) == len(set(quick)) == 2 * len(SECOND)
