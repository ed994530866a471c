"""The queue, read back: which of it no worker serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.support.factories import draft
from tests.support.rig import Rig, open_rig
from towerlog.model.command import CancelRun, Claim, ClaimRun, CreateRun, Finish, Report
from towerlog.model.event import EventType, RunById
from towerlog.model.lane import ASKED_LATELY_MS, MAX_SERVED_BYTES
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import GetRun, ListLanes, ListWorkers


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
    rig.clock.advance(ASKED_LATELY_MS + 1)
    assert await unserved(rig) == ["reader", "writer"], "one that waits for its thread waits for no worker"
    await rig.do(CreateRun("v", agent="painter"))
    await rig.do(Claim("w", 3_600_000, agents=("painter",)))
    assert await unserved(rig) == ["reader", "writer"], "it asks for something else"
    await rig.do(CreateRun("x", agent="painter"))
    rig.clock.advance(ASKED_LATELY_MS + 1)
    assert await unserved(rig) == ["reader", "writer"], "who holds one like it comes back"


async def test_a_worker_that_asks_serves_for_a_while(rig: Rig) -> None:
    first = await rig.do(CreateRun("t", agent="writer"))
    await rig.do(CreateRun("t", agent="reader", labels={"gpu": "1"}))
    rig.clock.advance(ASKED_LATELY_MS + 1)
    await rig.do(Claim("w", 60_000, agents=("reader",), labels={"gpu": "1"}))
    await rig.do(CancelRun(first.run_id))
    assert await unserved(rig) == [], "it has asked while the run waited for its thread"
    rig.clock.advance(ASKED_LATELY_MS + 1)
    assert await unserved(rig) == ["reader"]
    await rig.do(Claim("w", 60_000, agents=("reader",)))
    assert await unserved(rig) == ["reader"], "it lacks a label"


async def busy(rig: Rig, who: Principal | None = None) -> dict[str, str]:
    """Agent → the busy worker that serves it, of queued runs, as the queue and each run say it."""
    named: dict[str, Any] = {} if who is None else {"principal": who}
    counts = await rig.do(ListLanes(100), **named)
    found = {view.lane.agent: view.busy_worker for view in counts.page.rows if view.busy_worker is not None}
    runs = [await rig.do(GetRun(view.run.row.run_id)) for view in counts.page.rows]
    if who is None:
        assert {run.row.agent or "": run.busy_worker for run in runs if run.busy_worker is not None} == found
    return found


async def at_work(rig: Rig, worker_id: str = "w", agents: tuple[str, ...] | None = ("slow", "writer")) -> str:
    """The run that a worker has taken which has named these agents; so long ago that nothing else tells of it."""
    run_id: str = (await rig.do(CreateRun(f"of {worker_id}", agent="slow"))).run_id
    await rig.do(Claim(worker_id, 600_000, agents=agents, labels={"zone": "eu"}))
    rig.clock.advance(ASKED_LATELY_MS + 1)
    return run_id


async def test_a_worker_at_work_serves_all_that_it_has_named(rig: Rig) -> None:
    await at_work(rig)
    for agent in ("writer", "reader"):
        await rig.do(CreateRun(agent, agent=agent))
    assert await unserved(rig) == ["reader"]
    assert await busy(rig) == {"writer": "w"}


async def test_a_worker_at_work_serves_no_run_whose_labels_it_lacks(rig: Rig) -> None:
    await at_work(rig)
    await rig.do(CreateRun("t", agent="writer", labels={"zone": "us"}))
    assert await unserved(rig) == ["writer"]
    await rig.do(CreateRun("u", agent="writer", labels={"zone": "eu"}))
    assert await unserved(rig) == ["writer"]
    assert await busy(rig) == {"writer": "w"}


async def test_a_worker_at_work_that_names_no_agents_serves_any(rig: Rig) -> None:
    await at_work(rig, agents=None)
    await rig.do(CreateRun("t", agent="reader"))
    assert (await unserved(rig), await busy(rig)) == ([], {"reader": "w"})


async def test_of_a_claim_of_one_run_no_more_is_known_than_that_run(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t", agent="slow"))).run_id
    await rig.do(ClaimRun(run_id, "w", 600_000))
    rig.clock.advance(ASKED_LATELY_MS + 1)
    for agent in ("slow", "writer"):
        await rig.do(CreateRun(agent, agent=agent))
    assert (await unserved(rig), await busy(rig)) == (["writer"], {"slow": "w"})


async def test_what_a_worker_serves_is_known_after_a_restart(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await at_work(rig)
        await rig.do(CreateRun("t", agent="writer"))
        clock = rig.clock
    async with open_rig(tmp_path, clock=clock) as rig:
        clock.advance(ASKED_LATELY_MS + 1)
        assert (await unserved(rig), await busy(rig)) == ([], {"writer": "w"})


async def test_a_worker_whose_lease_is_over_serves_nobody(rig: Rig) -> None:
    await at_work(rig)
    await rig.do(CreateRun("t", agent="writer"))
    rig.clock.advance(600_000)
    assert (await unserved(rig), await busy(rig)) == (["writer"], {})
    assert (await rig.do(ListWorkers(10))).rows == [], "as the list of workers says"


async def test_a_worker_that_reports_serves_on(rig: Rig) -> None:
    run_id = await at_work(rig)
    await rig.do(CreateRun("t", agent="writer"))
    for _ in range(4):
        rig.clock.advance(400_000)
        await rig.do(Report(run_id, "w", []))
        assert (await unserved(rig), await busy(rig)) == ([], {"writer": "w"})


async def test_a_worker_that_has_ended_its_run_is_about_to_ask_for_the_next(rig: Rig) -> None:
    run_id = await at_work(rig)
    await rig.do(CreateRun("t", agent="writer"))
    await rig.do(Finish(run_id, "w", draft(EventType.RUN_COMPLETED, RunById(run_id))))
    assert (await unserved(rig), await busy(rig)) == ([], {})
    rig.clock.advance(ASKED_LATELY_MS + 1)
    assert await unserved(rig) == ["writer"]


async def test_what_is_too_long_to_be_kept_is_not_kept_with_the_lane(rig: Rig) -> None:
    agents = ("slow", *(f"{number:04}" for number in range(MAX_SERVED_BYTES // 7)))
    await at_work(rig, agents=agents)
    [lane] = await rig.store.lanes_held(rig.org, 10)
    assert lane.serves is None
    await at_work(rig, "v", agents[: -len(agents) // 2])
    served = [lane.serves for lane in await rig.store.lanes_held(rig.org, 10) if lane.serves is not None]
    assert [len(msgspec.json.encode(one)) <= MAX_SERVED_BYTES for one in served] == [True]


async def test_who_may_not_read_is_told_of_no_worker_of_another_key(rig: Rig) -> None:
    await at_work(rig)
    await rig.do(CreateRun("t", agent="writer"))
    stranger = msgspec.structs.replace(rig.principal, scopes=frozenset({Scope.WORKER}), key_id="another")
    assert await busy(rig, stranger) == {}
    assert await busy(rig, msgspec.structs.replace(stranger, key_id=rig.principal.key_id)) == {"writer": "w"}
