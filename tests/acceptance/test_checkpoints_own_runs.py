"""A thread's own run: sub-agents, workflows and teams that report into the thread of the run that began them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.test_checkpoints_descent import run_of_trace
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, runner_event, save_batch, send_batch


def said(*texts: str) -> Json:
    """A history of a person's messages, with its metas."""
    metas = [{"ts": f"2026-01-01T00:00:0{index}.000Z"} for index in range(len(texts))]
    return {"history": [{"role": "user", "content": text} for text in texts], "history_meta": metas}


def test_a_sub_agent_in_the_same_thread_is_not_its_state(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    """A main agent that is started again must not go on with the conversation of its sub-agent."""
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "main"), checkpoint(thread, "main", 1, **said("task")))
    sub = {"agent_id": "researcher:scout", "parent_trace_id": "main", "status": "completed"}
    save_batch(client, checkpoint(thread, "sub", 7, **sub, **said("search")))
    state = back.state(thread)
    assert (state["trace_id"], state["step_index"], state["history"]) == ("main", 1, said("task")["history"])


@pytest.mark.parametrize("order", ["parent first", "child first"])
def test_an_end_without_a_trace_is_that_of_the_main_run(
    client: httpx2.Client, back: ReadBack, unique: Unique, order: str
) -> None:
    thread = unique("thread")
    events = [
        checkpoint(thread, "main", 1, **said("task")),
        checkpoint(thread, "sub", 1, parent_trace_id="main", **said("search")),
        checkpoint(thread, "below", 1, parent_trace_id="sub", **said("look up")),
    ]
    for event in events if order == "parent first" else events[::-1]:
        save_batch(client, event)
    assert back.state(thread)["trace_id"] == "main"
    save_batch(client, runner_event("thread_completed", thread))
    statuses = {trace: run_of_trace(back, thread, trace)["status"] for trace in ("main", "sub", "below")}
    assert statuses == {"main": "completed", "sub": "completed", "below": "completed"}, "sub-agents tell no end"
    save_batch(client, runner_event("thread_error", thread, error="again"))
    assert run_of_trace(back, thread, "main")["late_events"] == 1, "a sub-agent is not the thread's own run"


