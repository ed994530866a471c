"""What one event may make the writer write: a body once, so many messages, and then somebody else's turn."""

from __future__ import annotations

import asyncio

import msgspec

from tests.engine.alerts.alerting import alerts, deliveries, failure, make, start, told
from tests.support.rig import Rig
from towerlog.engine.plan.alerts import MAX_MESSAGES_OF_COMMIT
from towerlog.model.alert import MAX_RULES, AlertTrigger
from towerlog.model.alert_channel import MAX_CHANNELS, AlertChannel, ChannelType
from towerlog.model.command import Append
from towerlog.model.delivery import RedeliverFrom
from towerlog.store.sqlite.connections.pools import Where

HOOKS = tuple(AlertChannel(ChannelType.WEBHOOK, f"https://h{one}.example.com/") for one in range(MAX_CHANNELS))


async def bodies(rig: Rig) -> int:
    """How many are stored."""
    counted: int = await rig.store.pool(Where.READERS).call(lambda db: db.execute(_BODIES).get)
    return counted


_BODIES = "SELECT count(*) FROM delivery_body"
_ENDED = "UPDATE delivery SET due_at = NULL"


async def many_rules(rig: Rig) -> None:
    """As many rules as there may be, each with as many channels."""
    for number in range(MAX_RULES):
        rig.principal = msgspec.structs.replace(rig.principal, key_id=f"k{number % 2}")
        await make(rig, AlertTrigger.ERROR, channels=HOOKS)


async def test_what_is_told_is_stored_once_for_all_channels(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR, channels=HOOKS)
    await rig.append(start("a"), failure("a"))
    found = await deliveries(rig)
    assert len(found) == MAX_CHANNELS
    assert {told(one)["type"] for one in found} == {"alert.fired"}
    assert await bodies(rig) == 1
    again = await rig.do(RedeliverFrom(0, 100, state=None))
    assert again.count == MAX_CHANNELS
    assert len({told(one)["alert_id"] for one in await deliveries(rig)}) == 1


async def test_a_body_goes_with_the_last_message_that_tells_it(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR, channels=(*HOOKS[:1], AlertChannel(ChannelType.IN_APP)))
    await rig.append(start("a"), failure("a"))
    await rig.append(start("b"), failure("b"))
    # The messages for the application are delivered, and may go; the others wait.
    assert await rig.store.alerts_drop(0, 0, 100, 0) == 4
    assert [told(one)["type"] for one in await deliveries(rig)] == ["alert.fired"] * 2
    assert await bodies(rig) == 2
    await rig.store.pool(Where.BETWEEN_UNITS).call(lambda db: db.execute(_ENDED))
    assert await rig.store.alerts_drop(0, 0, 100, 0) == 2
    assert await bodies(rig) == 0


async def test_one_event_writes_a_bounded_number_of_deliveries_and_keeps_the_others(rig: Rig) -> None:
    await many_rules(rig)
    await rig.append(start("a"), failure("a"))
    fired, sent = await alerts(rig), await deliveries(rig)
    assert len(fired) == MAX_RULES
    assert len(sent) == MAX_MESSAGES_OF_COMMIT
    assert await bodies(rig) == MAX_RULES
    assert [one.not_sent for one in fired] == [0] * MAX_RULES


async def test_whoever_has_many_rules_waits_for_the_others(rig: Rig) -> None:
    await many_rules(rig)
    other = await rig.make_org("other")
    ended: list[str] = []

    async def send(name: str, *items: object, **named: object) -> None:
        await rig.do(Append("steps", list(items)), **named)  # type: ignore[arg-type]
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(send("many", start(f"r{number}"), failure(f"r{number}")))
        for number in range(6):
            group.create_task(send("few", start(f"s{number}"), principal=other))
    # The first group begins before anybody knows what follows from it; from then on the other one comes first.
    assert ended[:7].count("few") == 6, ended
    assert len(await rig.store.alerts(rig.org, 2000, None, None, None)) == 6 * MAX_RULES
