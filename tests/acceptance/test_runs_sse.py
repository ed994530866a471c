"""The `runs` dialect over HTTP: the event stream's form, its cursors and its end."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    TIME,
    cancel,
    claim,
    complete,
    create_run,
    held_run,
    log_of,
    newest_run_of,
    report,
    rest_of,
    run_stream,
    started,
    step,
)
from tests.acceptance.test_runs_wire import refused
from tests.support.senders import save_batch
from tests.support.sse import EventStream, Frame, parse_frames
from towerlog.dialects.views.event_members import EventMembers


def data_frames(reply: httpx2.Response) -> list[Frame]:
    """The events of a whole reply, without the control frame of the end."""
    assert reply.text.endswith("\n"), "the stream ends inside a line"
    return [frame for frame in parse_frames(reply.content) if frame.data is not None and frame.event != "end"]


def end_of(reply: httpx2.Response) -> object:
    """What the last frame says of the run's end; None where it is an event."""
    *_, last = parse_frames(reply.content)
    assert last.event != "end" or last.id is None
    return last.json if last.event == "end" else None


def delta(content: str) -> dict[str, object]:
    """A worker's piece of text."""
    return {"type": "message.delta", "payload": {"content": content}}


@pytest.fixture
def ended_run(client, unique) -> str:
    """A run that said two things and completed."""
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", delta("one"), delta("two"))
    complete(client, run_id, "w", {"answer": 42})
    return run_id


def test_the_bytes_of_a_stream(client, ended_run) -> None:
    reply = client.get(f"/v1/runs/{ended_run}/events", headers={"Accept": "text/event-stream"})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "text/event-stream", "clients compare the whole value"
    assert reply.headers["X-Accel-Buffering"] == "no"
    assert "no-cache" in reply.headers["Cache-Control"]
    lines = reply.text.split("\n")
    assert lines[:2] == ["retry: 1000", ": ping"], "an empty line is an event to some readers"
    assert [lines[2][:9], lines[3]] == ['data: {"s', "id: 1"], "some readers take a cursor as soon as its line has come"
    assert "\r" not in reply.text
    assert [line for line in lines if line.startswith("event:")] == ["event: end"]
    assert all(line == "" or line.split(":")[0] in {"", "id", "data", "retry", "event"} for line in lines)
    assert "\n\n\n" not in reply.text


def test_every_frame_has_its_seq_as_id_and_the_fields_of_the_seed(client, ended_run) -> None:
    frames = data_frames(client.get(f"/v1/runs/{ended_run}/events"))
    events = [frame.json for frame in frames]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [frame.id for frame in frames] == [str(event["seq"]) for event in events]
    origins = {"event_id", "run_id", "ts", "position"}
    deltas = [event for event in events if event["type"] == "message.delta"]
    assert [event.pop("content_delta") for event in deltas] == ["one", "two"]
    always = {"seq", "type", "data", "created_at"} | origins
    assert all(set(event) - set(EventMembers.__struct_fields__) == always for event in events)
    assert all(set(event) == always for event in events if event["type"] == "run.queued")
    assert all(event["run_id"] == ended_run and event["ts"] == event["created_at"] for event in events)
    assert len({event["event_id"] for event in events}) == len(events)
    assert all(TIME.fullmatch(event["created_at"]) and isinstance(event["data"], dict) for event in events)
    assert all(frame.data is not None and "\n" not in frame.data for frame in frames)
    types = [event["type"] for event in events]
    assert types[0] == "run.queued"
    assert types[-1] == "run.completed"
    assert types.index("run.started") < types.index("message.delta")
    assert [event["data"] for event in events if event["type"] == "message.delta"] == [
        {"content": "one"},
        {"content": "two"},
    ]


def test_after_seq_is_exclusive(client, ended_run) -> None:
    everything = log_of(client, ended_run)
    for after in range(len(everything)):
        assert log_of(client, ended_run, after) == everything[after:]


