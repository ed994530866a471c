"""The state that a thread is resumed from: `latest`, histories given back exactly, revisions, approvals."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Scoped, Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, runner_event, save_batch
from tests.support.server import ADMIN_KEY, Server
from tests.support.sse import EventStream
from tests.support.tables import table

STATE_FIELDS = {
    "thread_id",
    "trace_id",
    "step_index",
    "status",
    "history",
    "history_meta",
    "turn_start_history_len",
    "checkpoint",
    "pending_tool_calls",
}
APPROVAL_FIELDS = {"trace_id", "thread_id", "agent_id", "step_index", "pending_tool_calls", "created_at"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

HISTORY: list[Any] = [
    {"role": "user", "content": "What is the weather in Zürich? 天気 🌦"},
    {"zulu": 1, "alpha": 2, "Mike": {"b": [], "a": {}}, "": None, "role": "assistant", "content": ""},
    {"content": [{"type": "text", "text": 'quotes " \\ / \t\n\r \u0000 \u2028 \u007f'}], "role": "tool"},
    {"integers": [0, -1, 2**31, 2**53 + 1, -(2**63), 2**63 - 1], "booleans": [True, False]},
    {"floats": [0.1, 1.0, -0.5, 1e-7, 123456.789, 2.5e10, 3.141592653589793]},
    {"role": "user", "content": "What is the weather in Zürich? 天気 🌦"},
    {"content": "the same with the keys in another order", "role": "user"},
    {"role": "user", "content": "the same with the keys in another order"},
    "a bare string",
    ["a", ["nested", ["array"]]],
    42,
    None,
]


def waiting(thread: str, trace: str, step: int = 1, /, **data: Any) -> Json:
    """A checkpoint that waits for a person to allow its tool call."""
    call = {"id": "call-1", "name": "shell", "arguments": {"command": "rm -rf build"}}
    return checkpoint(thread, trace, step, **{"status": "waiting_for_approval", "pending_tool_calls": [call], **data})


def ordered(text: str) -> Any:
    """JSON with the order of keys and the kind of every number kept, so that `==` compares them too."""
    return json.loads(
        text, object_pairs_hook=lambda pairs: ("object", pairs), parse_float=lambda t: ("float", float(t))
    )


def answer(client: httpx2.Client, trace: str, step: int, verb: str) -> httpx2.Response:
    """Approve or reject a checkpoint."""
    return client.post(f"/approvals/{trace}/{step}/{verb}")


def pending(client: httpx2.Client, *threads: str) -> list[Json]:
    """The approvals that wait in these threads, in the order they are listed."""
    reply = client.get("/approvals")
    assert reply.status_code == 200, reply.text
    return [one for one in reply.json() if one["thread_id"] in threads]


@pytest.mark.parametrize("prefix", ["", "/internal"], ids=["cloud", "local"])
def test_a_started_thread_has_its_initial_checkpoint(
    client: httpx2.Client, back: ReadBack, unique: Unique, prefix: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace, agent_id="researcher"))
    reply = back.latest(thread, prefix)
    assert reply.status_code == 200
    state = reply.json()
    assert set(state) == STATE_FIELDS
    assert (state["thread_id"], state["trace_id"]) == (thread, trace)
    assert (state["step_index"], state["status"]) == (0, "in_progress")
    assert (state["history"], state["history_meta"], state["pending_tool_calls"]) == ([], [], [])


@pytest.mark.parametrize("prefix", ["", "/internal"], ids=["cloud", "local"])
def test_latest_is_the_newest_checkpoint(client: httpx2.Client, back: ReadBack, unique: Unique, prefix: str) -> None:
    thread, trace = unique("thread"), unique("trace")
    meta = [{"ts": "2025-03-14T09:00:00.000Z"}, {"ts": "2025-03-14T09:00:01.123Z", "tokens_in": 310, "tokens_out": 110}]
    history = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    save_batch(client, runner_event("thread_started", thread, trace), checkpoint(thread, trace, 1))
    save_batch(client, checkpoint(thread, trace, 2, history=history, history_meta=meta, turn_start_history_len=1))
    assert back.latest(thread, prefix).json() == {
        "thread_id": thread,
        "trace_id": trace,
        "step_index": 2,
        "status": "in_progress",
        "history": history,
        "history_meta": meta,
        "turn_start_history_len": 1,
        "checkpoint": {"history": history},
        "pending_tool_calls": [],
    }


def test_a_history_comes_back_value_for_value_and_key_for_key(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    meta = [{"ts": f"2026-01-01T00:00:00.{n:03}Z", "tokens_out": n, "tokens_in": -n} for n in range(len(HISTORY))]
    save_batch(client, checkpoint(thread, "t", 1, history=HISTORY, history_meta=meta))
    reply = back.latest(thread)
    state = dict(ordered(reply.text)[1])
    assert state["history"] == ordered(json.dumps(HISTORY))
    assert state["history_meta"] == ordered(json.dumps(meta))


def test_every_turn_of_a_growing_history_comes_back(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, history = unique("thread"), []
    for step in range(1, 31):
        history.append({"role": "user", "content": f"turn {step}", "n": step})
        history.append({"n": step, "role": "assistant", "content": "the same answer each time"})
        meta = [{"ts": f"2026-01-01T00:00:{n % 60:02}.000Z"} for n in range(len(history))]
        save_batch(client, checkpoint(thread, "t", step, history=history, history_meta=meta))
        state = back.state(thread)
        assert (state["step_index"], state["history"], state["history_meta"]) == (step, history, meta)


def test_a_history_may_shrink_and_change(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    for step, history in enumerate([["a", "b", "c"], ["a", "c"], ["summary"], [], ["b", "a", "a", "a"]]):
        save_batch(client, checkpoint(thread, "t", step, history=history, history_meta=[{}] * len(history)))
        assert back.state(thread)["history"] == history


def test_a_revision_replaces_what_was_there(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "t", 1, history=["draft"], history_meta=[{"ts": "a"}], status="idle"))
    save_batch(client, checkpoint(thread, "t", 1, history=["final", "word"], history_meta=[{"ts": "a"}, {"ts": "b"}]))
    state = back.state(thread)
    assert (state["step_index"], state["history"], state["status"]) == (1, ["final", "word"], "in_progress")


def test_a_refused_checkpoint_changes_no_state(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "t", 1, history=["kept"], history_meta=[{}]))
    bad = checkpoint(thread, "t", -2, history=["lost"])
    reply = client.post("/v1/runners/events", json={"events": [bad]})
    assert reply.status_code == 422
    assert back.state(thread)["history"] == ["kept"]


@pytest.mark.parametrize("thread_id", ["проект", "a b", "50%", "what?", "a#b", "ü+&=", "..", "日本語🙂"])
def test_a_thread_of_any_script_is_found_percent_encoded(
    client: httpx2.Client, back: ReadBack, unique: Unique, thread_id: str
) -> None:
    thread = f"{unique()}{thread_id}"
    save_batch(client, checkpoint(thread, "t", 1))
    assert back.state(thread)["thread_id"] == thread


def test_latest_of_an_unknown_thread_is_a_404(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    for prefix in ("", "/internal"):
        reply = back.latest(unique("thread"), prefix)
        assert reply.status_code == 404
        assert isinstance(reply.json()["detail"], str)


def test_latest_of_another_organisation_does_not_exist(
    client: httpx2.Client, other_org: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, absent = unique("thread"), unique("thread")
    save_batch(client, checkpoint(thread, "t", 1))
    theirs = ReadBack(other_org)
    assert theirs.latest(thread).status_code == 404
    assert theirs.latest(thread).json() == theirs.latest(absent).json()


@pytest.mark.parametrize(("scope", "status"), [("read", 200), ("ingest", 200), ("control", 403), ("worker", 403)])
def test_latest_needs_read_or_ingest(
    client: httpx2.Client, scoped: Scoped, unique: Unique, scope: str, status: int
) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "t", 1))
    reply = ReadBack(scoped(scope)).latest(thread)
    assert reply.status_code == status
    if status == 403:
        assert isinstance(reply.json()["detail"], str)


def test_waiting_checkpoints_are_listed_oldest_first(client: httpx2.Client, unique: Unique) -> None:
    threads = [unique("thread") for _ in range(3)]
    for thread in threads:
        save_batch(client, waiting(thread, f"trace-{thread}", 2, agent_id="careful"), checkpoint(unique(), "t", 1))
    listed = pending(client, *threads)
    assert [one["thread_id"] for one in listed] == threads
    first = listed[0]
    assert set(first) == APPROVAL_FIELDS
    assert (first["trace_id"], first["agent_id"], first["step_index"]) == (f"trace-{threads[0]}", "careful", 2)
    assert first["pending_tool_calls"][0]["arguments"] == {"command": "rm -rf build"}
    assert TIME.fullmatch(first["created_at"])


def test_a_missing_agent_is_called_unknown(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace, agent_id=None))
    assert [one["agent_id"] for one in pending(client, thread)] == ["unknown"]
    assert back.agent_id("unknown")


@pytest.mark.parametrize(("verb", "status"), [("approve", "approved"), ("reject", "rejected")])
def test_the_answer_is_an_event_that_all_see(
    client: httpx2.Client, back: ReadBack, unique: Unique, verb: str, status: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace, 4, history=["kept"], history_meta=[{}]))
    assert back.status(thread) == "waiting_for_input"
    reply = answer(client, trace, 4, verb)
    assert reply.status_code == 200
    assert reply.json() == {"ok": True, "trace_id": trace, "step_index": 4, "status": status}
    state = back.state(thread)
    assert (state["status"], state["step_index"], state["history"]) == (status, 4, ["kept"])
    assert back.status(thread) == "running"
    assert len(back.events(thread)) == 2
    assert pending(client, thread) == []


def test_followers_see_the_answer_at_once(
    server: Server, client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace))
    url = f"{server.base_url}/v1/runs/{back.run(thread)['run_id']}/events"
    with EventStream(url, {"Authorization": f"Bearer {ADMIN_KEY}"}) as stream:
        assert stream.next_event().json["seq"] == 1
        assert answer(client, trace, 1, "approve").status_code == 200
        assert stream.next_event().json["seq"] == 2


@table("first", ["approve", "reject"])
@table("second", ["approve", "reject"])
def test_the_first_answer_wins(client: httpx2.Client, back: ReadBack, unique: Unique, first: str, second: str) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace))
    assert answer(client, trace, 1, first).status_code == 200
    state, events = back.state(thread), back.events(thread)
    reply = answer(client, trace, 1, second)
    assert reply.status_code == 409
    assert isinstance(reply.json()["detail"], str)
    assert (back.state(thread), back.events(thread)) == (state, events)


def test_a_checkpoint_that_does_not_wait_cannot_be_answered(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1))
    assert answer(client, trace, 1, "approve").status_code == 409


@pytest.mark.parametrize("step", ["99", "-1", "one"])
def test_an_unknown_approval_is_a_404(client: httpx2.Client, unique: Unique, step: str) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace))
    for path in (f"/approvals/{trace}/{step}/approve", f"/approvals/{unique('trace')}/1/reject"):
        reply = client.post(path)
        assert reply.status_code == 404
        assert isinstance(reply.json()["detail"], str)


def test_an_overtaken_checkpoint_waits_no_more(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace, 1), checkpoint(thread, trace, 1, status="in_progress"))
    assert pending(client, thread) == []
    assert answer(client, trace, 1, "approve").status_code == 409


def test_approvals_of_another_organisation_do_not_exist(
    client: httpx2.Client, other_org: httpx2.Client, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace))
    assert pending(other_org, thread) == []
    assert answer(other_org, trace, 1, "approve").status_code == 404
    assert len(pending(client, thread)) == 1


@pytest.mark.parametrize("scope", ["read", "ingest", "worker"])
def test_approvals_need_the_scope_control(
    client: httpx2.Client, anonymous: httpx2.Client, scoped: Scoped, unique: Unique, scope: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, waiting(thread, trace))
    assert scoped(scope).get("/approvals").status_code == 403
    assert answer(scoped(scope), trace, 1, "approve").status_code == 403
    assert anonymous.get("/approvals").status_code == 401
    assert answer(anonymous, trace, 1, "reject").status_code == 401
    assert len(pending(scoped("control"), thread)) == 1
    assert answer(scoped("control"), trace, 1, "approve").status_code == 200
