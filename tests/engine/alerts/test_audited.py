"""What people do with rules and alerts stands in the audit, without a secret."""

from __future__ import annotations

import msgspec

from tests.engine.alerts.alerting import HOOK, MINUTE, alerts, deliveries, failure, make
from tests.engine.commands.acts.test_acts import audit, the_act, told
from tests.support.rig import Rig
from towerlog.model.alert import AcknowledgeAlert, AlertTrigger, ChangeRule, DeleteRule, MuteAlert
from towerlog.model.alert_channel import AlertChannel, ChannelSecret, ChannelType
from towerlog.model.delivery import DeliveryState, Redeliver, RedeliverFrom
from towerlog.store.values import Changes

TARGET = "https://hooks.example.com/towerlog"


async def test_a_rule_is_told_without_its_secret(rig: Rig) -> None:
    rule = await make(rig, AlertTrigger.ERROR)
    [made] = await audit(rig)
    action, kind, before, state = told(made)
    assert (action, kind, before) == ("rule.create", "rule", None)
    assert (state["name"], state["trigger"], state["channels"][0]["target"]) == ("on error", "error", HOOK.shown())
    assert TARGET not in str(made.entry), "whoever has a chat's URL can post there"
    secret = rule.channels[0].secrets[0].text
    assert secret not in str(made.entry)
    new = AlertChannel(ChannelType.WEBHOOK, TARGET, (ChannelSecret("whsec_" + "A" * 40),))
    changed = told(await the_act(rig, ChangeRule(rule.rule_id, channels=(new,))))
    assert changed[2] == state
    assert changed[3]["channels"][0]["secret_digest"] != state["channels"][0]["secret_digest"]
    before = await audit(rig)
    await rig.do(ChangeRule(rule.rule_id, name="on error"))
    assert await audit(rig) == before
    assert told(await the_act(rig, DeleteRule(rule.rule_id)))[0::3] == ("rule.delete", None)


async def test_who_has_seen_to_an_alert_is_told(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    await rig.append(failure("a"))
    [alert] = await alerts(rig)
    muted = told(await the_act(rig, MuteAlert(alert.alert_id, MINUTE)))
    assert (muted[0], muted[2].get("muted_until")) == ("alert.mute", None)
    assert muted[3]["muted_until"] is not None
    seen = told(await the_act(rig, AcknowledgeAlert(alert.alert_id)))
    assert (seen[0], seen[2]["state"], seen[3]["state"]) == ("alert.acknowledge", "ALERT", "OK")


async def test_what_is_sent_anew_is_told(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    await rig.append(failure("a"), failure("b"))
    rows = await deliveries(rig)
    failed = [msgspec.structs.replace(one, state=DeliveryState.FAILED, due_at=None) for one in rows]
    async with rig.store.begin() as unit:
        await unit.commit(Changes(deliveries={(rig.org, one.delivery_id): one for one in failed}))
    one = told(await the_act(rig, Redeliver(rows[0].delivery_id)))
    assert (one[0], one[2]["state"], one[3]["state"]) == ("delivery.redeliver", "failed", "pending")
    several = await the_act(rig, RedeliverFrom(0, 10))
    assert (several.entry.object_id, told(several)[3]["redelivered"]) == ("deliveries", 1)
