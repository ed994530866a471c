"""Parents that are each other's: the link that would close a circle is not made, and its sender is told."""

from __future__ import annotations

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.ingest.circles import CLOSES_A_CIRCLE
from towerlog.engine.verify import verify_org
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.event import Draft, EventType, RunByForeignId
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
    for link in (("leaf", "branch"), ("branch", "root"), ("root", None), ("other", "branch")):
        (stored,) = await rig.append(state(*link))
        assert isinstance(stored, Stored)
        assert stored.unused == ()
        assert (await rig.run(stored.run_id)).parent_key == (None if link[1] is None else f"trace:{link[1]}")
