"""The plan: looks rows up once, gives every event its place, and chains the hashes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.commit.cache import Cache
from towerlog.engine.commit.plan import Plan, ref_key
from towerlog.model.chain import chain_hash
from towerlog.model.event import EventType, OpenRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import Facts
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Stored
from towerlog.model.principal import shard_key
from towerlog.model.usage import Usage, UsageReport

E = EventType


class Counted:
    """A unit that counts what it is asked."""

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._unit, name)


async def test_what_was_looked_up_is_not_asked_for_again(rig: Rig) -> None:
    [told] = await rig.append(draft(run=traced("x", "t"), agent="a", event_id="id"))
    assert isinstance(told, Stored)
    run = (await rig.run(told.run_id)).run
    async with rig.store.begin() as unit:
        counted = Counted(unit)
        plan = Plan(counted, Cache(), rig.clock, rig.ids)
        for _ in range(3):
            row = await plan.run(rig.org, traced("x", "t"))
            assert row == await plan.run_by_number(run) == plan.run_cached(rig.org, traced("x", "t"))
            assert await plan.thread(rig.org, "t") == await rig.store.thread(rig.org, "t")
            assert (await plan.agent(rig.org, "a")).name == "a"
            assert await plan.event_by_id(run, "id") is not None
            assert await plan.event_by_id(run, "other") is None
            assert await plan.checkpoint(run, "a", 0) is None
            assert (await plan.counters(rig.org)).position == 1
        once = ["runs_by_ref", "threads", "agents_by_name", "events_by_id", "events_by_id", "checkpoint", "counters"]
        assert counted.asked == once
        assert plan.run_cached(rig.org, OpenRun("t")) == row


async def test_what_is_not_there_is_nothing(rig: Rig) -> None:
    async with rig.store.begin() as unit:
        plan = Plan(unit, Cache(), rig.clock, rig.ids)
        refs = (traced("x"), OpenRun("t"), RunById("nothing"), RunByForeignId("steps:1", "t"))
        assert [await plan.run(rig.org, ref) for ref in refs] == [None] * 4
        assert await plan.run_by_number(7) is None
        assert await plan.thread(rig.org, "t") is None
        assert await plan.lane(7) is None
        assert plan.changes.is_empty()


async def test_a_row_that_was_changed_in_this_group_is_newer_than_the_stored_one(rig: Rig) -> None:
    [told] = await rig.append(draft(run=traced("x", "t")))
    assert isinstance(told, Stored)
    stored = await rig.run(told.run_id)
    async with rig.store.begin() as unit:
        plan = Plan(unit, Cache(), rig.clock, rig.ids)
        agent = await plan.agent(rig.org, "a")
        _, after = await plan.append(stored, stored.run, agent, E.STEP, b"{}", org=rig.org, dialect="steps")
        assert after.last_seq == 2
        assert plan.remember_run(rig.org, RunById(stored.run_id), stored) is after
        assert await plan.run(rig.org, RunById(stored.run_id)) is after
        change = plan.changes.runs[stored.run]
        assert (change.before, change.after) == (stored, after)


async def test_numbers_are_given_out_in_the_organisations_own_row(rig: Rig) -> None:
    other = await rig.make_org("other")
    async with rig.store.begin() as unit:
        plan = Plan(unit, Cache(), rig.clock, rig.ids)
        runs = [await plan.new_run_number(org) for org in (rig.org, rig.org, other.org)]
        assert runs == [shard_key(rig.org, 1), shard_key(rig.org, 2), shard_key(other.org, 1)]
        agents = [
            (await plan.agent(org, name)).agent for org, name in ((rig.org, "a"), (rig.org, "b"), (other.org, "a"))
        ]
        assert agents == runs
        assert plan.changes.counters[rig.org].runs == plan.changes.counters[rig.org].agents == 2


async def test_of_a_lane_that_changes_twice_the_plan_has_the_last(rig: Rig) -> None:
    async with rig.store.begin() as unit:
        plan = Plan(unit, Cache(), rig.clock, rig.ids)
        for state in (QueueState.BLOCKED, QueueState.HELD, QueueState.QUEUED):
            plan.put_lane(Lane(7, rig.org, state, "a", 5))
        assert (await plan.lane(7)) == plan.changes.lanes[7] == Lane(7, rig.org, QueueState.QUEUED, "a", 5)


async def test_every_event_is_chained_to_the_one_before_it_in_its_run(rig: Rig) -> None:
    report = Facts(report=UsageReport(Usage(input_tokens=5)))
    for trace in ("x", "y", "x"):
        run = traced(trace)
        await rig.append(
            draft(run=run, event_id=None), draft(E.MODEL_CALL, run, facts=report), draft(E.RUN_FAILED, run)
        )
    previous: dict[int, bytes] = {}
    log = await rig.log()
    for event in log:
        assert event.hash == chain_hash(previous.get(event.run, b""), event)
        previous[event.run] = event.hash
    rows = (await rig.store.rows(rig.org)).runs
    assert {row.run: row.last_hash for row in rows} == previous
    assert len({event.hash for event in log}) == len(log)


@pytest.mark.parametrize("kind", ["total", "delta"])
async def test_an_event_says_what_it_added_to_its_runs_totals(rig: Rig, kind: Any) -> None:
    figures = (10, 25, 25, 5)
    for figure in figures:
        report = UsageReport(Usage(input_tokens=figure), kind)
        await rig.append(draft(E.MODEL_CALL, traced("x"), agent="a", facts=Facts(report=report)))
    spent = [event.facts.spent and event.facts.spent.input_tokens for event in await rig.log()]
    assert spent == ([10, 15, None, -20] if kind == "total" else list(figures))


def test_references_of_different_kinds_never_meet() -> None:
    refs = (
        RunById("x"),
        RunByForeignId("x", "x"),
        RunByTrace("x", "x"),
        RunByTrace("run", "x"),
        RunByTrace("foreign", "x"),
    )
    keys = [ref_key(1, ref) for ref in refs]
    assert len(set(keys)) == len(keys)
    assert ref_key(1, refs[0]) != ref_key(2, refs[0])
    assert ref_key(1, RunByForeignId("x", "one thread")) == ref_key(1, RunByForeignId("x", "another"))
