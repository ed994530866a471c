"""`GET /v1/runs/{run_id}/agui`: any run, live or stored, as a stream that AG-UI's own types and order allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import cancel, complete, create_run, fail, held_run, ok, report, watch
from tests.acceptance.test_retention import told_run
from tests.support.agui import check_order, events_of, messages_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.sse import Frame


def stored(client: httpx2.Client, run_id: str) -> list[dict[str, Any]]:
    """All events of a run that has ended."""
    reply = client.get(f"/v1/runs/{run_id}/agui")
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "text/event-stream"
    return events_of(reply.content)


def piece(content: str, **data: Any) -> dict[str, Any]:
    """A worker's piece of text."""
    return {"type": "message.delta", "payload": {"content": content, **data}}


def talk(client: httpx2.Client, run_id: str) -> None:
    """A worker reports an answer with a tool, a step, a question and its answer, and ends."""
    report(
        client,
        run_id,
        "w",
        piece("let me ", message_id="m1"),
        piece("see", message_id="m1"),
        {"type": "tool.call", "payload": {"tool": "search", "tool_call_id": "c1", "arguments": {"q": "towers"}}},
        {"type": "log_line", "payload": {"log_line": "searching"}},
        {"type": "tool.result", "payload": {"tool": "search", "tool_call_id": "c1", "result": ["Pisa"]}},
        {"type": "step", "payload": {"name": "plan", "phase": "start"}},
        {"type": "step", "payload": {"name": "plan", "phase": "end"}},
        {"type": "model.call", "payload": {"model": "m", "input_tokens": 7, "output_tokens": 2}},
        {"type": "run.waiting_for_input", "payload": {"question": "go on?"}},
    )
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "yes"}))
    report(client, run_id, "w", piece("done", message_id="m2"))
    complete(client, run_id, "w", {"towers": 1})


def test_a_stored_run_is_told_whole(client, unique) -> None:
    thread = unique("thread")
    run_id = held_run(client, thread, "w", input="which towers?")
    talk(client, run_id)
    events = stored(client, run_id)
    check_order(events)
    first, last = events[0], events[-1]
    assert (first["threadId"], first["runId"]) == (thread, run_id)
    assert (last["type"], last["result"]) == ("RUN_FINISHED", {"towers": 1})
    assert last["usage"] == [{"model": "m", "inputTokens": 7, "outputTokens": 2, "totalTokens": 9}]
    assert list(messages_of(events).values()) == ["which towers?", "let me see", '["Pisa"]', "go on?", "yes", "done"]
    named = {one.get("name") for one in events}
    assert {"run.queued", "run.waiting_for_input", "run.input"} <= named
    raw = {one["event"]["type"] for one in events if one["type"] == "RAW"}
    assert {"lane.claimed", "lane.report", "step", "model.call"} <= raw


def call(text: str, span: str, **more: Any) -> dict[str, Any]:
    """A worker's report of a model call and its answer."""
    return {"type": "model.call", "payload": {"model": "m", "span_id": span, "response": text, **more}}


