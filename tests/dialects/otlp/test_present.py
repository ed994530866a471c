"""What a span has of the tables of names: all of it that is there, in the order of the table."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from towerlog.dialects.otlp import names, present
from towerlog.dialects.otlp.figures import spellings
from towerlog.dialects.otlp.present import NOTHING, Present, present_in

LISTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    name.lower(): value
    for table in (names, spellings)
    for name, value in vars(table).items()
    if name.isupper() and isinstance(value, tuple) and isinstance(value[0], tuple) and name != "PRESENT"
}
NAMES = sorted({one[0] for some in LISTS.values() for one in some} | {one for _, some in names.PRESENT for one in some})


def test_each_list_of_the_table_is_asked() -> None:
    assert set(LISTS) == {field for field in Present.__struct_fields__ if field != "kind"}


@given(st.sets(st.sampled_from([*NAMES, "http.url", "x"])))
def test_what_is_left_of_the_table_are_the_names_that_a_span_has(has: set[str]) -> None:
    found = present_in(dict.fromkeys(has, "said"))
    for field, whole in LISTS.items():
        assert getattr(found, field) == tuple(one for one in whole if one[0] in has), field
    assert found.kind == next((kind for kind, some in names.PRESENT if has.intersection(some)), names.OTHER)


def test_what_has_none_of_them_is_told_at_once() -> None:
    assert present_in({}) is present_in({"http.url": "x"}) is NOTHING


def test_what_is_remembered_is_bounded() -> None:
    for number in range(present.MAX_KNOWN_SETS + 50):
        present_in({name: 1 for at, name in enumerate(NAMES[:12]) if number >> at & 1})
    assert present._left_by.cache_info().currsize <= present.MAX_KNOWN_SETS
