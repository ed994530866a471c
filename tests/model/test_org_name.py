"""Names of organisations that a person would take for one another are one name; others are not."""

from __future__ import annotations

import pytest

from towerlog.model.org_name import outline_of, taken


@pytest.mark.parametrize(
    "name",
    [
        "Default",
        "DEFAULT",
        "\uff44\uff45\uff46\uff41\uff55\uff4c\uff54",
        "d\u0435fault",
        "def\u0430ult",
        "def\u03b1ult",
    ],
)
def test_what_looks_like_a_name_is_taken_for_it(name: str) -> None:
    assert taken(name, ["first", "default"]) == "default"


def test_composed_and_decomposed_are_the_same() -> None:
    assert outline_of("caf\u00e9  Stra\u00dfe") == outline_of("cafe\u0301 STRASSE")


@pytest.mark.parametrize("name", ["defaults", "de fault", "d\u00e9fault", "\u043a\u043e\u043c\u0430\u043d\u0434\u0430"])
def test_other_names_are_free(name: str) -> None:
    assert taken(name, ["first", "default"]) is None


def test_the_same_name_comes_before_one_that_looks_like_it() -> None:
    assert taken("default", ["default", "Default"]) == "default"
