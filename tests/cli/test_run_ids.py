"""What a command finds by a part of its id, or by its name."""

from __future__ import annotations

import pytest

from towerlog.cli.run_ids import one_named
from towerlog.errors import NotFound

NAMES = {"01ab": "daily", "01cd": "01ab", "02ef": "twice", "03ab": "twice"}


@pytest.mark.parametrize(
    ("given", "found"),
    [("01ab", "01ab"), ("daily", "01ab"), ("02", "02ef"), ("02E", "02ef"), ("other", None)],
    ids=["its id, also where another has it for a name", "its name", "the beginning", "in capitals", "none"],
)
def test_a_thing_is_found_by_its_id_its_name_or_the_beginning_of_its_id(given: str, found: str | None) -> None:
    assert one_named(given, NAMES, "budget") == found


@pytest.mark.parametrize("given", ["twice", "01"])
def test_of_several_none_is_taken(given: str) -> None:
    with pytest.raises(NotFound, match="more than one budget id"):
        one_named(given, NAMES, "budget")
