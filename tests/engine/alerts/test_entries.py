"""A run that comes into a rule's scope after something has happened is judged as it stands then, live as in a trial."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import DOLLAR, MINUTE, alerts, calling, failure, make, spending, start
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.model.alert import AlertConfig, AlertRow, AlertScope, AlertTrigger, CreateRule, GetRule
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Effects, Facts

RULES: dict[AlertTrigger, AlertConfig] = {
    AlertTrigger.COST_THRESHOLD: AlertConfig(amount_nanos=DOLLAR),
    AlertTrigger.ERROR: AlertConfig(),
    AlertTrigger.LOST: AlertConfig(),
    AlertTrigger.LOOP: AlertConfig(times=3),
    AlertTrigger.FAILURE_RATE: AlertConfig(fraction=0.5, times=1, window_ms=30 * MINUTE),
    AlertTrigger.BUDGET: AlertConfig(fraction=0.5),
}
WAYS = ("label", "thread", "parent", "agent")


def happened(trigger: AlertTrigger, trace: str = "a", **named: Any) -> list[Draft]:
    """What the rule watches for, told before anybody knows whose it is."""
    given = {"agent": None} | named
    match trigger:
        case AlertTrigger.COST_THRESHOLD | AlertTrigger.BUDGET:
            return [spending(trace, DOLLAR, **given)]
        case AlertTrigger.ERROR | AlertTrigger.FAILURE_RATE:
            return [failure(trace, **given)]
        case AlertTrigger.LOST:
            return [draft(EventType.RUN_LOST, traced(trace), **given)]
        case _:
            return [calling(trace, "search", 1, **given) for _ in range(3)]


async def whereabouts(rig: Rig, way: str) -> tuple[AlertScope, dict[str, Any]]:
    """A scope, and what a start tells by which its run comes into that."""
    if way == "label":
        return AlertScope(label="team=red"), {"metadata": msgspec.Raw(b'{"team":"red"}')}
    if way == "thread":
        return AlertScope(thread_id="main"), {"thread_id": "main"}
    if way == "agent":
        return AlertScope(agent="writer"), {}
    await rig.append(start("root", "other"))
    root = (await rig.store.rows(rig.org)).runs[0].run_id
    return AlertScope(run_id=root), {"parent_key": f"run:{root}"}


def begun(trace: str, agent: str | None = None, **told: Any) -> Draft:
    facts = Facts(effects=Effects(is_start=True, **told))
    return draft(EventType.RUN_STARTED, traced(trace), facts=facts, agent=agent)


async def tried(rig: Rig, trigger: AlertTrigger, scope: AlertScope, since: int) -> list[tuple[int, str]]:
    """When the rule would have fired, had it been made then, and about what."""
    asked = CreateRule("x", trigger, scope, RULES[trigger], ())
    found = await rig.do(PreviewRule(asked, since))
    assert found.whole
    return [(one.at, one.subject) for one in found.fired]


def firings(found: list[AlertRow]) -> list[tuple[int, str]]:
    return [(one.fired_at, one.subject) for one in found]


async def ours(rig: Rig) -> None:
    await rig.do(CreateBudget("ours", BudgetScope(organisation=True), DOLLAR, Period.TOTAL, BudgetAction.WARN))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trigger", RULES, ids=str)
async def test_it_fires_once_when_the_run_comes_into_the_scope(rig: Rig, trigger: AlertTrigger, way: str) -> None:
    if trigger is AlertTrigger.BUDGET:
        await ours(rig)
    scope, told = await whereabouts(rig, way)
    since = (await make(rig, trigger, scope=scope, config=RULES[trigger], channels=())).created_at
    rig.clock.advance(MINUTE)
    await rig.append(*happened(trigger))
    await rig.engine.sweep()
    assert await alerts(rig) == []
    rig.clock.advance(MINUTE)
    entered = begun("a", "writer" if way == "agent" else None, **told)
    await rig.append(entered)
    await rig.engine.sweep()
    [alert] = await alerts(rig)
    assert alert.fired_at == rig.clock.now_ms()
    rig.clock.advance(MINUTE)
    await rig.append(entered, draft(EventType.STEP, traced("a")))
    await rig.append(begun("a", None, metadata=msgspec.Raw(b'{"more":1}')))
    await rig.engine.sweep()
    fired = firings(await alerts(rig))
    assert fired == firings([alert]), "it is in scope as before"
    assert await tried(rig, trigger, scope, since) == fired


@pytest.mark.parametrize("trigger", RULES, ids=str)
@pytest.mark.parametrize("at_once", [False, True], ids=["later", "in-one-request"])
async def test_who_stands_below_comes_with_the_run_above(rig: Rig, trigger: AlertTrigger, at_once: bool) -> None:
    """The child names its parent before that is there, or has a parent itself; so does the child of the child."""
    if trigger is AlertTrigger.BUDGET:
        await ours(rig)
    scope, told = await whereabouts(rig, "parent")
    since = (await make(rig, trigger, scope=scope, config=RULES[trigger], channels=())).created_at
    rig.clock.advance(MINUTE)
    lower = [begun("c", parent_key="trace:b"), *happened(trigger, "c"), begun("b", parent_key="trace:a")]
    if at_once:
        await rig.append(*lower, begun("a", **told))
    else:
        await rig.append(*lower)
        await rig.engine.sweep()
        assert await alerts(rig) == []
        rig.clock.advance(MINUTE)
        await rig.append(begun("a", **told))
    await rig.engine.sweep()
    fired = firings(await alerts(rig))
    assert [at for at, _ in fired] == [rig.clock.now_ms()]
    rig.clock.advance(MINUTE)
    await rig.append(draft(EventType.STEP, traced("c")), begun("b", metadata=msgspec.Raw(b'{"more":1}')))
    await rig.engine.sweep()
    assert firings(await alerts(rig)) == fired
    assert await tried(rig, trigger, scope, since) == fired


@pytest.mark.parametrize("trigger", [AlertTrigger.COST_THRESHOLD, AlertTrigger.ERROR], ids=str)
async def test_what_an_event_brings_about_with_the_entry_is_one_thing(rig: Rig, trigger: AlertTrigger) -> None:
    """The event that tells the label spends what is too much, or is the end: it fires once, or is kept quiet once."""
    scope, told = await whereabouts(rig, "label")
    rule = await make(rig, trigger, scope=scope, config=RULES[trigger], channels=(), cooldown_ms=60 * MINUTE)
    rig.clock.advance(MINUTE)
    for trace in "ab":
        await rig.append(start(trace), spending(trace, DOLLAR // 2))
        [event] = happened(trigger, trace, agent="writer")
        effects = msgspec.structs.replace(event.facts.effects or Effects(), **told)
        facts = msgspec.structs.replace(event.facts, effects=effects)
        await rig.append(msgspec.structs.replace(event, facts=facts))
    fired, quiet = firings(await alerts(rig)), (await rig.do(GetRule(rule.rule_id))).rule.suppressed
    assert (len(fired), quiet) == (1, 1)
    asked = CreateRule("x", trigger, scope, RULES[trigger], (), cooldown_ms=60 * MINUTE)
    found = await rig.do(PreviewRule(asked, rule.created_at))
    assert ([(one.at, one.subject) for one in found.fired], found.suppressed) == (fired, quiet)


async def test_a_run_that_costs_less_by_the_event_that_brings_it_is_let_pass(rig: Rig) -> None:
    scope, told = await whereabouts(rig, "label")
    rule = await make(rig, AlertTrigger.COST_THRESHOLD, scope=scope, config=RULES[AlertTrigger.COST_THRESHOLD])
    await rig.append(start("a"), spending("a", DOLLAR // 2), begun("a", **told), start("b"))
    assert await alerts(rig) == []
    await rig.append(spending("a", DOLLAR // 2))
    assert [one.rule_id for one in await alerts(rig)] == [rule.rule_id]


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_in_scope_before_the_rule_was_made_is_not_judged_anew(rig: Rig, way: str) -> None:
    """It has told something else of where it stands, or what stands above it has."""
    scope, told = await whereabouts(rig, way)
    await rig.append(begun("a", "writer", **told), *happened(AlertTrigger.COST_THRESHOLD, agent="writer"))
    await rig.append(begun("b", "writer", parent_key="trace:a"), *happened(AlertTrigger.COST_THRESHOLD, "b"))
    rig.clock.advance(MINUTE)
    trigger = AlertTrigger.COST_THRESHOLD
    rule = await make(rig, trigger, scope=scope, config=RULES[trigger], channels=())
    rig.clock.advance(MINUTE)
    await rig.append(begun("a", metadata=msgspec.Raw(b'{"more":1}')))
    assert await alerts(rig) == []
    assert await tried(rig, trigger, scope, rule.created_at) == []
