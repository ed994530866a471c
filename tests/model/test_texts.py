"""Texts that are held as one are the texts of the array."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.texts import FEW_TEXTS, FEW_TEXTS_BYTES, Texts, bytes_of, texts_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(values, max_size=12), st.integers(1, 40))
def test_texts_are_those_of_the_array(sent: list[object], size: int) -> None:
    compact = [json.dumps(one, separators=(",", ":")).encode() for one in sent]
    texts = Texts(json.dumps(sent, indent=1).encode())
    assert (len(texts), list(texts), texts[1:3]) == (len(sent), compact, compact[1:3])
    assert [texts[-1 - index] for index in range(len(sent))] == compact[::-1]
    assert Texts.of(compact) == texts
    assert Texts.of(texts) is texts
    assert bytes_of(texts) == sum(map(len, compact)) + len(compact)
    first = 0
    while first < len(texts):
        end = texts.end_of(first, size)
        assert texts.array(first, end) == b"[" + b",".join(compact[first:end]) + b"]"
        assert end == first + 1 or sum(map(len, compact[first:end])) + end - first <= size
        assert end == len(texts) or sum(map(len, compact[first : end + 1])) + end + 1 - first > size
        first = end


def test_what_is_no_array_is_refused() -> None:
    assert hash(Texts(b"[1, 2]")) == hash(Texts(b"[1,2]"))
    with pytest.raises(msgspec.MsgspecError):
        Texts(b"{}")


@pytest.mark.parametrize("other", [1, [b"1", b"2"], (b"1", b"2"), Texts(b"[1]"), Texts(b"[1,3]")])
def test_equal_is_only_what_has_the_same_hash(other: object) -> None:
    texts = Texts(b"[1, 2]")
    assert texts == Texts(b"[1,2]")
    assert texts != other
    assert other != texts


@pytest.mark.parametrize("sent", [[], [{"a": [1]}, "b"], [1] * FEW_TEXTS])
def test_few_texts_are_held_one_by_one(sent: list[object]) -> None:
    assert texts_of(json.dumps(sent, indent=1).encode()) == tuple(
        json.dumps(one, separators=(",", ":")).encode() for one in sent
    )


@pytest.mark.parametrize("sent", [[1] * (FEW_TEXTS + 1), ["x" * FEW_TEXTS_BYTES]])
def test_many_texts_and_long_ones_are_held_as_one(sent: list[object]) -> None:
    text = json.dumps(sent, indent=1).encode()
    assert isinstance(texts_of(text), Texts)
    assert texts_of(text) == Texts(text)