def test_the_answer_of_a_model_is_told_once_whether_it_came_in_pieces_or_not(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", call("whole", "s1"), piece("in ", span_id="s2"))
    with watch(server, f"/v1/runs/{run_id}/agui") as early:
        seen = [early.next_event().json]
        while seen[-1].get("delta") != "in ":
            seen.append(early.next_event().json)
        report(client, run_id, "w", piece("pieces", span_id="s2"), call("in pieces", "s2"), call("live", "s3"))
        with watch(server, f"/v1/runs/{run_id}/agui") as late:
            report(client, run_id, "w", piece("again", span_id="s4"))
            others = [late.next_event().json]
            while others[-1].get("delta") != "again":
                others.append(late.next_event().json)
            report(client, run_id, "w", call("again", "s4"))
            complete(client, run_id, "w")
            seen += data_of(list(early.rest()))
            others += data_of(list(late.rest()))
    check_order(seen)
    assert list(messages_of(seen).values()) == ["whole", "in pieces", "live", "again"]
    assert seen == others == stored(client, run_id)


def test_the_answers_of_a_long_run_are_told_once(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    words = [str(number) for number in range(600)]
    for start in range(0, 600, 50):
        some = words[start : start + 50]
        report(client, run_id, "w", *(piece(text, span_id=f"s{text}") for text in some))
    for start in range(0, 600, 50):
        report(client, run_id, "w", *(call(text, f"s{text}") for text in words[start : start + 50]))
    complete(client, run_id, "w")
    assert list(messages_of(stored(client, run_id)).values()) == words


def data_of(frames: list[Frame]) -> list[Any]:
    """The events in frames."""
    return [frame.json for frame in frames if frame.data is not None]


def test_a_live_run_is_told_as_it_happens_and_then_as_one_that_is_stored(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w", input="x")
    with watch(server, f"/v1/runs/{run_id}/agui") as early:
        seen = [early.next_event().json]
        assert seen[0]["type"] == "RUN_STARTED"
        report(client, run_id, "w", piece("one "))
        while seen[-1]["type"] != "TEXT_MESSAGE_CHUNK":
            seen.append(early.next_event().json)
        with watch(server, f"/v1/runs/{run_id}/agui") as late:
            report(client, run_id, "w", piece("two"))
            complete(client, run_id, "w")
            seen += data_of(list(early.rest()))
            others = data_of(list(late.rest()))
    check_order(seen)
    assert seen == others == stored(client, run_id)


@pytest.mark.parametrize("end", ["fail", "cancel", "kill"])
def test_each_end_is_told(client, unique, end: str) -> None:
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", {"type": "step", "payload": {"name": "never ended", "phase": "start"}})
    if end == "fail":
        fail(client, run_id, "w", "no network")
    elif end == "kill":
        ok(client.post(f"/api/v1/runs/{run_id}:kill", json={}))
    else:
        cancel(client, run_id)
        report(client, run_id, "w", {"type": "run.cancelled", "payload": {}})
    events = stored(client, run_id)
    check_order(events)
    last = events[-1]
    if end == "fail":
        assert (last["type"], last["message"], last["code"]) == ("RUN_ERROR", "no network", "failed")
    else:
        assert (last["type"], last["outcome"]) == ("RUN_FINISHED", {"type": "cancelled"})


def test_what_comes_after_the_end_is_told_before_the_last_frame(client, unique) -> None:
    name = unique("run")
    ok(ingest(client, sdk_event("run_start", name, {"input": "hi"})))
    ok(ingest(client, sdk_event("run_end", name, {"output": "bye"})))
    ok(ingest(client, sdk_event("tool_call", name, {"tool_name": "ls", "phase": "end", "output_preview": "late"})))
    [row] = ok(client.get("/api/v1/runs", params={"q": f"steps:{name}"}))["data"]
    events = stored(client, row["run_id"])
    check_order(events)
    assert [one["content"] for one in events if one["type"] == "TOOL_CALL_RESULT"] == ["late"]
    assert events[-1]["result"] == "bye"


def test_a_result_of_megabytes_is_told(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    complete(client, run_id, "w", {"text": "ö" * 700_000})
    assert stored(client, run_id)[-1]["result"] == {"text": "ö" * 700_000}


def test_a_child_names_its_parent(client, unique) -> None:
    thread = unique("thread")
    parent = create_run(client, thread)["run_id"]
    child = create_run(client, thread, parent_run_id=parent)["run_id"]
    ok(client.post(f"/api/v1/runs/{parent}:kill", json={}))
    assert stored(client, child)[0]["parentRunId"] == parent


def test_an_erased_run_is_a_stream_all_the_same(tmp_path: Path) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        client = server.client()
        run_id = told_run(client, "r1")
        ok(client.delete(f"/api/v1/runs/{run_id}"))
        events = stored(client, run_id)
    check_order(events)
    assert events[-1]["type"] == "RUN_FINISHED"
    assert "result" not in events[-1]


def test_a_run_of_nobody_s_is_not_there_and_nothing_else_can_be_asked(client, other_org, scoped, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert other_org.get(f"/v1/runs/{run_id}/agui").status_code == 404
    assert scoped("ingest").get(f"/v1/runs/{run_id}/agui").status_code == 403
    assert client.get(f"/v1/runs/{run_id}/agui", params={"after_seq": "3"}).status_code == 422
    assert client.post(f"/v1/runs/{run_id}/agui", json={}).status_code == 405
