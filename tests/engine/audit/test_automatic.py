"""What rules and budgets do to runs stands in the audit under their own names, with the run before and after."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import MINUTE, failure, spending
from tests.engine.alerts.alerting import make as make_rule
from tests.engine.commands.acts.test_acts import audit, told
from tests.engine.reactions.test_budgets import DOLLAR, call, make, rows
from tests.engine.timers.test_approvals import calls, question
from tests.support.rig import Rig
from towerlog.model.alert import AlertAct, AlertConfig, AlertTrigger
from towerlog.model.approval import OnExpiry
from towerlog.model.audit import Actor, ActorType, AuditRow
from towerlog.model.budget import BudgetAction, ChangeBudget, DeleteBudget
from towerlog.model.event import EventType


async def by(rig: Rig, kind: ActorType) -> list[AuditRow]:
    """Entries of actors of this kind, oldest first."""
    return [row for row in await audit(rig) if row.entry.actor.type is kind]


@pytest.mark.parametrize("act", list(AlertAct))
async def test_a_rule_that_acts_is_the_actor(rig: Rig, act: AlertAct) -> None:
    config = AlertConfig(amount_nanos=DOLLAR)
    rule = await make_rule(rig, AlertTrigger.COST_THRESHOLD, config=config, act=act)
    await rig.append(spending("x", DOLLAR))
    found = await by(rig, ActorType.RULE)
    assert len(found) == 1
    row = found[0]
    run = (await rows(rig))["x"]
    assert row.entry.actor == Actor(ActorType.RULE, rule_id=rule.rule_id, rule_name=rule.name)
    action, kind, before, after = told(row)
    assert (action, kind, row.entry.object_id) == (f"run.{act}", "run", run.run_id)
    assert (before["status"], "pending" in before) == ("running", False)
    assert after["pending"] == [act.value]
    assert after["reason"].startswith(f"Alert '{rule.name}': ")
    [alert] = await rig.store.alerts(rig.org, 9, None, None, None)
    assert after["alert_id"] == alert.alert_id
    await rig.append(spending("x", DOLLAR))
    assert await by(rig, ActorType.RULE) == [row], "nothing was asked anew"
    for name in (rule.rule_id, rule.name):
        assert row in await audit(rig, actor=name)


async def test_a_rule_that_finds_nothing_to_ask_leaves_no_entry(rig: Rig) -> None:
    await make_rule(rig, AlertTrigger.ERROR, act=AlertAct.CANCEL)
    await rig.append(failure("x"))
    assert await by(rig, ActorType.RULE) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount_nanos": 2 * DOLLAR}, "The budget has money again."),
        ({"action": BudgetAction.WARN}, "The budget only warns from now on."),
        (None, "The budget was deleted."),
    ],
)
async def test_a_run_that_goes_on_is_told_why(rig: Rig, change: dict[str, Any] | None, why: str) -> None:
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("x", DOLLAR))
    budget_id = row.budget_id
    await rig.do(DeleteBudget(budget_id) if change is None else ChangeBudget(budget_id, **change))
    await rig.engine.sweep()
    [asked] = [one for one in await rig.log() if one.type is EventType.RUN_RESUME_REQUESTED]
    assert msgspec.json.decode(asked.data)["reason"] == why
    assert told((await by(rig, ActorType.BUDGET))[-1])[3]["reason"] == why


async def test_a_budget_is_the_actor_of_each_pause_and_of_each_resume(rig: Rig) -> None:
    await rig.append(call("other", None))
    row = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("x", DOLLAR))
    await rig.engine.sweep()
    found = await by(rig, ActorType.BUDGET)
    runs = {name: run.run_id for name, run in (await rows(rig)).items()}
    assert [(told(one)[0], one.entry.object_id) for one in found] == [
        ("run.pause", runs["x"]), ("run.pause", runs["other"]),
    ]  # fmt: skip
    assert {one.entry.actor.budget_id for one in found} == {row.budget_id}
    assert {one.entry.actor.budget_name for one in found} == {"ours"}
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=2 * DOLLAR))
    await rig.engine.sweep()
    resumed = (await by(rig, ActorType.BUDGET))[2:]
    assert {(told(one)[0], one.entry.object_id) for one in resumed} == {("run.resume", run) for run in runs.values()}
    assert all(told(one)[2]["pending"] == ["pause"] for one in resumed)


async def test_a_budget_that_cancels_is_the_actor(rig: Rig) -> None:
    await make(rig, action=BudgetAction.CANCEL)
    await rig.append(call("x", DOLLAR))
    [row] = await by(rig, ActorType.BUDGET)
    assert told(row)[0] == "run.cancel"
    assert told(row)[3]["reason"]


async def test_a_message_names_what_waits_and_has_a_link_only_where_there_is_an_address(rig: Rig) -> None:
    """This engine knows none."""
    await make_rule(rig, AlertTrigger.WAITING_TOO_LONG, config=AlertConfig(wait_ms=MINUTE))
    asked = await rig.append(question("x", OnExpiry.WAIT), calls("y", OnExpiry.WAIT))
    rig.clock.advance(MINUTE)
    await rig.engine.sweep()
    sent = await rig.store.deliveries(rig.org, 9, None, None, None, None)
    assert {msgspec.json.decode(one.body)["approval_id"] for one in sent} == {
        f"{asked[0].run_id}.q{asked[0].seq}", f"{asked[1].run_id}.a1.{asked[1].seq}",
    }  # fmt: skip
    assert [one.link for one in sent] == [None, None]
    assert await by(rig, ActorType.RULE) == []
