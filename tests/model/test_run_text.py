"""What a run says in words: the values of any JSON, in the spelling in which they are searched, within a bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.run_text import (
    EXCERPT_CHARS,
    MAX_PART_CHARS,
    MAX_WORDS,
    Hit,
    RunText,
    excerpt,
    hit_of,
    joined_talk,
    searchable,
    values_text,
    words_of,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (b'"The \\"Tower\\"\\nof  P\\u00eesa"', 'the "tower" of p\u00eesa'),
        (b'{"topic": "Towers", "sizes": [1.5, -3], "ok": true, "of": null}', "towers 1.5 -3 true"),
        (b'{"a": {"b": ["x", {"c": "y"}]}}', "x y"),
        ('"ΣΑΣ σας ΟΔΥΣΣΕΥΣ"'.encode(), "σασ σασ οδυσσευσ"),
        (b'"half a char \\ud800!"', "half a char"),
        (b'"before\\u0000after"', "before after"),
        (b'{"cut": "in the mid', "in the mid"),
        (b"", ""),
        (b"[[[", ""),
        (b'"\xff\xfe"', ""),
    ],
)
def test_values_are_found_and_names_are_not(told: bytes, text: str) -> None:
    assert values_text(told).startswith(text)


@given(_JSON)
def test_each_word_of_a_value_is_found(value: object) -> None:
    text = values_text(json.dumps(value).encode())
    texts = [value] if isinstance(value, str) else []
    if isinstance(value, list | dict):
        texts = [one for one in (value.values() if isinstance(value, dict) else value) if isinstance(one, str)]
    for one in texts:
        assert searchable(one) in text


@given(st.binary())
def test_any_bytes_will_do(told: bytes) -> None:
    assert len(values_text(told)) <= MAX_PART_CHARS
    values_text(told).encode()


def test_a_long_text_keeps_its_beginning() -> None:
    long = json.dumps({"text": "begin " + "x" * 10**6 + " end"}).encode()
    assert len(values_text(long)) == MAX_PART_CHARS
    assert values_text(long).startswith("begin xxx")
    many = json.dumps([f"w{n}" for n in range(10**5)]).encode()
    assert len(values_text(many)) == MAX_PART_CHARS


def test_words_of_a_search_are_few_and_each_once() -> None:
    assert words_of("  Tower of\tTOWER ") == ["tower", "of"]
    assert words_of("") == []
    assert words_of('"Changed  my mind" again "') == ["changed my mind", "again"]
    assert words_of('"" "" "tower') == ["tower"]
    assert len(words_of(" ".join(map(str, range(100))))) == MAX_WORDS


def test_what_is_told_later_takes_the_place_and_talk_is_kept() -> None:
    text = RunText(1, 1, given="a", talk="first")
    later = text.with_told(RunText(1, 1, produced="b", talk="second"))
    assert later.whole() == RunText(1, 1, "a", "b", "second\nfirst", "")
    gone = later.with_told(RunText(1, 1, anew=True))
    assert gone.with_told(RunText(1, 1, about="c")) == RunText(1, 1, about="c", anew=True)
    assert joined_talk("x" * MAX_PART_CHARS, "old") == "x" * MAX_PART_CHARS


def test_a_hit_is_in_the_place_with_most_of_the_words() -> None:
    places = {"input": "a tower", "result": "the tower is leaning", "talk": None, "agent": "tower"}
    assert hit_of(["tower", "leaning"], places) == Hit("result", "the tower is leaning")
    assert hit_of(["tower"], places) == Hit("input", "a tower")
    assert hit_of(["castle"], places) is None
    assert hit_of([], places) is None
    assert hit_of(["x"], {}) is None


@given(st.text(alphabet="ab ", max_size=600), st.integers(0, 600))
def test_an_excerpt_is_bounded_and_shows_what_was_found(before: str, gap: int) -> None:
    text = f"{before} needle {'c ' * gap}"
    shown = excerpt(text, text.index("needle"))
    assert len(shown) <= EXCERPT_CHARS
    assert "needle" in shown
    assert shown.strip("…") in text
