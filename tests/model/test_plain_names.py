"""Names of agents that look the same are the same."""

from __future__ import annotations

import pytest

from towerlog.model.agent import plain_name

LOOKS_THE_SAME = [
    "a b",
    " a b",
    "a b ",
    "a\u00a0b",
    "a\u200b b",
    "\ufeffa b",
    "a\u00ad b",
    "a\u2060 b",
    "a\tb",
    "a\u202e b",
    "a\u200e b\u200f",
    "a\u3164 b",
    "a\u2063 b",
    "a\u2003b",
    "a\u3000b",
]


@pytest.mark.parametrize("name", LOOKS_THE_SAME)
def test_what_nobody_sees_makes_no_name_of_its_own(name: str) -> None:
    assert plain_name(name) == "a b"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a  b",
        "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627",
        "\U0001f469\u200d\U0001f680",
        "x/y",
        "\u00e9",
        "\u6771\u4eac",
    ],
)
def test_what_joins_letters_and_signs_stays(name: str) -> None:
    assert plain_name(name) == name


def test_of_a_name_of_nothing_nothing_is_left() -> None:
    assert plain_name(" \u200b\ufeff\t") == ""
