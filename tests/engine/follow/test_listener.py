"""Who listens is told all that is committed from then on, in its order, out of the ring alone, or that some is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.follow.following import DEADLINE_S, append, open_follower
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow import channel
from towerlog.engine.follow.listener import Listener
from towerlog.errors import NotFound
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event
from towerlog.model.question import Listen, ListenKind
from towerlog.model.run import RunRow

ABSENT = "01890000-0000-7000-8000-00000000dead"


def live(event: Event, row: RunRow, agent: AgentRow | None) -> bytes:
    """Position, run and agent, closed by a blank."""
    return f"{event.position}:{row.last_seq}:{'-' if agent is None else agent.name} ".encode()


STYLE = FrameStyle("live", lambda *_: None, b"", live=live)


async def listener_of(rig: Rig, kind: ListenKind, name: str, told: list[int] | None = None) -> Listener:
    subject = await rig.engine.subject_of(rig.principal, Listen(kind, name))
    return rig.engine.listen(subject, STYLE, lambda: None if told is None else told.append(1))


def positions(chunk: bytes | None) -> list[int]:
    assert chunk is not None, "something is lost"
    return [int(text.split(b":")[0]) for text in chunk.split()]


async def test_a_user_hears_of_all_runs_in_the_order_of_the_log(rig: Rig) -> None:
    await append(rig, 3, trace="before")
    told: list[int] = []
    listener = await listener_of(rig, ListenKind.USER, rig.principal.user_id, told)
    assert listener.read() == b""
    for number in range(6):
        await append(rig, 2, trace=f"run {number % 2}")
    assert positions(listener.read()) == list(range(4, 16))
    assert told
    assert not listener.has_news
    assert listener.read() == b""
    listener.close()
    assert rig.engine.figures()["followers"] == 0


async def test_a_run_and_an_agent_are_heard_with_the_agents_name(rig: Rig) -> None:
    run_id = await append(rig)
    of_run = await listener_of(rig, ListenKind.RUN, run_id)
    [agent] = await rig.store.agents(rig.principal.org, 10, None, None)
    of_agent = await listener_of(rig, ListenKind.AGENT, agent.agent_id)
    await append(rig)
    await append(rig, trace="another")
    assert of_run.read() == b"2:2:a "
    assert of_agent.read() == b"2:2:a 3:1:a ", "all its events, those that its feed leaves out as well"
    of_run.close()
    of_agent.close()


async def test_who_comes_later_begins_where_the_others_are(rig: Rig) -> None:
    first = await listener_of(rig, ListenKind.USER, rig.principal.user_id)
    await append(rig, 2)
    second = await listener_of(rig, ListenKind.USER, rig.principal.user_id)
    await append(rig, 1)
    assert positions(first.read()) == [1, 2, 3]
    assert positions(second.read()) == [3]
    first.close()
    second.close()


async def test_who_is_further_behind_than_the_ring_has_lost_some(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LIVE_RING_FRAMES", 5)
    listener = await listener_of(rig, ListenKind.USER, rig.principal.user_id)
    await append(rig, 5)
    assert not listener.is_lost
    await append(rig, 1)
    assert listener.is_lost
    assert listener.read() is None
    listener.close()


@pytest.mark.parametrize("kind", ListenKind)
async def test_what_is_not_there_is_not_heard(rig: Rig, kind: ListenKind) -> None:
    with pytest.raises(NotFound):
        await rig.engine.subject_of(rig.principal, Listen(kind, ABSENT))


TURNS = 30
"""Of the event loop: more than a round has."""


@pytest.mark.parametrize("at_once", [1, 3, 100])
async def test_a_reader_that_raises_keeps_no_other_from_being_told(
    rig: Rig, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TOLD_AT_ONCE", at_once)
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: raised.append(about))
    subject = await rig.engine.subject_of(rig.principal, Listen(ListenKind.USER, rig.principal.user_id))
    tried = 0

    def broken() -> None:
        nonlocal tried
        tried += 1
        raise RuntimeError("a defect of one reader")

    failing = [rig.engine.listen(subject, STYLE, broken) for _ in range(2)]
    told: list[list[int]] = [[] for _ in range(7)]
    listeners = [await listener_of(rig, ListenKind.USER, rig.principal.user_id, one) for one in told]
    for number in range(3):
        await append(rig, 1, trace=f"run {number}")
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert all(len(one) > number for one in told), told
    assert tried
    assert raised == []
    for listener in (*failing, *listeners):
        listener.close()


async def test_a_stream_whose_transport_raises_ends_alone(rig: Rig) -> None:
    run_id = await append(rig)
    broken, other = [await open_follower(rig, run_id, after_seq=1) for _ in range(2)]

    def take(chunk: bytes) -> bool:
        raise RuntimeError("no room after all")

    broken.take = take
    reading = [asyncio.create_task(one.read()) for one in (broken, other)]
    await wait_until_async(lambda: broken._waiter is not None and other._waiter is not None, "both to wait")
    await append(rig)
    assert await asyncio.wait_for(reading[0], DEADLINE_S) is None
    assert await asyncio.wait_for(reading[1], DEADLINE_S) == b"2 "
    for one in (broken, other):
        one.close()
