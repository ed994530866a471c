"""Encoding: whatever a program puts into an event becomes one line of valid, capped JSON."""

import json
import math
import sys
import threading
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.sdk.record.values import encoding
from towerlog.sdk.record.values.encoding import (
    MAX_CONVERTED,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_REPR_CHARS,
    describe,
    encode_event,
    name_text,
    plain,
    str_of,
)


class Hostile:
    """An object at which even looking fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]


class Lying(UserDict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


def strictly(line: bytes) -> Any:
    """JSON as a server reads it, which knows no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line.decode("utf-8", "strict"), parse_constant=refuse)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.builds(Hostile),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters()) | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=4
        )
        | st.tuples(inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_whatever_is_put_in_one_line_of_valid_json_comes_out(value: object) -> None:
    line = encode_event({"type": "other", "data": {"payload": value}})
    assert b"\n" not in line
    assert strictly(line)["type"] == "other"


def test_json_stays_what_it_is() -> None:
    data = {"text": "wörds\n", "number": 1.5, "none": None, "list": [1, True, {"a": []}]}
    assert strictly(encode_event({"data": data})) == {"data": data}


def test_nan_and_the_infinities_are_null_and_their_neighbours_stay() -> None:
    assert strictly(encode_event({"data": [math.nan, math.inf, -math.inf, 2.0]})) == {"data": [None, None, None, 2.0]}


def test_what_is_not_json_becomes_its_repr_capped() -> None:
    assert strictly(encode_event({"data": {"o": 1j, "long": b"x" * 10_000}})) == {
        "data": {
            "o": "1j",
            "long": repr(b"x" * 10_000)[: MAX_REPR_CHARS - 1] + "…",
            "towerlog_converted": {"o": "complex", "long": "bytes"},
        }
    }


def test_what_was_converted_is_named_by_its_path() -> None:
    given = {"at": [1, Decimal("19.99")], "deep": {(1, 2): math.nan}, "text": "as it is", 7: "number"}
    data = strictly(encode_event({"type": "other", "data": given}))["data"]
    assert (data["at"], data["deep"], data["text"]) == ([1, "19.99"], {"(1, 2)": None}, "as it is")
    assert data["towerlog_converted"] == {"at.1": "Decimal", "deep.(1, 2)": "float"}
    assert "towerlog_converted" not in strictly(encode_event({"data": {"plain": [1, "a", None, {}]}}))["data"]


def test_no_more_than_a_few_conversions_are_named() -> None:
    data = strictly(encode_event({"data": {"all": [1j] * 500}}))["data"]
    assert (len(data["all"]), len(data["towerlog_converted"])) == (500, MAX_CONVERTED)


def test_an_event_that_is_cut_names_what_was_converted_too() -> None:
    data = strictly(encode_event({"type": "other", "data": {"o": 1j, "long": "x" * (MAX_EVENT_BYTES + 1)}}))["data"]
    assert data["towerlog_converted"] == {"o": "complex"}
    assert "towerlog_truncated" in data


def test_what_cannot_be_looked_at_is_named() -> None:
    assert strictly(encode_event({"data": [Hostile(), Lying(a=1)]}))["data"][0] == "<Hostile without a repr>"


def test_a_circle_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert strictly(encode_event({"data": circle}))


def test_depth_is_capped() -> None:
    deep: Any = 1
    for _ in range(sys.getrecursionlimit() + 10):
        deep = [deep]
    line = encode_event({"data": deep})
    assert strictly(line)
    assert line.count(b"[") <= MAX_DEPTH + MAX_REPR_CHARS


def test_keys_that_are_no_text_become_text() -> None:
    assert strictly(encode_event({"data": {(1, 2): 3}})) == {
        "data": {"(1, 2)": 3, "towerlog_converted": {"(1, 2)": "tuple"}}
    }


def test_names_that_json_can_spell_are_spelled_as_it_does_on_either_way() -> None:
    names = {7: 1, 1.5: 2, True: 3, None: 4}
    assert strictly(encode_event({"data": names})) == {"data": {"7": 1, "1.5": 2, "true": 3, "null": 4}}
    slow = strictly(encode_event({"data": {"names": names, "odd": 1j}}))["data"]
    assert (slow["names"], slow["towerlog_converted"]) == ({"7": 1, "1.5": 2, "true": 3, "null": 4}, {"odd": "complex"})


def test_what_utf_8_cannot_say_is_replaced() -> None:
    assert strictly(encode_event({"data": "a\ud800b"})) == {"data": "a\ufffdb"}


@pytest.mark.parametrize(
    "data",
    [
        {"content": "x" * (MAX_EVENT_BYTES + 1)},
        {"history": [{"content": "y" * 50_000}] * 200, "step_index": 7},
        {"history": [[1] * 1000] * 2200, "step_index": 7},
        {f"key{number}": "z" * 100 for number in range(60_000)},
    ],
    ids=["one long text", "many long texts", "many numbers", "many members"],
)
def test_a_too_large_event_is_cut_and_says_so(data: dict[str, Any]) -> None:
    line = encode_event({"type": "t", "event_id": "e", "data": data})
    assert len(line) <= MAX_EVENT_BYTES
    found = strictly(line)
    assert (found["type"], found["event_id"]) == ("t", "e")
    assert found["data"]["towerlog_truncated"]["bytes"] > MAX_EVENT_BYTES
    assert found["data"].get("step_index") == data.get("step_index")


@pytest.mark.parametrize(("length", "count", "kept"), [(70_000, 62, 65_536), (50_000, 200, 4_096), (5_000, 2_000, 256)])
def test_strings_are_cut_no_shorter_than_they_must_be(length: int, count: int, kept: int) -> None:
    found = strictly(encode_event({"data": {"texts": ["x" * length] * count}}))
    assert found["data"]["texts"] == ["x" * kept + f"… [cut: {length} characters]"] * count


def test_an_event_at_the_limit_is_whole() -> None:
    empty = len(encode_event({"data": {"content": ""}}))
    line = encode_event({"data": {"content": "x" * (MAX_EVENT_BYTES - empty)}})
    assert len(line) == MAX_EVENT_BYTES
    assert b"towerlog_truncated" not in line


def test_a_plain_value_is_a_copy() -> None:
    inner = [1]
    copied = plain({"a": inner})
    inner.append(2)
    assert copied == {"a": [1]}


def test_an_exception_is_one_line() -> None:
    assert describe(ValueError("a\nb")) == "ValueError: a b"
    assert describe(KeyError()) == "KeyError"
    assert describe(type("Mute", (Exception,), {"__str__": Hostile.__repr__})()) == "Mute: (its message cannot be read)"


def test_a_name_is_never_empty_and_never_too_long() -> None:
    assert name_text(" \n") == "unnamed"
    assert name_text(None) == "None"
    assert len(name_text("n" * 1000)) == encoding.MAX_NAME_CHARS


def test_a_name_said_again_is_the_same_and_a_long_one_is_not_kept() -> None:
    for _ in range(2):
        assert name_text("two\n lines ") == "two lines"
        assert name_text("lone \ud800") == "lone \ufffd"
    before = encoding._known_name.cache_info().currsize
    assert len(name_text("x" * 100_000)) == 200
    assert encoding._known_name.cache_info().currsize == before


def test_threads_that_encode_the_same_value_see_no_circle_in_it() -> None:
    shared = {"rows": [{"number": number} for number in range(2_000)]}
    event = {"type": "x", "data": shared}
    begun = threading.Barrier(4)

    def encoded(_: int) -> set[bytes]:
        begun.wait(60)
        return {encode_event(event) for _ in range(20)}

    with ThreadPoolExecutor(4) as pool:
        lines = set().union(*pool.map(encoded, range(4)))
    assert lines == {encoding._ENCODER.encode(event).encode()}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("as it is", "as it is"),
        ({"text": "Which day?", "options": ["Mon"]}, '{"text":"Which day?","options":["Mon"]}'),
        (None, "null"),
        ([True, 1.5], "[true,1.5]"),
        (Path("a/b"), "a/b"),
    ],
)
def test_what_people_read_is_text_or_json(value: object, words: str) -> None:
    assert str_of(value) == words
