"""The `activity` dialect read as a list and pushed to: forms, cutting, clamping, ids, refusals, errors."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.acceptance.conftest import Scoped, Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, container_event, push_activity, tell

FIELDS = {
    "id",
    "timestamp",
    "type",
    "tool",
    "input_summary",
    "output_summary",
    "duration_ms",
    "success",
    "metadata",
}
CONTAINER_TYPES = [
    ("command_start", "shell"),
    ("command_complete", "shell"),
    ("file_read", "filesystem"),
    ("file_write", "filesystem"),
    ("directory_list", "filesystem"),
    ("identity_read", "identity"),
    ("health_check", "health"),
    ("command_start", "runtime"),
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def agent(client: httpx2.Client, back: ReadBack, unique: Unique) -> str:
    """The UUID of a new agent without any activity: starting a run is not one."""
    name = unique("agent")
    tell(client, "run_start", unique("run"), agent_name=name)
    return back.agent_id(name)


def pushed(client: httpx2.Client, agent_id: str, *events: Json) -> None:
    """Push events that must all be accepted."""
    reply = push_activity(client, agent_id, list(events))
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"accepted": len(events), "rejected": []}


def test_an_agent_that_did_nothing_has_an_empty_list(back: ReadBack, agent: str) -> None:
    assert back.activity(agent) == []


def test_a_pushed_event_is_shown_as_it_is(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    event = container_event(id=str(uuid4()))
    pushed(client, agent, event)
    assert back.activity(agent) == [event]


@pytest.mark.parametrize(("kind", "tool"), CONTAINER_TYPES)
def test_every_container_event_has_its_place(
    client: httpx2.Client, back: ReadBack, agent: str, kind: str, tool: str
) -> None:
    pushed(client, agent, container_event(type=kind, tool=tool))
    [shown] = back.activity(agent)
    assert set(shown) == FIELDS
    assert (shown["type"], shown["tool"]) == (kind, tool)
    assert str(UUID(shown["id"])) == shown["id"], "without an id of its own it gets a UUID"
    assert TIME.fullmatch(shown["timestamp"])


def test_a_start_event_has_nulls(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    start = {"timestamp": "2026-01-02T03:04:05.000Z", "type": "command_start", "tool": "shell", "input_summary": "ls"}
    pushed(client, agent, start)
    [shown] = back.activity(agent)
    assert (shown["output_summary"], shown["duration_ms"], shown["success"]) == (None, None, None)
    assert shown["metadata"] == {}


@pytest.mark.parametrize("length", [200, 201, 5_000])
def test_a_long_input_summary_is_cut_not_refused(
    client: httpx2.Client, back: ReadBack, agent: str, length: int
) -> None:
    pushed(client, agent, container_event(input_summary="日" * length))
    shown = back.activity(agent)[0]["input_summary"]
    assert len(shown) == 200
    assert shown.startswith("日" * 190)


def test_the_list_is_oldest_first_in_the_order_of_the_log(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    times = ["2026-01-03T00:00:00.000Z", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]
    pushed(client, agent, *(container_event(timestamp=time) for time in times[:2]))
    pushed(client, agent, container_event(timestamp=times[2]))
    assert [event["timestamp"] for event in back.activity(agent)] == times


def test_tail_is_a_number_of_newest_events(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    pushed(client, agent, *(container_event(input_summary=str(n)) for n in range(130)))

    def shown(**query: Any) -> list[int]:
        return [int(event["input_summary"]) for event in back.activity(agent, **query)]

    assert shown() == list(range(30, 130)), "the default is 100"
    assert shown(tail=5) == [125, 126, 127, 128, 129]
    assert shown(tail=1) == [129]
    assert shown(tail=0) == []
    assert shown(tail=-7) == []
    assert shown(tail=5_000) == list(range(130))
    assert shown(tail="99999999999999999999") == list(range(130))
    for word in ("many", "", "1e2x", "NaN", "ten"):
        assert shown(tail=word) == list(range(30, 130)), f"tail={word!r} is not a number: 100"


def test_tail_never_gives_more_than_5000(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    for thousand in range(5):
        pushed(client, agent, *(container_event(input_summary=str(thousand * 1_000 + n)) for n in range(1_000)))
    pushed(client, agent, *(container_event(input_summary=str(5_000 + n)) for n in range(10)))
    shown = [int(event["input_summary"]) for event in back.activity(agent, tail=6_000)]
    assert shown == list(range(10, 5_010))


@pytest.mark.parametrize("value", ["yes", "1", "on", "t", "0", "null"])
def test_follow_is_true_or_false(client: httpx2.Client, agent: str, value: str) -> None:
    reply = client.get(f"/agents/{agent}/events", params={"follow": value})
    assert reply.status_code == 400
    assert set(reply.json()) == {"error", "detail"}


def test_follow_false_is_the_list(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    pushed(client, agent, container_event())
    assert len(back.activity(agent, follow="false")) == 1
    reply = client.get(f"/agents/{agent}/events")
    assert reply.headers["Content-Type"].startswith("application/json")


def test_one_event_may_be_pushed_alone(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    reply = push_activity(client, agent, container_event())
    assert (reply.status_code, reply.json()) == (200, {"accepted": 1, "rejected": []})
    assert len(back.activity(agent)) == 1


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"], ids=["none", "line", "windows", "blank line"])
def test_events_may_be_pushed_as_lines(client: httpx2.Client, back: ReadBack, agent: str, ending: str) -> None:
    lines = [json.dumps(container_event(input_summary=f"line {n}")) for n in range(3)]
    body = "\n".join(lines) + ending
    reply = client.post(
        f"/agents/{agent}/events", content=body.encode(), headers={"Content-Type": "application/x-ndjson"}
    )
    assert (reply.status_code, reply.json()) == (200, {"accepted": 3, "rejected": []})
    assert [event["input_summary"] for event in back.activity(agent)] == ["line 0", "line 1", "line 2"]


def test_a_bad_line_is_refused_by_index(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    body = "\n".join([json.dumps(container_event(input_summary="kept")), "{broken", json.dumps(container_event())])
    headers = {"Content-Type": "application/x-ndjson"}
    reply = client.post(f"/agents/{agent}/events", content=body.encode(), headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.json()["accepted"] == 2
    assert [one["index"] for one in reply.json()["rejected"]] == [1]
    assert len(back.activity(agent)) == 2


def test_an_empty_push_is_fine(client: httpx2.Client, agent: str) -> None:
    reply = push_activity(client, agent, [])
    assert (reply.status_code, reply.json()) == (200, {"accepted": 0, "rejected": []})


def test_a_thousand_events_are_one_push_and_more_are_refused(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    reply = push_activity(client, agent, [container_event()] * 1_001)
    assert reply.status_code in (400, 413)
    assert reply.json()["error"]
    assert back.activity(agent) == []


WRONG_EVENTS: dict[str, tuple[Json, str]] = {
    "type missing": ({"type": ...}, "type"),
    "type null": ({"type": None}, "type"),
    "type a number": ({"type": 1}, "type"),
    "type empty": ({"type": ""}, "type"),
    "id a number": ({"id": 3}, "id"),
    "id too long": ({"id": "x" * 201}, "id"),
}


DETAILS: dict[str, tuple[Json, str]] = {
    "tool a number": ({"tool": 1}, "tool"),
    "tool unknown": ({"tool": "hammer"}, "tool"),
    "timestamp no time": ({"timestamp": "noon"}, "timestamp"),
    "timestamp a number": ({"timestamp": 1}, "timestamp"),
    "input_summary an object": ({"input_summary": {}}, "input_summary"),
    "output_summary a list": ({"output_summary": []}, "output_summary"),
    "duration_ms a string": ({"duration_ms": "fast"}, "duration_ms"),
    "duration_ms negative": ({"duration_ms": -1}, "duration_ms"),
    "duration_ms absurd": ({"duration_ms": 2**60}, "duration_ms"),
    "success a string": ({"success": "yes"}, "success"),
    "metadata a list": ({"metadata": []}, "metadata"),
}


@pytest.mark.parametrize(("wrong", "field"), DETAILS.values(), ids=DETAILS.keys())
def test_a_detail_that_cannot_be_used_is_named_by_index_and_the_event_shown(
    client: httpx2.Client, back: ReadBack, agent: str, wrong: Json, field: str
) -> None:
    odd = {**container_event(id="odd"), **wrong}
    reply = push_activity(client, agent, [container_event(), odd])
    assert (reply.status_code, reply.json()["accepted"]) == (200, 2)
    assert [(one["index"], one["field"]) for one in reply.json()["warnings"]] == [(1, field)]
    assert back.activity(agent)[1]["id"] == "odd"


@pytest.mark.parametrize(("wrong", "field"), WRONG_EVENTS.values(), ids=WRONG_EVENTS.keys())
def test_a_wrong_event_is_refused_by_index_and_its_field_named(
    client: httpx2.Client, back: ReadBack, agent: str, wrong: Json, field: str
) -> None:
    bad = {name: value for name, value in {**container_event(), **wrong}.items() if value is not ...}
    reply = push_activity(client, agent, [container_event(input_summary="kept"), bad])
    assert reply.status_code == 200, reply.text
    assert reply.json()["accepted"] == 1
    [refusal] = reply.json()["rejected"]
    assert set(refusal) == {"index", "code", "message"}
    assert refusal["index"] == 1
    assert field in refusal["message"]
    assert [event["input_summary"] for event in back.activity(agent)] == ["kept"]


@pytest.mark.parametrize("item", ["text", 7, None, []], ids=repr)
def test_an_event_that_is_no_object_is_refused_by_index(client: httpx2.Client, agent: str, item: Any) -> None:
    reply = push_activity(client, agent, [item, container_event()])
    assert reply.status_code == 200, reply.text
    assert reply.json()["accepted"] == 1
    assert [one["index"] for one in reply.json()["rejected"]] == [0]


def test_the_id_of_an_event_stores_it_once(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    event = container_event(id=str(uuid4()))
    pushed(client, agent, event)
    pushed(client, agent, event, event)
    assert back.activity(agent) == [event]


def test_the_id_of_an_event_with_another_body_is_refused(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    event = container_event(id=str(uuid4()))
    pushed(client, agent, event)
    reply = push_activity(client, agent, [{**event, "input_summary": "another"}, container_event(input_summary="new")])
    assert reply.status_code == 200
    assert reply.json()["accepted"] == 1
    assert [(one["index"], one["code"]) for one in reply.json()["rejected"]] == [(0, "id_reused")]
    assert [shown["input_summary"] for shown in back.activity(agent)] == ["ls -la", "new"]


def test_without_an_id_nothing_is_guessed_from_content(client: httpx2.Client, back: ReadBack, agent: str) -> None:
    pushed(client, agent, container_event(), container_event())
    first, second = back.activity(agent)
    assert first["id"] != second["id"]


def test_the_activity_of_one_agent_is_not_that_of_another(
    client: httpx2.Client, back: ReadBack, agent: str, unique: Unique
) -> None:
    name = unique("agent")
    tell(client, "run_start", unique("run"), agent_name=name)
    pushed(client, agent, container_event())
    assert back.activity(back.agent_id(name)) == []


def test_an_unknown_agent_is_a_404(client: httpx2.Client) -> None:
    for agent_id in (str(uuid4()), "no-uuid", "00000000-0000-0000-0000-000000000000"):
        for reply in (
            client.get(f"/agents/{agent_id}/events"),
            client.get(f"/agents/{agent_id}/events", params={"follow": "true"}),
            push_activity(client, agent_id, container_event()),
        ):
            assert reply.status_code == 404
            assert set(reply.json()) <= {"error", "detail"}
            assert reply.json()["error"]


def test_an_agent_of_another_organisation_does_not_exist(other_org: httpx2.Client, agent: str) -> None:
    absent = other_org.get(f"/agents/{uuid4()}/events")
    foreign = other_org.get(f"/agents/{agent}/events")
    assert foreign.status_code == 404
    assert foreign.json() == absent.json()
    assert push_activity(other_org, agent, container_event()).status_code == 404


@pytest.mark.parametrize(
    ("scope", "read", "push"), [("read", 200, 403), ("ingest", 403, 200), ("control", 403, 403), ("worker", 403, 403)]
)
def test_reading_needs_read_and_pushing_needs_ingest(
    scoped: Scoped, agent: str, scope: str, read: int, push: int
) -> None:
    theirs = scoped(scope)
    replies = [theirs.get(f"/agents/{agent}/events"), push_activity(theirs, agent, container_event())]
    assert [reply.status_code for reply in replies] == [read, push]
    for reply in replies:
        assert reply.status_code == 200 or set(reply.json()) <= {"error", "detail"}


def test_reading_needs_a_key(anonymous: httpx2.Client, agent: str) -> None:
    reply = anonymous.get(f"/agents/{agent}/events")
    assert reply.status_code == 401
    assert reply.json()["error"]
    assert reply.headers["X-Trace-Id"]
