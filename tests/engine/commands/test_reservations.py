"""Open reservations are listed, and released: by whoever steers runs, or by the key that has asked for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.errors import NotFound
from towerlog.model.audit import AuditFilter, ListAudit
from towerlog.model.budget import (
    MAX_REFUSALS_TOLD,
    BudgetAction,
    BudgetScope,
    CreateBudget,
    GetBudget,
    ListReservations,
    Period,
    ReleaseReservation,
    ReserveBudget,
)
from towerlog.model.event import EventType
from towerlog.model.principal import Scope
from towerlog.model.question import RunFilter

DOLLAR = 1_000_000_000


async def held(rig: Rig, **filters: Any) -> list[Any]:
    """Amounts of what is open, newest first, over pages of two."""
    found, before = [], None
    while True:
        page = await rig.do(ListReservations(2, before, **filters))
        found += [one.row.amount_nanos for one in page.rows]
        if page.next is None:
            return found
        before = page.next


async def setting(rig: Rig) -> tuple[Any, dict[str, str]]:
    """A budget of an agent, one of everything, and runs of two agents."""
    whole = BudgetScope(organisation=True)
    asked = [BudgetScope(agent="writer"), whole]
    made = [
        (await rig.do(CreateBudget("b", scope, 10 * DOLLAR, Period.TOTAL, BudgetAction.WARN))).row for scope in asked
    ]
    for name in ("writer", "reader"):
        await rig.append(draft(EventType.STEP, traced(name), agent=name))
    rows = await rig.store.runs(rig.org, RunFilter(), 10, None)
    return made, {row.agent: row.run_id for row in rows}


async def test_what_is_held_is_listed_by_budget_run_and_key(rig: Rig) -> None:
    (writers, whole), runs = await setting(rig)
    other = msgspec.structs.replace(rig.principal, key_id="other")
    for nanos in (1, 2, 3):
        await rig.do(ReserveBudget(runs["writer"], nanos))
    await rig.do(ReserveBudget(runs["reader"], 5), principal=other)
    assert await held(rig) == [5, 3, 2, 1]
    assert await held(rig, budget_id=whole.budget_id) == [5, 3, 2, 1]
    assert await held(rig, budget_id=writers.budget_id) == [3, 2, 1]
    assert await held(rig, run_id=runs["reader"]) == [5]
    assert await held(rig, key_id="other", run_id=runs["writer"]) == []
    with pytest.raises(NotFound):
        await held(rig, run_id="0196b2c4-7b80-7000-8000-00000000dead")
    stranger = await rig.make_org("stranger")
    assert (await rig.do(ListReservations(9), principal=stranger)).rows == []


async def test_refused_reservations_are_told_of_so_often_a_minute(rig: Rig) -> None:
    _, runs = await setting(rig)

    async def told() -> int:
        return sum(one.facts.name == "inference_budget_exceeded" for one in await rig.log())

    for _ in range(MAX_REFUSALS_TOLD + 20):
        reply = await rig.do(ReserveBudget(runs["writer"], 11 * DOLLAR))
        assert reply.reservation_id is None, "each of them is refused"
    assert await told() == MAX_REFUSALS_TOLD
    rig.clock.advance(60_000)
    await rig.do(ReserveBudget(runs["writer"], 11 * DOLLAR))
    assert await told() == MAX_REFUSALS_TOLD + 1


async def test_a_released_reservation_holds_nothing_and_is_told_in_the_audit(rig: Rig) -> None:
    (_, whole), runs = await setting(rig)
    granted = await rig.do(ReserveBudget(runs["writer"], 7, ttl_ms=60_000))
    [view] = (await rig.do(ListReservations(9))).rows
    assert (view.run_id, view.row.expires_at) == (runs["writer"], rig.clock.now_ms() + 60_000)
    await rig.do(ReserveBudget(runs["reader"], 2))
    gone = await rig.do(ReleaseReservation(granted.reservation_id))
    assert (gone.row.amount_nanos, gone.run_id) == (7, runs["writer"])
    assert (await rig.do(GetBudget(whole.budget_id))).row.reserved_nanos == 2
    assert await held(rig) == [2]
    with pytest.raises(NotFound):
        await rig.do(ReleaseReservation(granted.reservation_id))
    [entry, *_] = (await rig.do(ListAudit(AuditFilter(), 5))).rows
    assert entry.entry.action == "reservation.release"


async def test_without_control_a_key_releases_its_own_alone(rig: Rig) -> None:
    _, runs = await setting(rig)
    mine = await rig.do(ReserveBudget(runs["writer"], 7))
    agent = msgspec.structs.replace(rig.principal, key_id="agent", scopes=frozenset({Scope.INGEST}))
    with pytest.raises(NotFound):
        await rig.do(ReleaseReservation(mine.reservation_id), principal=agent)
    its = await rig.do(ReserveBudget(runs["writer"], 1), principal=agent)
    await rig.do(ReleaseReservation(its.reservation_id), principal=agent)
    stranger = await rig.make_org("stranger")
    with pytest.raises(NotFound):
        await rig.do(ReleaseReservation(mine.reservation_id), principal=stranger)
    assert await held(rig) == [7]
