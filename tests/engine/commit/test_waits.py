"""What commands wait for is counted in commits, and so tells of their order alone."""

from __future__ import annotations

import asyncio

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.commit.waits import BEYOND, MAX_COUNTED, CommitWaits
from towerlog.engine.plan import plan
from towerlog.model.command import Append
from towerlog.model.event import EventType


def test_of_each_number_up_to_a_bound_it_is_known_how_often_it_was_waited_for() -> None:
    waits = CommitWaits()
    for waited in (1, 2, 2, MAX_COUNTED, BEYOND, BEYOND):
        waits.counts[waited] += 1
    told = dict(waits.up_to())
    assert (told[1], told[2], told[MAX_COUNTED - 1], told[MAX_COUNTED], told[None]) == (1, 3, 3, 4, 6)
    assert waits.sum == 1 + 2 + 2 + MAX_COUNTED + 2 * BEYOND


async def test_who_comes_alone_waits_for_its_own_commit_and_beside_a_large_command_for_one_more(rig: Rig) -> None:
    waits = rig.engine.waits
    await rig.append(draft(EventType.RUN_STARTED, traced("a")))
    assert dict(waits.up_to())[1] == 1
    many = [draft(EventType.STEP, traced(f"t{number}")) for number in range(4 * plan.MAX_PLAN_EVENTS)]
    large = asyncio.ensure_future(rig.do(Append("steps", many)))
    other = await rig.make_org("other")
    posts = 0
    while not large.done():
        await rig.do(Append("steps", [draft(EventType.STEP, traced("b"))]), principal=other)
        posts += 1
    await large
    told = dict(waits.up_to())
    assert posts > 2
    assert told[2] == told[None] == 1 + posts, "the large one, which is of several commits, is not among them"
