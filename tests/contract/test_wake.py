"""Waking: a commit wakes those who wait, a rollback wakes nobody, and a wake-up that is missed loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import QuietEngine
from towerlog.dialects.base import FrameStyle
from towerlog.engine import bootstrap
from towerlog.engine.follow.follower import Follower
from towerlog.errors import StorageFailed
from towerlog.model.command import Append
from towerlog.model.outcome import Stored
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import FollowRun
from towerlog.store.base import Store
from towerlog.store.values import Changes
from towerlog.wake.base import Commit, Wake

DEADLINE_S = 60


STYLE = FrameStyle("test", lambda event, *_: b"%d " % event.seq, b"")


class Desk:
    """An engine on the store of the test, one run in it, and those who follow it."""

    def __init__(self, engine: QuietEngine, who: Principal) -> None:
        self.engine = engine
        self.who = who
        self.run_id = ""

    @property
    def wake(self) -> Wake:
        """What the engine tells of its commits."""
        return self.engine.wake

    async def append(self, count: int = 1) -> None:
        """So many events in one command."""
        items = [draft(run=traced("tr")) for _ in range(count)]
        outcome = await self.engine.execute(self.who, Append("steps", list(items)), "steps")
        result = outcome.results[-1]  # type: ignore[union-attr]
        assert isinstance(result, Stored)
        self.run_id = result.run_id

    async def follow(self, after_seq: int = 0) -> Follower:
        """Follows the run."""
        return await self.engine.follow(self.who, FollowRun(self.run_id, after_seq), STYLE)


@pytest.fixture
async def desk(store: Store, clock: FakeClock, ids: SeededIds) -> AsyncIterator[Desk]:
    """One run of one event."""
    minted = await bootstrap.create_org(store, clock, ids, "default")
    who = Principal(minted.org.org, minted.org.org_id, minted.key.user_id, minted.key.key_id, frozenset(Scope))
    made = Desk(QuietEngine(store, clock, ids), who)
    await made.engine.start()
    await made.append()
    yield made
    await made.engine.stop()


async def seen(follower: Follower, count: int) -> list[int]:
    """The next seqs, at least so many."""
    found: list[int] = []
    while len(found) < count:
        chunk = await asyncio.wait_for(follower.read(), DEADLINE_S)
        assert chunk is not None, f"the stream ended after {found}"
        found += map(int, chunk.split())
    return found


async def test_a_commit_wakes_a_waiter(desk: Desk) -> None:
    follower = await desk.follow()
    assert await seen(follower, 1) == [1]
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    assert not reading.done()
    await desk.append()
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"2 "
    follower.close()


async def test_a_rollback_wakes_no_one(desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = await desk.follow(after_seq=1)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    with monkeypatch.context() as failing:
        spoil_commits(failing, store)
        with pytest.raises(StorageFailed):
            await desk.append()
    assert not reading.done(), "a follower was woken by what did not happen"
    await desk.append()
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"2 "
    follower.close()


async def test_each_commit_is_told_once_and_a_listener_that_fails_spoils_none(desk: Desk, store: Store) -> None:
    heard: list[list[int]] = []

    def broken(commit: Commit) -> None:
        heard.append([event.position for event in commit.events])
        raise ZeroDivisionError("a defect in a listener")

    desk.wake.subscribe(broken)
    for _ in range(3):
        await desk.append(2)
    assert heard == [[2, 3], [4, 5], [6, 7]]
    assert [event.position for event in await store.log(desk.who.org, 0, 100)] == [1, 2, 3, 4, 5, 6, 7]


def spoil_commits(patch: pytest.MonkeyPatch, store: Store) -> None:
    """Every commit takes a place that is taken, so that the store itself refuses it."""
    begin = store.begin

    class Spoiled:
        def __init__(self, unit: object) -> None:
            self._unit = unit

        def __getattr__(self, name: str) -> object:
            return getattr(self._unit, name)

        async def commit(self, changes: Changes) -> None:
            changes.events.append(changes.events[-1])
            await self._unit.commit(changes)  # type: ignore[attr-defined]

    class Begun:
        async def __aenter__(self) -> Spoiled:
            self._real = begin()
            return Spoiled(await self._real.__aenter__())

        async def __aexit__(self, *what: object) -> object:
            return await self._real.__aexit__(*what)  # type: ignore[arg-type]

    patch.setattr(store, "begin", Begun)


async def test_a_missed_wake_loses_nothing(desk: Desk) -> None:
    """No wake-up at all between two reads: the cursor alone finds what came."""
    follower = await desk.follow()
    assert await seen(follower, 1) == [1]
    await desk.append(3)
    await desk.append(2)
    assert await seen(follower, 5) == [2, 3, 4, 5, 6]
    follower.close()


async def test_whoever_comes_later_finds_what_came_before(desk: Desk) -> None:
    await desk.append(700)
    follower = await desk.follow(after_seq=5)
    assert await seen(follower, 696) == list(range(6, 702))
    follower.close()


async def test_followers_under_load_see_every_seq_once(desk: Desk) -> None:
    """Followers come at every moment of a busy run, some leave and come back with their cursor."""
    total = 301

    async def write() -> None:
        for _ in range(60):
            await desk.append(5)

    async def watch(restless: int) -> list[int]:
        found: list[int] = []
        while len(found) < total:
            follower = await desk.follow(after_seq=found[-1] if found else 0)
            try:
                # A restless one leaves after a few chunks and comes back.
                for _ in range(restless):
                    if len(found) < total:
                        found += await seen(follower, 1)
            finally:
                follower.close()
        return found

    *watched, _ = await asyncio.gather(*(watch(restless) for restless in (1, 2, 7, 10_000)), write())
    assert watched == [list(range(1, total + 1))] * 4
