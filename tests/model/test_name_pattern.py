"""Patterns of names: what fits them, which are refused, and that no pattern takes long."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from time import process_time

import pytest

from towerlog.model.name_pattern import MAX_QUESTION_MARKS, MAX_STARS, NamePattern, is_pattern, pattern_fault


@pytest.mark.parametrize(
    ("text", "names", "others"),
    [
        ("m", ["m"], ["", "mm", "n"]),
        ("*", ["", "m"], []),
        ("?", ["m"], ["", "mm"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("a?c*x?z", ["abcxyz", "abc-x-z"], ["abcx", "acxyz", "abcxyzz"]),
        ("*b*c*", ["bc", "abbcc"], ["cb", "b"]),
        ("*ab*b", ["abb", "aabab" + "b"], ["ab", "aab"]),
        ("m[1]*", ["m[1]", "m[1]x"], ["m1"]),
    ],
)
def test_what_fits_a_pattern(text: str, names: list[str], others: list[str]) -> None:
    pattern = NamePattern(text)
    assert [name for name in [*names, *others] if pattern.fits(name)] == names


def test_it_says_what_a_regular_expression_would_say() -> None:
    dice, seen = random.Random(20), set()
    for _ in range(20_000):
        text = "".join(dice.choices("ab*?", k=dice.randint(1, 7)))
        if pattern_fault(text) is not None:
            continue
        name = "".join(dice.choices("ab", k=dice.randint(0, 8)))
        expected = fnmatchcase(name, text)
        assert NamePattern(text).fits(name) is expected, (text, name)
        seen.add((is_pattern(text), expected))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("*" * MAX_STARS, None),
        ("*" * (MAX_STARS + 1), "has more than 4 `*`"),
        ("?" * MAX_QUESTION_MARKS + "*", None),
        ("?" * (MAX_QUESTION_MARKS + 1), "has more than 4 `?`"),
        ("a?*b?", None),
        ("*a?b*", "has a `?` between two `*`"),
    ],
)
def test_a_pattern_has_a_bound(text: str, fault: str | None) -> None:
    assert pattern_fault(text) == fault


def test_the_worst_patterns_take_no_longer_than_as_many_searches() -> None:
    name, half = "a" * 200, "a" * 60
    texts = [f"*{half}*{half}*{half}b*{number}" for number in range(2000)]
    texts += ["a?a?a?a?*a", f"*{half}*{half}*b*"] * 1000
    patterns = [NamePattern(text) for text in texts]

    def timed(do: object) -> float:
        begun = process_time()
        assert callable(do)
        do()
        return process_time() - begun

    def search() -> None:
        for _ in range(len(patterns) * 5):
            name.find(half + "b")

    matched = min(timed(lambda: [one.fits(name) for one in patterns]) for _ in range(5))
    assert matched < 10 * min(timed(search) for _ in range(5))
