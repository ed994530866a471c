"""What a process remembers of an organisation is used for as long as nobody else has changed it, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.contract.test_append import append_next
from tests.store.postgres.conftest import Node
from tests.support.backends import PostgresBackend
from tests.support.factories import draft, event, run_changes, run_row
from tests.support.rig import Rig, open_rig
from towerlog.engine.load.cache import Cache
from towerlog.errors import Overloaded, StorageFailed
from towerlog.model.event import RunByForeignId
from towerlog.model.principal import shard_key
from towerlog.store.postgres import locks
from towerlog.store.postgres.locks import Stamps
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import Changes, Kind

NAMED = RunByForeignId("steps:run", "run")


async def held(store: PostgresStore, *orgs: int) -> bool:
    """Whether what it knows is what is stored, by a unit that changes nothing."""
    async with store.begin() as unit:
        return await unit.hold(frozenset(orgs))


async def commit(store: PostgresStore, org: int, run: int, *, holds: bool = True) -> None:
    """A new run with an event, by a unit that has held its organisation, or not."""
    async with store.begin() as unit:
        if holds:
            await unit.hold(frozenset({org}))
        position = (await unit.load({Kind.COUNTERS: [org]}, 0))[Kind.COUNTERS][org].position + 1
        row = run_row(run, org=org, last_seq=1, last_position=position)
        await unit.commit(run_changes(row, [event(position, 1, org=org, run=run)]))


async def test_own_commits_and_the_looks_of_others_change_nothing(
    node: Node, store: PostgresStore, org: int, other: int
) -> None:
    second = await node()
    assert await held(store, org)
    await commit(store, org, 1)
    assert await held(second, org), "who knows nothing has nothing to forget"
    await commit(second, other, 1)
    assert await held(store, org)
    await commit(store, org, 2)
    assert await held(store, org, other), "the other one is new to it"


async def test_another_nodes_commit_is_found(node: Node, store: PostgresStore, org: int, other: int) -> None:
    second = await node()
    assert await held(store, org, other)
    await commit(second, org, 1)
    assert not await held(store, org, other)
    assert await held(store, org, other), "from then on it knows it as it is"
    await append_next(second, org, 2)
    assert not await held(store, org)


async def trim(store: PostgresStore, org: int) -> None:
    await store.run_trim(org, shard_key(org, 1), 1)


async def erase(store: PostgresStore, org: int) -> None:
    async with store.begin() as unit:
        await unit.erase(shard_key(org, 1))


async def without_holding(store: PostgresStore, org: int) -> None:
    await commit(store, org, 2, holds=False)


@pytest.mark.parametrize("change", [trim, erase, without_holding])
@pytest.mark.parametrize("is_own", [True, False])
async def test_what_is_changed_beside_groups_is_found(
    node: Node, store: PostgresStore, org: int, change: Callable[[PostgresStore, int], Awaitable[None]], is_own: bool
) -> None:
    second = await node()
    await commit(store, org, 1)
    assert await held(store, org)
    await change(store if is_own else second, org)
    assert not await held(store, org)


async def test_a_commit_that_a_fail_over_has_lost_is_found(node: Node, store: PostgresStore, org: int) -> None:
    async with store.begin() as unit:
        await unit.hold(frozenset({org}))
        lost = await unit._db.value("SELECT stamp FROM org_count WHERE org = $1", org)
    await commit(store, org, 1)
    async with store.begin() as unit:
        await unit._lock({org})
        await unit._db.do("UPDATE org_count SET stamp = $2 WHERE org = $1", org, lost)
        await unit._db.connection.execute("COMMIT")
        unit.is_open = False
    assert not await held(store, org)


async def test_a_commit_that_was_refused_leaves_nothing_known(store: PostgresStore, org: int) -> None:
    await commit(store, org, 1)
    async with store.begin() as unit:
        await unit.hold(frozenset({org}))
        with pytest.raises(StorageFailed):
            await unit.commit(Changes(events=[event(1, 1, org=org)]))
    assert not await held(store, org)
    assert await held(store, org)


async def test_a_unit_that_meets_an_organisation_it_has_not_held_goes_on_only_if_nothing_is_known_of_it(
    store: PostgresStore, org: int, other: int
) -> None:
    async with store.begin() as unit:
        await unit.hold(frozenset({org}))
        await unit.load({Kind.COUNTERS: [other]}, 0)
    assert not await held(store, other), "it was looked at without its stamp"
    async with store.begin() as unit:
        await unit.hold(frozenset({org}))
        with pytest.raises(Overloaded):
            await unit.load({Kind.COUNTERS: [other]}, 0)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MAX_KNOWN", 3)
    known = Stamps()
    assert all(known.take([org], [(org, "s")]) for org in range(3))
    assert not known.take([3], [(3, "s")])
    assert not known.knows_any(range(3))


@asynccontextmanager
async def two_engines(tmp_path: Path) -> AsyncIterator[tuple[Rig, Rig]]:
    """Two nodes with a writer each."""
    backend = PostgresBackend.fresh(tmp_path)
    async with open_rig(tmp_path, backend=backend) as one, open_rig(tmp_path, backend=backend) as two:
        yield one, two


async def test_two_writers_in_turns_and_at_once_place_as_one_does(tmp_path: Path) -> None:
    async with two_engines(tmp_path) as nodes:
        for turn in range(12):
            await nodes[turn // 3 % 2].append(draft(run=NAMED, agent="a", event_id=f"e{turn}"))
        repeated = await nodes[0].append(draft(run=NAMED, agent="a", event_id="e11"))
        assert [one.duplicate for one in repeated] == [True]  # type: ignore[union-attr]
        await asyncio.gather(*(one.append(draft(run=NAMED, agent=f"a{n}")) for n in range(10) for one in nodes))
        log = await nodes[0].log()
        told = [one for one in log if one.type == "step"]
        assert [one.position for one in log] == list(range(1, len(log) + 1))
        assert [one.seq for one in told] == list(range(told[0].seq, told[0].seq + 32))
        assert [one.event_id for one in told[:12]] == [f"e{turn}" for turn in range(12)]


async def test_a_writer_that_is_alone_looks_its_rows_up_once(tmp_path: Path) -> None:
    async with two_engines(tmp_path) as (one, two):
        cache = one.engine._writer._cache
        await one.append(draft(run=NAMED, agent="a"))
        await one.append(draft(run=NAMED, agent="a"))
        assert one.engine._writer._cache is cache
        await two.append(draft(run=NAMED, agent="a"))
        await one.append(draft(run=NAMED, agent="a"))
        assert one.engine._writer._cache is not cache
        assert isinstance(one.engine._writer._cache, Cache)
