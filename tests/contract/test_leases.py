"""Leases: who may claim, who holds, what time and a restart do to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations

import msgspec
import pytest

from tests.support.backends import Backend
from tests.support.factories import run_row
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from tests.support.rig import QuietEngine
from towerlog.engine import bootstrap
from towerlog.errors import LeaseLost
from towerlog.model.command import Claim, CreateRun, Report
from towerlog.model.event import EventType
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Claimed, NothingToClaim
from towerlog.model.principal import Principal, Scope, shard_key
from towerlog.store.base import Store
from towerlog.store.lookup_keys import Claimant
from towerlog.store.values import Changes, Kind, RunChange

LEASE_MS = 60_000


def lane(org: int, run: int, state: QueueState = QueueState.QUEUED, **fields: object) -> Lane:
    """A lane that was queued at its run's number."""
    known = Lane(shard_key(org, run), org, state, "a", run, queue_position=run)
    return msgspec.structs.replace(known, **fields)


async def put(store: Store, *lanes: Lane) -> None:
    """Writes lanes, and the runs of those that are new."""
    runs = [msgspec.structs.replace(run_row(org=one.org), run=one.run, run_id=f"run-{one.run}") for one in lanes]
    async with store.begin() as unit:
        stored = await looked_up(unit, Kind.RUN, *(one.run for one in lanes))
        new = {row.run: RunChange(None, row) for row in runs if row.run not in stored}
        await unit.commit(Changes(lanes={one.run: one for one in lanes}, runs=new))


async def in_order(
    store: Store, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int
) -> list[Lane]:
    """Every lane that a worker may claim, as the store offers them; with a limit, the first of them."""
    served, has = None if agents is None else tuple(agents), tuple(sorted(labels.items()))
    claimants = [Claimant(org, served, has, limit) for limit in (1, 2, 1000)]
    async with store.begin() as unit:
        found = await looked_up(unit, Kind.CLAIMS, *claimants, now_ms=now_ms)
    offers = [[lane for lane, _ in found[one]] for one in claimants]
    assert offers[:-1] == [offers[-1][: one.limit] for one in claimants[:-1]], "a limit has changed the order"
    return offers[-1]


async def test_the_oldest_in_the_queue_comes_first_then_what_ran_out(store: Store, org: int, other: int) -> None:
    ran_out = lane(org, 1, QueueState.HELD, expires_at=100, worker_id="w")
    held = lane(org, 2, QueueState.HELD, expires_at=101, worker_id="w")
    back = lane(org, 3, queue_position=9)
    first = lane(org, 4, queue_position=4)
    second = lane(org, 5, queue_position=5, agent="b", queued_at=0)
    rest = (lane(org, 6, QueueState.BLOCKED), lane(org, 7, QueueState.DONE), lane(other, 1, queue_position=0))
    await put(store, ran_out, held, back, first, second, *rest)
    assert await in_order(store, org, None, {}, 100) == [first, second, back, ran_out]
    assert await in_order(store, org, None, {}, 99) == [first, second, back]
    assert await in_order(store, org, ["b", "c", "b"], {}, 100) == [second]
    assert await in_order(store, org, ["a"], {}, 100) == [first, back, ran_out]
    assert await in_order(store, org, [], {}, 100) == []
    assert await store.lanes_held(org, 10) == [ran_out, held]
    assert await store.lanes_held(org, 1) == [ran_out]
    async with store.begin() as unit:
        assert await unit.lanes_expired(100, 10) == [ran_out]
        assert await unit.lanes_expired(101, 10) == [ran_out, held]
        assert await unit.lanes_expired(101, 1) == [ran_out]
        assert await looked_up(unit, Kind.LANE, held.run, shard_key(org, 99)) == {held.run: held}


async def test_a_worker_finds_what_it_has_all_labels_of_and_nothing_else(store: Store, org: int) -> None:
    """Every subset of some labels, asked for by every subset: held against the plain definition."""
    names = [("gpu", "yes"), ("gpu", "no"), ("region", "eu"), ("", ""), ("zone", "\x1f1")]
    sets = [dict(chosen) for size in range(4) for chosen in combinations(names, size)]
    lanes = [
        lane(org, n + 1, labels=labels, queue_position=1000 - n, agent="ab"[n % 2]) for n, labels in enumerate(sets)
    ]
    twice = [lane(org, n + 501, labels=labels, queue_position=2000 + n) for n, labels in enumerate(sets)]
    late = lane(org, 999, QueueState.HELD, labels={"gpu": "yes"}, queue_position=1, expires_at=5)
    await put(store, *lanes, *twice, late)
    queued = sorted([*lanes, *twice], key=lambda one: one.queue_position)
    for labels in (*sets, dict(names[1:]), {"more": "x", **dict(names)}):
        for agents in (None, ["a"], ["b", "c"], ["a", "b"]):
            expected = [one for one in [*queued, late] if one.labels.items() <= labels.items()]
            expected = [one for one in expected if agents is None or one.agent in agents]
            assert await in_order(store, org, agents, labels, 5) == expected, (labels, agents)


