"""Views: rows joined with what lies outside them; every join stays inside the organisation, every tree has an end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.queries import views
from towerlog.model.command import Append, Claim, CreateRun
from towerlog.model.event import EventType, History
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import RunView, Stored
from towerlog.model.question import GetCheckpoint, GetRun, ListRuns, RunFilter

E = EventType


async def run(rig: Rig, trace: str, parent: str | None = None, thread: str = "thread", **fields: Any) -> str:
    """One event of a run, which names its parent; the run's id."""
    facts = Facts(effects=Effects(parent_key=parent)) if parent else Facts()
    [stored] = await rig.append(draft(run=traced(trace, thread), facts=facts, **fields))
    assert isinstance(stored, Stored)
    return stored.run_id


async def tree(rig: Rig, run_id: str) -> Any:
    """A run's descendants as nested lists of traces."""

    def below(view: RunView) -> list[Any]:
        return [view.row.trace_id, *map(below, view.children)]

    return below(await rig.do(GetRun(run_id, tree=True)))


def count(view: RunView) -> int:
    """How many descendants a view shows."""
    return sum(1 + count(child) for child in view.children)


# Rows of a list


async def test_a_row_of_a_list_tells_who_made_it_and_whose_child_it_is(rig: Rig) -> None:
    parent = await run(rig, "parent", agent="boss")
    await run(rig, "by id", f"run:{parent}", agent="worker")
    await run(rig, "by trace", "trace:parent", agent="worker")
    await run(rig, "by nothing", "trace:nobody")
    page = await rig.do(ListRuns(RunFilter(), 10))
    views_by_trace = {view.row.trace_id: view for view in page.rows}
    parents = {trace: view.parent_run_id for trace, view in views_by_trace.items()}
    assert parents == {"parent": None, "by id": parent, "by trace": parent, "by nothing": None}
    agents = {row.name: row.agent_id for row in (await rig.store.rows(rig.org)).agents}
    assert views_by_trace["by id"].agent_id == agents["worker"]
    assert views_by_trace["parent"].agent_id == agents["boss"]
    assert {view.created_by_name for view in page.rows} == {"admin"}
    assert {view.org_id for view in page.rows} == {rig.principal.org_id}
    assert {view.children for view in page.rows} == {()}


async def test_nothing_is_joined_across_organisations(rig: Rig) -> None:
    ours = await run(rig, "parent")
    other = await rig.make_org("other")
    facts = Facts(effects=Effects(parent_key=f"run:{ours}"))
    await rig.do(Append("steps", [draft(run=traced("child"), facts=facts)]), principal=other)
    again = draft(run=traced("again"), facts=Facts(effects=Effects(parent_key="trace:parent")))
    await rig.do(Append("steps", [again]), principal=other)
    page = await rig.do(ListRuns(RunFilter(), 10), principal=other)
    assert [view.parent_run_id for view in page.rows] == [None, None]
    assert (await rig.do(GetRun(ours, tree=True))).children == ()


# One run


async def test_one_run_shows_what_it_was_given_and_what_it_gave(rig: Rig) -> None:
    run_id = (await rig.append(draft(E.RUN_STARTED, traced("x"), {"input": 1})))[0].run_id
    view = await rig.do(GetRun(run_id))
    assert (view.input, view.result) == (b"1", None)
    await rig.append(draft(E.RUN_COMPLETED, traced("x"), {"answer": 42}), draft(E.STEP, traced("x"), {"late": 1}))
    view = await rig.do(GetRun(run_id))
    assert (view.input, view.result) == (b"1", b'{"answer":42}')
    assert view.lane is None


async def test_a_run_for_workers_shows_its_lane(rig: Rig) -> None:
    created = await rig.do(CreateRun("t", input=b'"hi"'))
    view = await rig.do(GetRun(created.run_id))
    assert view.lane == await rig.store.lane(rig.org, view.row.run)
    claimed = await rig.do(Claim("w", 60_000))
    view = await rig.do(GetRun(created.run_id))
    assert view.lane == claimed.lane
    assert view.lane.worker_id == "w"


# Trees


