"""The `checkpoints` dialect at its door: what a batch is answered with, and how each wrong event is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import (
    LOCAL_RUNNER_PATH,
    RUNNER_PATH,
    checkpoint,
    runner_event,
    save_batch,
    send_batch,
)

BOTH_PATHS = pytest.mark.parametrize("path", [RUNNER_PATH, LOCAL_RUNNER_PATH], ids=["cloud", "local"])
TOO_BIG = 2**53 + 1


def refused(reply: httpx2.Response) -> list[dict[str, Any]]:
    """The refusals of a batch, each of which must have an index, a code and a message."""
    rejected: list[dict[str, Any]] = reply.json()["rejected"]
    for one in rejected:
        assert set(one) == {"index", "code", "message"}
        assert type(one["index"]) is int
        assert one["code"]
        assert one["message"]
    return rejected


@BOTH_PATHS
def test_a_batch_is_answered_with_how_much_is_durable(
    client: httpx2.Client, back: ReadBack, unique: Unique, path: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    batch = [
        runner_event("thread_started", thread, trace, agent_id="researcher", model="claude-sonnet-4-6"),
        checkpoint(thread, trace, 3, history=[{"role": "user", "content": "hi"}], history_meta=[{"ts": "now"}]),
        runner_event("thread_completed", thread, tokens_used=420, model="claude-sonnet-4-6"),
    ]
    reply = send_batch(client, *batch, path=path)
    assert (reply.status_code, reply.json()) == (200, {"saved": 3})
    assert back.status(thread) == "completed"


@BOTH_PATHS
def test_an_empty_batch_is_fine(client: httpx2.Client, path: str) -> None:
    reply = send_batch(client, path=path)
    assert (reply.status_code, reply.json()) == (200, {"saved": 0})


def test_sequence_number_and_time_are_taken(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    start = {**runner_event("thread_started", thread, trace), "sequence_num": 1, "occurred_at": "2026-04-02T10:00:00Z"}
    turn = {**checkpoint(thread, trace, 1), "sequence_num": 2, "occurred_at": "2026-04-02T12:00:01.5+02:00"}
    save_batch(client, start, turn)
    assert back.types(thread) == ["run.started", "checkpoint"]


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_an_optional_id_may_be_null_or_empty(
    client: httpx2.Client, back: ReadBack, unique: Unique, nothing: str | None
) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, unique("trace")))
    turn = checkpoint(thread, None, 1, trace_id=nothing, parent_trace_id=nothing, agent_id=nothing)
    save_batch(client, {**turn, "event_id": nothing}, {**turn, "event_id": nothing})
    assert back.types(thread) == ["run.started", "checkpoint"], "no trace: the open run; the same again: nothing new"


def test_a_thousand_events_are_one_batch(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, *(runner_event("workflow_step", thread, trace, number=n) for n in range(1_000)))
    assert len(back.events(thread)) == 1_000


def test_more_than_a_thousand_events_are_refused_whole(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    reply = send_batch(client, *(runner_event("workflow_step", thread, "t", number=n) for n in range(1_001)))
    assert reply.status_code in (400, 413, 422)
    assert isinstance(reply.json()["detail"], str)
    assert back.runs(thread_id=thread) == []


def test_one_bad_event_never_poisons_its_neighbours(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    reply = send_batch(
        client,
        runner_event("thread_started", thread, trace),
        checkpoint(thread, trace, -1),
        checkpoint(thread, trace, 1),
        runner_event("checkpoint", None, trace, step_index=2, history=[], history_meta=[]),
        runner_event("thread_completed", thread, trace),
    )
    assert reply.status_code == 200
    assert set(reply.json()) == {"saved", "rejected"}
    assert reply.json()["saved"] == 3
    assert [one["index"] for one in refused(reply)] == [1, 3]
    assert back.types(thread) == ["run.started", "checkpoint", "run.completed"]


WRONG_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "thread_id missing": ({"thread_id": ...}, "thread_id"),
    "thread_id null": ({"thread_id": None}, "thread_id"),
    "thread_id empty": ({"thread_id": ""}, "thread_id"),
    "thread_id a number": ({"thread_id": 7}, "thread_id"),
    "thread_id a list": ({"thread_id": ["a"]}, "thread_id"),
    "thread_id too long": ({"thread_id": "x" * 201}, "thread_id"),
    "thread_id with a control": ({"thread_id": "a\nb"}, "thread_id"),
    "thread_id with a slash": ({"thread_id": "a/b"}, "thread_id"),
    "trace_id a number": ({"trace_id": 7}, "trace_id"),
    "trace_id too long": ({"trace_id": "x" * 201}, "trace_id"),
    "trace_id with NUL": ({"trace_id": "a\x00"}, "trace_id"),
    "parent_trace_id an object": ({"parent_trace_id": {}}, "parent_trace_id"),
    "agent_id a number": ({"agent_id": 7}, "agent_id"),
    "agent_id too long": ({"agent_id": "x" * 201}, "agent_id"),
    "step_index negative": ({"step_index": -1}, "step_index"),
    "step_index a string": ({"step_index": "three"}, "step_index"),
    "step_index a fraction": ({"step_index": 1.5}, "step_index"),
    "step_index absurd": ({"step_index": TOO_BIG}, "step_index"),
    "history a string": ({"history": "hello"}, "history"),
    "history_meta an object": ({"history_meta": {}}, "history_meta"),
}
DETAILS: dict[str, tuple[dict[str, Any], str]] = {
    "status a number": ({"status": 1}, "status"),
    "pending_tool_calls a string": ({"pending_tool_calls": "rm"}, "pending_tool_calls"),
    "turn_start_history_len a string": ({"turn_start_history_len": "x"}, "turn_start_history_len"),
    "model a number": ({"model": 4}, "model"),
    "tokens_used negative": ({"tokens_used": -1}, "tokens_used"),
    "input_tokens negative": ({"input_tokens": -1}, "input_tokens"),
    "input_tokens a string": ({"input_tokens": "many"}, "input_tokens"),
    "input_tokens a fraction": ({"input_tokens": 0.5}, "input_tokens"),
    "input_tokens absurd": ({"input_tokens": TOO_BIG}, "input_tokens"),
    "output_tokens negative": ({"output_tokens": -1}, "output_tokens"),
    "output_tokens absurd": ({"output_tokens": 10**30}, "output_tokens"),
    "run_cost_usd negative": ({"run_cost_usd": -0.01}, "run_cost_usd"),
    "run_cost_usd a string": ({"run_cost_usd": "cheap"}, "run_cost_usd"),
    "run_cost_usd absurd": ({"run_cost_usd": 1e300}, "run_cost_usd"),
    "budget_usd negative": ({"budget_usd": -1}, "budget_usd"),
    "budget_warning a string": ({"budget_warning": "yes"}, "budget_warning"),
}


@pytest.mark.parametrize(("wrong", "field"), DETAILS.values(), ids=DETAILS.keys())
def test_a_detail_that_cannot_be_used_is_kept_and_named_by_index(
    client: httpx2.Client, back: ReadBack, unique: Unique, wrong: dict[str, Any], field: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    odd = checkpoint(thread, trace, 2)
    odd["data"] |= wrong
    reply = send_batch(client, runner_event("thread_started", thread, trace), odd)
    assert (reply.status_code, reply.json()["saved"]) == (200, 2)
    assert [(one["index"], one["field"]) for one in reply.json()["warnings"]] == [(1, f"data.{field}")]
    assert back.events(thread)[1]["data"][field] == wrong[field]


@pytest.mark.parametrize(("wrong", "field"), WRONG_EVENTS.values(), ids=WRONG_EVENTS.keys())
def test_a_wrong_field_is_refused_by_index_and_named(
    client: httpx2.Client, back: ReadBack, unique: Unique, wrong: dict[str, Any], field: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    bad = checkpoint(thread, trace, 2)
    bad["data"] = {name: value for name, value in {**bad["data"], **wrong}.items() if value is not ...}
    reply = send_batch(client, runner_event("thread_started", thread, trace), bad)
    assert reply.status_code == 200, reply.text
    assert reply.json()["saved"] == 1
    [refusal] = refused(reply)
    assert refusal["index"] == 1
    assert field in refusal["message"]
    assert back.types(thread) == ["run.started"], "nothing of the refused event is kept"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"type": ...}, "type"),
        ({"type": None}, "type"),
        ({"type": 3}, "type"),
        ({"type": ""}, "type"),
        ({"data": ...}, "data"),
        ({"data": None}, "data"),
        ({"data": []}, "data"),
        ({"data": "x"}, "data"),
        ({"event_id": 5}, "event_id"),
        ({"event_id": "x" * 201}, "event_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_envelope_is_refused_by_index_and_named(
    client: httpx2.Client, unique: Unique, wrong: dict[str, Any], field: str
) -> None:
    good = runner_event("thread_started", unique("thread"), "t")
    bad = {name: value for name, value in {**good, **wrong}.items() if value is not ...}
    reply = send_batch(client, good, bad)
    assert reply.status_code == 200, reply.text
    assert reply.json()["saved"] == 1
    [refusal] = refused(reply)
    assert refusal["index"] == 1
    assert field in refusal["message"]


@pytest.mark.parametrize("item", ["text", 7, None, [], True], ids=repr)
def test_an_event_that_is_no_object_is_refused_by_index(client: httpx2.Client, unique: Unique, item: Any) -> None:
    good = runner_event("thread_started", unique("thread"), "t")
    reply = client.post(RUNNER_PATH, json={"events": [item, good]})
    assert reply.status_code == 200, reply.text
    assert reply.json()["saved"] == 1
    assert [one["index"] for one in refused(reply)] == [0]


def test_limits_are_the_last_value_allowed(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread").ljust(200, "x")
    save_batch(client, checkpoint(thread, "t" * 200, 0, input_tokens=2**53, output_tokens=0, agent_id="a" * 200))
    assert back.run(thread)["total_input_tokens"] == 2**53


@BOTH_PATHS
def test_all_refused_is_a_422_with_the_same_body(client: httpx2.Client, unique: Unique, path: str) -> None:
    reply = send_batch(client, checkpoint(unique(), "t", -1), checkpoint(unique(), "t", -2), path=path)
    assert reply.status_code == 422
    assert set(reply.json()) == {"saved", "rejected"}
    assert reply.json()["saved"] == 0
    assert [one["index"] for one in refused(reply)] == [0, 1]


@BOTH_PATHS
@pytest.mark.parametrize("body", ["{", "", "events", "{'events': []}", '{"events": [}'], ids=repr)
def test_what_is_not_json_is_a_400(client: httpx2.Client, path: str, body: str) -> None:
    reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert isinstance(reply.json()["detail"], str)


@BOTH_PATHS
@pytest.mark.parametrize("body", ["{}", "[]", "null", '{"events": null}', '{"events": {}}', '{"events": "all"}', "7"])
def test_a_body_without_an_array_of_events_is_a_422(client: httpx2.Client, path: str, body: str) -> None:
    reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["detail"]


def test_an_event_id_stores_once_and_still_counts_as_saved(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    event = {**runner_event("workflow_step", thread, trace, name="w"), "event_id": "evt-1"}
    save_batch(client, event)
    save_batch(client, event)
    save_batch(client, event, event)
    assert back.types(thread) == ["other"]


def test_without_an_event_id_nothing_is_guessed_from_content(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    event = runner_event("workflow_step", thread, trace, name="w")
    save_batch(client, event, event)
    save_batch(client, event)
    assert back.types(thread) == ["other", "other", "other"]


def test_an_event_id_with_another_body_is_refused_by_index(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, {**runner_event("workflow_step", thread, trace, name="w"), "event_id": "evt-1"})
    reused = {**runner_event("workflow_step", thread, trace, name="other"), "event_id": "evt-1"}
    reply = send_batch(client, runner_event("workflow_note", thread, trace), reused)
    assert reply.status_code == 200
    assert reply.json()["saved"] == 1
    assert [(one["index"], one["code"]) for one in refused(reply)] == [(1, "id_reused")]
    assert [event["data"]["name"] for event in back.events(thread)] == ["workflow_step", "workflow_note"]


def test_an_event_id_reused_inside_one_batch_is_refused_there(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    first = {**runner_event("workflow_step", thread, trace, name="w"), "event_id": "evt-1"}
    second = {**runner_event("workflow_step", thread, trace, name="v"), "event_id": "evt-1"}
    reply = send_batch(client, first, second)
    assert reply.status_code == 200
    assert reply.json()["saved"] == 1
    assert [(one["index"], one["code"]) for one in refused(reply)] == [(1, "id_reused")]


def test_an_event_id_belongs_to_its_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    one, two = unique("thread"), unique("thread")
    save_batch(client, {**runner_event("workflow_step", one, "t", name="w"), "event_id": "evt-1"})
    save_batch(client, {**runner_event("workflow_step", two, "t", name="v"), "event_id": "evt-1"})
    assert (back.types(one), back.types(two)) == (["other"], ["other"])


def test_another_organisation_has_runs_of_its_own(
    client: httpx2.Client, other_org: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    event = {**runner_event("workflow_step", thread, "t", name="w"), "event_id": "evt-1"}
    save_batch(client, event)
    save_batch(other_org, event, runner_event("thread_completed", thread, "t"))
    theirs = ReadBack(other_org)
    assert (back.types(thread), theirs.types(thread)) == (["other"], ["other", "run.completed"])
    assert back.run(thread)["run_id"] != theirs.run(thread)["run_id"]
