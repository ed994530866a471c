"""Rules that go by time: they fire for silent agents, tell when it is over, and again while it lasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.alerts.alerting import (
    DOLLAR,
    MINUTE,
    alerts,
    calling,
    deliveries,
    failure,
    make,
    spending,
    start,
    told,
)
from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.model.alert import (
    AcknowledgeAlert,
    AlertAct,
    AlertConfig,
    AlertScope,
    AlertState,
    AlertTrigger,
    ChangeRule,
    CreateRule,
    DeleteRule,
    GetRule,
    MuteAlert,
)
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.budget import BudgetAction, BudgetScope, ChangeBudget, CreateBudget, Period
from towerlog.model.command import CancelRun, Claim, CreateRun, GiveInput
from towerlog.model.delivery import NoticeKind
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.question import RunFilter
from towerlog.model.run import Status

FIRED, REPEATED, RECOVERED = NoticeKind.FIRED, NoticeKind.REPEATED, NoticeKind.RECOVERED


async def passes(rig: Rig, ms: int) -> None:
    """Time in which the server hears nothing; then the timer looks."""
    rig.clock.advance(ms)
    await rig.engine.sweep()


async def said(rig: Rig) -> list[NoticeKind]:
    """What people were told, in order."""
    return [one.kind for one in await deliveries(rig)]


async def run_of(rig: Rig, trace: str) -> Any:
    found = await rig.store.runs(rig.org, RunFilter(), 500, None)
    return next(row for row in found if row.trace_id == trace)


def asking(trace: str, text: str = "which one?") -> Any:
    return draft(EventType.RUN_WAITING, traced(trace), facts=Facts(question=text), agent="writer")


async def test_a_question_that_nobody_answers_fires_once_and_its_answer_ends_it(rig: Rig) -> None:
    await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=5 * MINUTE))
    await rig.append(start("a"), asking("a"))
    await passes(rig, 5 * MINUTE - 1)
    assert await alerts(rig) == []
    await passes(rig, 1)
    await passes(rig, MINUTE)
    [alert] = await alerts(rig)
    assert (alert.state, alert.message) == (
        AlertState.ALERT, "A run of agent 'writer' has waited 5 minutes for an answer: which one?",
    )  # fmt: skip
    await rig.do(GiveInput(alert.run_id or "", "that one"))
    await passes(rig, 1000)
    [alert] = await alerts(rig)
    assert (alert.state, alert.ended_at) == (AlertState.OK, rig.clock.now_ms())
    assert await said(rig) == [FIRED, RECOVERED]
    began, ended = [told(one)["message"] for one in await deliveries(rig)]
    assert (began, ended) == (alert.message, f"This is over: {alert.message}")
    await rig.append(asking("a", "and now?"))
    await passes(rig, 5 * MINUTE)
    assert [one.episode for one in await alerts(rig)] == [1, 2]


async def test_a_second_question_is_another_episode(rig: Rig) -> None:
    await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(asking("a"))
    await passes(rig, 2 * MINUTE)
    run = await run_of(rig, "a")
    await rig.do(GiveInput(run.run_id, "this"))
    await rig.append(asking("a", "and now?"))
    rig.clock.advance(2 * MINUTE)
    await rig.engine.sweep()
    assert [(one.episode, one.state) for one in await alerts(rig)] == [(1, AlertState.OK), (2, AlertState.ALERT)]


@pytest.mark.parametrize("scope", [AlertScope(label="team=nobody"), AlertScope(run_id="a tree")])
async def test_what_a_rule_is_not_about_is_no_work_for_the_writer(rig: Rig, scope: AlertScope) -> None:
    """A look at silent runs that lie outside of its scope commits nothing, and reads the runs of its alerts at once."""
    await rig.append(*[start(f"r{number}") for number in range(5)])
    if scope.run_id is not None:
        await rig.append(start("top", agent="reader"))
        scope = AlertScope(run_id=(await run_of(rig, "top")).run_id)
    await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=MINUTE), scope=scope)
    await passes(rig, 2 * MINUTE)
    await passes(rig, 1000)
    loaded = rig.engine.figures()["groups"]
    await passes(rig, 1000)
    assert rig.engine.figures()["groups"] == loaded
    assert [one.agent for one in await alerts(rig)] == (["reader"] if scope.run_id else [])


async def test_the_runs_of_open_alerts_are_read_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(*[start(f"r{number}") for number in range(20)])
    await passes(rig, 2 * MINUTE)
    reads, real = [], rig.store.runs_by_number

    async def counted(org: int, numbers: Any) -> Any:
        reads.append(len(numbers))
        return await real(org, numbers)

    monkeypatch.setattr(rig.store, "runs_by_number", counted)
    await passes(rig, 1000)
    assert reads == [20]


async def test_a_run_without_progress_fires_and_is_stopped(rig: Rig) -> None:
    await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=10 * MINUTE), act=AlertAct.PAUSE)
    await rig.append(start("a"), start("b"))
    await passes(rig, 6 * MINUTE)
    await rig.append(calling("b", "search", 1))
    await passes(rig, 4 * MINUTE)
    [alert] = await alerts(rig)
    run = await run_of(rig, "a")
    assert (alert.run, alert.acted) == (run.run, AlertAct.PAUSE)
    assert [one.type for one in run.pending] == ["pause"]
    await rig.append(calling("a", "search", 1))
    await passes(rig, 1000)
    assert [one.state for one in await alerts(rig)] == [AlertState.OK]


async def test_who_waits_in_the_queue_too_long_fires_until_a_worker_comes(rig: Rig) -> None:
    await make(rig, AlertTrigger.QUEUE_WAIT, config=AlertConfig(wait_ms=3 * MINUTE))
    first = (await rig.do(CreateRun("t", agent="writer"))).run_id
    await passes(rig, 2 * MINUTE)
    await rig.do(CreateRun("u", agent="writer"))
    await passes(rig, MINUTE)
    [alert] = await alerts(rig)
    assert (alert.run_id, alert.message) == (first, "A run of agent 'writer' has waited 3 minutes in the queue")
    await rig.do(Claim("w", 60_000))
    await passes(rig, 1000)
    assert await said(rig) == [FIRED, RECOVERED]


async def test_a_run_that_no_worker_serves_fires_and_one_that_waits_its_turn_does_not(rig: Rig) -> None:
    await make(rig, AlertTrigger.UNSERVED, config=AlertConfig(wait_ms=3 * MINUTE))
    for thread, agent in (("t", "writer"), ("u", "writer"), ("v", "reader")):
        await rig.do(CreateRun(thread, agent=agent))
    await rig.do(Claim("w", 3600_000, agents=("writer",)))
    await passes(rig, 10 * MINUTE)
    assert [one.agent for one in await alerts(rig)] == ["reader"]
    await rig.do(Claim("x", 3600_000, agents=("reader",), labels={"gpu": "1"}))
    await passes(rig, 1000)
    assert await said(rig) == [FIRED, RECOVERED]


async def test_a_worker_at_work_on_another_run_serves_what_it_has_named(rig: Rig) -> None:
    await make(rig, AlertTrigger.UNSERVED, config=AlertConfig(wait_ms=3 * MINUTE))
    await rig.do(CreateRun("t", agent="slow"))
    await rig.do(Claim("w", 15 * MINUTE, agents=("slow", "writer")))
    for agent in ("writer", "reader"):
        await rig.do(CreateRun(agent, agent=agent))
    await passes(rig, 10 * MINUTE)
    assert [one.agent for one in await alerts(rig)] == ["reader"]
    await passes(rig, 6 * MINUTE)
    await passes(rig, 3 * MINUTE)
    assert {one.agent for one in await alerts(rig)} >= {"reader", "writer"}, "its lease is over"


async def test_a_worker_that_is_gone_serves_nobody_however_long_a_rule_waits(rig: Rig) -> None:
    await make(rig, AlertTrigger.UNSERVED, config=AlertConfig(wait_ms=30 * MINUTE))
    await rig.do(CreateRun("t", agent="writer", labels={"gpu": "1"}))
    await passes(rig, 20 * MINUTE)
    await rig.do(Claim("w", MINUTE, agents=("other",), labels={"gpu": "1"}))
    await rig.do(CreateRun("u", agent="other", labels={"gpu": "1"}))
    await passes(rig, 10 * MINUTE)
    assert [one.agent for one in await alerts(rig)] == ["writer"]


async def test_a_worker_that_asks_for_something_else_does_not_serve(rig: Rig) -> None:
    await make(rig, AlertTrigger.UNSERVED, config=AlertConfig(wait_ms=3 * MINUTE))
    await rig.do(CreateRun("t", agent="reader", labels={"gpu": "1"}))
    for _ in range(4):
        await rig.do(Claim("w", 60_000, agents=("reader",)))
        await passes(rig, MINUTE)
    assert [one.agent for one in await alerts(rig)] == ["reader"]


async def test_too_many_failures_in_a_window_fire_until_they_are_few_again(rig: Rig) -> None:
    config = AlertConfig(fraction=0.5, times=4, window_ms=10 * MINUTE)
    rule = await make(rig, AlertTrigger.FAILURE_RATE, config=config)
    view = await rig.do(GetRule(rule.rule_id))
    assert view.rule.state(False) is AlertState.NO_DATA
    for trace in "ab":
        await rig.append(failure(trace))
    await passes(rig, MINUTE)
    assert await alerts(rig) == []
    await rig.append(*[draft(EventType.RUN_COMPLETED, traced(trace)) for trace in "cd"])
    await passes(rig, MINUTE)
    await passes(rig, MINUTE)
    [alert] = await alerts(rig)
    assert (alert.subject, alert.message) == ("rule", "2 of 4 runs that ended in the last 10 minutes have failed")
    await rig.append(*[draft(EventType.RUN_COMPLETED, traced(trace)) for trace in "efg"])
    await passes(rig, 1000)
    assert await said(rig) == [FIRED, RECOVERED]
    assert (await rig.do(GetRule(rule.rule_id))).rule.window_state is AlertState.OK
    await passes(rig, 11 * MINUTE)
    assert (await rig.do(GetRule(rule.rule_id))).rule.window_state is AlertState.NO_DATA
    assert await said(rig) == [FIRED, RECOVERED]


async def test_spending_too_fast_fires_for_its_scope(rig: Rig) -> None:
    config = AlertConfig(amount_nanos=DOLLAR, window_ms=5 * MINUTE)
    await make(rig, AlertTrigger.BURN_RATE, config=config, scope=AlertScope(agent="writer"))
    await rig.append(spending("a", DOLLAR, agent="reader"), spending("b", DOLLAR - 1))
    await passes(rig, MINUTE)
    assert await alerts(rig) == []
    await rig.append(spending("b", 1))
    await passes(rig, MINUTE)
    [alert] = await alerts(rig)
    assert (alert.agent, alert.message) == ("writer", "$1.00 was spent in the last 5 minutes")
    await passes(rig, 6 * MINUTE)
    assert await said(rig) == [FIRED, RECOVERED]


async def test_what_burns_on_after_a_cool_down_fires_then(rig: Rig) -> None:
    """The alert that was kept quiet begins when the cool-down is over, since its condition lasts."""
    config = AlertConfig(amount_nanos=DOLLAR, window_ms=2 * MINUTE)
    rule = await make(rig, AlertTrigger.BURN_RATE, config=config, cooldown_ms=10 * MINUTE)
    await rig.append(spending("a", DOLLAR))
    await passes(rig, 1000)
    await passes(rig, 3 * MINUTE)
    assert await said(rig) == [FIRED, RECOVERED]
    for _ in range(6):
        await rig.append(spending("a", DOLLAR))
        await passes(rig, MINUTE)
    assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 1, "counted once, however often it is looked at"
    assert len(await alerts(rig)) == 1
    await rig.append(spending("a", DOLLAR))
    await passes(rig, MINUTE)
    await passes(rig, 1000)
    assert [(one.episode, one.state) for one in await alerts(rig)] == [(1, AlertState.OK), (2, AlertState.ALERT)]
    assert await said(rig) == [FIRED, RECOVERED, FIRED]


@pytest.mark.parametrize("spends_on", [True, False])
async def test_a_budget_that_was_used_up_in_a_cool_down_fires_after_it(rig: Rig, spends_on: bool) -> None:
    for name, agent in (("first", "writer"), ("second", "reader")):
        await rig.do(CreateBudget(name, BudgetScope(agent=agent), DOLLAR, Period.TOTAL, BudgetAction.WARN))
    rule = await make(rig, AlertTrigger.BUDGET, cooldown_ms=10 * MINUTE)
    await rig.append(start("r", "writer"), spending("r", DOLLAR, agent="writer"))
    await rig.append(spending("r", DOLLAR, agent="reader"))
    await passes(rig, 5 * MINUTE)
    assert len(await alerts(rig)) == 1
    assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 1
    rig.clock.advance(6 * MINUTE)
    if spends_on:
        await rig.append(spending("r", 1, agent="reader"))
    await passes(rig, 1000)
    await passes(rig, 1000)
    assert [one.message for one in await alerts(rig)] == [
        "Agent 'writer' has exceeded its budget of $1.00", "Agent 'reader' has exceeded its budget of $1.00",
    ]  # fmt: skip


async def test_a_budget_that_is_used_up_already_when_it_is_made_smaller_or_the_rule_is_made_fires(rig: Rig) -> None:
    whole = BudgetScope(organisation=True)
    made = await rig.do(CreateBudget("ours", whole, 2 * DOLLAR, Period.TOTAL, BudgetAction.WARN))
    await rig.append(spending("a", DOLLAR))
    await make(rig, AlertTrigger.BUDGET)
    await passes(rig, 1000)
    assert await alerts(rig) == []
    await rig.do(ChangeBudget(made.row.budget_id, amount_nanos=DOLLAR))
    await passes(rig, 1000)
    await passes(rig, 1000)
    await make(rig, AlertTrigger.BUDGET)
    await make(rig, AlertTrigger.BUDGET, scope=AlertScope(agent="reader"))
    await passes(rig, 1000)
    await passes(rig, 1000)
    assert [one.message for one in await alerts(rig)] == ["The organisation has exceeded its budget of $1.00"] * 2


async def test_a_new_run_that_uses_up_a_budget_once_more_begins_the_next_episode(rig: Rig) -> None:
    await rig.do(CreateBudget("ours", BudgetScope(organisation=True), DOLLAR, Period.HOUR, BudgetAction.WARN))
    await make(rig, AlertTrigger.BUDGET)
    await rig.append(spending("a", DOLLAR))
    rig.clock.advance(61 * MINUTE)
    rig.engine.forget()
    await rig.append(start("new"), spending("new", DOLLAR))
    assert [one.episode for one in await alerts(rig)] == [1, 2]


async def test_a_budget_that_has_money_again_ends_its_alert(rig: Rig) -> None:
    made = await rig.do(CreateBudget("ours", BudgetScope(organisation=True), DOLLAR, Period.TOTAL, BudgetAction.WARN))
    await make(rig, AlertTrigger.BUDGET)
    await rig.append(spending("a", DOLLAR))
    await passes(rig, 1000)
    assert [one.state for one in await alerts(rig)] == [AlertState.ALERT]
    await rig.do(ChangeBudget(made.row.budget_id, amount_nanos=2 * DOLLAR))
    await passes(rig, 1000)
    assert [one.state for one in await alerts(rig)] == [AlertState.OK]
    await rig.append(spending("a", DOLLAR))
    assert [one.episode for one in await alerts(rig)] == [1, 2]


@pytest.mark.parametrize("quieted", [None, "acknowledged", "muted", "off"])
async def test_people_are_told_again_while_it_lasts_unless_somebody_sees_to_it(rig: Rig, quieted: str | None) -> None:
    rule = await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE), renotify_ms=10 * MINUTE)
    await rig.append(asking("a"))
    await passes(rig, MINUTE)
    [alert] = await alerts(rig)
    if quieted == "acknowledged":
        await rig.do(AcknowledgeAlert(alert.alert_id))
    if quieted == "muted":
        await rig.do(MuteAlert(alert.alert_id, 60 * MINUTE))
    if quieted == "off":
        await rig.do(ChangeRule(rule.rule_id, enabled=False))
    for _ in range(3):
        await passes(rig, 10 * MINUTE - 1000)
        await passes(rig, 1000)
    assert await said(rig) == ([FIRED] if quieted else [FIRED, REPEATED, REPEATED, REPEATED])
    assert (await alerts(rig))[0].state is (AlertState.OK if quieted == "off" else AlertState.ALERT)


@pytest.mark.parametrize("goes", ["off", "deleted"])
async def test_an_alert_ends_with_its_rule_and_nobody_is_told(rig: Rig, goes: str) -> None:
    stalled = await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=MINUTE))
    burning = await make(rig, AlertTrigger.BURN_RATE, config=AlertConfig(amount_nanos=DOLLAR))
    failed = await make(rig, AlertTrigger.ERROR)
    other = await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(start("a"), spending("a", DOLLAR), failure("b"))
    await passes(rig, 2 * MINUTE)
    assert {one.state for one in await alerts(rig)} == {AlertState.ALERT}
    for rule in (stalled, burning, failed):
        await rig.do(ChangeRule(rule.rule_id, enabled=False) if goes == "off" else DeleteRule(rule.rule_id))
    before = await said(rig)
    await passes(rig, 1000)
    states = {one.rule_id: one.state for one in await alerts(rig)}
    assert (states[stalled.rule_id], states[burning.rule_id]) == (AlertState.OK, AlertState.OK)
    assert (states[failed.rule_id], states[other.rule_id]) == (AlertState.ALERT, AlertState.ALERT)
    assert await said(rig) == before
    if goes == "off":
        assert (await rig.do(GetRule(burning.rule_id))).rule.window_state is AlertState.NO_DATA
        await rig.do(ChangeRule(burning.rule_id, enabled=True))
        await passes(rig, 1000)
        assert [one.episode for one in await alerts(rig) if one.rule_id == burning.rule_id] == [1, 2]


async def test_who_acknowledges_an_alert_of_a_rule_that_is_gone_ends_it(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.STALLED, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(start("a"))
    await passes(rig, 2 * MINUTE)
    await rig.do(DeleteRule(rule.rule_id))
    [alert] = await alerts(rig)
    assert (await rig.do(AcknowledgeAlert(alert.alert_id))).alert.state is AlertState.OK


async def test_what_has_happened_is_told_again_as_well(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR, renotify_ms=10 * MINUTE)
    await rig.append(failure("a"))
    await passes(rig, 10 * MINUTE)
    assert await said(rig) == [FIRED, REPEATED]
    assert told((await deliveries(rig))[1])["type"] == "alert.repeated"


async def test_after_a_restart_everything_goes_on(rig: Rig) -> None:
    """The cache is empty, and nothing fires twice."""
    await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(asking("a"))
    await passes(rig, MINUTE)
    rig.engine.forget()
    await passes(rig, MINUTE)
    run = await run_of(rig, "a")
    await rig.do(CancelRun(run.run_id))
    assert run.status is Status.WAITING
    rig.engine.forget()
    await passes(rig, MINUTE)
    assert await said(rig) == [FIRED, RECOVERED]


async def test_more_runs_than_one_look_takes_are_found_in_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.timers.rules.watch.ROWS_AT_ONCE", 3)
    await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE))
    await rig.append(*[asking(f"r{number}") for number in range(10)])
    rig.clock.advance(MINUTE)
    for _ in range(4):
        await rig.engine.sweep()
    assert len(await alerts(rig)) == 10
    for number in range(10):
        await rig.append(draft(EventType.RUN_COMPLETED, traced(f"r{number}")))
    for _ in range(8):
        await rig.engine.sweep()
    assert {one.state for one in await alerts(rig)} == {AlertState.OK}


async def test_a_cool_down_holds_for_time_as_well(rig: Rig) -> None:
    await make(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE), cooldown_ms=30 * MINUTE)
    await rig.append(asking("a"), asking("b"))
    await passes(rig, MINUTE)
    await passes(rig, MINUTE)
    assert len(await alerts(rig)) == 1
    await passes(rig, 30 * MINUTE)
    assert len(await alerts(rig)) == 2


async def test_what_a_cool_down_keeps_quiet_is_counted_once_by_the_rule_and_by_its_trial(tmp_path: Path) -> None:
    """Whether it comes with what fires, or later."""
    async with open_rig(tmp_path) as rig:
        config, cooldown_ms = AlertConfig(wait_ms=MINUTE), 30 * MINUTE
        rule = await make(rig, AlertTrigger.WAITING_TOO_LONG, config=config, cooldown_ms=cooldown_ms, channels=())

        async def suppressed() -> list[int]:
            asked = CreateRule("x", AlertTrigger.WAITING_TOO_LONG, AlertScope(), config, (), cooldown_ms=cooldown_ms)
            tried = await rig.do(PreviewRule(asked, rule.created_at))
            return [(await rig.do(GetRule(rule.rule_id))).rule.suppressed, tried.suppressed]

        await rig.append(asking("a"), asking("b"))
        await passes(rig, MINUTE)
        assert await suppressed() == [1, 1]
        await rig.append(asking("c"))
        for _ in range(3):
            await passes(rig, MINUTE)
        assert await suppressed() == [2, 2]
    async with open_rig(tmp_path, clock=rig.clock) as rig:
        await passes(rig, MINUTE)
        assert await suppressed() == [2, 2], "nor does another process count it again"
        await passes(rig, 26 * MINUTE)
        assert len(await alerts(rig)) == 2
        assert await suppressed() == [3, 3], "of the two that are left, one fires and one is kept quiet anew"


@pytest.mark.parametrize("by_ms", [24 * 60 * MINUTE, -24 * 60 * MINUTE], ids=["ahead", "back"])
async def test_people_are_told_again_after_as_long_however_the_clock_is_set(rig: Rig, by_ms: int) -> None:
    await make(rig, AlertTrigger.ERROR, renotify_ms=10 * MINUTE, cooldown_ms=30 * MINUTE)
    await rig.append(failure("a"))
    await passes(rig, 9 * MINUTE)
    rig.clock.jump(by_ms)
    await passes(rig, MINUTE - 1000)
    assert await said(rig) == [FIRED]
    await passes(rig, 2000)
    assert await said(rig) == [FIRED, REPEATED]
    await passes(rig, 10 * MINUTE - 1000)
    assert await said(rig) == [FIRED, REPEATED]
    await passes(rig, 2000)
    assert await said(rig) == [FIRED, REPEATED, REPEATED]


async def test_what_is_old_goes(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR, channels=())
    await rig.append(failure("a"))
    await passes(rig, 91 * 24 * 60 * MINUTE)
    assert await alerts(rig) == []
