"""The `steps` dialect at its door: reply forms, idempotency, every field wrong in every way, the rate limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer, Unique
from tests.support.readback import ReadBack
from tests.support.senders import INGEST_PATH, Json, ingest, sdk_event, tell

EVENT_TYPES = ["run_start", "step", "tool_call", "error", "run_end", "human_input_requested", "human_input_received"]
TOO_BIG = 2**53 + 1


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_event_is_answered_with_ok_and_its_id(client: httpx2.Client, unique: Unique, event_type: str) -> None:
    reply = ingest(client, sdk_event(event_type, unique("run"), {"note": "x"}))
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "event_id": reply.json()["event_id"]}
    assert type(reply.json()["event_id"]) is int


def test_event_ids_rise(client: httpx2.Client, unique: Unique) -> None:
    one, two = unique("run"), unique("run")
    ids = [tell(client, "step", run, {"node_name": "n"}) for run in (one, two, one, one, two)]
    assert ids == sorted(set(ids))
    assert ids[0] > 0


def test_optional_fields_may_be_absent_null_or_empty(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    for nothing in (None, ""):
        tell(client, "step", run, {"node_name": "n"}, agent_name=nothing, event_id=nothing)
    tell(client, "step", run, {"node_name": "n"}, occurred_at=None)
    assert back.types(run) == ["step", "step", "step"]


@pytest.mark.parametrize("event_type", ["run_start", "run_end"])
def test_a_start_and_an_end_happen_once(client: httpx2.Client, back: ReadBack, unique: Unique, event_type: str) -> None:
    run = unique("run")
    first = tell(client, event_type, run, {"input": {"a": 1}, "total_tokens": 3})
    tell(client, "step", run, {"node_name": "n"})
    assert tell(client, event_type, run, {"input": {"a": 1}, "total_tokens": 3}) == first
    assert len(back.events(run)) == 2


def test_other_events_are_stored_each_time_they_come(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    ids = [tell(client, "tool_call", run, {"tool_name": "t", "phase": "end"}) for _ in range(2)]
    assert ids[0] < ids[1]
    assert len(back.events(run)) == 2


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_id_stores_once_and_is_answered_as_the_first_time(
    client: httpx2.Client, back: ReadBack, unique: Unique, event_type: str
) -> None:
    run = unique("run")
    first = tell(client, event_type, run, {"note": "x"}, event_id="evt-1")
    tell(client, "step", run)
    assert tell(client, event_type, run, {"note": "x"}, event_id="evt-1") == first
    assert len(back.events(run)) == 2


def test_an_event_id_sent_by_many_at_once_stores_once(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    with ThreadPoolExecutor(8) as senders:
        ids = list(senders.map(lambda _: tell(client, "step", run, {"node_name": "n"}, event_id="evt-1"), range(24)))
    assert len(set(ids)) == 1
    assert back.types(run) == ["step"]


def test_events_sent_at_once_have_an_order_without_holes(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    with ThreadPoolExecutor(8) as senders:
        ids = list(senders.map(lambda n: tell(client, "step", run, {"n": n}), range(200)))
    assert len(set(ids)) == 200
    in_order = [number for _, number in sorted(zip(ids, range(200), strict=True))]
    assert [event["data"]["n"] for event in back.events(run)] == in_order, "event ids rise as the run's own seq does"


def test_an_event_id_with_another_body_is_a_409(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "step", run, {"node_name": "a"}, event_id="evt-1")
    reply = ingest(client, sdk_event("step", run, {"node_name": "b"}, event_id="evt-1"))
    assert reply.status_code == 409
    assert isinstance(reply.json()["message"], str)
    assert [event["data"]["node_name"] for event in back.events(run)] == ["a"]


def test_an_event_id_belongs_to_its_run(client: httpx2.Client, unique: Unique) -> None:
    first = tell(client, "step", unique("run"), {"node_name": "a"}, event_id="evt-1")
    assert tell(client, "step", unique("run"), {"node_name": "b"}, event_id="evt-1") > first


def test_another_organisation_has_runs_of_its_own(
    client: httpx2.Client, other_org: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    run = unique("run")
    tell(client, "step", run, {"node_name": "ours"}, event_id="evt-1")
    tell(other_org, "step", run, {"node_name": "theirs"}, event_id="evt-1")
    tell(other_org, "error", run, {"error_message": "x"})
    assert (back.types(run), back.status(run)) == (["step"], "running")
    assert ReadBack(other_org).status(run) == "failed"


WRONG_FIELDS: dict[str, tuple[Json, str]] = {
    "event_type missing": ({"event_type": ...}, "event_type"),
    "event_type null": ({"event_type": None}, "event_type"),
    "event_type empty": ({"event_type": ""}, "event_type"),
    "event_type unknown": ({"event_type": "run_started"}, "event_type"),
    "event_type in capitals": ({"event_type": "RUN_START"}, "event_type"),
    "event_type a number": ({"event_type": 1}, "event_type"),
    "event_type a list": ({"event_type": ["step"]}, "event_type"),
    "event_type an object": ({"event_type": {}}, "event_type"),
    "event_type a boolean": ({"event_type": True}, "event_type"),
    "sdk_run_id missing": ({"sdk_run_id": ...}, "sdk_run_id"),
    "sdk_run_id null": ({"sdk_run_id": None}, "sdk_run_id"),
    "sdk_run_id empty": ({"sdk_run_id": ""}, "sdk_run_id"),
    "sdk_run_id a number": ({"sdk_run_id": 12}, "sdk_run_id"),
    "sdk_run_id a list": ({"sdk_run_id": []}, "sdk_run_id"),
    "sdk_run_id an object": ({"sdk_run_id": {"id": "a"}}, "sdk_run_id"),
    "sdk_run_id too long": ({"sdk_run_id": "x" * 201}, "sdk_run_id"),
    "sdk_run_id with a control": ({"sdk_run_id": "a\tb"}, "sdk_run_id"),
    "sdk_run_id with NUL": ({"sdk_run_id": "a\x00b"}, "sdk_run_id"),
    "sdk_run_id with a slash": ({"sdk_run_id": "a/b"}, "sdk_run_id"),
    "payload missing": ({"payload": ...}, "payload"),
    "payload null": ({"payload": None}, "payload"),
    "payload a string": ({"payload": "{}"}, "payload"),
    "payload a list": ({"payload": []}, "payload"),
    "payload a number": ({"payload": 0}, "payload"),
    "payload a boolean": ({"payload": True}, "payload"),
    "agent_name a number": ({"agent_name": 7}, "agent_name"),
    "agent_name a list": ({"agent_name": ["a"]}, "agent_name"),
    "agent_name an object": ({"agent_name": {}}, "agent_name"),
    "agent_name too long": ({"agent_name": "x" * 201}, "agent_name"),
    "event_id a number": ({"event_id": 42}, "event_id"),
    "event_id an object": ({"event_id": {}}, "event_id"),
    "event_id too long": ({"event_id": "x" * 201}, "event_id"),
}

ODD_TIMES = [1775124000, "yesterday", "2026-13-40T25:61:00Z", [], "0001-01-01T00:00:00Z"]
WRONG_FIGURES: dict[str, tuple[str, Any]] = {
    f"{field} {value!r}": (field, value)
    for field in ("prompt_tokens", "completion_tokens", "total_tokens")
    for value in (-1, 0.5, "many", [], {}, True, TOO_BIG, 10**40)
} | {f"cost_usd {value!r}": ("cost_usd", value) for value in (-0.01, "cheap", [], {}, True, 1e300)}


def assert_refused(reply: httpx2.Response, field: str) -> None:
    """A 422 in the ecosystem's form whose only wrong field is this one (or lies inside it: `payload.cost_usd`)."""
    assert reply.status_code == 422, reply.text
    body = reply.json()
    assert set(body) == {"message", "errors"}
    [(named, messages)] = body["errors"].items()
    assert named.split(".")[-1] == field
    assert messages
    assert all(isinstance(message, str) and message for message in messages)
    assert body["message"] == messages[0]


