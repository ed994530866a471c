"""Budgets act in the transaction of the event that spends: counted once, told once, runs stopped and let go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.errors import BudgetExceeded, NotFound, Overloaded
from towerlog.model import command as c
from towerlog.model.budget import (
    BudgetAction,
    BudgetRow,
    BudgetScope,
    BudgetState,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
    ListReservations,
    Period,
    ReserveBudget,
)
from towerlog.model.event import Event, EventType, RunByForeignId
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import Stored
from towerlog.model.price import Reprice
from towerlog.model.principal import Principal
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageReport

DOLLAR, HOUR_MS = 1_000_000_000, 3_600_000
ORGANISATION = BudgetScope(organisation=True)
TOLD = [EventType.BUDGET_WARNING, EventType.BUDGET_EXCEEDED]


def call(trace: str, nanos: int | None, *, agent: str = "writer", thread: str = "thread", **effects: Any) -> Any:
    """A model call that costs so much."""
    report = UsageReport(Usage(cost_nanos=nanos), kind="delta")
    facts = Facts(effects=Effects(report=report, **effects))
    return draft(EventType.MODEL_CALL, traced(trace, thread), facts=facts, agent=agent)


async def make(rig: Rig, scope: BudgetScope = ORGANISATION, **given: Any) -> BudgetRow:
    """A budget of a dollar."""
    asked = {"amount_nanos": DOLLAR, "period": Period.TOTAL, "action": BudgetAction.WARN} | given
    row: BudgetRow = (await rig.do(CreateBudget("ours", scope, **asked))).row
    return row


async def read(rig: Rig, row: BudgetRow) -> BudgetRow:
    """It as it is stored."""
    found: BudgetRow = (await rig.do(GetBudget(row.budget_id))).row
    return found


async def notes(rig: Rig) -> list[Event]:
    """What was told about budgets."""
    return [one for one in await rig.log() if one.type in (EventType.BUDGET_WARNING, EventType.BUDGET_EXCEEDED)]


async def rows(rig: Rig) -> dict[str, RunRow]:
    """All runs by their traces."""
    return {row.trace_id: row for row in await rig.store.runs(rig.org, RunFilter(), 500, None)}


def warning_of(result: Any) -> str | None:
    assert isinstance(result, Stored)
    return result.budget_warning


def unused_of(result: Any) -> list[str]:
    """The members that its sender is warned of."""
    assert isinstance(result, Stored)
    return [member for member, _ in result.unused]


async def test_money_is_counted_where_it_is_in_scope(rig: Rig) -> None:
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    scopes = [
        ORGANISATION,
        BudgetScope(agent="writer"),
        BudgetScope(thread_id="thread"),
        BudgetScope(run_id=top.run_id),
    ]
    made = [await make(rig, scope) for scope in scopes]
    await rig.append(call("top", 1))
    await rig.append(call("child", 10, agent="reader", thread="else", parent_key=f"run:{top.run_id}"))
    await rig.append(call("grandchild", 100, agent="reader", thread="else", parent_key="trace:child"))
    await rig.append(call("stranger", 1000, agent="writer", thread="third"))
    assert [(await read(rig, row)).spent_nanos for row in made] == [1111, 1001, 1, 111]
    rig.engine.forget()
    await rig.append(call("grandchild", 10_000, agent="reader", thread="else"))
    assert [(await read(rig, row)).spent_nanos for row in made] == [11_111, 1001, 1, 10_111]


async def test_one_warning_and_one_exceeded_and_a_run_goes_on(rig: Rig) -> None:
    await make(rig, BudgetScope(agent="writer"), amount_nanos=10 * DOLLAR)
    results = [(await rig.append(call("one", DOLLAR)))[0] for _ in range(12)]
    told = [warning_of(one) for one in results]
    assert told == [None] * 9 + ["Agent 'writer' has exceeded its budget of $10.00"] * 3
    assert [one.type for one in await notes(rig)] == [EventType.BUDGET_WARNING, EventType.BUDGET_EXCEEDED]
    run = (await rows(rig))["one"]
    assert run.status is Status.RUNNING
    [other] = await rig.append(call("one", None, agent="reader"))
    assert warning_of(other) is None


async def test_a_repeat_is_counted_once(rig: Rig) -> None:
    row = await make(rig)
    for _ in range(3):
        item = call("one", DOLLAR)
        await rig.append(type(item)(**{**{n: getattr(item, n) for n in item.__struct_fields__}, "event_id": "e"}))
    assert (await read(rig, row)).spent_nanos == DOLLAR
    assert len(await notes(rig)) == 2


async def test_the_run_that_crosses_is_asked_with_the_reply_and_the_others_by_the_timer(rig: Rig) -> None:
    await make(rig, action=BudgetAction.PAUSE)
    for number in range(230):
        await rig.append(call(f"r{number}", None))
    [result] = await rig.append(call("r7", DOLLAR))
    assert isinstance(result, Stored)
    assert [one.type for one in result.commands] == ["pause"]
    asked = [row for row in (await rows(rig)).values() if row.pending]
    assert [row.trace_id for row in asked] == ["r7"]
    await rig.engine.sweep()
    assert all([one.type for one in row.pending] == ["pause"] for row in (await rows(rig)).values())
    before = len(await rig.log())
    await rig.engine.sweep()
    assert len(await rig.log()) == before


async def test_a_raise_lets_go_on_what_it_paused_and_nothing_else(rig: Rig) -> None:
    await rig.append(call("by hand", None), call("ours", None))
    by_hand = (await rows(rig))["by hand"]
    await rig.do(c.SteerRun(by_hand.run_id, "pause"))
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("ours", DOLLAR))
    await rig.engine.sweep()
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=2 * DOLLAR))
    await rig.engine.sweep()
    found = await rows(rig)
    assert [one.type for one in found["by hand"].pending] == ["pause"]
    assert [one.type for one in found["ours"].pending] == ["resume"]
    assert (await read(rig, row)).state is BudgetState.OK
    await rig.append(call("ours", DOLLAR))
    assert [one.type for one in (await notes(rig))] == [EventType.BUDGET_WARNING, EventType.BUDGET_EXCEEDED] * 2
    assert [one.type for one in (await rows(rig))["ours"].pending] == ["pause"]


@pytest.mark.parametrize("said", [["pause"], ["resume", "pause"], ["resume"]], ids="-".join)
async def test_what_a_person_has_said_since_is_not_taken_back(rig: Rig, said: list[str]) -> None:
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("mine", None), call("ours", DOLLAR))
    await rig.engine.sweep()
    for action in said:
        await rig.do(c.SteerRun((await rows(rig))["mine"].run_id, action))
    await rig.engine.sweep()
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=2 * DOLLAR))
    before = len(await rig.log())
    await rig.engine.sweep()
    found = await rows(rig)
    assert [one.type for one in found["mine"].pending] == said[-1:]
    assert [one.type for one in found["ours"].pending] == ["resume"]
    assert len(await rig.log()) == before + 1


async def test_a_run_that_a_person_resumes_is_asked_again_when_it_spends(rig: Rig) -> None:
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("one", DOLLAR))
    await rig.do(c.SteerRun((await rows(rig))["one"].run_id, "resume"))
    await rig.append(call("one", 1))
    assert [one.type for one in (await rows(rig))["one"].pending] == ["pause"]
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=2 * DOLLAR))
    await rig.engine.sweep()
    assert [one.type for one in (await rows(rig))["one"].pending] == ["resume"]


async def test_another_budget_keeps_a_run_paused(rig: Rig) -> None:
    first, second = [await make(rig, action=BudgetAction.PAUSE) for _ in range(2)]
    await rig.append(call("one", DOLLAR))
    await rig.engine.sweep()
    await rig.do(DeleteBudget(first.budget_id))
    await rig.engine.sweep()
    assert [one.type for one in (await rows(rig))["one"].pending] == ["pause"]
    with pytest.raises(NotFound):
        await read(rig, first)
    await rig.do(DeleteBudget(second.budget_id))
    await rig.engine.sweep()
    assert [one.type for one in (await rows(rig))["one"].pending] == ["resume"]
    assert (await rig.do(ListBudgets(10))).rows == []


async def test_a_new_period_lets_runs_go_on(rig: Rig) -> None:
    row = await make(rig, action=BudgetAction.PAUSE, period=Period.HOUR)
    await rig.append(call("one", DOLLAR))
    await rig.engine.sweep()
    rig.clock.advance(3_600_000)
    await rig.engine.sweep()
    assert [one.type for one in (await rows(rig))["one"].pending] == ["resume"]
    found = await read(rig, row)
    assert (found.spent_nanos, found.state) == (0, BudgetState.OK)


async def test_a_cancel_reaches_the_family_and_new_runs(rig: Rig) -> None:
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    await rig.append(call("child", None, agent="reader", parent_key=f"run:{top.run_id}"))
    await make(rig, BudgetScope(agent="writer"), action=BudgetAction.CANCEL)
    await rig.append(call("top", 2 * DOLLAR))
    await rig.engine.sweep()
    await rig.engine.sweep()
    [late] = await rig.append(call("later", None))
    assert isinstance(late, Stored)
    assert [one.type for one in late.commands] == ["cancel"]
    assert {name: row.status for name, row in (await rows(rig)).items()} == dict.fromkeys(
        ("top", "child", "later"), Status.CANCELLING
    )


async def test_no_run_is_created_while_a_budget_is_used_up(rig: Rig) -> None:
    row = await make(rig, BudgetScope(agent="writer"), action=BudgetAction.CANCEL)
    await rig.append(call("one", DOLLAR))
    with pytest.raises(BudgetExceeded, match=r"Agent 'writer' has exceeded its budget of \$1\.00"):
        await rig.do(c.CreateRun("new", agent="writer"))
    await rig.do(c.CreateRun("new", agent="reader"))
    await rig.do(ChangeBudget(row.budget_id, action=BudgetAction.WARN))
    await rig.do(c.CreateRun("new", agent="writer"))


@pytest.mark.parametrize("period", list(Period))
async def test_a_new_budget_begins_with_what_its_period_has_spent(rig: Rig, period: Period) -> None:
    await rig.append(call("top", 5), call("other", 7, agent="reader", thread="else"))
    top = (await rows(rig))["top"]
    await rig.append(call("below", 9, agent="reader", thread="third", parent_key=f"run:{top.run_id}"))
    scopes = [ORGANISATION, BudgetScope(agent="reader"), BudgetScope(thread_id="thread")]
    made = [await make(rig, scope, period=period) for scope in (*scopes, BudgetScope(run_id=top.run_id))]
    assert [row.spent_nanos for row in made] == [21, 16, 5, 14]
    rig.clock.advance(32 * 24 * 3_600_000)
    await rig.append(call("top", 100))
    later = [await make(rig, scope, period=period) for scope in (*scopes, BudgetScope(run_id=top.run_id))]
    since_ever = [121, 16, 105, 114]
    assert [row.spent_nanos for row in later] == (since_ever if period is Period.TOTAL else [100, 0, 100, 100])
    assert [(await read(rig, row)).spent_nanos for row in made] == [row.spent_nanos for row in later]


async def test_a_budget_that_is_used_up_from_the_start_acts(rig: Rig) -> None:
    await rig.append(call("one", DOLLAR))
    row = await make(rig, action=BudgetAction.PAUSE)
    assert row.state is BudgetState.EXCEEDED
    await rig.engine.sweep()
    assert [one.type for one in (await rows(rig))["one"].pending] == ["pause"]
    assert [one.type for one in await notes(rig)] == TOLD, "the run that is stopped is told why"
    await rig.append(call("one", DOLLAR))
    assert len(await notes(rig)) == 2


@pytest.mark.parametrize("action", list(BudgetAction))
@pytest.mark.parametrize("stops_first", [True, False], ids=["stopped first", "spending first"])
async def test_what_a_change_of_the_amount_crosses_is_told_once(
    rig: Rig, action: BudgetAction, stops_first: bool
) -> None:
    row = await make(rig, amount_nanos=100 * DOLLAR, action=action)
    await rig.append(call("one", 50 * DOLLAR), call("two", 1))
    assert await notes(rig) == []
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=40 * DOLLAR))
    if stops_first:
        await rig.engine.sweep()
        assert [one.type for one in await notes(rig)] == ([] if action is BudgetAction.WARN else TOLD)
    await rig.append(call("one", 1))
    await rig.engine.sweep()
    assert [one.type for one in await notes(rig)] == TOLD
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=60 * DOLLAR))
    await rig.append(call("one", 1), call("two", 1))
    assert [one.type for one in await notes(rig)] == [*TOLD, EventType.BUDGET_WARNING]
    assert msgspec.json.decode((await notes(rig))[-1].data)["amount_usd"] == 60


@pytest.mark.parametrize("in_hours", [True, False], ids=["hour", "total"])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
async def test_what_a_correction_takes_back_ends_the_stop_and_is_told_once(
    tmp_path: Path, together: bool, in_hours: bool
) -> None:
    """10 computed use the budget up, a told cost of 2 takes that back, and more than 8 use it up again."""
    async with open_rig(tmp_path, prices=FixedPrices({"big": card(1)})) as rig:
        period = Period.HOUR if in_hours else Period.TOTAL
        row = await make(rig, BudgetScope(agent="writer"), amount_nanos=10, action=BudgetAction.PAUSE, period=period)
        await make(rig, BudgetScope(agent="reader"), amount_nanos=1)

        async def waiting() -> list[list[str]]:
            return [[one.type for one in (await rows(rig))[trace].pending] for trace in ("other", "one")]

        async def send(*some: Any) -> list[Any]:
            if together:
                return list(await rig.append(*some))
            return [(await rig.append(one))[0] for one in some]

        await rig.append(call("other", None), call("third", 1, agent="reader"))
        tokens = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=10), kind="delta"), model="big"))
        await rig.append(draft(EventType.MODEL_CALL, traced("one"), facts=tokens, agent="writer"))
        await rig.engine.sweep()
        assert await waiting() == [["pause"], ["pause"]]
        assert (await read(rig, row)).state is BudgetState.EXCEEDED
        told = Facts(effects=Effects(report=UsageReport(Usage(cost_nanos=2), whole_run=True)))
        back = draft(EventType.STEP, traced("one"), facts=told, agent="writer")
        results = await send(back, call("other", 3), call("other", 4))
        assert [warning_of(one) for one in results] == [None] * 3
        now = await read(rig, row)
        assert (now.spent_nanos, now.state) == (9, BudgetState.WARNING)
        await rig.engine.sweep()
        assert await waiting() == [["resume"], ["resume"]], "it has money again"
        await rig.do(c.CreateRun("new", agent="writer"))
        results = await send(call("other", 0), call("other", 1), call("other", 1))
        assert [bool(warning_of(one)) for one in results] == ([True] * 3 if together else [False, True, True])
        assert (await waiting())[0] == ["pause"]
        await rig.engine.sweep()
        assert await waiting() == [["pause"], ["pause"]], "it is used up again"
        assert [one.type for one in await notes(rig)] == TOLD * 2, "once of each budget"


async def test_a_restart_goes_on_where_the_last_step_ended(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        row = await make(rig, action=BudgetAction.PAUSE)
        await rig.append(call("one", None), call("two", None))
        await rig.append(call("one", DOLLAR))
    async with open_rig(tmp_path) as again:
        assert (await read(again, row)).spent_nanos == DOLLAR
        await again.engine.sweep()
        assert [one.type for one in (await rows(again))["two"].pending] == ["pause"]
        await again.append(call("two", 1))
        assert len(await notes(again)) == 2


async def test_nobody_sees_the_budgets_of_others(rig: Rig) -> None:
    row = await make(rig)
    other = await rig.make_org("other")
    with pytest.raises(NotFound):
        await rig.do(GetBudget(row.budget_id), principal=other)
    for command in (ChangeBudget(row.budget_id, name="x"), DeleteBudget(row.budget_id)):
        with pytest.raises(NotFound):
            await rig.do(command, principal=other)
    assert (await rig.do(ListBudgets(10), principal=other)).rows == []


async def test_a_reservation_holds_until_its_event(rig: Rig) -> None:
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("one", None), call("two", None))
    run = (await rows(rig))["one"]
    granted = [await rig.do(ReserveBudget(run.run_id, DOLLAR // 2)) for _ in range(3)]
    assert [one.refused_by for one in granted] == [None, None, row.budget_id]
    assert (await read(rig, row)).reserved_nanos == DOLLAR
    for trace in ("two", "new"):
        [of_another] = await rig.append(call(trace, 1, reservation_id=granted[0].reservation_id))
        assert unused_of(of_another) == ["reservation_id"]
        assert (await read(rig, row)).reserved_nanos == DOLLAR
    for unused in ([], ["reservation_id"]):
        [settled] = await rig.append(call("one", DOLLAR // 4, reservation_id=granted[0].reservation_id))
        assert (await read(rig, row)).reserved_nanos == DOLLAR // 2
        assert unused_of(settled) == unused, "there is nothing left of it to settle"
    [unknown] = await rig.append(call("one", 0, reservation_id="nonsense"))
    assert unused_of(unknown) == ["reservation_id"]
    await rig.append(call("one", None, reservation_id=granted[1].reservation_id))
    found = await read(rig, row)
    assert (found.reserved_nanos, found.spent_nanos) == (0, DOLLAR // 2 + 2)
    refused = [one for one in await rig.log() if one.facts.name == "inference_budget_exceeded"]
    assert len(refused) == 1
    assert b'"amount_usd":0.5' in refused[0].data


HELD = 400_000_000


async def reserved(rig: Rig, **given: Any) -> str | None:
    """The id of a reservation of 0.4 dollars; None where it is refused."""
    found: str | None = (await rig.do(ReserveBudget("r", **{"amount_nanos": HELD, **given}))).reservation_id
    return found


def house(event_id: str, reservation_id: str | None = None, *, success: bool = True, tokens: int | None = 100) -> Any:
    """A call of a model that has no price."""
    report = UsageReport(Usage(tokens), "delta")
    facts = Facts(success=success, effects=Effects(report=report, model="house", reservation_id=reservation_id))
    return msgspec.structs.replace(
        draft(EventType.MODEL_CALL, RunByForeignId("sdk:r", "r"), facts=facts, agent="a"), event_id=event_id
    )


async def test_what_a_call_of_unknown_price_was_held_for_stays_held_until_its_price_is_known(tmp_path: Path) -> None:
    """It may have cost as much as was reserved: two such calls leave too little of a dollar for a third."""
    prices = FixedPrices({"m": card(1_000_000)})
    async with open_rig(tmp_path, prices=prices) as rig:
        whole, hourly = await make(rig), await make(rig, period=Period.HOUR)
        await rig.append(draft(EventType.RUN_STARTED, RunByForeignId("sdk:r", "r"), agent="a"))
        for number in range(2):
            await rig.append(house(f"e{number}", await reserved(rig)))
        for row in (await read(rig, whole), await read(rig, hourly)):
            assert (row.spent_nanos, row.reserved_nanos, row.held_nanos(), row.unpriced_calls) == (0, 0, 2 * HELD, 2)
        assert await reserved(rig) is None, "neither is it known that so much is left"
        assert (await rig.do(ListReservations(9))).rows == [], "no reservation is open"
        rig.clock.advance(HOUR_MS)
        row = await read(rig, hourly)
        assert (row.held_nanos(), row.unpriced_calls) == (0, 0), "the next hour begins with nothing"
        prices.cards["house"] = card(1000)
        await rig.do(Reprice(since=0, dry_run=False))
        row = await read(rig, whole)
        assert (row.spent_nanos, row.held_nanos(), row.unpriced_calls) == (200_000, 0, 0)
        assert await reserved(rig) is not None


@pytest.mark.parametrize("last", ["told", "failed"])
async def test_a_known_cost_or_a_call_that_failed_ends_the_hold(rig: Rig, last: str) -> None:
    row = await make(rig)
    await rig.append(draft(EventType.RUN_STARTED, RunByForeignId("sdk:r", "r"), agent="a"))
    held = await reserved(rig)
    assert held is not None
    if last == "failed":
        await rig.append(house("e", held, success=False, tokens=None))
    else:
        report = UsageReport(Usage(100, cost_nanos=5), "delta")
        facts = Facts(effects=Effects(report=report, reservation_id=held))
        await rig.append(draft(EventType.MODEL_CALL, RunByForeignId("sdk:r", "r"), facts=facts, agent="a"))
    assert (await read(rig, row)).held_nanos() == 0
    await rig.append(house("f", await reserved(rig), tokens=None))
    assert (await read(rig, row)).held_nanos() == HELD, "a call that tells nothing at all has cost something too"


async def test_a_told_cost_of_the_run_takes_unpriced_calls_out_of_budgets(rig: Rig) -> None:
    row, of_agent = await make(rig), await make(rig, BudgetScope(agent="a"))
    for number in range(3):
        await rig.append(house(f"e{number}"))
    assert [(await read(rig, one)).unpriced_calls for one in (row, of_agent)] == [3, 3]
    report = UsageReport(Usage(cost_nanos=50), whole_run=True)
    facts = Facts(effects=Effects(report=report))
    await rig.append(draft(EventType.RUN_COMPLETED, RunByForeignId("sdk:r", "r"), facts=facts, agent="a"))
    for one in (row, of_agent):
        now = await read(rig, one)
        assert (now.unpriced_calls, now.spent_nanos) == (0, 50)


async def test_a_reservation_holds_in_the_budgets_of_the_agent_that_spends_it(rig: Rig) -> None:
    mine, theirs = [await make(rig, BudgetScope(agent=name)) for name in ("writer", "reader")]
    unnamed = await make(rig, BudgetScope(agent="default"))
    await rig.append(call("one", None), draft(EventType.STEP, traced("two")))
    found = await rows(rig)
    assert (await rig.do(ReserveBudget(found["one"].run_id, 5 * DOLLAR, agent="reader"))).refused_by == theirs.budget_id
    granted = await rig.do(ReserveBudget(found["one"].run_id, DOLLAR, agent="reader"))
    await rig.do(ReserveBudget(found["two"].run_id, 1))
    assert [(await read(rig, row)).reserved_nanos for row in (mine, theirs, unnamed)] == [0, DOLLAR, 1]
    await rig.append(call("one", DOLLAR, agent="reader", reservation_id=granted.reservation_id))
    after = [await read(rig, row) for row in (mine, theirs)]
    assert [(row.spent_nanos, row.reserved_nanos) for row in after] == [(0, 0), (DOLLAR, 0)]


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
async def test_nothing_is_held_any_more_for_a_run_that_has_ended(rig: Rig, together: bool) -> None:
    row = await make(rig)
    await rig.append(call("one", None), call("two", None))
    found = await rows(rig)
    asked = [ReserveBudget(found[name].run_id, nanos) for name, nanos in (("one", 5), ("one", 7), ("two", 11))]
    end = c.Append("steps", [draft(EventType.RUN_FAILED, traced("one"), agent="writer")])
    granted: list[Any] = []
    if together:
        *granted, _ = await asyncio.gather(*(rig.do(one) for one in (*asked, end)))
    else:
        granted = [await rig.do(one) for one in asked]
        rig.engine.forget()
        await rig.do(end)
    assert (await read(rig, row)).reserved_nanos == 11
    await rig.append(call("one", 3, reservation_id=granted[0].reservation_id))
    rig.clock.advance(61_000)
    await rig.engine.sweep()
    after = await read(rig, row)
    assert (after.spent_nanos, after.reserved_nanos) == (3, 0)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
async def test_a_key_has_a_share_of_the_reservations(rig: Rig, monkeypatch: pytest.MonkeyPatch, together: bool) -> None:
    """What is settled gives its place back; another key finds room until the organisation has none."""
    monkeypatch.setattr("towerlog.engine.commands.budgets.MAX_RESERVATIONS_OF_KEY", 3)
    monkeypatch.setattr("towerlog.engine.commands.budgets.MAX_RESERVATIONS", 5)
    await rig.append(call("one", None))
    asked = ReserveBudget((await rows(rig))["one"].run_id, 1)
    other = msgspec.structs.replace(rig.principal, key_id="other")

    async def granted(count: int, principal: Principal | None = None) -> list[Any]:
        """What was granted or not, of so many."""
        doing = [rig.do(asked, principal=principal or rig.principal) for _ in range(count)]
        if together:
            return await asyncio.gather(*doing, return_exceptions=True)
        return [(await asyncio.gather(one, return_exceptions=True))[0] for one in doing]

    *mine, refused = await granted(4)
    assert isinstance(refused, Overloaded)
    assert (refused.retry_after, "This key" in refused.message) == (5, True)
    *theirs, refused = await granted(3, other)
    assert isinstance(refused, Overloaded)
    assert "The organisation" in refused.message
    assert all(one.reservation_id for one in (*mine, *theirs))
    await rig.append(call("one", 1, reservation_id=mine[0].reservation_id))
    [again] = await granted(1)
    assert again.reservation_id


async def test_a_reservation_ends_by_its_time_and_a_restart_gives_it_that_anew(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        row = await make(rig)
        await rig.append(call("one", None))
        run = (await rows(rig))["one"]
        await rig.do(ReserveBudget(run.run_id, DOLLAR, 60_000))
        rig.clock.advance(59_000)
        await rig.engine.sweep()
        assert (await read(rig, row)).reserved_nanos == DOLLAR
        clock = rig.clock
    async with open_rig(tmp_path, clock=clock) as again:
        clock.advance(59_000)
        await again.engine.sweep()
        assert (await read(again, row)).reserved_nanos == DOLLAR
        clock.advance(1_001)
        await again.engine.sweep()
        assert (await read(again, row)).reserved_nanos == 0


@table("together", [False, True])
@table("order", ["kid first", "grandchild first", "parent last"])
async def test_a_tree_counts_what_was_spent_before_it_was_known_to_be_one(rig: Rig, order: str, together: bool) -> None:
    """top <- kid <- grandchild: both spend before anybody knows whose children they are."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    made = [await make(rig, BudgetScope(run_id=top.run_id), period=period) for period in (Period.TOTAL, Period.HOUR)]
    spent = [call("grandchild", 100, parent_key="trace:kid"), call("kid", 10)]
    begun = draft(
        EventType.RUN_STARTED, traced("kid"), facts=Facts(effects=Effects(parent_key="trace:top")), agent="writer"
    )
    items = {
        "kid first": [spent[1], begun, spent[0]],
        "grandchild first": [spent[0], call("kid", 10, parent_key="trace:top")],
        "parent last": [*spent, begun],
    }[order]
    if together:
        await rig.append(*items)
    else:
        for item in items:
            await rig.append(item)
            rig.engine.forget()
    later = [await make(rig, BudgetScope(run_id=top.run_id), period=period) for period in (Period.TOTAL, Period.HOUR)]
    assert [(await read(rig, row)).spent_nanos for row in (*made, *later)] == [110] * 4
    await rig.append(call("grandchild", 1000))
    assert [(await read(rig, row)).spent_nanos for row in (*made, *later)] == [1110] * 4


