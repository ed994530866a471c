"""What nodes agree on by the database: who is there, who leads, and what was used up, by the database's clock."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.test_append import append_next
from tests.store.postgres.conftest import Node
from tests.support.factories import identity
from tests.support.wait import wait_until_async
from towerlog.errors import Conflict
from towerlog.store.base import NodeStore
from towerlog.store.postgres.store import PostgresStore

LONG_MS = 60_000


def nodes_of(store: PostgresStore) -> NodeStore:
    assert store.nodes is not None
    return store.nodes


async def test_nodes_know_those_that_are_there(node: Node, store: PostgresStore) -> None:
    first, second = nodes_of(store), nodes_of(await node())
    assert await first.meet("a", "one way", LONG_MS) == {}
    assert await second.meet("b", "another", LONG_MS) == {"a": "one way"}
    assert await first.meet("a", "one way", LONG_MS) == {"b": "another"}
    await second.leave("b")
    assert await first.meet("a", "one way", LONG_MS) == {}
    await second.meet("b", "w", 50)
    await wait_until_async(lambda: alone(first), "the end of a node's life")


async def alone(nodes: NodeStore) -> bool:
    return await nodes.meet("a", "one way", LONG_MS) == {}


async def test_one_leads_until_it_leaves_or_its_time_is_over(node: Node, store: PostgresStore) -> None:
    first, second = nodes_of(store), nodes_of(await node())
    found = await asyncio.gather(*(one.lead(name, LONG_MS) for one, name in ((first, "a"), (second, "b"))))
    assert sorted(found) == [False, True]
    leader, other = ("a", "b") if found[0] else ("b", "a")
    assert await first.lead(leader, LONG_MS)
    assert not await first.lead(other, LONG_MS)
    await first.leave(leader)
    assert await second.lead(other, 50)
    await wait_until_async(lambda: first.lead("c", LONG_MS), "the end of the lead")
    assert not await second.lead(other, LONG_MS)


async def test_a_name_is_used_up_once(node: Node, store: PostgresStore) -> None:
    both = [nodes_of(store), nodes_of(await node())]
    used = await asyncio.gather(*(one.spend("x", LONG_MS) for _ in range(5) for one in both))
    assert sorted(used) == [False] * 9 + [True]


async def test_positions_and_the_log_are_read_as_they_are_committed(store: PostgresStore, org: int, other: int) -> None:
    for _ in range(5):
        await append_next(store, org, 1)
    nodes = nodes_of(store)
    assert await nodes.positions() == {org: 5, other: 0}
    assert [one.position for one in await nodes.logged(org, 2, 2)] == [3, 4]
    assert await nodes.logged(other, 0, 10) == []


async def test_a_lost_connection_is_made_anew(store: PostgresStore) -> None:
    nodes = store._nodes
    await nodes.meet("a", "w", LONG_MS)
    nodes._db.break_off()
    assert await nodes.lead("a", LONG_MS)


async def test_two_that_make_the_same_organisation_make_one(node: Node, store: PostgresStore) -> None:
    second = await node()
    made = await asyncio.gather(
        store.org_create(*identity(1, name="same")),
        second.org_create(*identity(2, name="same")),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in made) == ["Conflict", "Org"]
    assert [one.name for one in await store.orgs()] == ["same"]
    with pytest.raises(Conflict):
        await second.org_create(*identity(3, name="same"))
