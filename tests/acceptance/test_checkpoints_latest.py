"""`latest` of a thread: whose state it is, and that nobody is told a decision that is about somebody else."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.test_checkpoints_own_runs import said
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, runner_event, save_batch, send_batch


def wait(thread: str, trace: str, step: int, **data: Any) -> Json:
    """A checkpoint that waits for a person."""
    calls = [{"id": f"{trace}-{step}", "name": "deploy", "arguments": {}}]
    return checkpoint(thread, trace, step, status="waiting_for_approval", pending_tool_calls=calls, **data)


def decide(client: httpx2.Client, trace: str, step: int, verb: str) -> None:
    """A person's decision."""
    reply = client.post(f"/approvals/{trace}/{step}/{verb}")
    assert reply.status_code == 200, reply.text


def of_trace(client: httpx2.Client, thread: str, trace: str, **query: str) -> tuple[str, int, str]:
    """Trace, step and status of `latest` of one run."""
    reply = client.get(f"/v1/runners/threads/{thread}/latest", params={"trace_id": trace, **query})
    assert reply.status_code == 200, reply.text
    state = reply.json()
    return state["trace_id"], state["step_index"], state["status"]


@pytest.mark.parametrize("prefix", ["", "/internal"])
def test_a_sub_agent_never_reads_the_approval_of_the_run_above_it(
    client: httpx2.Client, back: ReadBack, unique: Unique, prefix: str
) -> None:
    thread, main, sub = unique("thread"), unique("main"), unique("sub")
    save_batch(client, runner_event("thread_started", thread, main), wait(thread, main, 1, **said("task")))
    decide(client, main, 1, "approve")
    assert back.state(thread)["status"] == "approved"
    save_batch(client, wait(thread, sub, 0, agent_id="scout", parent_trace_id=main, **said("search")))
    state = back.state(thread)
    assert (state["trace_id"], state["history"]) == (main, said("task")["history"]), "never that of a sub-agent"
    assert state["status"] == "in_progress", "whoever asks takes no decision from it"
    assert of_trace(client, thread, sub) == (sub, 0, "waiting_for_approval")
    decide(client, sub, 0, "reject")
    assert back.state(thread)["status"] == "in_progress"
    assert (of_trace(client, thread, sub), of_trace(client, thread, main)) == (
        (sub, 0, "rejected"),
        (main, 1, "approved"),
    )
    save_batch(client, checkpoint(thread, sub, 1, agent_id="scout", parent_trace_id=main))
    assert back.state(thread)["status"] == "approved", "the sub-agent has gone on"
    reply = client.get(f"{prefix}/v1/runners/threads/{thread}/latest", params={"trace_id": unique("none")})
    assert reply.status_code == 404


