"""The feed of an agent followed: its newest first, then what comes, of all its runs, by position."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.follow.following import (
    DEADLINE_S,
    E,
    append,
    feed_of,
    read,
    read_count,
    style,
)
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.dialects.base import OTHER_LOG
from towerlog.model.command import RegisterAgent
from towerlog.model.event import Event
from towerlog.model.facts import Effects, Facts
from towerlog.model.feed import FEED_TYPES, FEED_TYPES_SOMETIMES, has_feed_place
from towerlog.model.question import FollowAgent, ListAgents, Tail
from towerlog.model.usage import Usage, UsageReport


async def test_a_feed_begins_with_its_newest_and_goes_on(rig: Rig) -> None:
    for _ in range(4):
        await append(rig, 1, E.TOOL_CALL)
        await append(rig, 1, E.STEP)
    follower = await feed_of(rig, 2)
    assert await read(follower) == b"5 7 "
    reading = asyncio.create_task(follower.read())
    await append(rig, 1, E.STEP)
    await append(rig, 1, E.TOOL_CALL, trace="another run")
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"10 "
    await append(rig, 1, E.TOOL_RESULT)
    assert await read(follower) == b"11 "
    follower.close()


@pytest.mark.parametrize(
    ("tail", "after", "expected"), [(0, None, []), (9, None, [1, 2, 3]), (0, 1, [2, 3]), (9, 3, [])]
)
async def test_a_feed_begins_where_it_is_told(rig: Rig, tail: int, after: int | None, expected: list[int]) -> None:
    await append(rig, 3, E.TOOL_CALL)
    follower = await feed_of(rig, tail, None if after is None else f"{rig.store.epoch}-{after}")
    await append(rig, 1, E.TOOL_CALL)
    assert await read_count(follower, len(expected) + 1) == [*expected, 4]
    follower.close()


async def test_a_feeds_cursor_of_another_log_says_so_first(rig: Rig) -> None:
    await append(rig, 3, E.TOOL_CALL)
    follower = await feed_of(rig, 2, "another-1")
    assert await read(follower) == OTHER_LOG
    assert await read(follower) == b"2 3 "
    follower.close()


@pytest.mark.parametrize("cursor", ["4", "{epoch}-4"])
async def test_a_feeds_cursor_ahead_of_the_log_is_of_another(rig: Rig, cursor: str) -> None:
    await append(rig, 3, E.TOOL_CALL)
    follower = await feed_of(rig, 2, cursor.format(epoch=rig.store.epoch))
    assert await read(follower) == OTHER_LOG
    assert await read(follower) == b"2 3 "
    follower.close()


async def test_a_feed_whose_ring_begins_in_the_middle_misses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions are not dense: the first event a ring sees says nothing about what lies before it."""
    await append(rig, 2, E.TOOL_CALL)
    follower = await feed_of(rig, 9)
    real = rig.store.feed

    async def feed(*arguments: Any) -> list[Event]:
        found = await real(*arguments)
        monkeypatch.setattr(rig.store, "feed", real)
        await append(rig, 1, E.TOOL_CALL)
        await append(rig, 1, E.TOOL_CALL)
        return found

    monkeypatch.setattr(rig.store, "feed", feed)
    assert await read_count(follower, 4) == [1, 2, 3, 4]
    follower.close()


async def test_a_feed_holds_only_what_has_a_place_there(rig: Rig) -> None:
    await append(rig)
    follower = await feed_of(rig, 0)
    spent = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=1), "delta"), rate_limited=True))
    reading = asyncio.create_task(read_count(follower, len(FEED_TYPES)))
    for kind in E:
        await rig.append(draft(kind, traced(kind), agent="a", facts=spent))
    expected = [event.position for event in await rig.log() if has_feed_place(event)]
    assert len(expected) == len(FEED_TYPES)
    assert await asyncio.wait_for(reading, DEADLINE_S) == expected
    follower.close()


async def test_a_feeds_style_that_asks_is_given_the_rows_of_all_its_runs(rig: Rig) -> None:
    named = style(
        "named", lambda event, _, row: b"%s:%s " % (row.trace_id.encode(), row.status.encode()), with_row=True
    )
    for trace in ("x", "y"):
        await append(rig, 1, E.TOOL_CALL, trace)
    agent = (await rig.do(RegisterAgent("a"))).row
    follower = await rig.engine.follow(rig.principal, FollowAgent(agent.agent_id, 9), named)
    assert await read(follower) == b"x:running y:running "
    reading = asyncio.create_task(follower.read())
    await append(rig, 1, E.TOOL_CALL, "z")
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"z:running "
    follower.close()


async def test_a_page_of_a_feed_counts_only_what_shows(rig: Rig) -> None:
    """Ends and turns that spent nothing do not use up the number of events that a reader asks for."""
    await append(rig, 1, E.TOOL_CALL)
    for kind in FEED_TYPES_SOMETIMES:
        await rig.append(draft(kind, traced(f"free-{kind}"), agent="a", facts=Facts()))
    [agent] = (await rig.do(ListAgents(1, name="a"))).rows
    page = await rig.do(Tail(agent.agent_id, 1))
    assert [event.type for event in page.events] == [E.TOOL_CALL]
