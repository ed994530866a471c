"""Reads: each question has its answer in its own organisation alone, and pages miss nothing and repeat nothing."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.queries.events import position_of
from towerlog.engine.queries.reads import ANSWERS
from towerlog.errors import Invalid, LeaseLost, NotFound
from towerlog.model import command as c
from towerlog.model import question as q
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Stored
from towerlog.model.principal import shard_key
from towerlog.store.values import Changes

E = EventType
NOWHERE = "00000000-0000-7000-8000-00000000dead"


async def run(rig: Rig, trace: str, *kinds: EventType, thread: str = "t", agent: str = "a") -> str:
    """A run with these events; its id."""
    results = await rig.append(*(draft(kind, traced(trace, thread), agent=agent) for kind in kinds or (E.STEP,)))
    assert isinstance(results[0], Stored)
    return results[0].run_id


async def checkpoint(rig: Rig, trace: str, step: int, status: str = "completed", agent: str = "a") -> str:
    """A checkpoint of a run; the run's id."""
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, status)))
    data = {"step_index": step, "of": agent}
    [stored] = await rig.append(draft(E.CHECKPOINT, traced(trace, "t"), data, agent=agent, facts=facts))
    assert isinstance(stored, Stored)
    return stored.run_id


async def agent_id(rig: Rig, name: str = "a") -> str:
    """An agent's UUID."""
    return str((await rig.do(q.ListAgents(1, name=name))).rows[0].agent_id)


# Pages


async def pages(rig: Rig, make: Any, limit: int) -> list[Any]:
    """All rows of a list, page by page; `make` gives the command for a limit and a cursor."""
    found: list[Any] = []
    after = None
    for _ in range(100):
        page = await rig.do(make(limit, after))
        assert len(page.rows) <= limit
        found += page.rows
        after = page.next
        if after is None:
            return found
    raise AssertionError("the pages have no end")


def cursors(run_id: str) -> dict[str, Any]:
    """Every list that has pages, with how its cursor goes back into the command."""

    def step(text: str | None) -> tuple[int, str] | None:
        if text is None:
            return None
        index, _, name = text.partition(":")
        return int(index), name

    return {
        "runs": lambda limit, after: q.ListRuns(q.RunFilter(), limit, after),
        "threads": q.ListThreads,
        "agents": q.ListAgents,
        "keys": q.ListKeys,
        "events": lambda limit, after: q.ListEvents(run_id, limit, int(after or 0)),
        "quarantine": lambda limit, after: q.ListEvents(run_id, limit, int(after or 0), quarantined=True),
        "checkpoints": lambda limit, after: q.ListCheckpoints(run_id, limit, step(after)),
    }


