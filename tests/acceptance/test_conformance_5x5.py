"""Every dialect in × every dialect out: what comes in through one is seen, truly, through each of the five.

Each cell is one test. The runs are fed once, each in an organisation of its own, so that nothing else can be seen.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from tests.acceptance.feeds import (
    FULL_ROW,
    activity_of,
    cancel,
    checkpoint_ids,
    claim,
    create_run,
    detail,
    log_of,
    newest_run_of,
    ok,
    report,
    snapshot,
    step,
)
from tests.acceptance.five_ways import (
    AGENT,
    HISTORY,
    SECRET,
    Fed,
    activity_feed,
    between,
    checkpoints_feed,
    lanes_feed,
    register_agent,
    runs_feed,
    steps_feed,
)
from tests.support.readback import ReadBack
from tests.support.senders import save_batch


@pytest.fixture(scope="module")
def new_org(server) -> Callable[[str], httpx2.Client]:
    """Makes an organisation that holds nothing."""
    return lambda name: server.client(server.make_org(f"conformance-{name}")[1])


@pytest.fixture(scope="module")
def by_checkpoints(new_org) -> Fed:
    """A run that came in through `checkpoints`."""
    return between(new_org("checkpoints"), checkpoints_feed)


@pytest.fixture(scope="module")
def by_steps(new_org) -> Fed:
    """A run that came in through `steps`."""
    return between(new_org("steps"), steps_feed)


@pytest.fixture(scope="module")
def by_activity(new_org) -> Fed:
    """What came in through `activity`."""
    client = new_org("activity")
    register_agent(client)
    return between(client, activity_feed)


@pytest.fixture(scope="module")
def by_runs(new_org) -> Fed:
    """A run that came in through `runs`."""
    return between(new_org("runs"), runs_feed)


@pytest.fixture(scope="module")
def by_lanes(new_org) -> Fed:
    """A run whose events came in through `lanes`."""
    return between(new_org("lanes"), lanes_feed)


def not_resumable(fed: Fed) -> None:
    """A thread without a checkpoint has no state to resume from, and says so in the dialect's form."""
    reply = fed.client.get(f"/v1/runners/threads/{fed.thread_id}/latest")
    assert reply.status_code == 404
    assert set(reply.json()) == {"detail"}
    assert checkpoint_ids(fed.client, fed.run_id) == []


def takes_positions(fed: Fed) -> None:
    """The replies of `steps` count every event of the organisation: each one of this run has taken a position."""
    first, last = fed.positions
    assert last - first == fed.stored + 1


# in: checkpoints


def test_checkpoints_to_checkpoints(by_checkpoints) -> None:
    state = ReadBack(by_checkpoints.client).state("my-project")
    assert state["trace_id"] == "abc123"
    assert state["step_index"] == 2
    assert state["history"] == HISTORY


def test_checkpoints_to_steps(by_checkpoints) -> None:
    assert by_checkpoints.stored >= 4
    takes_positions(by_checkpoints)


def test_checkpoints_to_activity(by_checkpoints) -> None:
    feed = activity_of(by_checkpoints.client, by_checkpoints.agent_id)
    calls = [event for event in feed if event["type"] == "inference_complete"]
    assert calls, "a turn of a checkpoint is a model call"
    last = calls[-1]
    assert last["id"].startswith("inference-")
    assert last["tool"] == "inference"
    assert last["metadata"]["model_name"] == "claude-sonnet-4-6"
    assert sum(call["metadata"]["input_tokens"] or 0 for call in calls) == 310
    assert sum(call["metadata"]["output_tokens"] or 0 for call in calls) == 110
    assert SECRET not in str(feed)


def test_checkpoints_to_runs(by_checkpoints) -> None:
    row = by_checkpoints.row()
    assert set(row) == FULL_ROW
    assert row["status"] == "completed"
    assert row["model"] == "claude-sonnet-4-6"
    assert (row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]) == (310, 110, 0.00231)
    assert detail(by_checkpoints.client, by_checkpoints.run_id)["thread_id"] == "my-project"
    types = by_checkpoints.types()
    assert types[0] == "run.started"
    assert types.count("checkpoint") == 2
    assert types[-1] == "run.completed"
    assert SECRET not in str(log_of(by_checkpoints.client, by_checkpoints.run_id)), "a checkpoint without its history"


