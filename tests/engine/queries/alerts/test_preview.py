"""What a rule would have made of stored history is what it makes of the same events when they come."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import DOLLAR, MINUTE, alerts, calling, failure, make, spending, start
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.errors import Invalid, Overloaded
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, CreateRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.alert_preview import MAX_PREVIEW_MS, PreviewRule, RulePreview
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Claim, CreateRun
from towerlog.model.event import EventType
from towerlog.model.facts import Facts

RULES: dict[AlertTrigger, AlertConfig] = {
    AlertTrigger.ERROR: AlertConfig(),
    AlertTrigger.LOST: AlertConfig(),
    AlertTrigger.COST_THRESHOLD: AlertConfig(amount_nanos=DOLLAR),
    AlertTrigger.LOOP: AlertConfig(times=3),
    AlertTrigger.WAITING_TOO_LONG: AlertConfig(wait_ms=5 * MINUTE),
    AlertTrigger.STALLED: AlertConfig(wait_ms=20 * MINUTE),
    AlertTrigger.QUEUE_WAIT: AlertConfig(wait_ms=5 * MINUTE),
    AlertTrigger.FAILURE_RATE: AlertConfig(fraction=0.5, times=2, window_ms=30 * MINUTE),
    AlertTrigger.BURN_RATE: AlertConfig(amount_nanos=3 * DOLLAR, window_ms=30 * MINUTE),
    AlertTrigger.BUDGET: AlertConfig(fraction=0.5),
}


async def history(rig: Rig) -> None:
    """An hour in which each rule has something to find, and something to let pass."""
    await rig.do(CreateBudget("ours", BudgetScope(organisation=True), 4 * DOLLAR, Period.TOTAL, BudgetAction.WARN))
    await rig.append(start("quick"), start("dear"), start("slow"), spending("dear", DOLLAR // 2))
    await rig.append(draft(EventType.RUN_WAITING, traced("asks"), facts=Facts(question="which?"), agent="asker"))
    await rig.do(CreateRun("queue", agent="writer"))
    for minute in range(60):
        rig.clock.advance(MINUTE)
        if minute % 10 == 0:
            await rig.append(calling("quick", "search", minute), calling("dear", "search", 1))
        if minute == 12:
            await rig.append(spending("dear", DOLLAR), failure("bad", "reader"))
            await rig.do(Claim("w", 3600_000))
        if minute == 20:
            await rig.append(spending("quick", 2 * DOLLAR), draft(EventType.RUN_LOST, traced("slow")))
        await rig.engine.sweep()


async def tried(rig: Rig, trigger: AlertTrigger, config: AlertConfig, **given: Any) -> RulePreview:
    rule = CreateRule("x", trigger, given.pop("scope", AlertScope()), config, (), **given)
    found: RulePreview = await rig.do(PreviewRule(rule))
    return found


@pytest.mark.parametrize("trigger", RULES, ids=str)
async def test_it_would_have_fired_when_it_has(rig: Rig, trigger: AlertTrigger) -> None:
    """Within the minute in which the timer looks."""
    await make(rig, trigger, config=RULES[trigger], channels=())
    await history(rig)
    fired = await alerts(rig)
    preview = await tried(rig, trigger, RULES[trigger])
    assert fired, "the history has something for each rule"
    assert preview.whole
    assert [one.subject for one in preview.fired] == [one.subject for one in fired]
    for found, was in zip(preview.fired, fired, strict=True):
        assert 0 <= was.fired_at - found.at <= MINUTE, (found, was)


async def test_nothing_is_stored_and_nobody_is_told(rig: Rig) -> None:
    await history(rig)
    before = await rig.log()
    assert (await tried(rig, AlertTrigger.ERROR, AlertConfig())).fired
    assert await alerts(rig) == []
    assert await rig.log() == before
    assert await rig.store.alert_rules(rig.org, 10, None) == []


async def test_scope_time_and_cool_down_hold(rig: Rig) -> None:
    for trace in "abc":
        await rig.append(failure(trace), failure(f"{trace}2", "reader"))
        rig.clock.advance(10 * MINUTE)
    error = AlertTrigger.ERROR
    assert len((await tried(rig, error, AlertConfig())).fired) == 6
    assert {one.agent for one in (await tried(rig, error, AlertConfig(), scope=AlertScope(agent="reader"))).fired} == {
        "reader"
    }
    cooled = await tried(rig, error, AlertConfig(), cooldown_ms=15 * MINUTE)
    assert (len(cooled.fired), cooled.suppressed) == (4, 2)
    now = rig.clock.now_ms()
    part = await rig.do(PreviewRule(CreateRule("x", error, AlertScope(), AlertConfig(), ()), now - 15 * MINUTE, now))
    assert len(part.fired) == 2
    with pytest.raises(Invalid):
        await rig.do(PreviewRule(CreateRule("x", error, AlertScope(), AlertConfig(), ()), now, now))
    with pytest.raises(Invalid):
        await tried(rig, AlertTrigger.STALLED, AlertConfig())


async def test_of_much_history_the_newest_part_is_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.queries.alerts.preview.MAX_PREVIEW_EVENTS", 3)
    for number in range(5):
        await rig.append(failure(f"r{number}"))
        rig.clock.advance(MINUTE)
    preview = await tried(rig, AlertTrigger.ERROR, AlertConfig())
    assert (len(preview.fired), preview.whole) == (3, False)
    assert preview.since == rig.clock.now_ms() - 3 * MINUTE


async def test_it_stops_when_its_time_is_over_and_says_until_when(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.queries.alerts.preview.PAGE_EVENTS", 1)
    for number in range(5):
        await rig.append(failure(f"r{number}"))
        rig.clock.advance(MINUTE)
    read = rig.store.log
    begun = rig.clock.now_ms()

    async def slow(org: int, after: int, limit: int) -> Any:
        rig.clock.advance(MAX_PREVIEW_MS // 8)
        return await read(org, after, limit)

    monkeypatch.setattr(rig.store, "log", slow)
    preview = await tried(rig, AlertTrigger.ERROR, AlertConfig())
    assert not preview.whole
    assert 0 < len(preview.fired) < 5
    assert preview.fired[-1].at <= preview.until < begun


async def test_a_long_history_of_calls_is_read_within_its_bounds(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.queries.alerts.preview.MAX_PREVIEW_BYTES", 50_000)
    for number in range(60):
        await rig.append(*[calling("a", "search", "x" * 100 + str(number) + str(one)) for one in range(20)])
        rig.clock.advance(MINUTE)
    preview = await tried(rig, AlertTrigger.LOOP, AlertConfig(times=3))
    assert not preview.whole
    assert preview.events < 1200


async def test_one_key_tries_one_rule_at_a_time(rig: Rig) -> None:
    await rig.append(failure("a"))
    rule = PreviewRule(CreateRule("x", AlertTrigger.ERROR, AlertScope(), AlertConfig(), ()))
    other = msgspec.structs.replace(rig.principal, key_id="other")
    rig.clock.advance(MINUTE)
    first, second, third = await asyncio.gather(
        rig.do(rule), rig.do(rule), rig.do(rule, principal=other), return_exceptions=True
    )
    assert len(first.fired) == len(third.fired) == 1
    assert isinstance(second, Overloaded)
    assert second.retry_after
    assert len((await rig.do(rule)).fired) == 1


@pytest.mark.parametrize("target", ["ftp://x.example.com/", "https://user@example.com/", "https://x.example.com:25/"])
async def test_what_could_not_be_made_is_not_tried(rig: Rig, target: str) -> None:
    rule = CreateRule(
        "x", AlertTrigger.ERROR, AlertScope(), AlertConfig(), (AlertChannel(ChannelType.WEBHOOK, target),)
    )
    nowhere = msgspec.structs.replace(rule, channels=(), scope=AlertScope(run_id=ABSENT))
    for command in (rule, PreviewRule(rule), nowhere, PreviewRule(nowhere)):
        with pytest.raises(Invalid):
            await rig.do(command)


ABSENT = "01890000-0000-7000-8000-00000000dead"
