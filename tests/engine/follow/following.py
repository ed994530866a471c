"""What the tests of followers share: a run that grows, a follower of it, and something that happens while it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.follower import Follower
from towerlog.model.command import RegisterAgent
from towerlog.model.event import Event, EventType
from towerlog.model.outcome import Stored
from towerlog.model.question import FollowAgent, FollowRun
from towerlog.model.run import RunRow

E = EventType
DEADLINE_S = 60


def frame(event: Event, _epoch: str, _row: RunRow | None) -> bytes:
    """The event's seq, closed by a blank."""
    return b"%d " % event.seq


def style(name: str, framing: Callable[[Event, str, RunRow | None], bytes | None] = frame, **fields: Any) -> FrameStyle:
    """A style of this name; two of one name share their channels."""
    return FrameStyle(name, framing, b"", **fields)


PLAIN = style("plain")
FEED = style("feed", lambda event, *_: b"%d " % event.position)


async def append(rig: Rig, count: int = 1, kind: EventType = E.STEP, trace: str = "x") -> str:
    """So many events in one command; the run's id."""
    results = await rig.append(*(draft(kind, traced(trace), agent="a") for _ in range(count)))
    assert isinstance(results[-1], Stored)
    return results[-1].run_id


async def open_follower(rig: Rig, run_id: str, after_seq: int = 0, **fields: Any) -> Follower:
    """Follows a run with plain frames."""
    return await rig.engine.follow(rig.principal, FollowRun(run_id, after_seq, **fields), PLAIN)


async def read(follower: Follower) -> bytes | None:
    """The next read, which must come in time."""
    return await asyncio.wait_for(follower.read(), DEADLINE_S)


async def read_news(follower: Follower) -> bytes | None:
    """One read of what really came: not a mere wake-up."""
    while (chunk := await read(follower)) == b"":
        pass
    return chunk


async def read_to_end(follower: Follower) -> list[int]:
    """All seqs until the stream ends."""
    found: list[int] = []
    while (chunk := await read(follower)) is not None:
        found += map(int, chunk.split())
    return found


async def read_count(follower: Follower, count: int) -> list[int]:
    """The next seqs, so many."""
    found: list[int] = []
    while len(found) < count:
        chunk = await read(follower)
        assert chunk is not None, f"ended after {found}"
        found += map(int, chunk.split())
    return found


def before_page(rig: Rig, patch: pytest.MonkeyPatch, happen: Callable[[int], Awaitable[None]], *, after: bool) -> None:
    """Something happens at each page that is read from the store: before the read, or after it."""
    real = rig.store.events
    pages = 0

    async def events(*arguments: Any) -> list[Event]:
        nonlocal pages
        pages += 1
        if not after:
            await happen(pages)
        found = await real(*arguments)
        if after:
            await happen(pages)
        return found

    patch.setattr(rig.store, "events", events)


async def feed_of(rig: Rig, tail: int, after: str | None = None) -> Follower:
    """Follows agent `a`; frames are positions."""
    agent = (await rig.do(RegisterAgent("a"))).row
    command = FollowAgent(agent.agent_id, tail, after)
    return await rig.engine.follow(rig.principal, command, FEED)