def test_checkpoints_to_lanes(by_checkpoints) -> None:
    never_claimable(by_checkpoints, ended=True)


def never_claimable(fed: Fed, *, ended: bool) -> None:
    """What telemetry brought is in nobody's queue; an ended run says that it has ended."""
    assert fed.client.post("/api/agents/runs/claim", json={"worker_id": "hungry"}).status_code == 204
    assert fed.run_id not in ok_text(fed.client.get("/api/agents/runs", params={"state": "queued"}))
    reply = fed.client.post(f"/api/agents/runs/{fed.run_id}/claim", json={"worker_id": "hungry"})
    assert reply.status_code == 409
    if ended:
        assert reply.json()["code"] == "RUN_ENDED"


def ok_text(reply: httpx2.Response) -> str:
    """The text of a good reply."""
    assert reply.status_code == 200, reply.text
    return reply.text


# in: steps


def test_steps_to_checkpoints(by_steps) -> None:
    not_resumable(by_steps)


def test_steps_to_checkpoints_in_one_thread(new_org) -> None:
    """A checkpoint that names no trace belongs to the thread's open run, whoever brought that run."""
    client = new_org("steps-thread")
    step(client, "sdk-1", "run_start", {"thread_id": "one-thread"}, agent_name=AGENT)
    run_id = newest_run_of(client, "one-thread")
    save_batch(client, snapshot("one-thread", None, 1, HISTORY))
    assert newest_run_of(client, "one-thread") == run_id
    assert len(checkpoint_ids(client, run_id)) == 1
    assert ReadBack(client).state("one-thread")["history"] == HISTORY


def test_steps_to_steps(by_steps) -> None:
    takes_positions(by_steps)
    repeated = {"framework": "langgraph", "input": {"query": SECRET}}
    answer = step(by_steps.client, "run_a1b2c3", "run_start", repeated, agent_name=AGENT)
    assert by_steps.positions[0] < answer["event_id"] < by_steps.positions[1]


def test_steps_to_activity(by_steps) -> None:
    feed = activity_of(by_steps.client, by_steps.agent_id)
    assert "command_complete" in [event["type"] for event in feed]
    (call,) = [event for event in feed if event["type"] == "inference_complete"]
    assert call["input_summary"].startswith("gpt-4 (")
    assert call["metadata"]["input_tokens"] == 150
    assert call["metadata"]["output_tokens"] == 45
    assert call["metadata"]["cost_usd"] == 0.0023
    assert call["output_summary"].startswith("150+45 tokens, $0.0023")
    assert SECRET not in str(feed)


def test_steps_to_runs(by_steps) -> None:
    row = by_steps.row()
    assert set(row) == FULL_ROW
    assert row["thread_id"] == "run_a1b2c3"
    assert (row["status"], row["model"], row["total_cost_usd"]) == ("completed", "gpt-4", 0.0023)
    assert (row["total_input_tokens"], row["total_output_tokens"]) == (150, 45)
    types = by_steps.types()
    assert types[0] == "run.started"
    assert types[-1] == "run.completed"
    assert {"step", "tool.result"} <= set(types)


def test_steps_to_lanes(by_steps) -> None:
    never_claimable(by_steps, ended=True)


# in: activity


def test_activity_to_checkpoints(by_activity) -> None:
    not_resumable(by_activity)
    assert ok(by_activity.client.get("/approvals")) == []


def test_activity_to_steps(by_activity) -> None:
    first, last = by_activity.positions
    assert last - first == 2 + 1, "each pushed event takes one position"


def test_activity_to_activity(by_activity) -> None:
    feed = activity_of(by_activity.client, by_activity.agent_id, tail=2)
    assert [event["type"] for event in feed] == ["command_complete", "file_read"]
    assert [event["input_summary"] for event in feed] == ["make test", "README.md"]
    assert feed[0]["output_summary"] == "exit 0, 77 bytes"


