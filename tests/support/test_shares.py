"""Every process of a run imports all test files, each of them another share first."""

from __future__ import annotations

import pytest

from tests.support.shares import ROOT, names_of_test_modules, rotated


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_the_shares_are_all_there_is_and_no_two_overlap(processes: int) -> None:
    names = names_of_test_modules()
    assert "tests.support.test_shares" in names
    orders = [rotated(names, process, processes) for process in range(processes)]
    assert all(sorted(order) == names for order in orders)
    begins = [names.index(order[0]) for order in orders]
    lengths = [end - begin for begin, end in zip(begins, [*begins[1:], len(names)], strict=True)]
    assert begins[0] == 0
    assert max(lengths) - min(lengths) <= 1


def test_a_module_is_named_as_pytest_names_it(request: pytest.FixtureRequest) -> None:
    assert request.module.__name__ == "tests.support.test_shares"
    assert (ROOT / "tests" / "support" / "test_shares.py").samefile(request.path)
