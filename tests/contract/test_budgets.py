"""Budgets in any backend: the last one written stands, deleted ones are shown to nobody, pages go on where they end."""

from __future__ import annotations

import msgspec
import pytest

from tests.store.sqlite.money.test_budgets import budget
from tests.support.backends import Backend
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from towerlog.model.budget import BudgetStep, Reservation
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind

# Money is counted by each backend.
pytestmark = pytest.mark.every_value


async def put(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_the_last_one_written_stands_and_deleted_ones_are_shown_to_nobody(
    store: Store, org: int, other: int
) -> None:
    rows = [budget(org, number) for number in range(1, 6)]
    await put(store, Changes(budgets={(org, row.budget_id): row for row in rows}))
    changed = msgspec.structs.replace(rows[1], spent_nanos=7)
    gone = msgspec.structs.replace(rows[2], deleted=True)
    await put(store, Changes(budgets={(org, "b2"): changed, (org, "b3"): gone, (org, "b4"): None}))
    first = await store.budgets(org, 2, None)
    assert [row.number for row in first] == [5, 2]
    assert [row.number for row in await store.budgets(org, 5, first[-1].number)] == [1]
    assert await store.budget(org, "b2") == changed
    assert await store.budget(org, "b3") is None
    assert await store.budget(org, "b4") is None
    assert await store.budget(other, "b2") is None
    assert await store.budgets(other, 5, None) == []
    async with store.begin() as unit:
        found = (await looked_up(unit, Kind.BUDGETS, org))[org]
        assert [row.budget_id for row in found] == ["b1", "b2", "b3", "b5"]
        assert (await looked_up(unit, Kind.BUDGETS, other))[other] == ()


async def test_what_is_due_is_found_the_oldest_first(store: Store, org: int) -> None:
    rows = [budget(org, 1), budget(org, 2, step=BudgetStep.STOP)]
    await put(store, Changes(budgets={(org, row.budget_id): row for row in rows}))
    async with store.begin() as unit:
        assert await unit.budget_due(0) == rows[1]
        assert await unit.runs_of_step(rows[1], 5) == []


async def test_a_restart_gives_reservations_their_whole_time(
    backend: Backend, clock: FakeClock, ids: SeededIds
) -> None:
    store = await backend.open(clock, ids)
    held = Reservation(1, "r", 3, 5, 60_000, clock.steady_ms() + 60_000, key_id="k")
    await put(store, Changes(reservations={(1, "r"): held}))
    clock.advance(50_000)
    await store.close()
    store = await backend.open(clock, ids)
    try:
        async with store.begin() as unit:
            found = (await looked_up(unit, Kind.RESERVATION, (1, "r")))[(1, "r")]
            assert found.expires_at == clock.steady_ms() + 60_000
            assert (await looked_up(unit, Kind.RESERVATIONS, 1))[1] == {"k": 1}
            assert await unit.reservations_expired(clock.steady_ms() + 59_999, 5) == []
            assert await unit.reservations_expired(clock.steady_ms() + 60_000, 5) == [found]
    finally:
        await store.close()
