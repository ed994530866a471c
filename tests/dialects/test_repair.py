"""Repair: what senders are known to get wrong becomes JSON, the rest stays as it was sent, and each place is named."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.dialects import repair as repair_module
from towerlog.dialects.repair import MAX_NAMED, MAX_QUOTES, MAX_SUSPECTS, MORE, repair

TEXTS = st.text(st.characters() | st.sampled_from('\\"{}[],: NaInfinty\ud83d\ude00\udbff\udc00'), max_size=12)
NUMBERS = st.integers() | st.floats()
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def plain_text(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain(value: Any) -> Any:
    """The value as JSON has it."""
    match value:
        case str():
            return plain_text(value)
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [plain(item) for item in value]
        case dict():
            return {plain_text(name): plain(member) for name, member in value.items()}
        case _:
            return value


def is_whole(text: bytes) -> bool:
    """Whether a text needs no repair."""
    try:
        text.decode().encode("utf-8")
        json.dumps(json.loads(text, parse_constant=pytest.fail), ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, pytest.fail.Exception):
        return False
    return True


@given(DOCUMENTS, st.sampled_from([(", ", ": "), (",", ":")]))
def test_a_document_is_repaired_value_for_value_and_left_alone_elsewhere(value: Any, separators: Any) -> None:
    text = json.dumps(value, separators=separators).encode()
    repaired = repair(text)
    if is_whole(text):
        assert repaired is None
    else:
        assert repaired is not None
        assert json.loads(repaired.body) == plain(value)
        assert repaired.warnings


@pytest.mark.parametrize("longest", range(24, 40))
def test_no_piece_of_a_long_text_ends_in_the_middle_of_anything(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    value = [
        math.nan,
        "\ud83d",
        "\ud83d\ude00" * 9,
        "\\" * 31,
        '"NaN' * 7,
        {"\udbff": -math.inf},
        "\n" * 20,
        math.inf,
    ] * 9
    text = json.dumps(value).encode()
    whole = repair(text)
    monkeypatch.setattr(repair_module, "PIECE_BYTES", longest)
    assert repair(text) == whole
    assert whole is not None
    assert json.loads(whole.body) == plain(value)
    assert len(whole.warnings) == 45


@given(st.binary(max_size=60) | st.text('{}[]",:\\udD83NaInfty-\x00\x01').map(str.encode))
def test_no_bytes_break_it(text: bytes) -> None:
    repaired = repair(text)
    assert repaired is None or repaired.body != text


@pytest.mark.parametrize(
    ("text", "body", "places"),
    [
        (b'\xef\xbb\xbf{"a":1}', b'{"a":1}', [(None, "body")]),
        (b'{"a":"x \\ud83d"}', b'{"a":"x \\ufffd"}', [(None, "a")]),
        (b'{"a":"\\uDE00\\uD83D"}', b'{"a":"\\ufffd\\ufffd"}', [(None, "a")]),
        (b'{"a":"\\ud83d\\ud83d\\ude00\\ude00"}', b'{"a":"\\ufffd\\ud83d\\ude00\\ufffd"}', [(None, "a")]),
        (b'{"\\ud83d":{"b":1}}', b'{"\\ufffd":{"b":1}}', [(None, "\ufffd")]),
        (
            b'{"x\\ud83d":{"b":"y\\udc00","c":[NaN]}}',
            b'{"x\\ufffd":{"b":"y\\ufffd","c":[null]}}',
            [(None, f"x\ufffd{below}") for below in ("", ".b", ".c.0")],
        ),
        (b'{"a":[1, NaN,-Infinity ,Infinity]}', b'{"a":[1, null,null ,null]}', [(None, f"a.{n}") for n in (1, 2, 3)]),
        (
            b'{"worker_id":"w","events":[{"type":"a"},{"type":"b","payload":{"x":{"y":NaN}}}]}',
            b'{"worker_id":"w","events":[{"type":"a"},{"type":"b","payload":{"x":{"y":null}}}]}',
            [(1, "payload.x.y")],
        ),
        (b'[{"a":1},{"b":NaN}]', b'[{"a":1},{"b":null}]', [(1, "b")]),
        (b"NaN", b"null", [(None, "body")]),
        (b'{"a":"caf\xc3"}', b'{"a":"caf\xef\xbf\xbd"}', [(None, "a")]),
        (
            b'{"\xff\xfe":["\xc3\xa9\xe2\x82"]}',
            '{"\ufffd":["é\ufffd"]}'.encode(),
            [(None, "\ufffd"), (None, "\ufffd.0")],
        ),
        (b'[{"a":1},{"b":"\xed\xa0\x80","c":NaN}]', '[{"a":1},{"b":"\ufffd","c":null}]'.encode(), [(1, "b"), (1, "c")]),
    ],
)
def test_each_place_is_named(text: bytes, body: bytes, places: list[tuple[int | None, str]]) -> None:
    repaired = repair(text)
    assert repaired is not None
    assert repaired.body == body
    assert [(warning.index, warning.field) for warning in repaired.warnings] == places
    assert all(warning.message.startswith(f"{warning.field}: ") for warning in repaired.warnings)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"a":1}',
        b'{"a":"NaN, Infinity"}',
        b'{"a":"\\\\ud83d"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\\" NaN"}',
        b'{"a":"\x00","b":NaN}',
        b"{'a': 1}",
        b'{"a":nan}',
    ],
)
def test_nothing_else_is_touched(text: bytes) -> None:
    assert repair(text) is None


def test_numbers_that_are_none_may_become_texts() -> None:
    text = b'{"a":NaN,"b":[-Infinity,"NaN",Infinity],"c":"\\"NaN","d":1}'
    repaired = repair(text, words_as_text=True)
    assert repaired is not None
    wanted = {"a": "NaN", "b": ["-Infinity", "NaN", "Infinity"], "c": '"NaN', "d": 1}
    assert json.loads(repaired.body) == wanted
    assert [warning.field for warning in repaired.warnings] == ["a", "b.0", "b.2"]


def test_of_many_places_some_are_named() -> None:
    text = b"[" + b",".join([b"NaN"] * (MAX_NAMED + 50)) + b"]"
    repaired = repair(text)
    assert repaired is not None
    assert json.loads(repaired.body) == [None] * (MAX_NAMED + 50)
    assert len(repaired.warnings) == MAX_NAMED + 1
    assert MORE in repaired.warnings[-1].message


def test_a_place_in_the_depths_is_named_by_what_it_lies_in() -> None:
    repaired = repair(b'{"a":' * 40 + b"NaN" + b"}" * 40)
    assert repaired is not None
    assert [warning.field for warning in repaired.warnings] == [".".join("a" * 16)]


def test_what_would_take_too_long_is_not_repaired() -> None:
    assert repair(b"[" + b"NaN," * (MAX_SUSPECTS + 1) + b"1]") is None
    assert repair(b'["' + b"\\ud83d" * (MAX_SUSPECTS + 1000) + b'"]') is None
    assert repair(b"[" + b'"",' * (MAX_QUOTES // 2 + 1) + b"NaN]") is None
    assert repair(b'["' + b"\\ud7ff" * (MAX_SUSPECTS // 2) + b'\\ud83d"]') is not None