@pytest.mark.parametrize(("wrong", "field"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_a_wrong_field_is_a_422_that_names_it(
    client: httpx2.Client, back: ReadBack, unique: Unique, wrong: Json, field: str
) -> None:
    run = unique("run")
    event = {name: value for name, value in {**sdk_event("step", run), **wrong}.items() if value is not ...}
    assert_refused(ingest(client, event), field)
    assert back.runs(thread_id=run) == []


def warned(reply: httpx2.Response, *wanted: str) -> None:
    """The event is stored, and these fields are named in warnings."""
    assert reply.status_code == 200, reply.text
    assert [warning["field"] for warning in reply.json()["warnings"]] == list(wanted)


@pytest.mark.parametrize(("field", "value"), WRONG_FIGURES.values(), ids=WRONG_FIGURES.keys())
def test_a_figure_that_cannot_be_used_is_kept_named_and_not_counted(
    client: httpx2.Client, back: ReadBack, unique: Unique, field: str, value: Any
) -> None:
    run = unique("run")
    warned(ingest(client, sdk_event("run_end", run, {field: value})), f"payload.{field}")
    row = back.run(run)
    assert row["status"] == "completed"
    assert (row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]) == (None, None, None)
    [event] = back.events(run)
    assert event["data"] == {field: value}


@pytest.mark.parametrize("time", ODD_TIMES, ids=str)
def test_a_time_that_cannot_be_used_is_kept_and_named(
    client: httpx2.Client, back: ReadBack, unique: Unique, time: Any
) -> None:
    run = unique("run")
    warned(ingest(client, sdk_event("step", run, {"a": 1}, occurred_at=time)), "occurred_at")
    [event] = back.events(run)
    assert event["data"] == {"towerlog_invalid": {"occurred_at": time}, "a": 1}


def test_every_wrong_field_is_named_at_once(client: httpx2.Client) -> None:
    reply = ingest(client, {"event_type": "nonsense", "payload": []})
    assert reply.status_code == 422
    assert set(reply.json()["errors"]) == {"event_type", "sdk_run_id", "payload"}
    assert reply.json()["message"] in [messages[0] for messages in reply.json()["errors"].values()]


@pytest.mark.parametrize("body", ["[]", "null", "7", '"step"', "true"])
def test_a_body_that_is_no_object_is_a_422(client: httpx2.Client, body: str) -> None:
    reply = client.post(INGEST_PATH, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert isinstance(reply.json()["message"], str)


def test_an_unauthenticated_sender_is_told_so(client: httpx2.Client, anonymous: httpx2.Client) -> None:
    reply = ingest(anonymous, sdk_event("step", "r"))
    assert (reply.status_code, reply.json()) == (401, {"message": "Unauthenticated."})


def test_limits_are_the_last_value_allowed(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run").ljust(200, "r")
    payload = {"prompt_tokens": 2**53, "completion_tokens": 0, "cost_usd": 0}
    tell(client, "run_end", run, payload, agent_name="n" * 200, event_id="e" * 200)
    row = back.run(run)
    assert (row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]) == (2**53, 0, 0)


@pytest.mark.parametrize(
    "time", ["2026-04-02T10:00:00Z", "2026-04-02T10:00:00.123456+05:30", "2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]
)
def test_any_time_is_taken(client: httpx2.Client, back: ReadBack, unique: Unique, time: str) -> None:
    run = unique("run")
    tell(client, "step", run, {"node_name": "first"}, occurred_at=time)
    tell(client, "step", run, {"node_name": "second"})
    assert [event["data"]["node_name"] for event in back.events(run)] == ["first", "second"]


def test_two_hundred_requests_a_minute_for_each_key(fresh_server: FreshServer) -> None:
    server = fresh_server(limits=True)
    client, other = server.client(), server.client(server.make_key("ingest"))
    ids = [tell(client, "step", "busy", {"n": n}) for n in range(200)]
    reply = ingest(client, sdk_event("step", "busy", {"n": 200}))
    assert (reply.status_code, reply.json()) == (429, {"message": "Too Many Attempts."})
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert (reply.headers["X-RateLimit-Limit"], reply.headers["X-RateLimit-Remaining"]) == ("200", "0")
    assert int(reply.headers["X-RateLimit-Reset"]) > 0
    assert tell(other, "step", "busy", {"n": 201}) > ids[-1], "another key has two hundred of its own"
    assert len(ReadBack(client).events("busy")) == 201, "nothing of what was refused is stored; reading is not limited"


def test_the_rate_limit_is_a_setting(fresh_server: FreshServer) -> None:
    client = fresh_server(limits=True, TOWERLOG_STEPS_RATE_PER_MINUTE="3").client()
    replies = [ingest(client, sdk_event("step", "busy")).status_code for _ in range(5)]
    assert replies == [200, 200, 200, 429, 429]


def test_zero_switches_the_rate_limit_off(client: httpx2.Client, unique: Unique) -> None:
    run = unique("run")
    assert len({tell(client, "step", run, {"n": n}) for n in range(230)}) == 230
