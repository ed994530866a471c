"""Cursors: what we wrote is read again, of its own list alone; anything else is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.dialects.native.lists import read_cursor, read_number, read_step, write_cursor
from towerlog.errors import Invalid

FORGED = ["x", "!!!!", "cnVucw", "é", "AAAA", "a" * 5000, "cnVuczo=", " ", "cnVuczph\n"]


@given(st.text(max_size=200))
def test_what_was_written_is_read(key: str) -> None:
    key = key.encode("utf-8", "replace").decode()
    text = write_cursor("runs", key)
    assert text is not None
    assert read_cursor("runs", text) == key
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_end_has_no_cursor_and_none_begins() -> None:
    assert write_cursor("runs", None) is None
    assert read_cursor("runs", None) is None
    assert read_cursor("runs", "") is None
    assert read_number("events", None) == 0
    assert read_step("checkpoints", None) is None


@pytest.mark.parametrize("text", FORGED)
def test_what_we_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_cursor("runs", text)
    assert caught.value.field == "cursor"


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Invalid):
        read_cursor("threads", write_cursor("runs", "abc"))


@pytest.mark.parametrize(("key", "number"), [("0", 0), ("17", 17), ("9" * 18, 10**18 - 1)])
def test_numbers(key: str, number: int) -> None:
    assert read_number("events", write_cursor("events", key)) == number


@pytest.mark.parametrize("key", ["", "-1", "x", "1.0", "9" * 19, "٣", " 1"])
def test_what_is_no_number_is_refused(key: str) -> None:
    with pytest.raises(Invalid):
        read_number("events", write_cursor("events", key))


def test_steps() -> None:
    assert read_step("c", write_cursor("c", "3:an agent: with a colon")) == (3, "an agent: with a colon")
    for key in ("3", "x:a", "-1:a", ":a"):
        with pytest.raises(Invalid):
            read_step("c", write_cursor("c", key))