def test_last_event_id_wins_over_after_seq(client, ended_run) -> None:
    everything = log_of(client, ended_run)
    path = f"/v1/runs/{ended_run}/events"
    reply = client.get(path, params={"after_seq": 0}, headers={"Last-Event-ID": "2"})
    assert [frame.json for frame in data_frames(reply)] == everything[2:]
    reply = client.get(path, params={"after_seq": len(everything)}, headers={"Last-Event-ID": "1"})
    assert [frame.json for frame in data_frames(reply)] == everything[1:]


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "0x1", "1e1", "%00", "99999999999999999999999x"])
def test_after_seq_that_is_no_number_is_refused(client, ended_run, value) -> None:
    reply = client.get(f"/v1/runs/{ended_run}/events?after_seq={value}")
    assert "after_seq" in refused(reply, 422, "validation.failed")["details"]


@pytest.mark.parametrize("ahead", [1, 2**63])
@pytest.mark.parametrize("by", ["header", "query"])
def test_a_cursor_ahead_of_the_run_gets_a_gap_and_the_run(client, ended_run, ahead, by) -> None:
    last = log_of(client, ended_run)[-1]["seq"]
    cursor = (
        {"headers": {"Last-Event-ID": str(last + ahead)}} if by == "header" else {"params": {"after_seq": last + ahead}}
    )
    reply = client.get(f"/v1/runs/{ended_run}/events", **cursor)
    assert reply.status_code == 200, reply.text
    assert reply.text.index("event: gap") < reply.text.index("id: 1")
    assert [frame.id for frame in data_frames(reply) if frame.id] == [str(seq) for seq in range(1, last + 1)]
    assert end_of(reply) == {"status": "completed", "last_seq": last}


def test_a_reconnect_after_the_end_gets_204(client, ended_run) -> None:
    last = log_of(client, ended_run)[-1]["seq"]
    path, seen = f"/v1/runs/{ended_run}/events", {"Last-Event-ID": str(last)}
    for query in ({}, {"after_seq": "0"}, {"follow": "false"}):
        reply = client.get(path, params=query, headers=seen)
        assert reply.status_code == 204, reply.text
        assert reply.content == b""


@pytest.mark.parametrize("after", [0, 1, "last"])
@pytest.mark.parametrize("follow", ["true", "false"])
def test_behind_the_last_event_a_control_frame_says_how_the_run_ended(client, ended_run, after, follow) -> None:
    last = log_of(client, ended_run)[-1]["seq"]
    seq = last if after == "last" else after
    reply = client.get(f"/v1/runs/{ended_run}/events", params={"after_seq": seq, "follow": follow})
    assert reply.status_code == 200
    assert len(data_frames(reply)) == max(0, last - seq)
    assert end_of(reply) == {"status": "completed", "last_seq": last}


