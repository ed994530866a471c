"""The queue, read back: which of it no worker serves."""

from __future__ import annotations

from tests.support.rig import Rig
from towerlog.engine.queries.lanes import UNSERVED_MS
from towerlog.model.command import CancelRun, Claim, CreateRun
from towerlog.model.question import GetRun, ListLanes


async def unserved(rig: Rig) -> list[str]:
    """The agents of queued runs that no worker serves, as the queue and each run say it."""
    counts = await rig.do(ListLanes(100))
    found = [view.lane.agent for view in counts.page.rows if view.unserved]
    runs = [await rig.do(GetRun(view.run.row.run_id)) for view in counts.page.rows]
    assert sorted(run.row.agent or "" for run in runs if run.unserved) == sorted(found)
    assert counts.unserved == len(found)
    return sorted(found)


async def test_what_no_worker_has_asked_for_lately_is_unserved(rig: Rig) -> None:
    for thread, agent in (("t", "writer"), ("u", "reader"), ("u", "behind it")):
        await rig.do(CreateRun(thread, agent=agent))
    assert await unserved(rig) == [], "a server that has just started has not listened for long enough"
    rig.clock.advance(UNSERVED_MS + 1)
    assert await unserved(rig) == ["reader", "writer"], "one that waits for its thread waits for no worker"
    await rig.do(CreateRun("v", agent="painter"))
    await rig.do(Claim("w", 3_600_000, agents=("painter",)))
    assert await unserved(rig) == ["reader", "writer"], "it asks for something else"
    await rig.do(CreateRun("x", agent="painter"))
    rig.clock.advance(UNSERVED_MS + 1)
    assert await unserved(rig) == ["reader", "writer"], "who holds one like it comes back"


async def test_a_worker_that_asks_serves_for_a_while(rig: Rig) -> None:
    first = await rig.do(CreateRun("t", agent="writer"))
    await rig.do(CreateRun("t", agent="reader", labels={"gpu": "1"}))
    rig.clock.advance(UNSERVED_MS + 1)
    await rig.do(Claim("w", 60_000, agents=("reader",), labels={"gpu": "1"}))
    await rig.do(CancelRun(first.run_id))
    assert await unserved(rig) == [], "it has asked while the run waited for its thread"
    rig.clock.advance(UNSERVED_MS + 1)
    assert await unserved(rig) == ["reader"]
    await rig.do(Claim("w", 60_000, agents=("reader",)))
    assert await unserved(rig) == ["reader"], "it lacks a label"
