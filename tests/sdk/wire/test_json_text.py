"""JSON is written as it was read: every number by its text, every member as often as it is there."""

from __future__ import annotations

import copy
import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.sdk.wire import json_text

NUMBERS = ["1e400", "-1e400", "3.141592653589793238", "1.0", "1.50", "1E5", "-0", "0.1", "12", "9" * 5000, "1e-999"]


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_keeps_its_text_and_is_a_number(text) -> None:
    found = json_text.read(text)
    assert json_text.write(found) == text
    assert isinstance(found, int | float)
    assert json_text.write(json_text.read(f'{{"a": [{text}]}}')) == f'{{"a": [{text}]}}'


def test_what_python_holds_exactly_is_plain() -> None:
    found = json_text.read('{"a": 1.5, "b": 7, "c": "x", "d": null, "e": true}')
    assert found == {"a": 1.5, "b": 7, "c": "x", "d": None, "e": True}
    assert [type(value) for value in (found, *found.values())] == [dict, float, int, str, type(None), bool]


def test_a_member_that_stands_twice_stands_twice_again() -> None:
    found = json_text.read('{"d": {"a": 1, "b": 2, "a": 3}}')
    assert found == {"d": {"a": 3, "b": 2}}
    assert json_text.write(found) == '{"d": {"a": 1, "b": 2, "a": 3}}'


def test_what_can_be_read_can_be_written_however_deep_it_is() -> None:
    depth = 10
    while True:
        text = f'{{"a": [1e400, {"[" * depth}{"]" * depth}]}}'
        try:
            value = json_text.read(text)
        except ValueError:
            break
        assert json_text.write(value) == text
        depth += 10
    assert depth > 300


def test_such_values_survive_being_copied() -> None:
    found = json_text.read('[1e400, {"a": 1, "a": 2}]')
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert json_text.write(other) == '[1e400, {"a": 1, "a": 2}]'
    assert math.isinf(found[0])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1,]", "", "{"])
def test_what_is_not_json_is_not_read(text) -> None:
    with pytest.raises(ValueError):
        json_text.read(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_value_is_what_the_standard_library_makes_of_it(value) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert json_text.read(text) == value
    assert json_text.write(json_text.read(text)) == text
