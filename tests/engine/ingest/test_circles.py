"""Parents that are each other's: the link that would close a circle is not made, and its sender is told."""

from __future__ import annotations

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.ingest.circles import CLOSES_A_CIRCLE
from towerlog.engine.verify import verify_org
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.event import Draft, EventType, RunByForeignId, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Stored
from towerlog.model.question import LatestCheckpoint

E = EventType


def state(trace: str, parent: str | None) -> Draft:
    """A checkpoint of a run, which names its parent by its trace."""
    key = None if parent is None else f"trace:{parent}"
    facts = Facts(effects=Effects(parent_key=key, checkpoint=CheckpointFacts(1, "in_progress")))
    return draft(E.CHECKPOINT, traced(trace, "t"), {"step_index": 1}, facts=facts, agent=trace)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("links", [[("a", "a")], [("a", "b"), ("b", "a")], [("a", "b"), ("b", "c"), ("c", "a")]])
async def test_the_link_that_closes_a_circle_is_refused_with_a_warning(
    rig: Rig, links: list[tuple[str, str]], at_once: bool
) -> None:
    drafts = [state(*link) for link in links]
    told = []
    for group in [drafts] if at_once else [[one] for one in drafts]:
        told += await rig.append(*group)
        rig.engine.forget()
    stored = [one for one in told if isinstance(one, Stored)]
    assert [one.unused for one in stored] == [()] * (len(links) - 1) + [(("parent_trace_id", CLOSES_A_CIRCLE),)]
    parents = [(await rig.run(one.run_id)).parent_key for one in stored]
    assert parents == [f"trace:{parent}" for _, parent in links[:-1]] + [None]
    view = await rig.do(LatestCheckpoint("t"))
    assert isinstance(view, CheckpointView)
    assert view.trace_id == links[-1][0]
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_circle_of_senders_own_ids_is_not_closed_either(rig: Rig) -> None:
    def told(name: str, parent: str) -> Draft:
        facts = Facts(effects=Effects(is_start=True, parent_key=f"foreign:{parent}"))
        return draft(E.RUN_STARTED, RunByForeignId(name, name), facts=facts)

    first, second = [(await rig.append(told(*pair)))[0] for pair in (("one", "two"), ("two", "one"))]
    assert isinstance(first, Stored)
    assert isinstance(second, Stored)
    assert first.unused == ()
    assert [why for _, why in second.unused] == [CLOSES_A_CIRCLE]
    assert (await rig.run(second.run_id)).parent_key is None


async def test_a_tree_is_left_alone(rig: Rig) -> None:
    ids: dict[str, str] = {}
    for trace, parent in (("leaf", "branch"), ("branch", "root"), ("root", None), ("other", "branch")):
        (stored,) = await rig.append(state(trace, parent))
        assert isinstance(stored, Stored)
        assert stored.unused == ()
        ids[trace] = f"run:{stored.run_id}"
        named = None if parent is None else ids.get(parent, f"trace:{parent}")
        assert (await rig.run(stored.run_id)).parent_key == named, "of one that is known the run itself"


async def test_a_parent_that_was_there_first_stands_in_no_circle_either(rig: Rig) -> None:
    told = [*await rig.append(start("a")), *await rig.append(state("b", "a")), *await rig.append(state("a", "b"))]
    first, below, again = [one for one in told if isinstance(one, Stored)]
    assert again.unused == (("parent_trace_id", CLOSES_A_CIRCLE),)
    assert (await rig.run(below.run_id)).parent_key == f"run:{first.run_id}"
    assert (await rig.run(first.run_id)).parent_key is None
    assert await verify_org(rig.store, rig.org) == 0


def start(trace: str, parent: str | None = None) -> Draft:
    """A start, which begins a further run of its trace where that has ended."""
    told = state(trace, parent).facts.effects
    facts = Facts(effects=Effects(is_start=True, parent_key=None if told is None else told.parent_key))
    return draft(E.RUN_STARTED, RunByTrace("t", trace, reopen=True), facts=facts, agent=trace)


def end(trace: str) -> Draft:
    return draft(E.RUN_COMPLETED, traced(trace, "t"), agent=trace)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_child_stays_below_the_run_that_its_parents_trace_meant_as_it_began(
    rig: Rig, is_first: bool, at_once: bool
) -> None:
    """`is_first`: the child is heard of before its parent."""
    turn = [start("child", "top"), start("top")] if is_first else [start("top"), start("child", "top")]
    told = [*turn, end("child"), end("top"), start("top"), end("top"), start("top"), start("child", "top")]
    results = []
    for group in [told] if at_once else [[one] for one in told]:
        results += await rig.append(*group)
        rig.engine.forget()
    ids = [one.run_id for one in results if isinstance(one, Stored)]
    first, second, third = ids[0 if not is_first else 1], ids[4], ids[6]
    child, another = ids[1 if not is_first else 0], ids[7]
    assert len({first, second, third, child, another}) == 5
    rows = {row.run_id: row for row in (await rig.store.rows(rig.org)).runs}
    found = await rig.store.run_ids_of_parents(rig.org, list(rows.values()))
    assert found == {rows[child].run: first, rows[another].run: third}
    for run_id, below in ((first, [child]), (second, []), (third, [another])):
        assert [row.run_id for row in await rig.store.run_children(rig.org, rows[run_id], 9)] == below
        assert [row.run_id for row in await rig.store.run_descendants(rig.org, rows[run_id], 9)] == below
    assert await verify_org(rig.store, rig.org) == 0
