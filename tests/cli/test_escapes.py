"""What agents and models write cannot write on the screen: not in words, not in tables, not in JSON."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from towerlog.cli.escapes import json_line, visible, visible_text

UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def unsafe(text: str, but: str = "") -> list[str]:
    return [letter for letter in text if unicodedata.category(letter) in UNSAFE and letter not in but + "\u200d"]


@example("\x07\u202e\ud800\u2028\u2029")
@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu", "So", "Zs"])))
def test_nothing_that_moves_the_cursor_gets_through(text) -> None:
    assert unsafe(visible(text)) == []
    assert unsafe(visible_text(text), "\n\t") == []
    assert unsafe(json_line({"a": text, text: 1})) == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_says_the_same_as_before(value) -> None:
    assert json.loads(json_line(value)) == value
    assert "\n" not in json_line(value)


def test_what_is_hidden_is_shown() -> None:
    assert visible("a\x1b[2Jb\n\x9b\u202e\U000e0001") == "a\\x1b[2Jb\\x0a\\x9b\\u202e\\U000e0001"
    assert visible_text("one\r\ntwo\tthree\x07") == "one\ntwo\tthree\\x07"
    assert visible_text("overwritten\rsafe") == "overwrittensafe"


def test_what_is_harmless_stays_as_it_is() -> None:
    text = "Grüße, 世界 👩\u200d🚀 – “x”"
    assert visible(text) == visible_text(text) == text
    assert json_line(text) == f'"{text}"'
