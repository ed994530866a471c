"""Commits of several nodes are told on each in the order of their positions, whatever the bus does to messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.backends import PostgresBackend
from tests.support.factories import draft, traced
from tests.support.fakes import SeededIds
from tests.support.samples import first
from tests.support.wait import wait_until_async
from towerlog.ambient import SystemClock
from towerlog.dialects.base import FrameStyle
from towerlog.engine import bootstrap
from towerlog.engine.core import Engine
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.follow.follower import StreamReader
from towerlog.engine.nodes.peers import CannotJoin, Peers
from towerlog.model.command import Append, KillRun
from towerlog.model.facts import Erases
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import FollowRun
from towerlog.model.retention import EraseRun
from towerlog.store.postgres.store import PostgresStore
from towerlog.wake.base import Commit, NotSent
from towerlog.wake.local import LocalWake

DEADLINE_S = 60
STYLE = FrameStyle("test", lambda event, *_: b"%d " % event.seq, b"")


class Wire:
    """What nodes hear each other by: messages come late, in any order among nodes, or not at all."""

    def __init__(self, seed: int, lost: float) -> None:
        self.random = random.Random(seed)
        self.lost = lost
        self.is_cut = False
        self.in_order = False
        self.told: list[bytes] = []
        self.ends: list[End] = []


class End:
    """One node's end of it."""

    max_bytes = 2000
    attaches = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        wire.ends.append(self)
        self.heard: Callable[[bytes], None] = lambda _: None
        self.healed: Callable[[], None] = lambda: None

    async def open(self, heard: Callable[[bytes], None], healed: Callable[[], None]) -> None:
        self.heard, self.healed = heard, healed

    async def send(self, message: bytes) -> None:
        wire = self._wire
        if wire.is_cut:
            raise NotSent("cut")
        wire.told.append(message)
        for end in wire.ends:
            if wire.in_order:
                end.heard(message)
                continue
            # The first word of a node is heard by itself: it waits for it.
            if end is self or wire.random.random() >= wire.lost:
                asyncio.get_running_loop().call_later(wire.random.random() * 0.03, end.heard, message)

    async def close(self) -> None:
        self._wire.ends.remove(self)


class Desk:
    """One node."""

    def __init__(self, store: PostgresStore, engine: Engine, peers: Peers) -> None:
        self.store = store
        self.engine = engine
        self.peers = peers


class Office:
    """Nodes of one database, and somebody who may do anything."""

    def __init__(self, backend: PostgresBackend) -> None:
        self._backend = backend
        self.clock = SystemClock()
        self.desks: list[Desk] = []
        self.who = Principal(0, "", "", "", frozenset())

    async def open(self, wire: Wire | None, way: str = "test") -> Desk:
        ids = SeededIds(len(self.desks))
        store = await self._backend.open(self.clock, ids)
        if not self.who.org:
            minted = await bootstrap.create_org(store, self.clock, ids, "default")
            self.who = Principal(
                minted.org.org, minted.org.org_id, minted.key.user_id, minted.key.key_id, frozenset(Scope)
            )
        assert store.nodes is not None
        bus = None if wire is None else End(wire)
        peers = Peers(store, store.nodes, bus, LocalWake(), self.clock, f"node{len(self.desks)}", way)
        engine = Engine(store, peers.wake, self.clock, ids, peers=peers)
        try:
            await engine.start()
        except BaseException:
            await store.close()
            raise
        self.desks.append(Desk(store, engine, peers))
        return self.desks[-1]

    async def append(self, desk: Desk, count: int = 1, trace: str = "tr") -> str:
        """So many events of one run in one command."""
        items = [draft(run=traced(trace)) for _ in range(count)]
        outcome = await desk.engine.execute(self.who, Append("steps", list(items)), "steps")
        return str(outcome.results[-1].run_id)  # type: ignore[union-attr]

    async def follow(self, desk: Desk, run_id: str, after_seq: int = 0) -> StreamReader:
        return await desk.engine.follow(self.who, FollowRun(run_id, after_seq), STYLE)

    async def close(self) -> None:
        for desk in self.desks:
            await desk.engine.stop()
            await desk.store.close()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(PostgresBackend.fresh(tmp_path).make())
    yield made
    await made.close()


async def seen(follower: StreamReader, count: int) -> list[int]:
    """The next seqs, at least so many."""
    found: list[int] = []
    while len(found) < count:
        chunk = await asyncio.wait_for(follower.read(), DEADLINE_S)
        assert chunk is not None, f"the stream ended after {found}"
        found += map(int, chunk.split())
    return found


@pytest.mark.parametrize("lost", first([0.5, 0.0, 1.0]))
async def test_followers_on_every_node_see_every_seq_once(office: Office, lost: float) -> None:
    wire = Wire(7, lost)
    desks = [await office.open(wire) for _ in range(3)]
    run_id = await office.append(desks[0])
    turns, each, total = 12, 3, 1 + 3 * 12 * 3

    async def write(desk: Desk) -> None:
        for _ in range(turns):
            await office.append(desk, each)
            await asyncio.sleep(wire.random.random() * 0.01)

    async def watch(desk: Desk, restless: int) -> list[int]:
        found: list[int] = []
        while len(found) < total:
            follower = await office.follow(desk, run_id, found[-1] if found else 0)
            try:
                for _ in range(restless):
                    if len(found) < total:
                        found += await seen(follower, 1)
            finally:
                follower.close()
        return found

    watching = [watch(desk, restless) for desk in desks for restless in (2, 10_000)]
    *watched, _, _, _ = await asyncio.gather(*watching, *(write(desk) for desk in desks))
    assert watched == [list(range(1, total + 1))] * 6


