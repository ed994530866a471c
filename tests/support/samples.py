"""Which of all combinations the quick tier tries; the slow tier tries all."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest


def pairs(first: Iterable[str], second: Iterable[str], *, quick: int = 1) -> list[Any]:
    """Parameters for every pair. In the quick tier each of `second` meets `quick` of `first`, others from one to the
    next, so that each of `first` is there as well when `second` has as many.
    """
    columns = list(first)
    return [
        pytest.param(one, other, marks=() if (at - row) % len(columns) < quick else pytest.mark.slow)
        for row, other in enumerate(second)
        for at, one in enumerate(columns)
    ]


def first(cases: Iterable[Any], *, quick: int = 1) -> list[Any]:
    """Every case of one parameter or of several (`pytest.param`). In the quick tier the first ones, which stand for the
    others.
    """
    made = [case if isinstance(case, type(pytest.param())) else pytest.param(case) for case in cases]
    assert 0 < quick < len(made), "this leaves out nothing, or all"
    return [
        *made[:quick],
        *(pytest.param(*one.values, id=one.id, marks=(*one.marks, pytest.mark.slow)) for one in made[quick:]),
    ]


def slow(*values: Any) -> Any:
    """A case that is left to the slow tier."""
    return pytest.param(*values, marks=pytest.mark.slow)


def leave_pairs_to_the_slow_tier(items: Iterable[pytest.Item]) -> None:
    """Of a product of parameters, a test's own or its fixtures', the quick tier tries each value at least once.

    A table of cases is one parameter. Where every pair counts, a test goes through the pairs by itself. The tests of a
    file and the values of a fixture of theirs are a product as well: a test whose only parameter that is meets one of
    them, the next test the next. Tests that are marked `every_value` meet all.
    """
    tests: dict[tuple[Any, ...], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and not item.get_closest_marker("slow"):
            tests.setdefault((item.path, item.cls, item.originalname), []).append(item)
    for cases in tests.values():
        for case in _beyond_each_value([_values_of(case) for case in cases]) or _beyond_its_turn(cases):
            cases[case].add_marker(pytest.mark.slow)


def _values_of(item: pytest.Function) -> dict[str, tuple[int, ...]]:
    """Each parameter's value, by what objects it is made of."""
    given = {name: id(value) for name, value in item.callspec.params.items()}
    names = _tables_of(item)
    names += [[name] for name in given if not any(name in table for table in names)]
    return {" ".join(table): tuple(given[name] for name in table) for table in names}


def _tables_of(item: pytest.Function) -> list[list[str]]:
    """The names of a test's own parameters, those of one table together."""
    tables = [mark.args[0] for mark in item.iter_markers("parametrize")]
    return [table.replace(",", " ").split() if isinstance(table, str) else list(table) for table in tables]


def _beyond_its_turn(cases: list[pytest.Function]) -> set[int]:
    """The places of the cases of a test with other values of its one fixture than that whose turn it is: by the place
    of the test among those of its file, so that a test that is run alone meets the same.
    """
    one = cases[0]
    if _tables_of(one) or len(one.callspec.params) > 1 or one.get_closest_marker("every_value"):
        return set()
    turn = _names_of_tests(one.module).index(one.originalname) % len(cases)
    return {*range(len(cases))} - {turn}


@functools.cache
def _names_of_tests(module: ModuleType) -> list[str]:
    """As they stand in the file."""
    return [name for name in vars(module) if name.startswith("test_")]


def _beyond_each_value(cases: list[dict[str, tuple[int, ...]]]) -> set[int]:
    """The places of the cases that have no value which another one, that stays, has not."""
    count = {name: len({case[name] for case in cases}) for name in cases[0]}
    if sum(values > 1 for values in count.values()) < 2:
        return set()
    left, needed = set(range(len(cases))), {value for case in cases for value in case.items()}
    while needed:
        most = max(sorted(left), key=lambda place: len(needed & cases[place].items()))
        left.remove(most)
        needed -= cases[most].items()
    return left
