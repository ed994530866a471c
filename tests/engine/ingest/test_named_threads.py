"""A run whose thread is named after it has begun moves there, and a rebuild agrees."""

from __future__ import annotations

import itertools

import pytest

from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.engine.ingest.named_threads import OF_THREAD
from towerlog.engine.verify import verify_org
from towerlog.errors import NotFound
from towerlog.model.budget import BudgetAction, BudgetScope, ChangeBudget, CreateBudget, GetBudget, Period
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import CreateThread
from towerlog.model.event import Draft, EventType, History, RunByForeignId
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Stored
from towerlog.model.question import LatestCheckpoint, ListRuns, RunFilter
from towerlog.model.retention import EraseRun
from towerlog.model.usage import Usage, UsageReport

E = EventType
START = Facts(effects=Effects(is_start=True))


def of(name: str, thread: str | None = None) -> RunByForeignId:
    """A run by its sender's id; without a thread it stands in one that is named after it."""
    return RunByForeignId(f"steps:{name}", thread or name, thread is not None)


def start(name: str = "r", thread: str | None = "conv", parent: str | None = None) -> Draft:
    """The start, which names the thread, or the parent."""
    effects = Effects(is_start=True, parent_key=None if parent is None else f"foreign:steps:{parent}")
    return draft(E.RUN_STARTED, of(name, thread), {"input": "hi"}, facts=Facts(effects=effects), agent="a")


def step(name: str = "r", thread: str | None = None) -> Draft:
    """An event that moves nothing but its run's clocks."""
    return draft(E.STEP, of(name, thread), {"node_name": "n"}, agent="a")


def state(index: int, name: str = "r") -> Draft:
    """A checkpoint with as many messages as its step says."""
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(index, "in_progress")))
    return draft(E.CHECKPOINT, of(name), {"step_index": index}, facts=facts, history=History([b'"m"'] * index, None))


def call(cost: int, name: str = "r") -> Draft:
    """A model call that has cost so many nano-dollars."""
    report = UsageReport(Usage(cost_nanos=cost), "delta")
    return draft(E.MODEL_CALL, of(name), facts=Facts(effects=Effects(report=report)), agent="a")


def end(name: str = "r") -> Draft:
    """An end."""
    return draft(E.RUN_COMPLETED, of(name), {"output": 1}, agent="a")


async def told(rig: Rig, *drafts: Draft) -> list[Stored]:
    """What became of each; all are stored."""
    results = await rig.append(*drafts)
    assert all(isinstance(one, Stored) for one in results), results
    return [one for one in results if isinstance(one, Stored)]


async def threads(rig: Rig) -> dict[str, int]:
    """How many runs each thread has."""
    return {row.thread_id: row.run_count for row in (await rig.store.rows(rig.org)).threads}


