"""Text of others, made fit: one line, nothing hidden, cut at whole characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.egress.plain import cut, lines, one_line, units


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  a \t b\r\nc ", "a b c"),
        ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
        ("a\x00b\x1b[31mc\x7f", "a b [31mc"),
        ("\u202eevil\u2066", "evil"),
        ("a\u200bb\ufeff", "a b"),
        ("\ud800x", "x"),
        ("👩‍🚀 up", "👩‍🚀 up"),
        ("größe", "größe"),
        ("", ""),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text, 100) == line


def test_lines_keep_their_ends_and_tabs_alone() -> None:
    assert lines("a\r\nb\tc\rd\x00\n", 100) == "a\nb\tc d \n"


@given(st.text(), st.integers(1, 40))
def test_whatever_it_was_it_is_one_line_that_fits(text: str, limit: int) -> None:
    for made in (one_line(text, limit), lines(text, limit)):
        assert units(made) <= limit
        assert len(made.encode("utf-16-le")) // 2 == units(made)
    assert len(f"{one_line(text, limit)}x".splitlines()) == 1
    kept = {"Cf", "Cs", "Cc", "Zl", "Zp"}
    assert not [one for one in one_line(text, limit) if unicodedata.category(one) in kept and one != "\u200d"]


def test_what_is_cut_says_so_and_ends_at_a_whole_character() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 5) == "abcd…"
    assert cut("🚀🚀🚀", 6) == "🚀🚀🚀"
    assert cut("🚀🚀🚀", 5) == "🚀🚀…"
    assert cut("🚀🚀🚀", 4) == "🚀…"
