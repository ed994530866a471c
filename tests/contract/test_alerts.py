"""Alerts in any backend: the last one written stands, pages go on where they end, and another's are not seen."""

from __future__ import annotations

import msgspec

from tests.store.sqlite.alerts.test_alerts import alert, delivery, rule
from tests.support.lookups import looked_up
from towerlog.model.alert import AlertState, WindowCount
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
        assert (await looked_up(unit, Kind.DELIVERIES_PENDING, org))[org] == 2
        after = DeliveriesAfter(org, 1, "r1", "", 9)
        found = (await looked_up(unit, Kind.DELIVERIES_AFTER, after))[after]
        assert [one.delivery_id for one in found] == ["d2", "d3"]


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
