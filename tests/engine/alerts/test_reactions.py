"""What hangs on an event fires with that event: once, whatever is repeated, and only in its rule's scope."""

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
from tests.engine.commands.acts.test_acts import audit
from tests.support.factories import draft, traced
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.model.alert import (
    AcknowledgeAlert,
    AlertAct,
    AlertConfig,
    AlertScope,
    AlertState,
    AlertTrigger,
    ChangeRule,
    DeleteRule,
    GetRule,
    MuteAlert,
    WindowCount,
    run_subject,
)
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.audit import ActorType
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import CreateRun
from towerlog.model.delivery import DeliveryState, NoticeKind
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageReport


async def rows(rig: Rig) -> dict[str, RunRow]:
    """All runs by their traces."""
    return {row.trace_id: row for row in await rig.store.runs(rig.org, RunFilter(), 500, None)}


async def test_a_rule_holds_as_it_was_made_or_changed_last(rig: Rig) -> None:
    """Rules are sorted by what they watch once, and anew after any of them has changed."""
    first = await make(rig, AlertTrigger.ERROR)
    await rig.append(start("a"), failure("a"))
    second = await make(rig, AlertTrigger.ERROR)
    await rig.append(start("b"), failure("b"))
    await rig.do(ChangeRule(first.rule_id, enabled=False))
    await rig.append(start("c"), failure("c"))
    await rig.do(DeleteRule(first.rule_id))
    await rig.append(start("d"), failure("d"))
    assert [alert.rule_id for alert in await alerts(rig)] == [
        first.rule_id, first.rule_id, second.rule_id, second.rule_id, second.rule_id,
    ]  # fmt: skip


async def test_a_failed_run_fires_once_and_puts_one_message_into_the_outbox(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.ERROR)
    await rig.append(start("a"), failure("a", event_id="e1"))
    await rig.append(failure("a", event_id="e1"))
    await rig.append(failure("a", event_id="e2"))
    [alert] = await alerts(rig)
    run = (await rows(rig))["a"]
    assert (alert.rule_id, alert.subject, alert.episode) == (rule.rule_id, run_subject(run.run_id), 1)
    assert (alert.state, alert.run, alert.agent, alert.status) == (AlertState.ALERT, run.run, "writer", "failed")
    assert alert.message == "A run of agent 'writer' has failed: no paper"
    [delivery] = await deliveries(rig)
    assert (delivery.alert_id, delivery.state, delivery.kind) == (
        alert.alert_id, DeliveryState.PENDING, NoticeKind.FIRED,
    )  # fmt: skip
    said = told(delivery)
    assert (said["alert_name"], said["trigger_type"], said["agent_name"]) == ("on error", "error", "writer")
    assert (said["run_id"], said["status"], said["cost_usd"]) == (run.run_id, "failed", None)


async def test_without_a_rule_nothing_is_stored(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.ERROR)
    await rig.do(ChangeRule(rule.rule_id, enabled=False))
    await rig.append(failure("a"))
    await rig.do(ChangeRule(rule.rule_id, toggles=True))
    await rig.append(failure("b"))
    await rig.do(DeleteRule(rule.rule_id))
    await rig.append(failure("c"))
    assert [one.run for one in await alerts(rig)] == [(await rows(rig))["b"].run]