def test_agents_side_by_side_are_told_only_what_is_decided_for_all(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    """Two that were handed work at once have runs without a parent, and poll the thread alike."""
    thread, one, two = unique("thread"), unique("one"), unique("two")
    save_batch(client, wait(thread, one, 0, agent_id="one"), wait(thread, two, 0, agent_id="two"))
    decide(client, two, 0, "approve")
    assert back.state(thread)["status"] == "in_progress"
    decide(client, one, 0, "approve")
    assert back.state(thread)["status"] == "approved"


def test_agents_of_one_run_are_told_apart_by_name(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, wait(thread, trace, 2, agent_id="a"), wait(thread, trace, 2, agent_id="b"))
    reply = client.post(f"/approvals/{trace}/2/approve", json={"agent_id": "b"})
    assert reply.status_code == 200, reply.text
    assert back.state(thread)["status"] == "in_progress"
    assert of_trace(client, thread, trace, agent_id="a")[2] == "waiting_for_approval"
    assert of_trace(client, thread, trace, agent_id="b")[2] == "approved"


def test_who_was_abandoned_while_it_waited_holds_up_nobody(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, killed, below, again = unique("thread"), unique("killed"), unique("below"), unique("again")
    save_batch(client, runner_event("thread_started", thread, killed), wait(thread, killed, 1))
    save_batch(client, wait(thread, below, 0, agent_id="scout", parent_trace_id=killed))
    save_batch(client, runner_event("thread_started", thread, again), wait(thread, again, 2))
    decide(client, again, 2, "approve")
    state = back.state(thread)
    assert (state["trace_id"], state["status"]) == (again, "approved")


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_who_waits_for_a_decision_learns_that_its_run_is_over(
    client: httpx2.Client, back: ReadBack, unique: Unique, verb: str
) -> None:
    """A runner that polls sends nothing, and so gets no command."""
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, wait(thread, trace, 1))
    run_id = client.get("/v1/runs", params={"thread_id": thread}).json()[0]["run_id"]
    path = f"/v1/runs/{run_id}:cancel" if verb == "cancel" else f"/api/v1/runs/{run_id}:kill"
    client.post(path).raise_for_status()
    assert back.state(thread)["status"] == "rejected"
    assert of_trace(client, thread, trace) == (trace, 1, "rejected")
    assert of_trace(client, thread, trace, agent_id=client.get(f"/v1/runs/{run_id}").json()["agent"])[2] == "rejected"
    assert client.get(f"/api/v1/runs/{run_id}/checkpoints").json()["data"][0]["status"] == "rejected"


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_what_was_approved_is_void_once_its_run_is_to_end(
    client: httpx2.Client, back: ReadBack, unique: Unique, verb: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace), wait(thread, trace, 1))
    run_id = client.get("/v1/runs", params={"thread_id": thread}).json()[0]["run_id"]
    decide(client, trace, 1, "approve")
    save_batch(client, wait(thread, trace, 2))
    [asked] = client.get("/api/v1/approvals", params={"run_id": run_id}).json()["data"]
    decide(client, trace, 2, "approve")
    assert of_trace(client, thread, trace) == (trace, 2, "approved")
    path = f"/v1/runs/{run_id}:cancel" if verb == "cancel" else f"/api/v1/runs/{run_id}:kill"
    client.post(path).raise_for_status()
    assert (back.state(thread)["status"], of_trace(client, thread, trace)) == ("rejected", (trace, 2, "rejected"))
    closed = client.get(f"/api/v1/approvals/{asked['approval_id']}").json()
    assert (closed["state"], closed["answered_by"], closed["resumed_at"]) == ("withdrawn", "admin", None)
    steps = client.get(f"/api/v1/runs/{run_id}/checkpoints").json()["data"]
    assert {one["step_index"]: one["status"] for one in steps} == {0: "in_progress", 1: "approved", 2: "rejected"}
    if verb == "kill":
        save_batch(client, runner_event("thread_started", thread, trace))
        assert back.state(thread)["status"] == "rejected", "nor does its next life carry it out"


def test_a_parameter_that_is_not_known_is_refused(client: httpx2.Client, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "main", 1))
    reply = client.get(f"/v1/runners/threads/{thread}/latest", params={"trace": "sub"})
    assert (reply.status_code, "trace_id" in reply.json()["detail"]) == (422, True), reply.text


def test_who_has_handed_work_over_is_resumed_once_it_goes_on(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, main, peer = unique("thread"), unique("main"), unique("peer")
    lead, other = {"agent_id": "lead"}, {"agent_id": "peer"}
    save_batch(client, runner_event("thread_started", thread, main, **lead), checkpoint(thread, main, 0, **lead))
    save_batch(client, runner_event("agent_transfer_started", thread, **{"from": "lead", "to": "peer"}))
    save_batch(client, runner_event("thread_started", thread, peer, **other))
    save_batch(client, checkpoint(thread, peer, 0, **other), checkpoint(thread, peer, 1, **other, **said("peer's")))
    assert back.state(thread)["trace_id"] == peer, "a peer reads its own state while it works"
    ended = send_batch(client, runner_event("thread_completed", thread)).json()
    assert (ended["saved"], [one["field"] for one in ended["warnings"]]) == (1, ["data.trace_id"]), "whose end is it?"
    save_batch(client, checkpoint(thread, main, 1, **lead, **said("lead's")))
    for _ in range(2):
        state = back.state(thread)
        assert (state["trace_id"], state["step_index"], state["history"]) == (main, 1, said("lead's")["history"])
        save_batch(client, runner_event("thread_completed", thread))


def test_what_a_peer_waits_for_is_not_the_leads_affair(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, main, peer = unique("thread"), unique("main"), unique("peer")
    save_batch(client, wait(thread, main, 0, agent_id="lead"))
    decide(client, main, 0, "approve")
    save_batch(client, wait(thread, peer, 0, agent_id="peer"))
    assert back.state(thread)["trace_id"] == peer
    decide(client, peer, 0, "reject")
    assert back.state(thread)["status"] == "in_progress", "the lead may not have read that it may go on"
    save_batch(client, checkpoint(thread, main, 1, agent_id="lead"), checkpoint(thread, peer, 1, agent_id="peer"))
    assert back.state(thread)["trace_id"] == peer
