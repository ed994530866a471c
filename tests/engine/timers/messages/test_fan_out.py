"""The fan-out: what one commit had no room for is written by later ones, once, in its order, organisations in turn."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tests.engine.alerts.alerting import alerts, deliveries, failure, make, spending, start, told
from tests.engine.alerts.test_bounds import HOOKS
from tests.support.rig import Rig
from towerlog.engine.plan.alerts import MAX_MESSAGES_OF_COMMIT, MAX_PLAN_NOTICES
from towerlog.engine.timers.messages.fan_out import FanOut
from towerlog.engine.verify import verify_org
from towerlog.model.alert import AlertConfig, AlertTrigger, DeleteRule
from towerlog.model.alert_channel import MAX_CHANNELS, AlertChannel, ChannelType
from towerlog.model.budget import BudgetAction, BudgetScope, ChangeBudget, CreateBudget, Period
from towerlog.model.command import Append
from towerlog.model.delivery import DeliveryState
from towerlog.model.retention import EraseRun

RULES = 40
"""Of which one event fires more messages than one commit writes."""


def fan_out(rig: Rig) -> FanOut:
    return FanOut(rig.store, rig.engine._writer.upkeep)


async def many_fired(rig: Rig) -> None:
    """More messages than one commit writes."""
    for _ in range(RULES):
        await make(rig, AlertTrigger.ERROR, channels=HOOKS)
    await rig.append(start("a"), failure("a"))


async def all_written(rig: Rig) -> None:
    """Steps until nothing is left."""
    out = fan_out(rig)
    while await out.step():
        pass


async def test_all_messages_are_written_once_in_the_order_of_their_alerts(rig: Rig) -> None:
    await many_fired(rig)
    assert len(await deliveries(rig)) == MAX_MESSAGES_OF_COMMIT
    steps, out = 0, fan_out(rig)
    while await out.step():
        steps += 1
        rig.engine.forget()  # as after a kill: the store alone tells what is left
    sent = await deliveries(rig)
    assert [one.alert_id for one in sent] == [one.alert_id for one in await alerts(rig) for _ in HOOKS]
    assert Counter((one.alert_id, one.channel.target) for one in sent).most_common(1)[0][1] == 1
    assert {one.state for one in sent} == {DeliveryState.PENDING}
    assert steps == -(-(len(sent) - MAX_MESSAGES_OF_COMMIT) // MAX_PLAN_NOTICES)
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_what_is_told_meanwhile_comes_behind(rig: Rig) -> None:
    """Else somebody would hear that an alert is over before they hear of it."""
    scope = BudgetScope(organisation=True)
    budget = (await rig.do(CreateBudget("all", scope, 10, Period.TOTAL, BudgetAction.WARN))).row
    for _ in range(RULES):
        await make(rig, AlertTrigger.BUDGET, channels=HOOKS, config=AlertConfig(fraction=1.0))
    await rig.append(start("a"), spending("a", 10))
    await rig.do(ChangeBudget(budget.budget_id, amount_nanos=100))
    await rig.engine.sweep()
    assert {told(one)["type"] for one in await deliveries(rig)} == {"alert.fired"}
    await all_written(rig)
    kinds = [told(one)["type"] for one in await deliveries(rig)]
    assert kinds == ["alert.fired"] * RULES * MAX_CHANNELS + ["alert.recovered"] * RULES * MAX_CHANNELS


async def test_each_organisation_has_its_turn(rig: Rig) -> None:
    await many_fired(rig)
    first, rig.principal = rig.principal, await rig.make_org("other")
    await many_fired(rig)
    out = fan_out(rig)

    async def written() -> list[int]:
        return [
            len(await rig.store.deliveries(who.org, 1000, None, None, None, None)) for who in (first, rig.principal)
        ]

    for step in range(4):
        before = await written()
        await out.step()
        grown = [now > then for now, then in zip(await written(), before, strict=True)]
        assert grown == [step % 2 == 0, step % 2 == 1]


async def test_a_rule_that_is_gone_still_tells_what_it_had_to_tell(rig: Rig) -> None:
    await many_fired(rig)
    for rule in await rig.store.alert_rules(rig.org, 1000, None):
        await rig.do(DeleteRule(rule.rule_id))
    await all_written(rig)
    assert len(await deliveries(rig)) == RULES * MAX_CHANNELS


async def test_what_was_erased_is_not_written(rig: Rig) -> None:
    await many_fired(rig)
    run_id = (await alerts(rig))[0].run_id or ""
    await rig.do(EraseRun(run_id))
    assert not await fan_out(rig).step()
    sent = await deliveries(rig)
    assert {(bytes(one.body), one.state) for one in sent} == {(b"{}", DeliveryState.FAILED)}
    await rig.append(start("b"), failure("b"))
    assert len(await deliveries(rig)) == len(sent) + MAX_MESSAGES_OF_COMMIT


async def test_where_too_many_wait_further_ones_are_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.plan.alerts.MAX_PENDING_DELIVERIES", RULES * MAX_CHANNELS)
    await many_fired(rig)
    await rig.append(start("b"), failure("b"))
    fired = await alerts(rig)
    assert [one.not_sent for one in fired] == [0] * RULES + [MAX_CHANNELS] * RULES
    await all_written(rig)
    assert {one.state for one in await deliveries(rig)} == {DeliveryState.PENDING}


async def test_what_is_only_shown_is_written_too(rig: Rig) -> None:
    for _ in range(MAX_MESSAGES_OF_COMMIT // 2):
        rig.principal = msgspec.structs.replace(rig.principal, key_id=rig.principal.key_id + "1")
        await make(rig, AlertTrigger.ERROR, channels=(AlertChannel(ChannelType.IN_APP), *HOOKS[:3]))
    await rig.do(Append("steps", [start("a"), failure("a")]))
    await all_written(rig)
    found = Counter(one.channel.type for one in await deliveries(rig))
    assert found == {ChannelType.IN_APP: 128, ChannelType.WEBHOOK: 384}