async def test_another_status_fires_nothing(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    await make(rig, AlertTrigger.LOST)
    await rig.append(draft(EventType.RUN_COMPLETED, traced("a")), draft(EventType.RUN_CANCELLED, traced("b")))
    assert await alerts(rig) == []
    await rig.append(draft(EventType.RUN_LOST, traced("c")))
    assert [one.trigger for one in await alerts(rig)] == [AlertTrigger.LOST]


@pytest.mark.parametrize(
    ("scope", "fires"),
    [
        (AlertScope(), {"a", "b"}),
        (AlertScope(agent="writer"), {"a"}),
        (AlertScope(thread_id="nowhere"), set()),
        (AlertScope(persona="editor"), set()),
        (AlertScope(label="team=red"), {"b"}),
        (AlertScope(label="team"), {"b"}),
        (AlertScope(label="team=blue"), set()),
        (AlertScope(label="zone=b"), {"b"}),
        (AlertScope(label="zone=c"), set()),
        (AlertScope(agent="writer", label="team"), set()),
    ],
)
async def test_a_rule_looks_only_at_its_scope(rig: Rig, scope: AlertScope, fires: set[str]) -> None:
    await make(rig, AlertTrigger.ERROR, scope=scope)
    labelled = draft(
        EventType.RUN_STARTED, traced("b"), facts=start("b").facts.__class__(
            effects=_with_metadata(b'{"team":"red","labels":{"zone":"b"}}')
        ), agent="reader",
    )  # fmt: skip
    await rig.append(failure("a"), labelled, failure("b", "reader"))
    names = {row.run: trace for trace, row in (await rows(rig)).items()}
    assert {names[one.run or 0] for one in await alerts(rig)} == fires


def _with_metadata(metadata: bytes) -> Any:
    import msgspec

    from towerlog.model.facts import Effects

    return Effects(metadata=msgspec.Raw(metadata))


async def test_a_tree_is_the_run_and_all_below_it(rig: Rig) -> None:
    top = (await rig.do(CreateRun("t", agent="a"))).run_id
    below = (await rig.do(CreateRun("u", agent="b", parent_run_id=top))).run_id
    await make(rig, AlertTrigger.ERROR, scope=AlertScope(run_id=top))
    await rig.append(failure("elsewhere"), draft(EventType.RUN_FAILED, RunById(below)))
    assert [one.run_id for one in await alerts(rig)] == [below]


async def test_a_run_that_comes_to_cost_as_much_fires_once(rig: Rig) -> None:
    await make(rig, AlertTrigger.COST_THRESHOLD, config=AlertConfig(amount_nanos=DOLLAR))
    await rig.append(spending("a", DOLLAR - 1))
    assert await alerts(rig) == []
    await rig.append(spending("a", 1), spending("a", DOLLAR), spending("b", 5 * DOLLAR))
    found = await alerts(rig)
    assert [one.cost_nanos for one in found] == [DOLLAR, 5 * DOLLAR]
    assert found[0].message == "A run of agent 'writer' has cost $1.00"


async def test_a_budget_fires_at_a_fraction_once_a_period(rig: Rig) -> None:
    await rig.do(CreateBudget("ours", BudgetScope(organisation=True), 10 * DOLLAR, Period.DAY, BudgetAction.WARN))
    await make(rig, AlertTrigger.BUDGET, config=AlertConfig(fraction=0.5))
    await make(rig, AlertTrigger.BUDGET)
    await rig.append(spending("a", 5 * DOLLAR - 1))
    assert await alerts(rig) == []
    await rig.append(spending("a", 1), spending("b", DOLLAR))
    [half] = await alerts(rig)
    assert (half.subject[:7], half.message) == (
        "budget:", "The organisation has used $5.00 of its budget of $10.00",
    )  # fmt: skip
    await rig.append(spending("b", 4 * DOLLAR), spending("b", DOLLAR))
    assert [one.message[:25] for one in await alerts(rig)] == ["The organisation has used", "The organisation has exce"]
    rig.clock.advance(24 * 60 * MINUTE)
    await rig.append(spending("c", 6 * DOLLAR))
    assert [(one.episode, one.state) for one in await alerts(rig)] == [
        (1, AlertState.OK), (1, AlertState.ALERT), (2, AlertState.ALERT),
    ]  # fmt: skip


async def test_the_same_call_again_and_again_is_a_loop(rig: Rig) -> None:
    await make(rig, AlertTrigger.LOOP, config=AlertConfig(times=3))
    await rig.append(calling("a", "search", {"q": 1, "n": 2}), calling("a", "search", {"n": 2, "q": 1}))
    await rig.append(calling("a", "fetch", {"q": 1, "n": 2}), calling("a", "search", {"q": 2}))
    assert await alerts(rig) == []
    await rig.append(calling("a", "search", {"q": 1, "n": 2}), calling("a", "search", {"q": 1, "n": 2}))
    [alert] = await alerts(rig)
    assert "calls 'search' with the same arguments" in alert.message


async def test_two_calls_in_turn_are_a_loop(rig: Rig) -> None:
    await make(rig, AlertTrigger.LOOP)
    await rig.append(calling("a", "read", 1), calling("a", "write", 1), calling("a", "read", 1))
    assert await alerts(rig) == []
    await rig.append(calling("a", "write", 1))
    assert len(await alerts(rig)) == 1


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_loop_goes_on_over_commits_and_a_restart(tmp_path: Path, forgets: bool) -> None:
    async with open_rig(tmp_path) as rig:
        await make(rig, AlertTrigger.LOOP, config=AlertConfig(times=4))
        await rig.append(calling("a", "search", 1), draft(EventType.STEP, traced("a")), calling("a", "search", 1))
        if forgets:
            rig.engine.forget()
        await rig.append(calling("a", "search", 1))
    async with open_rig(tmp_path, clock=rig.clock, ids=rig.ids) as rig:
        assert await alerts(rig) == []
        await rig.append(calling("a", "search", 1))
        assert len(await alerts(rig)) == 1


async def test_calls_before_a_rule_was_there_count(rig: Rig) -> None:
    await rig.append(*[calling("a", "search", 1) for _ in range(2)])
    await make(rig, AlertTrigger.LOOP, config=AlertConfig(times=3))
    await rig.append(calling("a", "search", 1))
    assert len(await alerts(rig)) == 1


async def test_an_alert_stops_its_run_with_the_reply_to_that_event(rig: Rig) -> None:
    await make(rig, AlertTrigger.LOOP, config=AlertConfig(times=2), act=AlertAct.PAUSE)
    await make(rig, AlertTrigger.COST_THRESHOLD, config=AlertConfig(amount_nanos=DOLLAR), act=AlertAct.CANCEL)
    [_, second] = await rig.append(calling("a", "search", 1), calling("a", "search", 1))
    assert [one.type for one in second.commands] == ["pause"]  # type: ignore[union-attr]
    [spent] = await rig.append(spending("b", DOLLAR))
    assert [one.type for one in spent.commands] == ["cancel"]  # type: ignore[union-attr]
    assert (await rows(rig))["b"].status is Status.CANCELLING
    assert [one.acted for one in await alerts(rig)] == [AlertAct.PAUSE, AlertAct.CANCEL]
    asked = [one for one in await rig.log() if one.type is EventType.RUN_PAUSE_REQUESTED]
    assert b"Alert 'on loop'" in asked[0].data


@pytest.mark.parametrize("act", list(AlertAct))
@pytest.mark.parametrize("about", [AlertTrigger.COST_THRESHOLD, AlertTrigger.BUDGET])
async def test_alerts_of_one_event_ask_their_run_once(rig: Rig, act: AlertAct, about: AlertTrigger) -> None:
    """Be they of several rules, or of one rule about several budgets."""
    if about is AlertTrigger.BUDGET:
        await make(rig, about, act=act)
        for scope in (BudgetScope(organisation=True), BudgetScope(agent="writer")):
            await rig.do(CreateBudget("b", scope, DOLLAR, Period.TOTAL, BudgetAction.WARN))
    else:
        for nanos in (1, DOLLAR):
            await make(rig, about, config=AlertConfig(amount_nanos=nanos), act=act)
    [result] = await rig.append(spending("a", DOLLAR))
    assert [one.type for one in result.commands] == [act.value]  # type: ignore[union-attr]
    asked = (EventType.RUN_PAUSE_REQUESTED, EventType.RUN_CANCEL_REQUESTED)
    assert len([one for one in await rig.log() if one.type in asked]) == 1
    assert [one.acted for one in await alerts(rig)] == [act, None]
    assert len([row for row in await audit(rig) if row.entry.actor.type is ActorType.RULE]) == 1


async def test_a_cool_down_keeps_quiet_about_one_agent(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.ERROR, cooldown_ms=10 * MINUTE)
    await rig.append(failure("a"), failure("b"), failure("c", "reader"))
    rig.clock.advance(10 * MINUTE - 1)
    await rig.append(failure("d"))
    assert [one.agent for one in await alerts(rig)] == ["writer", "reader"]
    assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 2
    rig.clock.advance(1)
    await rig.append(failure("e"))
    assert [one.agent for one in await alerts(rig)] == ["writer", "reader", "writer"]


@pytest.mark.parametrize("by_ms", [24 * 60 * MINUTE, -24 * 60 * MINUTE], ids=["ahead", "back"])
async def test_a_cool_down_lasts_as_long_however_the_clock_is_set(rig: Rig, by_ms: int) -> None:
    await make(rig, AlertTrigger.ERROR, cooldown_ms=10 * MINUTE)
    await rig.append(failure("a"))
    rig.clock.advance(5 * MINUTE)
    rig.clock.jump(by_ms)
    await rig.append(failure("b"))
    rig.clock.advance(5 * MINUTE - 1)
    await rig.append(failure("c"))
    assert len(await alerts(rig)) == 1
    rig.clock.advance(1)
    await rig.append(failure("d"))
    assert len(await alerts(rig)) == 2


async def test_a_muted_alert_tells_nobody_of_the_next_one_either(rig: Rig) -> None:
    await rig.do(CreateBudget("ours", BudgetScope(organisation=True), DOLLAR, Period.HOUR, BudgetAction.WARN))
    await make(rig, AlertTrigger.BUDGET)
    await rig.append(spending("a", DOLLAR))
    [alert] = await alerts(rig)
    await rig.do(MuteAlert(alert.alert_id, 90 * MINUTE))
    rig.clock.advance(60 * MINUTE)
    await rig.append(spending("a", DOLLAR))
    assert [one.episode for one in await alerts(rig)] == [1, 2]
    assert len(await deliveries(rig)) == 1
    rig.clock.advance(60 * MINUTE)
    await rig.append(spending("a", DOLLAR))
    assert len(await deliveries(rig)) == 2


async def test_acknowledging_ends_what_has_happened(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.ERROR)
    await rig.append(failure("a"))
    [alert] = await alerts(rig)
    view = await rig.do(GetRule(rule.rule_id))
    assert (view.open_alerts, view.rule.state(True)) == (1, AlertState.ALERT)
    await rig.do(AcknowledgeAlert(alert.alert_id))
    rig.clock.advance(MINUTE)
    again = (await rig.do(AcknowledgeAlert(alert.alert_id))).alert
    assert (again.state, again.acknowledged_by) == (AlertState.OK, rig.principal.user_id)
    assert again.acknowledged_at == again.ended_at == rig.clock.now_ms() - MINUTE
    assert (await rig.do(GetRule(rule.rule_id))).open_alerts == 0


async def test_what_happens_is_counted_for_those_who_look_at_windows(rig: Rig) -> None:
    failures = await make(
        rig, AlertTrigger.FAILURE_RATE, config=AlertConfig(fraction=0.5), scope=AlertScope(agent="writer")
    )
    burning = await make(rig, AlertTrigger.BURN_RATE, config=AlertConfig(amount_nanos=DOLLAR))
    await rig.append(failure("a"), draft(EventType.RUN_COMPLETED, traced("b"), agent="writer"), failure("c", "reader"))
    await rig.append(spending("d", 3), failure("a"))
    rig.clock.advance(2 * MINUTE)
    await rig.append(spending("d", 4))
    minute = rig.clock.now_ms() // MINUTE
    async with rig.store.begin() as unit:
        assert await unit.alert_window(rig.org, failures.rule_id, minute - 2) == WindowCount(2, 1, 0)
        assert await unit.alert_window(rig.org, burning.rule_id, minute - 2) == WindowCount(0, 0, 7)
        assert await unit.alert_window(rig.org, burning.rule_id, minute - 1) == WindowCount(0, 0, 4)


async def test_a_correction_hides_nothing_of_what_is_spent_after_it(tmp_path: Path) -> None:
    """10 computed, then a told total of 2 minutes later: the window holds 2 of it, or nothing, and what came since."""
    async with open_rig(tmp_path, prices=FixedPrices({"big": card(1)})) as rig:
        rig.clock.advance(60 * MINUTE - rig.clock.now_ms() % (60 * MINUTE))
        config = AlertConfig(amount_nanos=DOLLAR, window_ms=5 * MINUTE)
        rule = await make(rig, AlertTrigger.BURN_RATE, config=config)

        async def window() -> int:
            async with rig.store.begin() as unit:
                since = (rig.clock.now_ms() - 5 * MINUTE) // MINUTE
                return int((await unit.alert_window(rig.org, rule.rule_id, since)).spent_nanos)

        def report(usage: Usage, **more: Any) -> Facts:
            return Facts(effects=Effects(report=UsageReport(usage, **more), model="big"))

        for trace, minutes in (("soon", 3), ("later", 9), ("much later", 70)):
            tokens = report(Usage(input_tokens=10), kind="delta")
            await rig.append(draft(EventType.MODEL_CALL, traced(trace), facts=tokens, agent="writer"))
            rig.clock.advance(minutes * MINUTE)
            end = report(Usage(cost_nanos=2), whole_run=True)
            await rig.append(draft(EventType.RUN_COMPLETED, traced(trace), facts=end, agent="writer"))
            assert await window() == (2 if minutes < 5 else 0), trace
            await rig.append(spending(f"{trace} 2", 9))
            rig.clock.advance(3 * MINUTE)
            assert await window() == 9 + (2 if minutes < 2 else 0), trace
            rig.clock.advance(10 * MINUTE)


async def test_in_the_application_is_delivered_at_once(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR, channels=(AlertChannel(ChannelType.IN_APP),))
    await rig.append(failure("a"))
    [delivery] = await deliveries(rig)
    assert (delivery.state, delivery.due_at) == (DeliveryState.DELIVERED, None)


async def test_of_too_many_messages_each_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.plan.alerts.MAX_PENDING_DELIVERIES", 3)
    await make(rig, AlertTrigger.ERROR)
    for trace in "abcde":
        await rig.append(failure(trace))
    states = [one.state for one in await deliveries(rig)]
    assert states == [DeliveryState.PENDING] * 3 + [DeliveryState.FAILED] * 2


async def test_rules_are_each_organisations_own(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    other = await rig.make_org("other")
    from towerlog.model.command import Append

    await rig.do(Append("steps", [failure("a")]), principal=other)
    assert await alerts(rig) == []
    assert await rig.store.alerts(other.org, 10, None, None, None) == []