def test_activity_to_runs(by_activity) -> None:
    events = log_of(by_activity.client, by_activity.run_id)
    assert "make test" in str(events)
    assert "README.md" in str(events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert by_activity.row()["run_id"] == by_activity.run_id


def test_activity_to_lanes(by_activity) -> None:
    never_claimable(by_activity, ended=False)


# in: runs


def test_runs_to_checkpoints(new_org) -> None:
    """A runner inside a created run saves by the run's own trace, and resumes from it."""
    client = new_org("runs-checkpoints")
    created = create_run(client, "an-app-thread")
    claim(client, created["run_id"], "worker")
    save_batch(client, snapshot("an-app-thread", created["trace_id"], 1, HISTORY))
    assert newest_run_of(client, "an-app-thread") == created["run_id"]
    state = ReadBack(client).state("an-app-thread")
    assert state["trace_id"] == created["trace_id"]
    assert state["history"] == HISTORY
    assert len(checkpoint_ids(client, created["run_id"])) == 1


def test_runs_to_steps(by_runs, new_org) -> None:
    """What an application asks of a run reaches the agent in the replies of `steps`."""
    takes_positions(by_runs)
    client = new_org("runs-steps")
    step(client, "sdk-1", "run_start", agent_name=AGENT)
    cancel(client, newest_run_of(client, "sdk-1"))
    answer = step(client, "sdk-1", "step", {"node_name": "n"})
    assert [command["type"] for command in answer["commands"]] == ["cancel"]


def test_runs_to_activity(by_runs) -> None:
    """Creating, answering and ending are no commands of an agent; no word of them is in any agent's activity."""
    for agent in ReadBack(by_runs.client).agents():
        feed = activity_of(by_runs.client, agent["agent_id"])
        assert SECRET not in str(feed)
        assert all(event["tool"] != "shell" for event in feed)


def test_runs_to_runs(by_runs) -> None:
    row = by_runs.row()
    assert (row["status"], row["thread_id"]) == ("completed", "an-app-thread")
    types = by_runs.types()
    wanted = ["run.queued", "run.started", "run.waiting_for_input", "run.input", "run.completed"]
    assert [kind for kind in types if kind in wanted] == wanted


def test_runs_to_lanes(new_org) -> None:
    client = new_org("runs-lanes")
    run_id = create_run(client, "an-app-thread", input=SECRET)["run_id"]
    assert run_id in ok_text(client.get("/api/agents/runs", params={"state": "queued"}))
    taken = ok(client.post("/api/agents/runs/claim", json={"worker_id": "worker"}))
    assert taken["run"]["id"] == run_id
    assert taken["input"] == SECRET
    cancel(client, run_id)
    assert [command["type"] for command in report(client, run_id, "worker")["commands"]] == ["cancel"]


# in: lanes


def test_lanes_to_checkpoints(by_lanes) -> None:
    not_resumable(by_lanes)


def test_lanes_to_steps(by_lanes) -> None:
    assert by_lanes.stored >= 6
    takes_positions(by_lanes)


def test_lanes_to_activity(by_lanes) -> None:
    run = report(by_lanes.client, by_lanes.run_id, "worker")
    assert run["agent_id"], "a run that a worker works on has an agent"
    feed = activity_of(by_lanes.client, run["agent_id"])
    assert {"command_start", "command_complete"} <= {event["type"] for event in feed}
    assert {event["tool"] for event in feed if event["type"].startswith("command_")} == {"shell"}
    assert SECRET not in str(feed)


def test_lanes_to_runs(by_lanes) -> None:
    assert by_lanes.row()["status"] == "running"
    events = log_of(by_lanes.client, by_lanes.run_id)
    by_type = {event["type"]: event["data"] for event in events}
    assert by_type["message.delta"] == {"content": SECRET}
    assert by_type["tool.call"]["tool_call_id"] == by_type["tool.result"]["tool_call_id"] == "t1"


def test_lanes_to_lanes(by_lanes) -> None:
    text = ok_text(by_lanes.client.get("/api/agents/runs", params={"state": "running"}))
    assert by_lanes.run_id in text
    assert "building" in text
    assert by_lanes.run_id in ok_text(by_lanes.client.get("/api/agents/workers"))


DIALECTS = ["checkpoints", "steps", "activity", "runs", "lanes"]


def test_every_cell_has_a_test() -> None:
    cells = {f"test_{came_in}_to_{goes_out}" for came_in in DIALECTS for goes_out in DIALECTS}
    assert len(cells) == 25
    assert cells <= set(globals())
