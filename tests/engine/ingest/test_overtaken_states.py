"""What a run is in does not depend on the order in which its states come; who waits resumes from a whole history."""

from __future__ import annotations

import itertools

import pytest

from tests.engine.ingest.test_restarts import START, Json, agrees, rows, said_last, state, tell
from tests.support.rig import Rig
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.outcome import Page
from towerlog.model.question import LatestCheckpoint, ListApprovals
from towerlog.model.run import Status

CALL = [{"function": "deploy", "args": {}}]


def wait(step: int, tokens: int = 1100) -> Json:
    """A state that waits for a person, as runners send it: without a history."""
    return state(step, tokens, status="waiting_for_approval", pending_tool_calls=CALL)


STORIES = {
    "went on": ([state(0, 1100, "q"), wait(1), state(2, 2200, "q", "r")], Status.RUNNING, [], "r"),
    "waits": ([state(0, 1100, "q"), state(1, 2200, "q", "r"), wait(2, 2200)], Status.WAITING, [2], "r"),
    "waits again": ([wait(0), state(1, 2200, "q", "r"), wait(2, 2200), wait(3, 2200)], Status.WAITING, [3], "r"),
    "rests": ([wait(0), state(1, 2200, "q", "r"), state(2, 2200, "q", "s", status="idle")], Status.RUNNING, [], "s"),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("starts", [True, False])
async def test_a_state_that_comes_late_says_nothing_of_where_its_agent_stands(
    rig: Rig, name: str, starts: bool
) -> None:
    told, status, open_steps, last = STORIES[name]
    waiting = 0
    for number, order in enumerate(itertools.permutations(told)):
        thread = f"t{number}"
        for event in ([START] if starts else []) + list(order):
            await tell(rig, event, thread=thread)
        [row] = await rows(rig, thread)
        assert (row.status, row.idle, row.usage.total_tokens) == (status, name == "rests", 2200)
        assert row.awaits_approval is bool(open_steps)
        page = await rig.do(ListApprovals(1000))
        assert isinstance(page, Page)
        waiting += len(open_steps)
        assert len(page.rows) == waiting, order
        assert await said_last(rig, thread) == last, order
    await agrees(rig)


@pytest.mark.parametrize("order", ["earlier first", "later first"])
async def test_a_wait_that_is_the_first_of_its_run_resumes_from_the_run_before(rig: Rig, order: str) -> None:
    older = [START, state(0, 1100, "old", "old answer")]
    newer = [START, wait(3)]
    for event in older:
        await tell(rig, event, trace="one")
    for event in newer:
        await tell(rig, event, trace="two")
    if order == "later first":
        await tell(rig, state(1, 2200, "old", "old answer", "its last"), trace="one")
    view = await rig.do(LatestCheckpoint("t"))
    assert isinstance(view, CheckpointView)
    assert (view.row.step_index, view.row.status, view.trace_id) == (3, "waiting_for_approval", "two")
    assert await said_last(rig) == ("old answer" if order == "earlier first" else "its last")
    await tell(rig, state(2, 900, "old", "new"), trace="two")
    assert await said_last(rig) == "new", "the run's own, whenever it comes"


async def test_a_wait_never_resumes_from_another_agent_or_from_the_run_above(rig: Rig) -> None:
    await tell(rig, START, state(0, 1100, "main"), trace="main")
    below = {"parent_trace_id": "main"}
    await tell(rig, {**wait(0), "data": {**wait(0)["data"], **below}}, trace="sub")
    view = await rig.do(LatestCheckpoint("t", "sub"))
    assert isinstance(view, CheckpointView)
    assert view.history == []
    await tell(rig, state(0, 10, "peer", agent_id="peer"), thread="u", trace="one")
    other = {**wait(0)["data"]}
    await tell(rig, {"type": "checkpoint", "data": other}, thread="u", trace="two")
    view = await rig.do(LatestCheckpoint("u", "two"))
    assert isinstance(view, CheckpointView)
    assert view.history == []