async def agrees(rig: Rig) -> None:
    """A rebuild gives the rows that are there."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


EVERY = {"start": start, "step": step, "state": lambda name: state(2, name), "end": end}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("cold", [True, False])
async def test_whatever_overtakes_its_start_the_run_stands_in_its_thread(rig: Rig, at_once: bool, cold: bool) -> None:
    orders = list(itertools.permutations(EVERY))
    for number, order in enumerate(orders):
        name, thread = f"r{number}", f"conv{number}"
        every = [start(name, thread) if kind == "start" else EVERY[kind](name) for kind in order]
        for group in [every] if at_once else [[one] for one in every]:
            stored = await told(rig, *group)
            if cold:
                rig.engine.forget()
        row = await rig.run(stored[-1].run_id)
        assert (row.thread_id, row.unnamed_thread) == (thread, False), order
        found = await rig.do(ListRuns(RunFilter(thread_id=thread), 10))
        assert [view.row.run_id for view in found.rows] == [row.run_id], order
        view = await rig.do(LatestCheckpoint(thread))
        assert isinstance(view, CheckpointView)
        assert (view.row.thread_id, len(view.history)) == (thread, 2), order
    assert await threads(rig) == {f"conv{number}": 1 for number in range(len(orders))}
    await agrees(rig)


async def test_the_thread_that_it_came_from_is_there_again_when_somebody_names_it(rig: Rig) -> None:
    await told(rig, step())
    rig.clock.advance(1000)
    await told(rig, start(), step("other", "r"), step("third", "conv"))
    assert await threads(rig) == {"r": 1, "conv": 2}
    await agrees(rig)
    rig.engine.forget()
    await told(rig, end())
    await agrees(rig)


async def test_a_thread_that_somebody_has_made_stays(rig: Rig) -> None:
    await rig.do(CreateThread("r", "A title"))
    await told(rig, step(), start())
    assert await threads(rig) == {"r": 0, "conv": 1}
    await agrees(rig)


async def test_a_run_whose_thread_is_named_stays_and_its_sender_is_told(rig: Rig) -> None:
    (first,) = await told(rig, step(thread="conv"))
    (second,) = await told(rig, start(thread="another"))
    assert (first.unused, second.unused) == ((), ((OF_THREAD, "the run stands in thread 'conv', and stays there"),))
    assert (await rig.run(first.run_id)).thread_id == "conv"
    assert (await told(rig, step(thread=None)))[0].unused == ()
    await agrees(rig)


async def test_a_thread_in_which_other_runs_stand_is_not_left(rig: Rig) -> None:
    await told(rig, step(), step("other", "r"))
    (stored,) = await told(rig, start())
    why = "the run stands in thread 'r', with other runs, and stays there"
    assert stored.unused == ((OF_THREAD, why),)
    assert await threads(rig) == {"r": 2}
    await agrees(rig)


async def test_a_child_whose_start_was_overtaken_joins_its_parents_thread(rig: Rig) -> None:
    await told(rig, start("parent", "conv"))
    (stored,) = await told(rig, step("child"))
    await told(rig, start("child", None, "parent"))
    assert (await rig.run(stored.run_id)).thread_id == "conv"
    # Another parent is nothing to it any more.
    await told(rig, start("stranger", "elsewhere"), start("child", None, "stranger"))
    assert (await rig.run(stored.run_id)).thread_id == "conv"
    assert await threads(rig) == {"conv": 2, "elsewhere": 1}
    await agrees(rig)


async def test_what_was_spent_before_counts_in_the_budget_of_the_thread(rig: Rig) -> None:
    asked = CreateBudget("of a thread", BudgetScope(thread_id="conv"), 100, Period.TOTAL, BudgetAction.CANCEL)
    budget = await rig.do(asked)
    (stored,) = await told(rig, call(70))
    await told(rig, start())
    await told(rig, call(40))
    assert (await rig.run(stored.run_id)).cancel_requested_at is not None
    assert (await rig.do(GetBudget(budget.row.budget_id))).row.spent_nanos == 110


async def test_a_run_that_was_paused_as_it_joined_a_thread_goes_on_when_there_is_money(rig: Rig) -> None:
    asked = CreateBudget("of a thread", BudgetScope(thread_id="conv"), 100, Period.TOTAL, BudgetAction.PAUSE)
    budget = (await rig.do(asked)).row
    await told(rig, start("first"), end("first"), call(100, "first"))
    assert not (await rig.do(GetBudget(budget.budget_id))).row.has_paused, "what has ended is not paused"
    (stored,) = await told(rig, call(70))
    await told(rig, start())
    assert [one.type for one in (await rig.run(stored.run_id)).pending] == ["pause"]
    await rig.do(ChangeBudget(budget.budget_id, amount_nanos=1000))
    await rig.engine.sweep()
    assert [one.type for one in (await rig.run(stored.run_id)).pending] == ["resume"]


async def test_a_rebuild_agrees_after_its_content_was_erased(rig: Rig) -> None:
    (stored, *_) = await told(rig, step(), state(1), start(), end())
    await rig.do(EraseRun(stored.run_id))
    assert (await rig.run(stored.run_id)).thread_id == "conv"
    with pytest.raises(NotFound):
        await rig.do(LatestCheckpoint("conv"))
    await agrees(rig)
