"""Alerts in any backend: the last one written stands, pages go on where they end, and another's are not seen."""

from __future__ import annotations

import msgspec

from tests.store.sqlite.alerts.test_alerts import alert, delivery, delivery_body, rule
from tests.support.lookups import looked_up
from towerlog.model.alert import AlertState, WindowCount
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.delivery import DeliveriesAfter, Delivery, DeliveryState, DueWanted
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind


async def put(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_the_last_one_written_stands(store: Store, org: int, other: int) -> None:
    rules = [rule(org, number) for number in range(1, 4)]
    await put(store, Changes(alert_rules={(org, one.rule_id): one for one in rules}))
    changed = msgspec.structs.replace(rules[1], enabled=False)
    await put(store, Changes(alert_rules={(org, "r2"): changed, (org, "r3"): None}))
    assert [one.rule_id for one in await store.alert_rules(org, 5, None)] == ["r2", "r1"]
    assert [one.rule_id for one in await store.alert_rules(org, 5, 2)] == ["r1"]
    assert await store.alert_rule(org, "r2") == changed
    assert await store.alert_rule(other, "r2") is None
    async with store.begin() as unit:
        assert (await looked_up(unit, Kind.ALERT_RULES, org))[org] == (rules[0], changed)
        assert (await looked_up(unit, Kind.ALERT_RULES, other))[other] == ()


async def test_alerts_are_numbered_and_filtered(store: Store, org: int, other: int) -> None:
    for number in (1, 2, 3):
        name = f"a{number}"
        await put(store, Changes(alerts={(org, name): alert(org, name, episode=number)}))
    ended = alert(org, "a2", episode=2, state=AlertState.OK, ended_at=9)
    await put(store, Changes(alerts={(org, "a2"): ended}))
    assert [(one.alert_id, one.number) for one in await store.alerts(org, 9, None, None, None)] == [
        ("a3", 3), ("a2", 2), ("a1", 1),
    ]  # fmt: skip
    assert [one.alert_id for one in await store.alerts(org, 9, 3, "r1", AlertState.ALERT)] == ["a1"]
    assert await store.alerts(org, 9, None, "r2", None) == []
    assert await store.alerts_open(org) == {"r1": 2}
    assert await store.alert(org, "a2") == msgspec.structs.replace(ended, number=2)
    assert await store.alert(other, "a2") is None
    async with store.begin() as unit:
        found = (await looked_up(unit, Kind.ALERT, (org, "r1", "run:x")))[org, "r1", "run:x"]
        assert found.alert_id == "a3"


async def test_the_outbox_tells_what_is_due_and_what_came_after(store: Store, org: int, other: int) -> None:
    rows = [delivery(org, f"d{number}", due_at=number) for number in (1, 2, 3)]
    for one in rows:
        await put(store, Changes(deliveries={(org, one.delivery_id): one}))
    await put(store, Changes(deliveries={(other, "x"): delivery(other, "x", due_at=1)}))
    assert await store.deliveries_waiting(-1, 5) == sorted([org, other])
    assert await store.deliveries_waiting(min(org, other), 5) == [max(org, other)]
    assert await store.deliveries_waiting(-1, 1) == [min(org, other)]

    async def due(each: int, under_way: dict[str, Delivery]) -> tuple[list[str], str | None, bool]:
        found = await store.deliveries_due(DueWanted(org, "", 2, 100, each, 9, 9, under_way))
        return [one.delivery_id for one in found.rows], found.place, found.is_more

    assert await due(5, {}) == (["d1", "d2"], None, False)
    assert await due(1, {}) == (["d1"], None, True)
    assert await due(2, {"d1": rows[0]}) == (["d2"], None, False)
    assert await due(1, {"d1": rows[0]}) == ([], None, True)
    failed = msgspec.structs.replace(rows[0], state=DeliveryState.FAILED, due_at=None)
    await put(store, Changes(deliveries={(org, "d1"): failed}))
    assert [one.delivery_id for one in await store.deliveries(org, 9, None, None, None, DeliveryState.FAILED)] == ["d1"]
    async with store.begin() as unit:
        assert (await looked_up(unit, Kind.OUTBOX_COUNTS, org))[org] == (2, 0)
        after = DeliveriesAfter(org, 1, "r1", "", 9)
        found = (await looked_up(unit, Kind.DELIVERIES_AFTER, after))[after]
        assert [one.delivery_id for one in found] == ["d2", "d3"]


async def test_bodies_wait_in_their_order_until_all_their_deliveries_are_written(
    store: Store, org: int, other: int
) -> None:
    many = (AlertChannel(ChannelType.IN_APP), AlertChannel(ChannelType.EMAIL, "ada@example.com"))
    bodies = [
        delivery_body(org, "b2", many),
        delivery_body(org, "b1", many[:1]),
        delivery_body(org, "b3"),
        delivery_body(other, "b1", many),
    ]
    for one in bodies:
        await put(store, Changes(delivery_bodies={(one.org, one.body_id): one}))
    assert await store.bodies_waiting(-1, 5) == sorted([org, other])
    assert await store.bodies_waiting(max(org, other), 5) == []

    async def waiting(limit: int = 9) -> list[str]:
        async with store.begin() as unit:
            found = (await looked_up(unit, Kind.BODIES_UNWRITTEN, (org, limit)))[org, limit]
            counts = (await looked_up(unit, Kind.OUTBOX_COUNTS, org))[org]
            assert limit == 1 or counts == (0, sum(len(one.unwritten) for one in found))
            assert all(bytes(one.body) == b'{"message":"no"}' for one in found)
            return [one.body_id for one in found]

    assert (await waiting(), await waiting(1)) == (["b2", "b1"], ["b2"])
    less = msgspec.structs.replace(bodies[0], unwritten=many[1:])
    await put(store, Changes(delivery_bodies={(org, "b2"): less}))
    assert await waiting() == ["b2", "b1"]
    await put(store, Changes(delivery_bodies={(org, "b2"): msgspec.structs.replace(less, unwritten=())}))
    assert await waiting() == ["b1"]


async def test_a_body_outlives_its_deliveries_while_some_are_unwritten(store: Store, org: int) -> None:
    channel = AlertChannel(ChannelType.IN_APP)
    sent = delivery(org, "d1", state=DeliveryState.DELIVERED, due_at=None, body_id="b1")
    told = delivery_body(org, "b1", (channel,))
    await put(store, Changes(deliveries={(org, "d1"): sent}, delivery_bodies={(org, "b1"): told}))
    assert await store.alerts_drop(2**60, 0, 9, 0) == 1
    assert await store.bodies_waiting(-1, 5) == [org]


async def test_a_window_adds_up(store: Store, org: int) -> None:
    await put(store, Changes(alert_windows={(org, "r1", 5): WindowCount(1, 0, 2)}))
    await put(store, Changes(alert_windows={(org, "r1", 5): WindowCount(1, 1, 2), (org, "r1", 4): WindowCount(9)}))
    async with store.begin() as unit:
        assert await unit.alert_window(org, "r1", 5) == WindowCount(2, 1, 4)


async def test_alerts_that_have_changed_since_a_position_are_found(store: Store, org: int, other: int) -> None:
    made = {name: alert(org, name, episode=place, position=place) for place, name in enumerate(("a1", "a2", "a3"), 1)}
    await put(store, Changes(alerts={(org, name): one for name, one in made.items()}))
    assert [one.alert_id for one in await store.alerts_since(org, 2, 9)] == ["a2", "a3"]
    await put(store, Changes(alerts={(org, "a1"): msgspec.structs.replace(made["a1"], position=7)}))
    assert [one.alert_id for one in await store.alerts_since(org, 2, 9)] == ["a2", "a3", "a1"]
    assert [one.alert_id for one in await store.alerts_since(org, 2, 1)] == ["a2"]
    assert await store.alerts_since(other, 0, 9) == []