async def test_a_run_that_joins_a_tree_is_counted_in_the_period_of_that_moment(rig: Rig) -> None:
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    row = await make(rig, BudgetScope(run_id=top.run_id), period=Period.HOUR)
    await rig.append(call("top", 500))
    rig.clock.jump(HOUR_MS)
    await rig.append(call("kid", 100))
    begun = Facts(effects=Effects(parent_key="trace:top"))
    await rig.append(draft(EventType.RUN_STARTED, traced("kid"), facts=begun, agent="writer"))
    after = await read(rig, row)
    assert (after.spent_nanos, after.period_start - row.period_start) == (100, HOUR_MS)


async def test_a_run_that_joins_a_used_up_tree_is_stopped_with_all_below_it(rig: Rig) -> None:
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    row = await make(rig, BudgetScope(run_id=top.run_id), action=BudgetAction.CANCEL)
    await rig.append(call("kid", DOLLAR), call("grandchild", None, parent_key="trace:kid"))
    assert (await read(rig, row)).spent_nanos == 0
    begun = Facts(effects=Effects(parent_key="trace:top"))
    await rig.append(draft(EventType.RUN_STARTED, traced("kid"), facts=begun, agent="writer"))
    assert [one.type for one in await notes(rig)] == [EventType.BUDGET_WARNING, EventType.BUDGET_EXCEEDED]
    await rig.engine.sweep()
    assert {run.status for run in (await rows(rig)).values()} == {Status.CANCELLING}
    await rig.append(call("late", None), call("below late", None, parent_key="trace:late"))
    await rig.append(draft(EventType.RUN_STARTED, traced("late"), facts=begun, agent="writer"))
    await rig.engine.sweep()
    assert {run.status for run in (await rows(rig)).values()} == {Status.CANCELLING}


