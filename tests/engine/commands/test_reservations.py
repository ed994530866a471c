"""Open reservations are listed, and released: by whoever steers runs, or by the key that has asked for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.errors import Conflict, NotFound, Overloaded
from towerlog.model.audit import AuditFilter, ListAudit
from towerlog.model.budget import (
    MAX_HOLD_SECONDS,
    MAX_LARGE_HOLD_SECONDS,
    MAX_REFUSALS_TOLD,
    MAX_RESERVATIONS_OF_RUN,
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
from towerlog.model.facts import Effects, Facts
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


async def test_a_run_has_so_many_open_reservations(rig: Rig) -> None:
    _, runs = await setting(rig)
    *_, last = [await rig.do(ReserveBudget(runs["writer"], 1)) for _ in range(MAX_RESERVATIONS_OF_RUN)]
    with pytest.raises(Overloaded, match=f"This run .*{MAX_RESERVATIONS_OF_RUN}") as refused:
        await rig.do(ReserveBudget(runs["writer"], 1))
    assert refused.value.retry_after
    await rig.do(ReserveBudget(runs["reader"], 1))
    await rig.do(ReleaseReservation(last.reservation_id))
    await rig.do(ReserveBudget(runs["writer"], 1))
    with pytest.raises(Overloaded):
        await rig.do(ReserveBudget(runs["writer"], 1))


async def test_more_than_a_half_of_a_budget_is_held_by_one_key_for_a_short_time(rig: Rig) -> None:
    """In one piece or in many, of however many runs; what another key holds counts for that one."""
    _, runs = await setting(rig)
    long_ms, short_ms = MAX_HOLD_SECONDS * 1000, MAX_LARGE_HOLD_SECONDS * 1000
    other = msgspec.structs.replace(rig.principal, key_id="other")
    with pytest.raises(Conflict, match=f"{MAX_LARGE_HOLD_SECONDS} seconds"):
        await rig.do(ReserveBudget(runs["writer"], 6 * DOLLAR, ttl_ms=long_ms))
    assert await held(rig) == [], "nothing is held of what was refused"
    await rig.do(ReserveBudget(runs["writer"], 3 * DOLLAR, ttl_ms=long_ms))
    whole = await rig.do(ReserveBudget(runs["reader"], 2 * DOLLAR, ttl_ms=long_ms))
    with pytest.raises(Conflict, match="more than a half"):
        await rig.do(ReserveBudget(runs["reader"], 1, ttl_ms=long_ms))
    await rig.do(ReserveBudget(runs["reader"], 4 * DOLLAR, ttl_ms=long_ms), principal=other)
    await rig.do(ReserveBudget(runs["reader"], 1, ttl_ms=short_ms))
    await rig.do(ReleaseReservation(whole.reservation_id))
    await rig.do(ReserveBudget(runs["reader"], DOLLAR, ttl_ms=long_ms))


async def test_what_a_key_holds_is_counted_down_with_each_end(rig: Rig) -> None:
    """Settled, released, over, or with its run."""
    [_, whole], runs = await setting(rig)

    async def of_key() -> int:
        return (await rig.do(GetBudget(whole.budget_id))).row.held_by.get(rig.principal.key_id, 0)

    granted = [await rig.do(ReserveBudget(runs["writer"], DOLLAR, ttl_ms=60_000)) for _ in range(4)]
    assert await of_key() == 4 * DOLLAR
    await rig.do(ReleaseReservation(granted[0].reservation_id))
    assert await of_key() == 3 * DOLLAR
    settles = Facts(effects=Effects(reservation_id=granted[1].reservation_id))
    await rig.append(draft(EventType.MODEL_CALL, traced("writer"), facts=settles, agent="writer"))
    assert await of_key() == 2 * DOLLAR
    await rig.do(ReserveBudget(runs["reader"], DOLLAR, ttl_ms=1_000))
    rig.clock.advance(1_000)
    await rig.engine.sweep()
    assert await of_key() == 2 * DOLLAR
    await rig.append(draft(EventType.RUN_COMPLETED, traced("writer"), agent="writer"))
    assert await of_key() == 0


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