async def test_a_tree_shows_children_below_their_parents_oldest_first(rig: Rig) -> None:
    root = await run(rig, "root")
    for trace, parent in (("b", "root"), ("a", "root"), ("b1", "b"), ("b2", "b"), ("a1", "a"), ("a11", "a1")):
        await run(rig, trace, f"trace:{parent}")
    assert await tree(rig, root) == ["root", ["b", ["b1"], ["b2"]], ["a", ["a1", ["a11"]]]]
    assert (await rig.do(GetRun(root))).children == (), "only where it was asked for"
    [child] = [view for view in (await rig.do(GetRun(root, tree=True))).children if view.row.trace_id == "a"]
    assert child.parent_run_id == root


async def test_runs_that_name_each_other_end(rig: Rig) -> None:
    one = await run(rig, "one", "trace:two")
    two = await run(rig, "two", "trace:one")
    await run(rig, "two's", "trace:two")
    assert await tree(rig, two) == ["two", ["one"], ["two's"]], "the link that would close the circle is not made"
    assert await tree(rig, one) == ["one"]
    own = await run(rig, "own", "trace:own")
    assert await tree(rig, own) == ["own"]


async def test_a_tree_is_only_so_deep(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_TREE_DEPTH", 3)
    root = await run(rig, "0")
    for depth in range(1, 6):
        await run(rig, str(depth), f"trace:{depth - 1}")
    assert await tree(rig, root) == ["0", ["1", ["2", ["3"]]]]


async def test_a_tree_shows_only_so_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MAX_TREE_RUNS", 10)
    root = await run(rig, "root")
    for child in range(4):
        await run(rig, f"c{child}", "trace:root")
        for grandchild in range(4):
            await run(rig, f"c{child}-{grandchild}", f"trace:c{child}")
    view = await rig.do(GetRun(root, tree=True))
    assert [child.row.trace_id for child in view.children] == ["c0", "c1", "c2", "c3"]
    assert 4 < count(view) <= 10


# Checkpoints


async def checkpoint(rig: Rig, history: History | None, **facts: Any) -> Any:
    """One checkpoint of a run, read back."""
    state = CheckpointFacts(0, "completed", **facts)
    item = draft(
        E.CHECKPOINT,
        traced("x"),
        {"step_index": 0, "n": 1},
        agent="a",
        facts=Facts(effects=Effects(checkpoint=state)),
        history=history,
    )
    [stored] = await rig.append(item)
    assert isinstance(stored, Stored)
    return await rig.do(GetCheckpoint(stored.run_id, 0))


MESSAGES = [b'{"role":"user","content":"hi"}', b'{"role":"assistant","content":"ho"}']


async def test_a_checkpoint_is_read_back_with_its_history_in_order(rig: Rig) -> None:
    metas = [b'{"at":1}', b"null"]
    view = await checkpoint(rig, History(MESSAGES, metas))
    assert (view.figures, view.history, view.history_meta) == (b'{"step_index":0,"n":1}', MESSAGES, metas)
    assert (view.trace_id, view.row.length) == ("x", 2)


async def test_metas_that_were_not_given_are_told_from_none(rig: Rig) -> None:
    assert (await checkpoint(rig, History(MESSAGES, None), has_meta=False)).history_meta is None
    assert (await checkpoint(rig, History([], []), has_meta=True)).history_meta == []


async def test_a_checkpoint_without_messages_has_an_empty_history(rig: Rig) -> None:
    view = await checkpoint(rig, None)
    assert (view.history, view.history_meta) == ([], [])


async def test_what_a_run_began_with_has_no_figures(rig: Rig) -> None:
    view = await checkpoint(rig, History(MESSAGES, None), initial=True, has_meta=False)
    assert (view.figures, view.history) == (b"{}", MESSAGES)


async def test_metas_that_grew_turn_by_turn_come_back_whole(rig: Rig) -> None:
    metas = [b'{"at":%d}' % number for number in range(3)]
    messages = [b'{"n":%d}' % number for number in range(3)]
    for length in range(1, 4):
        view = await checkpoint(rig, History(messages[:length], metas[:length]))
        assert (view.history, view.history_meta) == (messages[:length], metas[:length])
    assert view.row.revision == 3
