"""A table names each of its cases that fails, and tries those behind it."""

from __future__ import annotations

import inspect

import pytest

from tests.support.tables import table


def test_every_failing_case_is_named_and_the_others_are_tried() -> None:
    tried = []

    @table("one, other", [(1, "a"), (2, "b"), (3, "c")])
    def compare(one: int, other: str) -> None:
        tried.append(other)
        assert one == 2, "is not two"

    with pytest.raises(AssertionError, match=r"2 of 3 cases failed\n\[1-a\] AssertionError: is not two") as failed:
        compare()
    assert "[3-c] " in str(failed.value)
    assert tried == ["a", "b", "c"]


def test_it_asks_for_fixtures_alone_and_products_are_tables_of_tables(tmp_path) -> None:
    seen = []

    @table("outer", [1, 2])
    @table("inner", "xy", ids=str.upper)
    def collect(tmp_path, outer: int, inner: str) -> None:
        seen.append((tmp_path, outer, inner))
        assert (outer, inner) != (2, "y")

    assert list(inspect.signature(collect).parameters) == ["tmp_path"]
    with pytest.raises(AssertionError, match=r"(?s)1 of 2 cases.*\[2\].*1 of 2 cases.*\[Y\]"):
        collect(tmp_path=tmp_path)
    assert seen == [(tmp_path, outer, inner) for outer in (1, 2) for inner in "xy"]


def test_a_table_without_a_case_is_no_test() -> None:
    @table("one", [])
    def nothing(one: int) -> None:
        """Never called."""

    with pytest.raises(AssertionError, match="without a case"):
        nothing()


async def test_a_test_that_is_awaited_is_a_table_as_well() -> None:
    @table("one", [1, 2])
    async def compare(one: int) -> None:
        assert one == 2, "is not two"

    with pytest.raises(AssertionError, match=r"1 of 2 cases failed\n\[1\] AssertionError: is not two"):
        await compare()
