"""The quick tier's sample of pairs leaves out none of the two lists; the slow tier leaves out no pair."""

from __future__ import annotations

import pytest

from tests.support.samples import first, leave_pairs_to_the_slow_tier, pairs

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


def test_the_first_stand_for_the_others() -> None:
    made = first(["a", pytest.param("b", id="B"), "c", pytest.param("d", marks=pytest.mark.slow)], quick=2)
    assert [(one.values, one.id, [mark.name for mark in one.marks][:1]) for one in made] == [
        (("a",), None, []),
        (("b",), "B", []),
        (("c",), None, ["slow"]),
        (("d",), None, ["slow"]),
    ]


@pytest.mark.parametrize("quick", [0, 2])
def test_a_sample_leaves_something_out_and_not_all(quick: int) -> None:
    with pytest.raises(AssertionError, match="leaves out"):
        first(["a", "b"], quick=quick)


@pytest.fixture(params=["x", "y"])
def of_a_fixture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize(("one", "other"), [("a", "1"), ("a", "2"), ("b", "1")])
def test_a_product(one: str, other: str, second: str, of_a_fixture: str) -> None:
    """What the next test looks at."""
    assert (one, other) != ("b", "2")
    assert second in SECOND
    assert of_a_fixture in "xy"


@pytest.mark.parametrize(("one", "other"), [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")])
def test_a_table(one: str, other: str) -> None:
    """What the next test looks at."""
    assert one in "ab"
    assert other in "12"


def test_of_a_product_each_value_stays_and_of_a_table_each_case(request: pytest.FixtureRequest) -> None:
    collected = [*request.session.genitems(request.node.parent)]
    leave_pairs_to_the_slow_tier(collected)
    quick = [item for item in collected if not item.get_closest_marker("slow")]
    values = [item.callspec.params for item in quick if item.originalname == "test_a_product"]
    assert len(values) == len(SECOND)
    assert {one["second"] for one in values} == set(SECOND)
    assert {(one["one"], one["other"]) for one in values} == {("a", "1"), ("a", "2"), ("b", "1")}
    assert {one["of_a_fixture"] for one in values} == {"x", "y"}
    assert sum(item.originalname == "test_a_table" for item in quick) == 4


def test_the_first_of_some_tests_of_a_fixture(of_a_fixture: str) -> None:
    """What the next but two looks at."""
    assert of_a_fixture in "xy"


def test_the_second_of_some_tests_of_a_fixture(of_a_fixture: str) -> None:
    """What the next but one looks at."""
    assert of_a_fixture in "xy"


@pytest.mark.every_value
def test_one_that_meets_every_value(of_a_fixture: str) -> None:
    """What the next one looks at."""
    assert of_a_fixture in "xy"


def met(request: pytest.FixtureRequest, *tests: str) -> dict[str, set[str]]:
    """Test of these → the values of `of_a_fixture` that it meets in the quick tier, where these alone are run."""
    items = [one for one in request.session.genitems(request.node.parent) if one.originalname in tests]
    leave_pairs_to_the_slow_tier(items)
    quick = [one for one in items if not one.get_closest_marker("slow")]
    return {test: {one.callspec.params["of_a_fixture"] for one in quick if one.originalname == test} for test in tests}


def test_tests_meet_the_values_of_their_fixture_in_turns(request: pytest.FixtureRequest) -> None:
    """Run alone, each meets the same as among the others."""
    first, second, every = (
        "test_the_first_of_some_tests_of_a_fixture",
        "test_the_second_of_some_tests_of_a_fixture",
        "test_one_that_meets_every_value",
    )
    together = met(request, first, second, every)
    assert [len(together[name]) for name in (first, second, every)] == [1, 1, 2]
    assert together[first] | together[second] == {"x", "y"}
    assert together == {**met(request, first), **met(request, second), **met(request, every)}