async def test_lanes_are_counted_and_listed(store: Store, org: int, other: int) -> None:
    assert await store.lane_counts(org) == (0, 0, None)
    queued, held = lane(org, 1), lane(org, 2, QueueState.HELD, expires_at=5)
    blocked, done = lane(org, 3, QueueState.BLOCKED, queue_position=0), lane(org, 4, QueueState.DONE)
    await put(store, queued, held, blocked, done, lane(other, 1, queued_at=0))
    assert await store.lane_counts(org) == (1, 1, 1)
    assert await store.lanes(org, 10) == [blocked, queued, held]
    assert await store.lanes(org, 1) == [blocked]
    assert await store.lane(org, queued.run) == queued


async def test_a_lane_moves_and_is_found_where_it_is_now(store: Store, org: int) -> None:
    await put(store, lane(org, 1, labels={"gpu": "yes"}))
    held = lane(org, 1, QueueState.HELD, worker_id="w", expires_at=50, epoch=1, labels={"gpu": "yes"})
    await put(store, held)
    assert await in_order(store, org, None, {}, 50) == []
    assert await in_order(store, org, None, {"gpu": "yes"}, 49) == []
    assert await in_order(store, org, None, {"gpu": "yes"}, 50) == [held]


async def make_engine(store: Store, clock: FakeClock, ids: SeededIds) -> tuple[QuietEngine, Principal]:
    """An engine on this store, and the admin of an organisation."""
    minted = await bootstrap.create_org(store, clock, ids, "default")
    who = Principal(minted.org.org, minted.org.org_id, minted.key.user_id, minted.key.key_id, frozenset(Scope))
    engine = QuietEngine(store, clock, ids)
    await engine.start()
    return engine, who


async def test_one_holder_at_a_time(store: Store, clock: FakeClock, ids: SeededIds) -> None:
    """Many workers claim at once, again and again, while leases run out: no run ever has two holders."""
    engine, who = await make_engine(store, clock, ids)
    for number in range(6):
        await engine.execute(who, CreateRun(f"thread-{number}"), "runs")
    epochs: Counter[str] = Counter()
    for _ in range(3):
        claims = [engine.execute(who, Claim(f"w{n}", LEASE_MS), "lanes") for n in range(10)]
        outcomes = await asyncio.gather(*claims)
        claimed = [outcome for outcome in outcomes if isinstance(outcome, Claimed)]
        assert len({outcome.view.row.run_id for outcome in claimed}) == len(claimed) == 6
        assert sum(isinstance(outcome, NothingToClaim) for outcome in outcomes) == 4
        for outcome in claimed:
            epochs[outcome.view.row.run_id] += 1
            assert outcome.lane.epoch == outcome.lane.attempt == epochs[outcome.view.row.run_id]
        clock.advance(LEASE_MS)
    await engine.stop()


async def test_a_reclaim_is_seen_by_the_old_holder(store: Store, clock: FakeClock, ids: SeededIds) -> None:
    engine, who = await make_engine(store, clock, ids)
    await engine.execute(who, CreateRun("thread"), "runs")
    first = await engine.execute(who, Claim("slow", LEASE_MS), "lanes")
    assert isinstance(first, Claimed)
    run_id = first.view.row.run_id
    clock.advance(LEASE_MS)
    second = await engine.execute(who, Claim("quick", LEASE_MS), "lanes")
    assert isinstance(second, Claimed)
    assert second.lane.epoch == 2
    with pytest.raises(LeaseLost):
        await engine.execute(who, Report(run_id, "slow", [], lease_epoch=1), "lanes")
    await engine.execute(who, Report(run_id, "quick", [], lease_epoch=2), "lanes")
    types = [one.type for one in await store.events(who.org, first.lane.run, 0, 100)]
    claimed = [EventType.LANE_CLAIMED, EventType.RUN_STARTED]
    assert types == [EventType.RUN_QUEUED, *claimed, EventType.LANE_LOST, *claimed]
    await engine.stop()


async def test_a_lease_that_ran_out_unseen_is_renewed(store: Store, clock: FakeClock, ids: SeededIds) -> None:
    """Expiry ends nothing; only a claim or a sweep does."""
    engine, who = await make_engine(store, clock, ids)
    await engine.execute(who, CreateRun("thread"), "runs")
    held = await engine.execute(who, Claim("w", LEASE_MS), "lanes")
    assert isinstance(held, Claimed)
    clock.advance(LEASE_MS * 2)
    await engine.execute(who, Report(held.view.row.run_id, "w", [], lease_epoch=1), "lanes")
    assert isinstance(await engine.execute(who, Claim("other", LEASE_MS), "lanes"), NothingToClaim)
    await engine.stop()


async def test_a_restart_gives_every_lease_one_full_length(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    store = await backend.open(clock, ids)
    now = clock.steady_ms()
    held = lane(1, 1, QueueState.HELD, worker_id="w", epoch=4, expires_at=now + 10, lease_ms=LEASE_MS)
    await put(store, held, lane(1, 2), lane(1, 3, QueueState.DONE))
    await store.close()
    clock.advance(LEASE_MS * 10)
    store = await backend.open(clock, ids)
    later = clock.steady_ms()
    assert await store.lane(1, held.run) == msgspec.structs.replace(held, expires_at=later + LEASE_MS)
    assert await store.lane(1, shard_key(1, 2)) == lane(1, 2)
    async with store.begin() as unit:
        assert await unit.lanes_expired(later + LEASE_MS - 1, 10) == []
        assert len(await unit.lanes_expired(later + LEASE_MS, 10)) == 1
    await store.close()
