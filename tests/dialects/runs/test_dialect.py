"""The `runs` dialect: its replies, its frames byte for byte, and its refusals."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.dialects.calls import AGENT, NOW, OTHER_RUN, RUN, call, endpoint, event, view
from tests.support.factories import run_row
from towerlog import errors
from towerlog.dialects.base import Reply
from towerlog.dialects.runs.dialect import DIALECT, STATUS_OF, STATUS_WORDS
from towerlog.dialects.runs.frames import STREAM, end_frame, frame
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.outcome import Page, RunChanged, RunCreated, ThreadView
from towerlog.model.run import Status
from towerlog.model.thread import ThreadRow

ROW = run_row()


def reply(name: str, outcome: Any, **fields: Any) -> Reply:
    return endpoint(DIALECT, name).encode(outcome, None, call(**fields))


def body(name: str, outcome: Any, **fields: Any) -> Any:
    return json.loads(reply(name, outcome, **fields).body)


def test_create_answers_201() -> None:
    made = reply("runs.create", RunCreated(RUN, "trace-1"))
    assert made.status == 201
    assert json.loads(made.body) == {"run_id": RUN, "trace_id": "trace-1"}


def test_the_runs_of_a_thread_are_three_fields() -> None:
    assert body("runs.list_of_thread", Page([view(status=Status.COMPLETED)])) == [
        {"run_id": RUN, "status": "completed", "created_at": "2026-04-02T10:00:00.123Z"}
    ]


def test_the_list_is_bare_and_its_link_asks_for_the_same() -> None:
    query = {"limit": "2", "status": "running", "thread_id": "a b&ü", "before": RUN, "unasked": "x", "q": ""}
    found = reply("runs.list", Page([view()], next=OTHER_RUN), query=query)
    assert isinstance(json.loads(found.body), list)
    ((name, link),) = found.headers
    assert name == b"Link"
    assert link.endswith(b'>; rel="next"')
    target = urlsplit(link.decode().partition(">")[0].removeprefix("<"))
    assert target.path == "/v1/runs"
    assert parse_qs(target.query) == {
        "limit": ["2"],
        "status": ["running"],
        "thread_id": ["a b&ü"],
        "before": [OTHER_RUN],
    }
    assert reply("runs.list", Page([view()])).headers == ()


def test_one_run() -> None:
    assert body("runs.get", view())["agent_id"] == AGENT


@pytest.mark.parametrize("name", ["runs.cancel", "runs.input"])
@pytest.mark.parametrize("changed", [True, False])
def test_control_answers_ok_either_way(name, changed) -> None:
    assert body(name, RunChanged(view().row, changed)) == {"ok": True}


def test_threads() -> None:
    row = ThreadRow(1, "t", NOW, title="T", run_count=3, open_runs=(1, 2), policy="reject")
    shown = {
        "id": "t",
        "thread_id": "t",
        "title": "T",
        "policy": "reject",
        "created_at": "2026-04-02T10:00:00.123Z",
        "updated_at": "2026-04-02T10:00:00.123Z",
        "run_count": 3,
        "open_runs": 2,
    }
    assert reply("threads.create", ThreadView(row, created=True)).status == 201
    assert reply("threads.create", ThreadView(row)).status == 200
    assert body("threads.get", ThreadView(row)) == shown
    assert body("threads.list", Page([row])) == [shown]
    assert b"/v1/threads?before=t" in reply("threads.list", Page([row], next="t")).headers[0][1]


def of_frame(found: bytes) -> Any:
    """What a frame says of its event."""
    return json.loads(found.split(b"\n")[0].removeprefix(b"data: "))


def test_a_frame_byte_for_byte() -> None:
    found = frame(event(EventType.TOOL_CALL, b'{ "x" : 1e400, "x": 2 }', seq=12), "e1", ROW)
    assert found == (
        b'data: {"seq":12,"type":"tool.call","data":{ "x" : 1e400, "x": 2 },'
        b'"created_at":"2026-04-02T10:00:00.123Z","event_id":"00000000-0000-7000-8000-000100000001:12",'
        b'"run_id":"00000000-0000-7000-8000-000100000001","ts":"2026-04-02T10:00:00.123Z","position":41}\nid: 12\n\n'
    )


@pytest.mark.parametrize(
    ("told_ms", "shown"),
    [(None, None), (1_775_124_000_004, "2026-04-02T10:00:00.004Z"), (1, None), (1_999_999_999_999, None)],
    ids=["nothing", "a time", "before there were agents", "a year that has not come"],
)
def test_the_senders_own_time_stands_beside_the_arrival(told_ms, shown) -> None:
    found = of_frame(frame(event(EventType.STEP, {}, occurred_at=told_ms), "e1", ROW))
    assert found.get("occurred_at") == shown


@pytest.mark.parametrize(
    ("event_id", "shown"),
    [('it\'s "mine"', 'it\'s "mine"'), ("\x1frun_end", f"{ROW.run_id}:3"), (None, f"{ROW.run_id}:3")],
)
def test_an_event_goes_by_its_senders_id_or_by_its_place(event_id, shown) -> None:
    found = of_frame(frame(event(EventType.STEP, {}, event_id=event_id), "e1", ROW))
    assert found["event_id"] == shown


@pytest.mark.parametrize(
    ("data", "delta"),
    [({"content": 'a "b"'}, 'a "b"'), ({"content": ""}, ""), ({"content": 5}, None), ({}, None)],
)
def test_a_delta_repeats_its_text_beside_its_data(data, delta) -> None:
    found = of_frame(frame(event(EventType.MESSAGE_DELTA, data), "e1", ROW))
    assert found.get("content_delta") == delta
    assert found["data"] == data


@pytest.mark.parametrize("status", [status for status in Status if run_row(status=status).is_terminal()])
def test_the_frame_of_the_end_names_the_status_and_has_no_id(status) -> None:
    found = end_frame(run_row(status=status, last_seq=7))
    assert found == b'event: end\ndata: {"status":"%s","last_seq":7}\n\n' % status.value.encode()


def test_what_has_no_type_here_goes_by_its_own_name() -> None:
    name = 'stage\n"done"'
    found = frame(event(EventType.OTHER, {"stage": "plan"}, Facts(name=name)), "e1", ROW)
    assert found.count(b"\n") == 3
    data = of_frame(found)["data"]
    assert data == {"name": name, "payload": {"stage": "plan"}}
    report = frame(event(EventType.LANE_REPORT, {"phase": "p"}, Facts(name="heartbeat")), "e1", ROW)
    assert of_frame(report)["data"] == {"phase": "p"}


def test_the_stream_begins_with_retry_and_a_ping() -> None:
    assert STREAM.prologue == b"retry: 1000\n: ping\n"
    assert STREAM.closing == b""


def test_the_words_are_the_canonical_ones() -> None:
    assert {STATUS_WORDS[status]: status for status in Status} == {status.value: status for status in Status}
    assert set(STATUS_OF) == set(STATUS_WORDS.values()) | {"success", "error"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Malformed(), 422, "validation.failed"),
        (errors.Invalid(field="limit"), 422, "validation.failed"),
        (errors.Unauthenticated(), 401, "auth.invalid"),
        (errors.Forbidden(), 403, "auth.scope"),
        (errors.NotFound("run"), 404, "runs.not_found"),
        (errors.NotFound("thread"), 404, "threads.not_found"),
        (errors.NotFound("route"), 404, "not_found"),
        (errors.ThreadBusy(), 409, "runs.thread_busy"),
        (errors.RunNotActive(), 409, "runs.not_active"),
        (errors.RunEnded(), 409, "runs.not_active"),
        (errors.InProgress(), 409, "in_progress"),
        (errors.IdempotencyMismatch(), 422, "idempotency_mismatch"),
        (errors.TooLarge(), 413, "too_large"),
        (errors.RateLimited(retry_after=7), 429, "ratelimit.exceeded"),
        (errors.Overloaded(), 503, "unavailable"),
        (errors.StorageFailed(), 503, "unavailable"),
        (errors.Internal(), 500, "internal"),
    ],
)
def test_refusals(error, status, code) -> None:
    found = DIALECT.explain(error, "trace-9")
    told = json.loads(found.body)
    assert found.status == status
    assert told["code"] == code
    assert told["message"] == error.message
    assert told["trace_id"] == "trace-9"
    assert set(told) - {"details"} == {"code", "message", "trace_id"}
    assert ("details" in told) is (code == "validation.failed")
    assert (b"retry-after" in {name.lower() for name, _ in found.headers}) is error.retryable


def test_a_refused_field_is_in_the_details() -> None:
    told = json.loads(DIALECT.explain(errors.Invalid("limit: no", field="limit", details={"limit": "no"}), "t").body)
    assert told["details"] == {"limit": "no"}
