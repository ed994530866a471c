"""What is sent next: a look is bounded, an organisation has its turn whoever else waits, and nothing is left out."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.store.sqlite.alerts.test_alerts import delivery
from tests.support.rig import Rig
from towerlog.engine.alerts.sending import outbox as outbox_module
from towerlog.engine.alerts.sending.outbox import MAX_OF_ORGANISATION, MAX_OF_RECEIVER, MAX_UNDER_WAY, Outbox
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.delivery import Delivery, DueFound, DueWanted
from towerlog.store.values import Changes


def to(host: int) -> AlertChannel:
    return AlertChannel(ChannelType.WEBHOOK, f"https://h{host:04}.example.com/")


async def put(rig: Rig, org: int, hosts: int, each: int, prefix: str = "d") -> None:
    """Messages that wait: so many to each of so many hosts."""
    rows = [
        delivery(org, f"{prefix}{org}-{host}-{number}", channel=to(host), due_at=number)
        for host in range(hosts)
        for number in range(each)
    ]
    async with rig.store.begin() as unit:
        await unit.commit(Changes(deliveries={(org, one.delivery_id): one for one in rows}))


class Looks:
    """Looks of an outbox, whose messages stay under way until they are done."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outbox = Outbox(rig.store)
        self.under_way: dict[tuple[int, str], Delivery] = {}
        self.reads: list[tuple[DueWanted, DueFound]] = []
        self.store = rig.store
        real = rig.store.deliveries_due

        async def counted(wanted: DueWanted) -> DueFound:
            found = await real(wanted)
            self.reads.append((wanted, found))
            return found

        monkeypatch.setattr(rig.store, "deliveries_due", counted)

    async def all(self) -> list[Delivery]:
        """Looks for as long as that brings something; what is begun by it."""
        begun: list[Delivery] = []
        while True:
            found = await self.outbox.look(10_000, 100_000, self.under_way)
            begun += found.rows
            self.under_way |= {(one.org, one.delivery_id): one for one in found.rows}
            if not found.goes_on:
                return begun

    async def done(self, one: Delivery) -> None:
        """One is delivered."""
        del self.under_way[one.org, one.delivery_id]
        gone = delivery(one.org, one.delivery_id, channel=one.channel, due_at=None)
        async with self.store.begin() as unit:
            await unit.commit(Changes(deliveries={(one.org, one.delivery_id): gone}))


async def test_a_look_reads_so_much_and_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(rig, rig.org, 300, 20)
    looks = Looks(rig, monkeypatch)
    begun = await looks.all()
    assert len(begun) == MAX_OF_ORGANISATION
    assert len({one.channel.target for one in begun}) == MAX_OF_ORGANISATION, "one of each receiver first"
    for _ in range(50):
        looks.reads.clear()
        await looks.done(next(iter(looks.under_way.values())))
        assert len(await looks.all()) == 1
        assert sum(len(found.rows) for _, found in looks.reads) <= MAX_OF_RECEIVER


async def test_in_the_end_each_is_begun_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RECEIVERS_AT_ONCE", 3)
    monkeypatch.setattr(outbox_module, "ORGANISATIONS_AT_ONCE", 2)
    orgs = [rig.org, *[(await rig.make_org(f"o{number}")).org for number in range(4)]]
    for org in orgs:
        await put(rig, org, 7, 6)
    looks = Looks(rig, monkeypatch)
    begun: Counter[str] = Counter()
    while found := await looks.all() or list(looks.under_way.values()):
        begun.update(one.delivery_id for one in found if (one.org, one.delivery_id) in looks.under_way)
        of_receiver = Counter((one.org, one.channel.target) for one in looks.under_way.values())
        assert len(looks.under_way) <= MAX_UNDER_WAY
        assert max(of_receiver.values()) <= MAX_OF_RECEIVER
        for one in list(looks.under_way.values()):
            await looks.done(one)
    assert len(begun) == 5 * 7 * 6


async def test_an_organisation_has_its_turn_beside_those_whose_receivers_are_dead(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next place that is free, however much of others is due for longer."""
    dead = [(await rig.make_org(f"dead {number}")).org for number in range(3)]
    for org in dead:
        await put(rig, org, 30, 50)
    looks = Looks(rig, monkeypatch)
    await looks.all()
    assert len(looks.under_way) == MAX_UNDER_WAY
    await put(rig, rig.org, 1, 1)
    looks.outbox.hear({rig.org})
    first = next(iter(looks.under_way.values()))
    await looks.done(first)
    assert [one.org for one in await looks.all()] == [rig.org]


async def test_what_nobody_told_of_is_found_by_the_next_round(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(rig, monkeypatch)
    assert await looks.all() == []
    await put(rig, rig.org, 1, 1)
    assert len(await looks.all()) == 1
    await put(rig, rig.org, 1, 2, "e")
    looks.outbox.hear({rig.org})
    assert len(await looks.all()) == 2
