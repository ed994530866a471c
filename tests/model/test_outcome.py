"""Outcomes are values: a closed set, and no two of them share something that can change."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from towerlog.model import outcome
from towerlog.model.outcome import Outcome, Placed, Reported, RunView

KINDS: list[type[msgspec.Struct]] = [
    kind
    for kind in vars(outcome).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == outcome.__name__
]
PARTS = frozenset({"Stored", "DamagedPlace", "LaneView", "WorkerView", "PolledRun", "TreeUsage"})
"""What stands inside an outcome and is none itself."""


def made(kind: type[msgspec.Struct]) -> Any:
    """One of a kind with only what it cannot do without."""
    needed = [field for field in msgspec.structs.fields(kind) if field.required]
    return kind(*([None] * len(needed)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_two_outcomes_share_something_that_can_change(kind: type[msgspec.Struct]) -> None:
    one, two = made(kind), made(kind)
    assert one == two
    for name in kind.__struct_fields__:
        held = getattr(one, name)
        assert held is not getattr(two, name) or not isinstance(held, list | dict | set), name


def test_every_kind_is_an_outcome_or_part_of_one() -> None:
    of_the_set = {kind.__name__ for kind in (*get_args(Placed), *get_args(Outcome))}
    assert {kind.__name__ for kind in KINDS} - of_the_set == PARTS


def test_what_was_not_looked_up_is_absent() -> None:
    view = made(RunView)
    assert (view.lane, view.result, view.input, view.children) == (None, None, None, ())
    assert Reported(view, None, []).results == made(Reported).results == []  # type: ignore[arg-type]