async def filled(rig: Rig) -> str:
    """At least five of everything that is listed; the id of the run that has most of it."""
    run_id = str((await rig.do(c.CreateRun("t", trace_id="x"))).run_id)
    items = [draft(run=RunById(run_id), data={"n": number}) for number in range(5)]
    with pytest.raises(LeaseLost):
        await rig.do(c.Report(run_id, "nobody", list(items)))
    for number in range(5):
        await run(rig, f"{number}", thread=f"thread {number % 2}", agent=f"agent {number}")
        await checkpoint(rig, "x", number // 2, agent=f"a{number % 2}")
        await rig.do(c.CreateThread())
        await rig.do(c.CreateKey(str(number), ()))
    return run_id


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_follow_one_another_without_gap_or_repeat(rig: Rig, limit: int) -> None:
    run_id = await filled(rig)
    for name, make in cursors(run_id).items():
        whole = (await rig.do(make(1000, None))).rows
        assert len(whole) >= 5, name
        assert await pages(rig, make, limit) == whole, name


async def test_the_last_page_says_that_it_is_the_last(rig: Rig) -> None:
    run_id = await filled(rig)
    for name, make in cursors(run_id).items():
        if name == "keys":
            continue  # an empty page may follow
        whole = (await rig.do(make(1000, None))).rows
        assert (await rig.do(make(len(whole), None))).next is None, name
        assert (await rig.do(make(len(whole) - 1, None))).next is not None, name


async def test_a_cursor_that_is_no_runs_id_is_refused(rig: Rig) -> None:
    other = await rig.make_org("other")
    run_id = await run(rig, "x")
    for principal, before in ((rig.principal, NOWHERE), (other, run_id)):
        with pytest.raises(Invalid) as caught:
            await rig.do(q.ListRuns(q.RunFilter(), 10, before), principal=principal)
        assert caught.value.field == "before"


# Whose it is


async def test_what_is_not_there_and_what_is_anothers_are_the_same(rig: Rig) -> None:
    """Every question about one thing: answered at home, not found elsewhere."""
    run_id = await checkpoint(rig, "x", 0)
    other = await rig.make_org("other")
    agent = await agent_id(rig)
    asked = {
        "run": [q.GetRun(run_id), q.ListEvents(run_id, 10), q.ListCheckpoints(run_id, 10)],
        "thread": [q.GetThread("t"), q.ListThreadRuns("t", 10)],
        "agent": [q.GetAgent(agent), q.Tail(agent, 10)],
        "checkpoint": [q.LatestCheckpoint("t")],
    }
    asked["run"].append(q.GetCheckpoint(run_id, 0))
    for kind, commands in asked.items():
        for command in commands:
            assert await rig.do(command) is not None
            with pytest.raises(NotFound) as caught:
                await rig.do(command, principal=other)
            assert caught.value.kind == kind, command


async def test_lists_show_nothing_of_another_organisation(rig: Rig) -> None:
    await checkpoint(rig, "x", 0, "waiting_for_approval")
    await rig.do(c.CreateRun("queued"))
    other = await rig.make_org("other")
    commands = [q.ListRuns(q.RunFilter(), 10), q.ListThreads(10), q.ListApprovals(10), q.ListAgents(10)]
    for command in [*commands, q.ListWorkers(10)]:
        assert (await rig.do(command, principal=other)).rows == []
    for command in commands:
        assert (await rig.do(command)).rows != []
    counts = await rig.do(q.ListLanes(10), principal=other)
    assert (counts.page.rows, counts.queued, counts.held, counts.oldest_queued_at) == ([], 0, 0, None)
    assert len((await rig.do(q.ListKeys(10, None), principal=other)).rows) == 1


# Runs


async def test_a_threads_runs_are_listed_newest_first(rig: Rig) -> None:
    ids = [await run(rig, trace) for trace in ("x", "y")]
    await run(rig, "z", thread="elsewhere")
    page = await rig.do(q.ListThreadRuns("t", 10))
    assert [view.row.run_id for view in page.rows] == ids[::-1]
    assert len((await rig.do(q.ListThreadRuns("t", 1))).rows) == 1


# Checkpoints


async def test_a_checkpoint_is_found_by_its_step_and_its_agent(rig: Rig) -> None:
    run_id = await checkpoint(rig, "x", 0, agent="b")
    await checkpoint(rig, "x", 1, agent="b")
    await checkpoint(rig, "x", 1, agent="a")
    for step, agent, expected in ((0, None, "b"), (1, None, "a"), (1, "b", "b"), (1, "a", "a")):
        view = await rig.do(q.GetCheckpoint(run_id, step, agent))
        assert (view.row.step_index, view.row.agent) == (step, expected)
        assert view.figures == b'{"step_index":%d,"of":"%s"}' % (step, expected.encode())
    for step, agent in ((2, None), (0, "a"), (-1, None)):
        with pytest.raises(NotFound):
            await rig.do(q.GetCheckpoint(run_id, step, agent))


async def test_a_thread_goes_on_from_its_newest_state(rig: Rig) -> None:
    await checkpoint(rig, "x", 7)
    newest = await checkpoint(rig, "y", 1)
    view = await rig.do(q.LatestCheckpoint("t"))
    assert (view.run_id, view.trace_id, view.row.step_index) == (newest, "y", 1)


async def test_approvals_are_what_still_waits_oldest_first(rig: Rig) -> None:
    for trace in ("x", "y", "z"):
        await checkpoint(rig, trace, 0, "waiting_for_approval")
    page = await rig.do(q.ListApprovals(10))
    assert [(view.run.trace_id, view.data) for view in page.rows] == [
        (trace, b'{"step_index":0,"of":"a"}') for trace in ("x", "y", "z")
    ]
    await checkpoint(rig, "w", 0, "waiting_for_approval")
    await checkpoint(rig, "w", 1)
    await rig.do(c.Decide("y", 0, "approved"))
    await run(rig, "x", E.RUN_FAILED)
    assert [view.run.trace_id for view in (await rig.do(q.ListApprovals(10))).rows] == ["z"]


async def test_runs_that_ended_undecided_crowd_nobody_out_of_the_approvals(rig: Rig) -> None:
    for number in range(4):
        await checkpoint(rig, str(number), 0, "waiting_for_approval")
    for number in range(3):
        await run(rig, str(number), E.RUN_CANCELLED)
    page = await rig.do(q.ListApprovals(2))
    assert [view.run.trace_id for view in page.rows] == ["3"]


# The log


async def test_events_are_listed_by_seq_and_type(rig: Rig) -> None:
    run_id = await run(rig, "x", E.STEP, E.TOOL_CALL, E.STEP, E.MODEL_CALL)
    asked = q.ListEvents(run_id, 10, 1, ("step", "model.call"))
    assert [event.seq for event in (await rig.do(asked)).rows] == [3, 4]
    assert (await rig.do(q.ListEvents(run_id, 10, 4))).rows == []
    assert (await rig.do(q.ListEvents(run_id, 10, 2**70))).rows == []


async def test_what_was_refused_is_kept_beside_the_run(rig: Rig) -> None:
    created = await rig.do(c.CreateRun("t"))
    with pytest.raises(LeaseLost):
        await rig.do(
            c.Report(created.run_id, "thief", [draft(E.MODEL_CALL, RunById(created.run_id), {"n": 1})], dialect="lanes")
        )
    [kept] = (await rig.do(q.ListEvents(created.run_id, 10, quarantined=True))).rows
    assert (kept.type, kept.data, kept.dialect, kept.position) == (E.MODEL_CALL, b'{"n":1}', "lanes", 0)
    assert [event.type for event in (await rig.do(q.ListEvents(created.run_id, 10))).rows] == [E.RUN_QUEUED]


# Feeds


async def test_a_tail_is_the_newest_or_what_comes_after_a_cursor(rig: Rig) -> None:
    await run(rig, "x", *[E.TOOL_CALL] * 5)
    agent = await agent_id(rig)
    epoch = rig.store.epoch

    async def tail(limit: int, after: str | None = None) -> list[int]:
        page = await rig.do(q.Tail(agent, limit, after))
        assert page.epoch == epoch
        return [event.position for event in page.events]

    assert await tail(2) == [4, 5]
    assert await tail(0) == []
    assert await tail(2, f"{epoch}-1") == [2, 3]
    assert await tail(9, "4") == [5]
    assert await tail(9, f"{epoch}-5") == []
    assert await tail(2, "another-1") == [4, 5], "of another log: as if it had none"


@pytest.mark.parametrize("cursor", ["", "-", "x", "e-", "e-x", "e-1.5", "e--", "e-" + "9" * 16, "e-²", "e-1 "])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        position_of(cursor, "e")
    assert caught.value.field == "after"


@pytest.mark.parametrize(
    ("cursor", "position"), [("e-f-12", 12), ("12", 12), ("-12", 12), ("f-12", None), ("e-12", None)]
)
def test_a_cursor_names_its_log(cursor: str, position: int | None) -> None:
    assert position_of(cursor, "e-f") == position


# Lanes


async def test_the_queue_at_a_glance(rig: Rig) -> None:
    began = rig.clock.steady_ms()
    ids = []
    for thread in ("s", "t", "u"):
        ids.append((await rig.do(c.CreateRun(thread, agent=thread))).run_id)
        rig.clock.advance(1000)
    await rig.do(c.Claim("w", 60_000))
    counts = await rig.do(q.ListLanes(10))
    assert [view.run.row.run_id for view in counts.page.rows] == ids
    assert [view.run.agent_id for view in counts.page.rows] == [await agent_id(rig, name) for name in "stu"]
    assert (counts.queued, counts.held, counts.oldest_queued_at, counts.now) == (2, 1, began + 1000, began + 3000)
    await rig.do(c.CancelRun(ids[1]))
    assert [view.run.row.run_id for view in (await rig.do(q.ListLanes(10))).page.rows] == [ids[0], ids[2]]


async def test_workers_are_those_whose_leases_run(rig: Rig) -> None:
    ids = [(await rig.do(c.CreateRun(thread))).run_id for thread in ("s", "t", "u")]
    for worker, lease_ms in (("w2", 60_000), ("w1", 1000), ("w2", 60_000)):
        await rig.do(c.Claim(worker, lease_ms))
    workers = (await rig.do(q.ListWorkers(10))).rows
    assert [(worker.worker_id, worker.run_ids) for worker in workers] == [("w1", (ids[1],)), ("w2", (ids[0], ids[2]))]
    assert [worker.worker_id for worker in (await rig.do(q.ListWorkers(1))).rows] == ["w1"]
    assert (await rig.do(q.ListWorkers(1, "w2"))).rows == workers[1:]
    assert (await rig.do(q.ListWorkers(1, "w"))).rows == []
    rig.clock.advance(1000)
    await rig.do(c.Report(ids[2], "w2", []))
    idle, left = (await rig.do(q.ListWorkers(10))).rows
    assert (idle.worker_id, idle.run_ids) == ("w1", ()), "it has asked for work lately"
    assert (left.worker_id, left.last_heartbeat) == ("w2", rig.clock.steady_ms())


async def test_workers_are_found_behind_any_number_of_runs_that_wait(rig: Rig) -> None:
    await rig.do(c.Claim("nobody", 1000))
    waiting = [Lane(shard_key(rig.org, 500_000 + n), rig.org, QueueState.QUEUED, "a", 0, {}, 0) for n in range(1001)]
    async with rig.store.begin() as unit:
        await unit.commit(Changes(lanes={one.run: one for one in waiting}))
    run_id = (await rig.do(c.CreateRun("t", agent="b"))).run_id
    await rig.do(c.Claim("w", 60_000, ("b",)))
    workers = [(one.worker_id, one.run_ids) for one in (await rig.do(q.ListWorkers(10))).rows]
    assert workers == [("nobody", ()), ("w", (run_id,))]


def test_every_reading_command_has_its_room() -> None:
    assert set(ANSWERS) == set(get_args(q.Read))
