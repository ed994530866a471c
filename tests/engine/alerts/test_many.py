"""Many rules and budgets that one event concerns: it is stored, and all of them tell, in turns."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tests.engine.alerts.alerting import DOLLAR, alerts, calling, failure, make, spending, start
from tests.support.rig import Rig
from towerlog.engine.alerts.reactions import MAX_FIRED_OF_EVENT
from towerlog.engine.plan.alerts import AlertChanges
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, ChangeRule
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import Refusal

MANY = 70
"""More than a group is placed anew."""


@pytest.mark.parametrize("trigger", [AlertTrigger.ERROR, AlertTrigger.COST_THRESHOLD, AlertTrigger.LOOP])
async def test_all_rules_about_a_run_fire_with_one_event(rig: Rig, trigger: AlertTrigger) -> None:
    config = AlertConfig(amount_nanos=DOLLAR) if trigger is AlertTrigger.COST_THRESHOLD else AlertConfig()
    for _ in range(MANY):
        await make(rig, trigger, config=config, channels=(), scope=AlertScope(thread_id="thread"))
    await rig.append(start("a"), calling("a", "t", 1), calling("a", "t", 1))
    rig.engine.forget()
    event = {
        AlertTrigger.ERROR: failure("a"),
        AlertTrigger.COST_THRESHOLD: spending("a", DOLLAR),
        AlertTrigger.LOOP: calling("a", "t", 1),
    }[trigger]
    before = rig.engine.figures()["reloads"]
    [stored] = await rig.append(event)
    assert not isinstance(stored, Refusal)
    assert [one.rule_name for one in await alerts(rig)] == [f"on {trigger}"] * MANY
    assert rig.engine.figures()["reloads"] - before <= 6


async def many_budgets(rig: Rig, budgets: int, rules: int) -> None:
    """Budgets of all that is spent, and rules about all of them."""
    for number in range(budgets):
        rig.principal = msgspec.structs.replace(rig.principal, key_id=f"k{number % 2}")
        scope = BudgetScope(organisation=True)
        await rig.do(CreateBudget(f"b{number}", scope, 10, Period.DAY, BudgetAction.WARN))
    for number in range(rules):
        await make(rig, AlertTrigger.BUDGET, channels=(), config=AlertConfig(fraction=0.5 + number / 1000))


async def test_budgets_that_many_rules_are_about_are_told_of_in_turns(rig: Rig) -> None:
    budgets, rules = 80, 20
    await many_budgets(rig, budgets, rules)
    await rig.append(start("a"))
    for number in range(-(-budgets * rules // MAX_FIRED_OF_EVENT)):
        [stored] = await rig.append(spending("a", 10))
        assert not isinstance(stored, Refusal)
        fired = len(await rig.store.alerts(rig.org, 10_000, None, None, None))
        assert fired == min((number + 1) * MAX_FIRED_OF_EVENT, budgets * rules)
    found = await rig.store.alerts(rig.org, 10_000, None, None, None)
    assert Counter((one.rule_id, one.subject) for one in found).most_common(1)[0][1] == 1


async def test_what_all_rules_have_told_is_not_looked_up_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    newest = AlertChanges.newest

    def counted(self: AlertChanges, org: int, rule_id: str, subject: str, *, is_new: bool = False) -> object:
        looked_up.append(subject)
        return newest(self, org, rule_id, subject, is_new=is_new)

    await many_budgets(rig, 5, 5)
    await rig.append(start("a"), spending("a", 10))
    assert len(await alerts(rig)) == 25
    await rig.append(spending("a", 1))  # finds that all of them last
    monkeypatch.setattr(AlertChanges, "newest", counted)
    await rig.append(spending("a", 1))
    assert looked_up == []
    rig.engine.forget()
    for _ in range(2):
        await rig.append(spending("a", 1))
    assert len(looked_up) >= 25
    looked_up.clear()
    await rig.append(spending("a", 1))
    assert looked_up == []
    # Each change of what was told, or of what is to be told, is seen.
    rule = (await rig.store.alert_rules(rig.org, 1, None))[0]
    await rig.do(ChangeRule(rule.rule_id, enabled=False))
    await rig.engine.sweep()
    await rig.do(ChangeRule(rule.rule_id, enabled=True))
    await rig.append(spending("a", 1))
    assert len(await alerts(rig)) == 30