def test_a_sub_agent_ends_as_its_last_checkpoint_says_and_a_run_that_tells_its_end_goes_on(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    below = {"parent_trace_id": "main"}
    save_batch(
        client,
        runner_event("thread_started", thread, "main"),
        runner_event("thread_started", thread, "peer", **below),
        checkpoint(thread, "peer", 1, **below),
        checkpoint(thread, "broken", 1, status="error", **below),
        checkpoint(thread, "busy", 1, **below),
        checkpoint(thread, "another", 1, parent_trace_id="unknown"),
        runner_event("thread_error", thread, "main", error="out of memory"),
    )
    seen = {name: run_of_trace(back, thread, name) for name in ("main", "peer", "broken", "busy", "another")}
    statuses = {name: row["status"] for name, row in seen.items()}
    assert statuses == {"main": "failed", "peer": "running", "broken": "failed", "busy": "failed", "another": "running"}
    assert seen["busy"]["error"] == "the run above it has ended"
    save_batch(client, checkpoint(thread, "busy", 2, tokens_used=9, **below))
    late = run_of_trace(back, thread, "busy")
    assert (late["status"], late["usage"]["total_tokens"]) == ("failed", 9), "what it spent counts still"


def test_a_run_whose_parent_is_elsewhere_is_its_threads_own(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    here, there, parent = unique("here"), unique("there"), unique("trace")
    save_batch(client, runner_event("thread_started", here, "alone"), runner_event("thread_completed", here, "alone"))
    save_batch(client, runner_event("thread_started", there, parent))
    save_batch(client, runner_event("thread_started", here, "peer", parent_trace_id=parent))
    save_batch(client, checkpoint(here, "peer", 2, **said("a transfer")))
    assert back.state(here)["trace_id"] == "peer"
    save_batch(client, runner_event("thread_completed", here))
    assert run_of_trace(back, here, "peer")["status"] == "completed"
    assert run_of_trace(back, there, parent)["status"] == "running"


def test_a_new_trace_goes_on_from_a_run_that_never_ended(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    """A runner that was killed said nothing of its end; the next one reads its state and goes on."""
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "killed"), checkpoint(thread, "killed", 3, **said("x")))
    save_batch(client, checkpoint(thread, "sub", 1, parent_trace_id="killed", **said("y")))
    save_batch(client, runner_event("thread_started", thread, "next"))
    again = run_of_trace(back, thread, "next")
    assert again["resumed_from"] == run_of_trace(back, thread, "killed")["run_id"]
    assert back.state(thread)["trace_id"] == "killed"
    save_batch(client, runner_event("thread_started", thread, "scout", parent_trace_id="next"))
    assert run_of_trace(back, thread, "scout")["resumed_from"] is None, "a sub-agent begins anew"


# Approvals


def wait(thread: str, step: int, **data: Any) -> Json:
    """What a runner sends that asks for an approval: no message, and the metas gathered so far."""
    metas = said("a", "b")["history_meta"]
    asked = {"pending_tool_calls": [{"function": "delete", "args": {}}], "history_meta": metas}
    return checkpoint(thread, f"{thread}-1", step, status="waiting_for_approval", **{**asked, **data})


def test_a_wait_without_a_history_takes_no_history_away(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    trace = f"{thread}-1"
    save_batch(client, checkpoint(thread, trace, 0, **said("one", "two")), wait(thread, 1))
    save_batch(client, wait(thread, 2), wait(thread, 2, tokens_used=5))
    for status in ("waiting_for_approval", "approved"):
        state = back.state(thread)
        assert (state["step_index"], state["status"], state["pending_tool_calls"]) == (
            2,
            status,
            [{"function": "delete", "args": {}}],
        )
        assert {name: state[name] for name in ("history", "history_meta")} == said("one", "two")
        if status != "approved":
            assert client.post(f"/approvals/{trace}/2/approve").status_code == 200
    run = run_of_trace(back, thread, trace)
    as_sent = client.get(f"/api/v1/runs/{run['run_id']}/checkpoints/2").json()
    assert (as_sent["history"], len(as_sent["history_meta"])) == ([], 2), "it is kept as it was sent"


def test_a_wait_of_another_agent_holds_no_foreign_history(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, f"{thread}-1", 0, agent_id="other", **said("not mine")), wait(thread, 1))
    assert back.state(thread)["history"] == []


# Workflows and teams


@pytest.mark.parametrize("group", ["workflow", "team"])
def test_a_group_has_a_run_that_begins_and_ends(
    client: httpx2.Client, back: ReadBack, unique: Unique, group: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event(f"{group}_started", thread, trace, **{f"{group}_name": "nightly"}))
    save_batch(client, runner_event(f"{group}_routed", thread, trace, routed_to="writer"))
    agent = {"agent_id": "writer", "parent_trace_id": trace}
    save_batch(client, runner_event("thread_started", thread, "inner", **agent))
    save_batch(client, checkpoint(thread, "inner", 1, agent_id="writer", **said("write")))
    save_batch(client, runner_event("thread_completed", thread, "inner", tokens_used=9))
    whole = run_of_trace(back, thread, trace)
    assert (whole["agent"], whole["status"], whole["implicit"]) == (f"{group}:nightly", "running", False)
    ended = send_batch(client, runner_event(f"{group}_completed", thread, trace, tokens_used=9)).json()
    assert (ended["saved"], [one["message"][:23] for one in ended["warnings"]]) == (1, ["data: its agents' runs "])
    assert run_of_trace(back, thread, trace)["status"] == "completed"
    inner = run_of_trace(back, thread, "inner")
    assert (inner["parent_run_id"], inner["agent"], inner["resumed_from"]) == (whole["run_id"], "writer", None)
    assert [event["type"] for event in back.events_of(whole["run_id"])] == ["run.started", "other", "run.completed"]


def test_a_workflow_that_was_terminated_failed(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("workflow_started", thread, trace, workflow_name="w"))
    ended = {"terminated": True, "termination_reason": "nothing to do"}
    save_batch(client, runner_event("workflow_completed", thread, trace, **ended))
    run = run_of_trace(back, thread, trace)
    assert (run["status"], run["error"]) == ("failed", "nothing to do")


def test_a_workflow_that_runs_again_goes_on_from_the_one_before(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    for trace in ("one", "two"):
        save_batch(client, runner_event("workflow_started", thread, trace, workflow_name="w"))
    one, two = run_of_trace(back, thread, "one"), run_of_trace(back, thread, "two")
    assert two["resumed_from"] == one["run_id"]


def test_a_lost_start_leaves_a_workflow_that_ends_all_the_same(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("workflow_step_started", thread, trace, step_name="fetch"))
    save_batch(client, runner_event("workflow_completed", thread, trace, terminated=False))
    assert run_of_trace(back, thread, trace)["status"] == "completed"


@pytest.mark.parametrize("group", ["workflow", "team"])
def test_inside_the_run_of_an_agent_a_group_moves_nothing(
    client: httpx2.Client, back: ReadBack, unique: Unique, group: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace, agent_id="lead"))
    save_batch(client, runner_event(f"{group}_started", thread, trace, **{f"{group}_name": "inner"}))
    save_batch(client, runner_event(f"{group}_completed", thread, trace, terminated=True))
    run = run_of_trace(back, thread, trace)
    assert (run["agent"], run["status"]) == ("lead", "running")
    names = [event["data"]["name"] for event in back.events_of(run["run_id"])[1:]]
    assert names == [f"{group}_started", f"{group}_completed"]
