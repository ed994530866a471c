"""Byte strings that are held as one are as a list of them, whichever they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.byte_list import Packed
from towerlog.model.names import NAME_BYTES, Names
from towerlog.model.texts import Texts

KINDS: dict[str, Callable[[list[bytes]], Packed]] = {
    "names": lambda items: Names(b"".join(items)),
    "texts": lambda items: Texts(b"[" + b",".join(items) + b"]"),
}
places = st.none() | st.integers(-9, 9)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 6), places, places, st.none() | st.integers(-3, 3).filter(bool))
def test_each_place_and_each_stretch_is_that_of_the_list(
    kind: str, count: int, first: int | None, end: int | None, by: int | None
) -> None:
    items = [b'"%0*d"' % (NAME_BYTES - 2, number) for number in range(count)]
    packed = KINDS[kind](items)
    assert (len(packed), list(packed), list(reversed(packed))) == (count, items, items[::-1])
    assert packed[first:end:by] == items[first:end:by]
    assert [packed[index] for index in range(-count, count)] == items * 2
    for index in (count, -count - 1):
        with pytest.raises(IndexError):
            packed[index]
    assert packed.index(items[-1]) == count - 1 if items else items == []
