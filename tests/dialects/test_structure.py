"""The structure of a text is judged before any of it is decoded, a piece at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.dialects import fields, structure
from towerlog.dialects.structure import (
    MAX_ESCAPES,
    MAX_MEMBERS,
    MAX_PARTS,
    MAX_STRING_BYTES,
    check_depth,
    check_length,
    has_too_many_parts,
    long_strings,
    parts_of,
    pieces_of,
)
from towerlog.errors import Invalid

VALUE = ['\\"[[{' * 3, "\\" * 17, {"a,b": [1, 2, [3, {"c": "]"}]]}, 'x"y', []] * 5


@given(st.text('\\"ab[', max_size=60).map(str.encode), st.integers(2, 9))
def test_pieces_are_the_text_and_none_ends_in_an_escape(text: bytes, longest: int) -> None:
    pieces = list(pieces_of(text, longest))
    assert b"".join(pieces) == text
    assert all((len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0 for piece in pieces[:-1])


@pytest.mark.parametrize("longest", range(2, 30))
def test_depth_and_length_are_the_same_however_a_text_is_cut(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(VALUE).encode()
    monkeypatch.setattr(pieces_of, "__defaults__", (longest,))
    check_length(text, "events", len(VALUE))
    check_depth(text, "data", 5)
    with pytest.raises(Invalid, match=f"events: has more than {len(VALUE) - 1} items"):
        check_length(text, "events", len(VALUE) - 1)
    with pytest.raises(Invalid, match="nested deeper than 4 levels"):
        check_depth(text, "data", 4)


def array_of(parts: int, item: bytes) -> bytes:
    return b"[" + b",".join([item] * parts) + b"]"


@pytest.mark.parametrize("item", [b"0", b"[]", b"{}"])
def test_parts_are_counted_of_a_long_body(item: bytes) -> None:
    of_each = 1 if item == b"0" else 2
    assert not has_too_many_parts(array_of(MAX_PARTS // of_each, item))
    assert has_too_many_parts(array_of(MAX_PARTS // of_each + 1, item))


def test_parts_are_counted_from_one_place_to_another() -> None:
    text = b"[0,[],{},0]"
    assert parts_of(text) == 6
    assert [parts_of(text, at, at + 1) for at in range(len(text))] == [byte in b",[{" for byte in text]
    assert parts_of(text * 50_000, 11, 11 * 40_000) == 6 * 39_999


def test_a_body_that_is_long_and_not_made_of_parts_passes() -> None:
    assert not has_too_many_parts(b'{"a":"' + b"x" * (16 << 20) + b'"}')


@pytest.mark.parametrize("letter", ["x", "\\n", '\\"', "\\\\", "é"])
@pytest.mark.parametrize("around", ["%s", '{"a":%s}', '["\\"", "a", %s, "b"]', '{"a":"b", %s: "\\\\"}', "[%s,%s]"])
def test_a_string_is_measured_as_it_was_sent(letter: str, around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_STRING_BYTES", 60)
    monkeypatch.setattr(structure, "MAX_ESCAPES", 60)
    one = letter.encode()
    fits = b'"' + one * (60 // len(one)) + b'"'
    longer = fits[:-1] + one + b'"'
    for longest in range(2, 30):
        monkeypatch.setattr(pieces_of, "__defaults__", (longest,))
        assert long_strings(around.encode().replace(b"%s", fits) + b" " * 100) == []
        body = around.encode().replace(b"%s", longer)
        found = long_strings(body)
        assert [body[start:end] for start, end in found] == [longer] * around.count("%s")


def test_escapes_of_one_string_are_counted() -> None:
    assert long_strings(b'["' + b"\\n" * MAX_ESCAPES + b'"]') == []
    assert long_strings(b"[" + b'"' + b"\\n" * (MAX_ESCAPES // 2) + b'","' + b"\\n" * MAX_ESCAPES + b'"]') == []
    more = b'"' + b"\\n" * (MAX_ESCAPES + 1) + b'"'
    assert long_strings(b"[1," + more + b"]") == [(3, 3 + len(more))]


def test_many_strings_and_blanks_are_no_long_string() -> None:
    assert long_strings(b" " * (MAX_STRING_BYTES + 1)) == []
    assert long_strings(b'["' + b'x","' * MAX_STRING_BYTES + b'"]') == []


def test_a_string_that_is_not_closed_goes_to_the_end() -> None:
    body = b'["' + b"x" * (MAX_STRING_BYTES + 9)
    [(start, end)] = long_strings(body)
    assert (start, body[end:]) == (1, b"")


def test_members_are_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def members(count: int) -> bytes:
        return json.dumps({f"k{n}": [n, {}] for n in range(count)}).encode()

    assert len(fields.members_of(members(MAX_MEMBERS), "data")) == MAX_MEMBERS
    monkeypatch.setattr(fields, "_MEMBERS", None)
    with pytest.raises(Invalid, match=f"data: has more than {MAX_MEMBERS} members"):
        fields.members_of(members(MAX_MEMBERS + 1), "data")


def test_many_commas_below_are_no_members() -> None:
    value: dict[str, Any] = {"a": list(range(2 * MAX_MEMBERS))}
    assert list(fields.members_of(json.dumps(value).encode())) == ["a"]
    assert len(json.dumps(value)) > structure.PIECE_BYTES
