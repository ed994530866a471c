"""Several nodes on one database: what a unit has read stays true until its commit, whoever else writes."""

from __future__ import annotations

import asyncio

import msgspec

from tests.contract.test_append import append_next
from tests.contract.test_leases import lane
from tests.store.postgres.conftest import Node
from tests.support.factories import event, run_changes, run_row
from tests.support.fakes import FakeClock
from tests.support.lookups import looked_up
from towerlog.model.lane import QueueState
from towerlog.model.principal import Counters, shard_key
from towerlog.store.lookup_keys import Claimant
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import Changes, Kind

ROUNDS = 15


async def test_positions_rise_by_commit_order_over_all_nodes(
    node: Node, store: PostgresStore, org: int, other: int
) -> None:
    nodes = [store, await node(), await node()]

    async def append(one: PostgresStore, run: int, of: int) -> list[int]:
        return [await append_next(one, of, run) for _ in range(ROUNDS)]

    told = await asyncio.gather(*(append(one, run, of) for run, one in enumerate(nodes, 1) for of in (org, other)))
    everything = list(range(1, len(nodes) * ROUNDS + 1))
    for of in (org, other):
        assert [stored.position for stored in await store.log(of, 0, 1000)] == everything
    assert sorted(position for positions in told for position in positions) == sorted(everything * 2)


async def test_two_nodes_on_one_run_give_each_seq_once(node: Node, store: PostgresStore, org: int) -> None:
    second = await node()
    await asyncio.gather(*(append_next(one, org, 1) for one in (store, second) for _ in range(ROUNDS)))
    seqs = [one.seq for one in await store.events(org, shard_key(org, 1), 0, 1000)]
    assert seqs == list(range(1, 2 * ROUNDS + 1))


async def test_a_unit_waits_for_another_nodes_of_the_same_organisation_alone(
    node: Node, store: PostgresStore, org: int, other: int
) -> None:
    second = await node()
    async with store.begin() as unit:
        await looked_up(unit, Kind.COUNTERS, org)
        assert await append_next(second, other, 1) == 1, "another organisation goes on"
        waiting = asyncio.create_task(append_next(second, org, 1))
        for _ in range(3):
            assert await second.counters(org) == Counters()
        assert not waiting.done()
        row = run_row(2, org=org, last_seq=1, last_position=1)
        await unit.commit(run_changes(row, [event(1, 1, org=org, run=2)]))
    assert await waiting == 2


async def test_a_lane_is_claimed_by_one_node(node: Node, store: PostgresStore, org: int) -> None:
    second = await node()
    async with store.begin() as unit:
        queued = {one.run: one for one in (lane(org, n) for n in range(1, 9))}
        rows = [msgspec.structs.replace(run_row(n, org=org)) for n in range(1, 9)]
        changes = [run_changes(row, [event(n, 1, org=org, run=n)]) for n, row in enumerate(rows, 1)]
        whole = Changes(lanes=queued)
        for one in changes:
            whole.events += one.events
            whole.runs |= one.runs
        await unit.commit(whole)

    async def claim(one: PostgresStore) -> int | None:
        async with one.begin() as unit:
            key = Claimant(org, None, (), 1)
            found = (await looked_up(unit, Kind.CLAIMS, key, now_ms=5))[key]
            if not found:
                return None
            taken, _ = found[0]
            held = msgspec.structs.replace(taken, state=QueueState.HELD, expires_at=10**15, worker_id="w")
            await unit.commit(Changes(lanes={held.run: held}))
            return held.run

    claimed = await asyncio.gather(*(claim(one) for _ in range(6) for one in (store, second)))
    runs = [run for run in claimed if run is not None]
    assert sorted(runs) == sorted(queued)


async def test_leases_go_by_the_databases_clock(node: Node) -> None:
    """Two nodes whose clocks are hours apart agree about what has run out."""
    ahead, behind = FakeClock(), FakeClock()
    ahead.advance(7_200_000)
    first, second = await node(ahead, shares_time=True), await node(behind, shares_time=True)
    org = 1
    began = ahead.steady_ms()
    held = lane(org, 1, QueueState.HELD, expires_at=began + 60_000, worker_id="w", queued_at=began)
    async with first.begin() as unit:
        await looked_up(unit, Kind.LANE, held.run, now_ms=ahead.steady_ms())
        await unit.commit(Changes(lanes={held.run: held}))
    async with second.begin() as unit:
        found = (await looked_up(unit, Kind.LANE, held.run, now_ms=behind.steady_ms()))[held.run]
        assert found.expires_at is not None
        # A round trip is as far as a node knows the database's clock.
        assert 55_000 < found.expires_at - behind.steady_ms() < 65_000
        assert await unit.lanes_expired(behind.steady_ms(), 5) == []
        assert [one.run for one in await unit.lanes_expired(behind.steady_ms() + 1, 5)] == []
    short = msgspec.structs.replace(held, expires_at=ahead.steady_ms() - 5_000)
    async with first.begin() as unit:
        await unit.commit(Changes(lanes={held.run: short}))
    async with second.begin() as unit:
        assert [one.run for one in await unit.lanes_expired(behind.steady_ms(), 5)] == [held.run]


async def test_a_node_that_joins_lengthens_no_lease(node: Node) -> None:
    clock = FakeClock()
    first = await node(clock)
    held = lane(1, 1, QueueState.HELD, expires_at=clock.steady_ms() + 5, worker_id="w")
    async with first.begin() as unit:
        await unit.commit(Changes(lanes={held.run: held}))
    second = await node(clock)
    assert await second.lane(1, held.run) == held