@pytest.mark.parametrize("scope", [ORGANISATION, BudgetScope(agent="writer"), BudgetScope(thread_id="thread")])
async def test_a_clock_that_was_ahead_for_a_moment_leaves_the_hour_as_it_was(rig: Rig, scope: BudgetScope) -> None:
    row = await make(rig, scope, period=Period.HOUR, amount_nanos=10, action=BudgetAction.PAUSE)
    await rig.append(call("one", 1))
    rig.clock.jump(48 * HOUR_MS)
    await rig.append(call("one", 20))
    await rig.engine.sweep()
    assert (await read(rig, row)).is_exceeded
    paused = await rows(rig)
    assert all(one.pending for one in paused.values())
    rig.clock.jump(-48 * HOUR_MS)
    await rig.engine.sweep()
    now = await read(rig, row)
    assert (now.spent_nanos, now.is_exceeded, now.period_start) == (1, False, row.period_start)
    assert not any(one.type == "pause" for run in (await rows(rig)).values() for one in run.pending), "it may go on"
    await rig.append(call("one", 2))
    assert (await read(rig, row)).spent_nanos == 3
    if scope.thread_id is None:
        assert (await make(rig, scope, period=Period.HOUR)).spent_nanos == 3, "a new budget begins with this hour's"


@pytest.mark.parametrize("late_by", [0, HOUR_MS], ids=["at once", "an hour late"])
async def test_a_correction_moves_the_period_that_counted_what_it_corrects(tmp_path: Path, late_by: int) -> None:
    """10 computed in one hour, and in the next one a total of 2. Hours are those of the arrival."""
    async with open_rig(tmp_path, prices=FixedPrices({"big": card(1)})) as rig:
        periods = (Period.TOTAL, Period.DAY, Period.HOUR)
        rig.clock.advance(24 * HOUR_MS - rig.clock.now_ms() % (24 * HOUR_MS))
        made = {period: await make(rig, period=period) for period in periods}

        async def spent() -> list[int]:
            return [(await read(rig, made[period])).spent_nanos for period in periods]

        tokens = UsageReport(Usage(input_tokens=10), kind="delta")
        facts = Facts(effects=Effects(report=tokens, model="big"))
        told_at = rig.clock.now_ms() - late_by
        await rig.append(draft(EventType.MODEL_CALL, traced("one"), facts=facts, agent="writer", occurred_at=told_at))
        assert await spent() == [10, 10, 10]
        total = Facts(effects=Effects(report=UsageReport(Usage(cost_nanos=7), whole_run=True)))
        await rig.append(draft(EventType.STEP, traced("one"), facts=total, agent="writer"))
        assert await spent() == [7, 7, 7], "in the same hour it is taken back"
        again = Facts(effects=Effects(report=tokens, model="big"))
        await rig.append(draft(EventType.MODEL_CALL, traced("two"), facts=again, agent="writer", occurred_at=told_at))
        rig.clock.advance(HOUR_MS)
        end = Facts(effects=Effects(report=UsageReport(Usage(cost_nanos=2), whole_run=True)))
        await rig.append(draft(EventType.RUN_COMPLETED, traced("two"), facts=end, agent="writer"))
        assert await spent() == [9, 9, 0], "that of another hour is none of this one's"
        await rig.append(call("three", 5))
        assert await spent() == [14, 14, 5]
        places = (ORGANISATION, BudgetScope(thread_id="thread"))
        later = [await make(rig, scope, period=period) for scope in places for period in periods]
        assert [row.spent_nanos for row in later[3:]] == [14, 14, 5], "whoever begins later finds the same"