async def test_what_comes_while_the_bus_is_cut_is_read_from_the_store(office: Office) -> None:
    wire = Wire(1, 0.0)
    first, second = await office.open(wire), await office.open(wire)
    run_id = await office.append(first)
    follower = await office.follow(second, run_id, 1)
    reading = asyncio.create_task(seen(follower, 5))
    wire.is_cut = True
    await office.append(first, 5)
    assert await reading == [2, 3, 4, 5, 6]
    wire.is_cut = False
    follower.close()


async def test_a_commit_of_this_node_waits_for_what_was_committed_before_it(office: Office) -> None:
    """No news at all: the hole shows by the positions of this node's own commit."""
    wire = Wire(1, 1.0)
    first, second = await office.open(wire), await office.open(wire)
    run_id = await office.append(first)
    await wait_until_async(lambda: second.peers.wake._lines[office.who.org].heard >= 1, "the first position")
    follower = await office.follow(second, run_id, 1)
    await office.append(first, 3)
    await office.append(second)
    await office.append(first)
    await office.append(second)
    assert await seen(follower, 6) == [2, 3, 4, 5, 6, 7]
    follower.close()


async def test_what_was_read_back_before_it_was_told_is_told_once(office: Office) -> None:
    """The log may be looked at between a commit of this node and the moment at which the wake is told of it."""
    desk = await office.open(Wire(1, 0.0))
    run_id = await office.append(desk)
    heard: list[Commit] = []
    desk.peers.wake.subscribe(heard.append)
    follower = await office.follow(desk, run_id, 1)
    await office.append(desk, 2)
    desk.peers.wake.take(office.who.org, heard[-1])
    assert [[event.seq for event in commit.events] for commit in heard] == [[2, 3], []]
    assert heard[-1].runs == heard[0].runs, "what has changed beside events is told"
    assert await seen(follower, 2) == [2, 3]
    follower.close()


async def _is_right(desk: Desk, org: int) -> bool:
    """Whether a node takes to be held what is."""
    return await desk.engine.services.held.of(org, Erases.EVENTS) == await HeldNow(desk.store).of(org, Erases.EVENTS)


@pytest.mark.parametrize("leaves", [False, True])
async def test_what_another_node_has_erased_is_not_counted_though_nothing_was_heard_of_it(
    office: Office, *, leaves: bool
) -> None:
    """One message that was lost, with none after it; and the last words of a node that is gone."""
    wire = Wire(1, 0.0)
    first, second = await office.open(wire), await office.open(wire)
    run_id = await office.append(first, 20)
    await first.engine.execute(office.who, KillRun(run_id), "native")
    assert await _is_right(second, office.who.org)
    wire.lost = 1.0
    await first.engine.execute(office.who, EraseRun(run_id), "native")
    await first.peers._outgoing.flush()  # type: ignore[union-attr]
    assert not await _is_right(second, office.who.org)
    if leaves:
        office.desks.remove(first)
        await first.engine.stop()
        await first.store.close()
    else:
        wire.lost = 0.0
    await wait_until_async(lambda: second.engine.services.held._orgs[office.who.org].is_wrong, "a count anew")
    assert await _is_right(second, office.who.org)


async def test_content_that_another_node_has_swept_is_counted_anew(office: Office) -> None:
    wire = Wire(1, 0.0)
    first, second = await office.open(wire), await office.open(wire)
    await second.engine.services.held.of(office.who.org, Erases.CHECKPOINTS)
    first.engine.services.held.forget_content()
    await wait_until_async(lambda: second.engine.services.held._orgs[office.who.org].is_wrong, "a count anew")


async def test_nothing_is_taken_for_lost_that_was_heard(office: Office) -> None:
    """Also of many messages in pieces, and of a node that says nothing for a while."""
    wire = Wire(1, 0.0)
    wire.in_order = True
    first, second = await office.open(wire), await office.open(wire)
    missed: list[None] = []
    await office.append(first, 30)
    beats = len(wire.told)
    await wait_until_async(lambda: len(wire.told) >= beats + 4, "two signs of each node")
    second.peers.missed = lambda: missed.append(None)
    for _ in range(5):
        await office.append(first, 30)
    beats = len(wire.told)
    await wait_until_async(lambda: len(wire.told) >= beats + 6, "three signs of each node")
    assert missed == []
    assert not second.peers._missed


async def test_one_node_leads_and_another_when_it_leaves(office: Office) -> None:
    wire = Wire(1, 0.0)
    desks = [await office.open(wire) for _ in range(3)]
    assert [desk.peers.leads() for desk in desks] == [True, False, False]
    leaving = office.desks.pop(0)
    await leaving.engine.stop()
    await leaving.store.close()
    assert await wait_until_async(lambda: any(desk.peers.leads() for desk in desks[1:]), "another leader")
    assert sum(desk.peers.leads() for desk in desks) == 1


async def test_a_node_that_is_to_be_alone_and_others_do_not_meet(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towerlog.engine.nodes.peers.LIFE_MS", 1500)
    wire = Wire(1, 0.0)
    await office.open(wire)
    with pytest.raises(CannotJoin, match="another node serves this database"):
        await office.open(None, "local")
    with pytest.raises(CannotJoin, match="they must be the same"):
        await office.open(wire, "other")


async def test_a_bus_that_nobody_hears_is_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.nodes.peers.HELLO_S", 0.2)

    class Silent(Wire):
        pass

    wire = Silent(1, 1.0)
    monkeypatch.setattr(End, "send", nothing)
    with pytest.raises(CannotJoin, match="not heard"):
        await office.open(wire)


async def nothing(_end: End, _message: bytes) -> None:
    """A bus that takes messages, and brings them to nobody."""
