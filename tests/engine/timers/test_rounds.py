"""A sweep that is led to the same rows again by a damaged index ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from towerlog.engine.timers.approvals import ExpiredApprovals
from towerlog.engine.timers.budgets import RUNS_AT_ONCE, ExpiredReservations, SteppingBudgets
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import Rounds

FAR = 50
"""Rounds after which a sweep counts as endless."""


class LedBack:
    """Commits that find the same rows each time, and change nothing of them."""

    def __init__(self, found: object) -> None:
        self.rounds = 0
        self._found = found

    async def __call__(self, *_: object) -> Any:
        self.rounds += 1
        assert self.rounds < FAR, "the sweep does not end"
        return self._found


PAGE = [SimpleNamespace(run=number) for number in range(RUNS_AT_ONCE)]
SWEEPS: dict[str, tuple[object, Callable[[LedBack], Any]]] = {
    "approvals": (PAGE, lambda upkeep: ExpiredApprovals(SimpleNamespace(), upkeep)),
    "leases": (PAGE, lambda upkeep: ExpiredLeases(upkeep)),
    "reservations": (PAGE, ExpiredReservations),
    "budgets": ((PAGE[0], PAGE), lambda upkeep: SteppingBudgets(SimpleNamespace(), upkeep)),
}


@pytest.mark.parametrize("name", sorted(SWEEPS))
async def test_a_sweep_that_is_led_back_ends(name: str) -> None:
    found, made = SWEEPS[name]
    upkeep = LedBack(found)
    await made(upkeep).sweep()
    assert upkeep.rounds == 2


def test_other_rows_are_another_round_and_none_are_none() -> None:
    rounds = Rounds("a sweep")
    assert [rounds.advance(found) for found in ([], [], [1], [2], [1])] == [True] * 5
    assert not rounds.advance([1])
