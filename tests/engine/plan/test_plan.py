"""The plan: answers from what it knows, gives every event its place, and chains the hashes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.plan.planning import plan_on
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.load.rows import Needs, ref_key
from towerlog.model.chain import chain_hash
from towerlog.model.event import EventType, OpenRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import Effects, Facts, Origin
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Stored
from towerlog.model.principal import shard_key
from towerlog.model.usage import Usage, UsageReport
from towerlog.store.values import NO_CHANGES

E = EventType


async def test_what_is_not_there_is_nothing(rig: Rig) -> None:
    def ask(needs: Needs) -> None:
        needs.counters(rig.org)
        for ref in refs:
            needs.run(rig.org, ref)
        needs.run_by_number(7)
        needs.lane(7)

    refs = (traced("x"), OpenRun("t"), RunById("nothing"), RunByForeignId("steps:1", "t"))
    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit, ask)
        assert [plan.run(rig.org, ref) for ref in refs] == [None] * 4
        assert plan.run_by_number(7) is None
        assert plan.thread(rig.org, "t") is None
        assert plan.lane(7) is None
        plan.settle()
        assert plan.changes == NO_CHANGES


async def test_a_row_that_was_changed_in_this_group_is_newer_than_the_stored_one(rig: Rig) -> None:
    [told] = await rig.append(draft(run=traced("x", "t")))
    assert isinstance(told, Stored)
    stored = await rig.run(told.run_id)

    def ask(needs: Needs) -> None:
        needs.counters(rig.org)
        needs.agent(rig.org, "default")
        needs.run(rig.org, RunById(stored.run_id))

    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit, ask)
        run_state = plan.run_state(rig.org, RunById(stored.run_id))
        assert run_state is not None
        plan.append(run_state, plan.agent(rig.org, "default"), E.STEP, b"{}", dialect="steps")
        after = plan.run(rig.org, RunById(stored.run_id))
        assert after is not None
        assert after.last_seq == 2
        assert plan.now_of(stored) is after
        assert list(plan.changed_runs()) == [(stored, after)]
        plan.settle()
        change = plan.changes.runs[stored.run]
        assert (change.before, change.after) == (stored, after)
        assert plan.cache.runs[stored.run] == stored, "the cache hears of it once it is on disk"
        plan.keep()
        assert plan.cache.runs[stored.run] is after


async def test_numbers_are_given_out_in_the_organisations_own_row(rig: Rig) -> None:
    other = await rig.make_org("other")

    def ask(needs: Needs) -> None:
        for org in (rig.org, other.org):
            needs.counters(org)
            for name in "ab":
                needs.agent(org, name)

    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit, ask)
        origin = Origin("run", "t", "trace")
        runs = [plan.begin_run(org, origin, E.STEP).row.run for org in (rig.org, rig.org, other.org)]
        assert runs == [shard_key(rig.org, 1), shard_key(rig.org, 2), shard_key(other.org, 1)]
        agents = [plan.agent(org, name).agent for org, name in ((rig.org, "a"), (rig.org, "b"), (other.org, "a"))]
        assert agents == runs
        assert plan.changes.counters[rig.org].runs == plan.changes.counters[rig.org].agents == 2
        assert plan.cache.counters[rig.org].runs == 0


async def test_of_a_lane_that_changes_twice_the_plan_has_the_last(rig: Rig) -> None:
    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit)
        for state in (QueueState.BLOCKED, QueueState.HELD, QueueState.QUEUED):
            plan.put_lane(Lane(7, rig.org, state, "a", 5))
        assert plan.lane(7) == plan.changes.lanes[7]


async def test_a_note_is_of_the_runs_agent_and_of_whoever_speaks(rig: Rig) -> None:
    [told] = await rig.append(draft(run=traced("x", "t"), agent="a"))
    stored = await rig.run(told.run_id)  # type: ignore[union-attr]

    def ask(needs: Needs) -> None:
        needs.counters(rig.org)
        needs.run_by_number(stored.run)
        needs.notes(stored)

    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit, ask)
        after = plan.note(stored, E.RUN_SILENT, {"why": "x"}, by="part")
        [event] = plan.changes.events
        assert (event.dialect, event.data, event.seq) == ("part", b'{"why":"x"}', 2)
        assert event.agent == plan.agent(rig.org, "a").agent
        assert after.silent_at == plan.now_ms


async def test_every_event_is_chained_to_the_one_before_it_in_its_run(rig: Rig) -> None:
    report = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=5))))
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
        await rig.append(draft(E.MODEL_CALL, traced("x"), agent="a", facts=Facts(effects=Effects(report=report))))
    spent = [event.facts.spent and event.facts.spent.input_tokens for event in await rig.log()]
    assert spent == ([10, 15, None, None] if kind == "total" else list(figures))


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
