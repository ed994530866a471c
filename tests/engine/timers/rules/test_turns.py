"""The timer's time is shared: whoever has many rules and runs is looked at in parts, and keeps nobody waiting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.alerts.alerting import MINUTE, make, start
from tests.support.rig import Rig
from towerlog.engine.timers.rules.turns import TURN_MS
from towerlog.engine.timers.rules.watch import WatchedRules
from towerlog.model.alert import AlertConfig, AlertRule, AlertScope, AlertTrigger, CreateRule, DeleteRule
from towerlog.model.command import Append
from towerlog.model.principal import Principal

RULES = 40
LOOK_MS = TURN_MS // 4
WAIT = AlertConfig(wait_ms=MINUTE)


async def wait_rule(rig: Rig, principal: Principal, agent: str) -> None:
    scope = AlertScope(agent=agent)
    await rig.do(CreateRule(agent, AlertTrigger.STALLED, scope, WAIT, ()), principal=principal)


@pytest.fixture
async def looked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[AlertRule]:
    """What was looked at. Each look takes a quarter of a turn."""
    seen: list[AlertRule] = []
    guarded = WatchedRules._guarded

    async def slow(self: WatchedRules, rule: AlertRule) -> None:
        await guarded(self, rule)
        rig.clock.advance(LOOK_MS)
        seen.append(rule)

    monkeypatch.setattr(WatchedRules, "_guarded", slow)
    return seen


async def told_of(rig: Rig, org: int) -> int:
    return len(await rig.store.alerts(org, 1000, None, None, None))


async def test_an_organisation_with_many_rules_keeps_no_other_waiting(rig: Rig, looked: list[Any]) -> None:
    for number in range(RULES):
        await make(rig, AlertTrigger.STALLED, config=WAIT, scope=AlertScope(agent=f"a{number:02}"))
        await rig.append(start(f"r{number}", f"a{number:02}"))
    small = await rig.make_org("small")
    await wait_rule(rig, small, "few")
    await rig.do(Append("steps", [start("s", "few")]), principal=small)
    rig.clock.advance(2 * MINUTE)

    await rig.engine.sweep()
    assert await told_of(rig, small.org) == 1, "in the first round, whatever the other one has left"
    assert len(looked) == TURN_MS // LOOK_MS + 1

    rounds = 1
    while await told_of(rig, rig.org) < RULES:
        await rig.engine.sweep()
        rounds += 1
        assert rounds <= RULES, "it goes on where it was left"
    assert rounds == RULES * LOOK_MS // TURN_MS
    mine = [one.rule_id for one in looked if one.org == rig.org]
    assert len(set(mine)) == len(mine) == RULES
    assert sum(one.org == small.org for one in looked) == rounds


async def test_a_turn_goes_round_and_a_deleted_rule_is_no_place(rig: Rig, looked: list[Any]) -> None:
    rules = [await make(rig, AlertTrigger.STALLED, config=WAIT) for _ in range(6)]
    await rig.engine.sweep()
    assert [one.rule_id for one in looked] == [one.rule_id for one in rules[:4]]
    await rig.do(DeleteRule(rules[3].rule_id))
    await rig.engine.sweep()
    assert [one.rule_id for one in looked[4:]] == [rules[index].rule_id for index in (4, 5, 0, 1)]