def test_a_run_that_goes_on_has_no_end_to_tell_of(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    assert end_of(client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"})) is None


def test_the_end_counts_the_events_that_came_late(client, unique) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    step(client, sdk_run, "error", {"error_type": "E", "error_message": "no"})
    run_id = newest_run_of(client, sdk_run)
    path = f"/v1/runs/{run_id}/events"
    assert end_of(client.get(path)) == {"status": "failed", "last_seq": 2}
    step(client, sdk_run, "step", {"node_name": "straggler"})
    reply = client.get(path, headers={"Last-Event-ID": "2"})
    assert [frame.id for frame in data_frames(reply)] == ["3"]
    assert end_of(reply) == {"status": "failed", "last_seq": 3}


def test_follow_false_gives_what_is_there_and_ends(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", delta("one"))
    reply = client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"})
    assert reply.status_code == 200
    events = [frame.json for frame in data_frames(reply)]
    assert events[-1]["data"] == {"content": "one"}
    reply = client.get(f"/v1/runs/{run_id}/events", params={"follow": "false", "after_seq": events[-1]["seq"]})
    assert reply.status_code == 200
    assert data_frames(reply) == []


def next_of(stream: EventStream, wanted: str) -> dict[str, Any]:
    """The next event of a type; whatever comes before it is passed over."""
    event: dict[str, Any] = stream.next_event().json
    while event["type"] != wanted:
        event = stream.next_event().json
    return event


def test_a_follower_sees_events_as_they_come_and_then_the_end(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    with run_stream(server, run_id) as stream:
        assert stream.next_event().json["type"] == "run.queued"
        claim(client, run_id, "w")
        next_of(stream, "run.started")
        for content in ["a", "b", "c"]:
            report(client, run_id, "w", delta(content))
            assert next_of(stream, "message.delta")["data"] == {"content": content}
        complete(client, run_id, "w")
        rest = [frame.json["type"] for frame in rest_of(stream)]
        assert rest[-1] == "run.completed"


def test_a_stream_opened_at_the_end_of_an_open_run_waits(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    with run_stream(server, run_id, after_seq=1) as stream:
        assert stream.status == 200
        cancel(client, run_id)
        events = [frame.json for frame in rest_of(stream)]
    assert events[0]["seq"] == 2
    assert events[-1]["type"] == "run.cancelled"


def next_ping(stream: EventStream, deadline_s: float) -> None:
    """Waits for a `: ping` and for nothing else."""
    while "ping" not in stream.next_frame(deadline_s).comments:
        pass


def test_the_ping_is_there_at_once(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    with run_stream(server, run_id, after_seq=1) as stream:
        assert stream.status == 200
        next_ping(stream, 2)


@pytest.mark.slow
def test_the_ping_comes_every_fifteen_seconds(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    with run_stream(server, run_id, after_seq=1) as stream:
        next_ping(stream, 2)
        with pytest.raises(TimeoutError):
            next_ping(stream, 12)
        next_ping(stream, 5)


def test_an_event_after_the_end_does_not_reopen_the_stream(client, unique) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    step(client, sdk_run, "run_end", {"output": {"answer": 1}})
    run_id = newest_run_of(client, sdk_run)
    step(client, sdk_run, "step", {"node_name": "straggler"})
    events = log_of(client, run_id)
    assert [event["type"] for event in events].count("run.completed") == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["data"]["node_name"] == "straggler"


@pytest.mark.parametrize(
    ("event_type", "payload", "expected"),
    [
        ("step", {"node_name": "search_web", "phase": "end", "duration_ms": 890}, "step"),
        ("tool_call", {"tool_name": "web_search", "phase": "start", "input_preview": "Zurich"}, "tool.call"),
        ("tool_call", {"tool_name": "web_search", "phase": "end", "output_preview": "12°C"}, "tool.result"),
        ("human_input_requested", {"question": "go?"}, "run.waiting_for_input"),
        ("human_input_received", {"response": "go"}, "run.input"),
        ("error", {"error_type": "ValueError", "error_message": "no"}, "run.failed"),
        ("run_end", {"output": {"answer": 1}}, "run.completed"),
    ],
    ids=["step", "tool-start", "tool-end", "question", "answer", "error", "end"],
)
def test_what_an_sdk_sends_has_a_type_here(client, unique, event_type, payload, expected) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    step(client, sdk_run, event_type, payload)
    events = log_of(client, newest_run_of(client, sdk_run))
    assert events[0]["type"] == "run.started"
    assert expected in [event["type"] for event in events[1:]]
    if event_type == "step":
        assert events[1]["data"] == payload


def test_unknown_types_are_other_under_their_own_name(client, unique) -> None:
    thread = unique("thread")
    save_batch(
        client,
        started(thread, unique("trace")),
        {"type": "workflow_stage_done", "data": {"thread_id": thread, "stage": "plan"}},
    )
    other = log_of(client, newest_run_of(client, thread))[-1]
    assert other["type"] == "other"
    assert other["data"]["name"] == "workflow_stage_done"
    assert other["data"]["payload"]["stage"] == "plan"


def test_text_of_any_kind_stays_inside_its_line(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    texts = ["line\nbreak", "carriage\r\nreturn", "\u2028separator\u2029", "nul\x00byte", "🜲 ünï", "data: x\n\nid: 9"]
    report(client, run_id, "w", *(delta(text) for text in texts))
    raw = client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"}).content.decode()
    events = [json.loads(line[6:]) for line in raw.split("\n") if line.startswith("data: ")]
    assert [event["data"]["content"] for event in events if event["type"] == "message.delta"] == texts
    assert [event["content_delta"] for event in events if event["type"] == "message.delta"] == texts
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