@pytest.mark.parametrize("scope", [ORGANISATION, BudgetScope(agent="writer"), BudgetScope(thread_id="thread")])
async def test_the_pace_is_that_of_what_was_spent_of_late(rig: Rig, scope: BudgetScope) -> None:
    hour_ms = 3_600_000
    rig.clock.advance(hour_ms - rig.clock.now_ms() % hour_ms)
    await rig.append(call("one", 4 * DOLLAR))
    rig.clock.advance(30 * hour_ms)
    row = await make(rig, scope, amount_nanos=10 * DOLLAR)
    assert (await pace(rig, row)) == (0, None), "what is older than a day says nothing of today"
    await rig.append(call("one", DOLLAR))
    at_once = await pace(rig, row)
    assert at_once == (12 * DOLLAR, rig.clock.now_ms() + 5 * hour_ms // 12), "less than five minutes count as five"
    rig.clock.advance(2 * hour_ms)
    assert await pace(rig, row) == (DOLLAR // 2, rig.clock.now_ms() + 10 * hour_ms)
    first = await make(rig, scope, amount_nanos=10 * DOLLAR, period=Period.DAY)
    assert (await pace(rig, first))[1] is None, "the day is over before"


async def pace(rig: Rig, row: BudgetRow) -> tuple[int, int | None]:
    """Nano-dollars an hour, and when nothing will be left."""
    found = (await rig.do(GetBudget(row.budget_id))).pace
    return found.nanos_per_hour, found.ends_at
