"""OpenTelemetry over HTTP against a real server: real exports in every encoding and order, an exporter, a way out."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from tests.acceptance.conftest import Unique
from tests.acceptance.five_ways import checkpoints_feed, runs_feed, steps_feed
from tests.support.otlp import JSON, PROTOBUF, Export, Json, as_protobuf, exports, span, traces
from tests.support.samples import first
from tests.support.server import Server

EXPORTS = [one for one in exports() if one.path == "/v1/traces"]
LOGS = [one for one in exports() if one.path == "/v1/logs"]
by_name = pytest.mark.parametrize("export", EXPORTS, ids=lambda one: one.name)
REASONING_OF_ONE = {"openllmetry-openai"}
"""Libraries that tell of reasoning in one of two calls."""


@pytest.fixture
def org(server: Server, unique: Unique) -> httpx2.Client:
    """The admin of an organisation of the test's own."""
    _, key = server.make_org(unique("otlp"))
    return server.client(key)


def send(client: httpx2.Client, path: str, body: bytes, kind: str = JSON, **headers: str) -> httpx2.Response:
    reply = client.post(path, content=body, headers={"Content-Type": kind, **headers})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == kind
    return reply


def runs_of(client: httpx2.Client) -> list[Json]:
    """All runs of the organisation."""
    found: list[Json] = client.get("/api/v1/runs", params={"limit": 200}).json()["data"]
    return found


def events_of(client: httpx2.Client, run_id: str) -> list[Json]:
    found: list[Json] = client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 1000}).json()["data"]
    return found


RECORDED = {"since": "2026-04-02T00:00:00Z", "until": "2027-04-02T00:00:00Z"}
"""The year in which all exports were recorded: unless told otherwise, usage is that of the last seven days."""


def figures(row: Json) -> tuple[int, int, int, int]:
    """Input, of it cached, output, of it reasoning."""
    told = row["usage"]
    sent = [told[name] or 0 for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens")]
    return (
        sum(sent),
        sent[1],
        (told["output_tokens"] or 0) + (told["reasoning_tokens"] or 0),
        told["reasoning_tokens"] or 0,
    )


def added(rows: list[Json]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*map(figures, rows), strict=True)))


def seen(client: httpx2.Client) -> Json:
    """What an organisation shows of an export: its figures by run, agent, model and altogether, and its tree."""
    rows = runs_of(client)
    by_id = {row["run_id"]: row for row in rows}
    usage = {by: client.get("/api/v1/usage", params={"by": by, **RECORDED}).json()["data"] for by in ("agent", "model")}
    return {
        "runs": added(rows),
        "agents": added(usage["agent"]),
        "models": added(usage["model"]),
        "roots": sorted(row["foreign_id"] for row in rows if row["parent_run_id"] is None),
        "orphans": [row["foreign_id"] for row in rows if row["parent_run_id"] not in {None, *by_id}],
        "open": [row["foreign_id"] for row in rows if row["ended_at"] is None],
        "failed": sorted(row["foreign_id"] for row in rows if row["status"] == "failed"),
        "all": sorted(row["foreign_id"] for row in rows),
    }


def expected(export: Export) -> tuple[int, int]:
    """Model calls that count, and their input beside that of chats (an embedding)."""
    from tests.dialects.otlp.test_exports import CALLS

    return CALLS[export.name], 5 if export.name == "openinference-openai" else 0


@by_name
@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_an_export_in_one_post(org: httpx2.Client, export: Export, kind: str) -> None:
    send(org, export.path, export.sent(kind), kind)
    found = seen(org)
    check(found, export)
    again = send(org, export.path, export.sent(kind), kind)
    assert again.content in (b"{}", b"")
    assert seen(org) == found


def check(found: Json, export: Export) -> None:
    from tests.dialects.otlp.test_exports import NO_CACHE, NO_REASONING

    calls, beside = expected(export)
    cached = 0 if export.name in NO_CACHE else 1000
    thinking = 1 if export.name in REASONING_OF_ONE else 0 if export.name in NO_REASONING else calls
    told = (1200 * calls + beside, cached * calls, 90 * calls, 40 * thinking)
    assert found["runs"] == found["agents"] == found["models"] == told
    traces_ = {one["traceId"] for one in export.spans()}
    assert found["roots"] == sorted(f"otlp:{trace}" for trace in traces_)
    assert found["orphans"] == found["open"] == []


@by_name
@pytest.mark.parametrize("order", first(["shuffled", "as they ended", "parents first"]))
def test_one_span_a_post(org: httpx2.Client, export: Export, order: str) -> None:
    bodies = list(export.one_by_one())
    if order == "parents first":
        bodies.reverse()
    if order == "shuffled":
        random.Random(export.name).shuffle(bodies)
    for body in bodies:
        send(org, export.path, as_protobuf(export.path, body), PROTOBUF)
    check(seen(org), export)
    for body in bodies[:5]:
        assert send(org, export.path, as_protobuf(export.path, body), PROTOBUF).content == b""
    check(seen(org), export)


def test_the_failure_of_a_tool_is_one(org: httpx2.Client) -> None:
    [export] = [one for one in EXPORTS if one.name == "openinference-openai-agents"]
    send(org, export.path, export.sent(PROTOBUF), PROTOBUF)
    results = [
        event for row in runs_of(org) for event in events_of(org, row["run_id"]) if event["type"] == "tool.result"
    ]
    failed = [event for event in results if not event["success"]]
    assert [(event["tool"], event["error"][:18]) for event in failed] == [("broken", "Error running tool")]
    assert len(results) > len(failed)


def test_records_stand_beside_the_call_that_they_are_of(org: httpx2.Client) -> None:
    [spans] = [one for one in EXPORTS if one.name == "otel-openai-v2"]
    [records] = LOGS
    assert send(org, records.path, records.sent(PROTOBUF), PROTOBUF).content == b""
    assert all(row["implicit"] for row in runs_of(org))
    send(org, spans.path, spans.sent(PROTOBUF), PROTOBUF)
    for row in runs_of(org):
        assert not row["implicit"]
        events = events_of(org, row["run_id"])
        [call] = [event for event in events if event["type"] == "model.call"]
        said = [event for event in events if event["type"] == "other"]
        assert said
        assert {event["data"]["span_id"] for event in said} == {call["data"]["span_id"]}


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
@pytest.mark.parametrize("form", ["gzip", "chunks", "gzip in chunks"])
def test_compressed_and_without_a_length(org: httpx2.Client, kind: str, form: str) -> None:
    [export] = [one for one in EXPORTS if one.name == "strands-agents"]
    body, headers = export.sent(kind), {"Content-Type": kind}
    if "gzip" in form:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), 700):
            yield body[at : at + 700]

    content: Any = pieces() if "chunks" in form else body
    reply = org.post(export.path, content=content, headers=headers)
    assert reply.status_code == 200, reply.text
    check(seen(org), export)


def test_what_cannot_be_stored_is_told_of(org: httpx2.Client) -> None:
    body = traces(span(1), span(2, 1) | {"traceId": "00"})
    told = send(org, "/v1/traces", json.dumps(body).encode()).json()
    assert told == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "traceId: must be 32 hex digits"}}
    other = as_protobuf("/v1/traces", traces(span(1, name="another")))
    reply = ExportTraceServiceResponse.FromString(send(org, "/v1/traces", other, PROTOBUF).content)
    assert reply.partial_success.rejected_spans == 1
    assert "used before" in reply.partial_success.error_message


def test_refusals(server: Server, org: httpx2.Client) -> None:
    for kind, body in ((JSON, b"["), (PROTOBUF, b"\xff")):
        reply = org.post("/v1/traces", content=body, headers={"Content-Type": kind})
        assert (reply.status_code, reply.headers["content-type"]) == (400, kind)
    assert org.post("/v1/traces", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    read = server.client(org.post("/api/v1/keys", json={"name": "read", "scopes": ["read"]}).json()["key"])
    assert read.post("/v1/traces", json={}).status_code == 403
    reply = server.client(None).post("/v1/traces", content=b"", headers={"Content-Type": PROTOBUF})
    assert (reply.status_code, reply.content[:2]) == (401, b"\x08\x10")


def test_metrics_are_taken(org: httpx2.Client) -> None:
    assert send(org, "/v1/metrics", b'{"resourceMetrics": []}').content == b"{}"
    assert send(org, "/v1/metrics", b"", PROTOBUF).content == b""


def test_secrets_are_not_stored(org: httpx2.Client) -> None:
    secret = "sk-proj-" + "Ab1" * 12
    told = span(
        1,
        gen_ai__operation__name="invoke_agent",
        http__request__header__authorization=f"Bearer {secret}",
        OPENAI_API_KEY=secret,
        input__value=json.dumps({"headers": {"X-Api-Key": "hush-hush"}, "note": f"with {secret}"}),
    )
    told["status"] = {"code": 2, "message": f"Incorrect API key provided: {secret}"}
    send(org, "/v1/traces", json.dumps(traces(told, env__AWS_SECRET_ACCESS_KEY="hush-hush")).encode())
    [row] = runs_of(org)
    shown = json.dumps([row, events_of(org, row["run_id"]), org.get(f"/api/v1/runs/{row['run_id']}").json()])
    assert secret not in shown
    assert "hush-hush" not in shown
    assert "[masked]" in shown


# A real exporter


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_an_exporter_of_the_sdk(server: Server, org: httpx2.Client, compression: Compression) -> None:
    key = org.post("/api/v1/keys", json={"name": "exporter", "scopes": ["ingest"]}).json()["key"]
    exporter = OTLPSpanExporter(
        f"{server.base_url}/v1/traces", headers={"Authorization": f"Bearer {key}"}, compression=compression
    )
    provider = TracerProvider(resource=Resource({"service.name": "weather"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("by-hand", "1")
    with tracer.start_as_current_span("invoke_agent meteorologist") as agent:
        agent.set_attribute("gen_ai.operation.name", "invoke_agent")
        agent.set_attribute("session.id", "s-1")
        with tracer.start_as_current_span("execute_tool weather") as tool:
            tool.set_attribute("gen_ai.tool.name", "weather")
            tool.set_status(Status(StatusCode.ERROR, "no such city"))
        with tracer.start_as_current_span("chat gpt-4o") as call:
            call.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.response.model": "gpt-4o"})
            call.set_attributes({"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 90})
    assert provider.force_flush()
    provider.shutdown()
    [row] = runs_of(org)
    assert (row["agent"], row["thread_id"], row["status"], row["model"]) == (
        "meteorologist",
        "s-1",
        "completed",
        "gpt-4o",
    )
    assert figures(row) == (1200, 0, 90, 0)
    events = events_of(org, row["run_id"])
    assert [event["type"] for event in events] == [
        "run.started",
        "tool.call",
        "tool.result",
        "model.call",
        "run.completed",
    ]
    assert (events[2]["success"], events[2]["error"]) == (False, "no such city")


# The way out


@by_name
def test_what_came_in_goes_out(org: httpx2.Client, export: Export) -> None:
    send(org, export.path, export.sent(JSON))
    sent = {one["spanId"]: one for one in export.spans()}
    out: dict[str, Json] = {}
    for row in runs_of(org):
        reply = org.get(f"/api/v1/runs/{row['run_id']}/otlp").json()
        accepted(reply)
        out |= {one["spanId"]: one for one in spans_in(reply)}
    assert set(out) == set(sent)
    for span_id, one in out.items():
        was = sent[span_id]
        assert (one["traceId"], one["name"], one["parentSpanId"]) == (
            was["traceId"],
            was["name"],
            was.get("parentSpanId", ""),
        )


def spans_in(reply: Json) -> list[Json]:
    return [one for scope in reply["resourceSpans"][0]["scopeSpans"] for one in scope["spans"]]


def accepted(reply: Json) -> None:
    """Whether the types of OTLP take it, all members known."""
    ParseDict(
        {"resourceSpans": [{"scopeSpans": [{"spans": [_in_base64(one) for one in spans_in(reply)]}]}]},
        TracesData(),
    )


def _in_base64(one: Json) -> Json:
    from tests.support.otlp import _with_base64

    told: Json = _with_base64(one)
    return told


def test_a_run_of_the_sdk_goes_out(org: httpx2.Client) -> None:
    events = [
        ("run.started", {}),
        ("tool.call", {"tool": "search", "tool_call_id": "c", "arguments": {"q": "towers"}}),
        ("tool.result", {"tool": "search", "tool_call_id": "c", "result": [1], "success": False, "error": "no"}),
        ("model.call", {"model": "gpt-4o", "input_tokens": 200, "cached_input_tokens": 1000, "output_tokens": 90}),
        ("step", {"name": "plan", "duration_ms": 7, "span_id": "5a" * 8}),
        ("run.completed", {"result": "done"}),
    ]
    body = {
        "client_id": "desk",
        "events": [
            {"event_id": f"e{number}", "client_seq": number, "run_key": "k", "type": kind, "data": data}
            for number, (kind, data) in enumerate(events, start=1)
        ],
    }
    assert org.post("/api/v1/events", json=body).status_code == 200
    [row] = runs_of(org)
    reply = org.get(f"/api/v1/runs/{row['run_id']}/otlp").json()
    accepted(reply)
    tool, call, step, root = spans_in(reply)
    assert [one["name"] for one in (tool, call, step)] == ["execute_tool search", "chat gpt-4o", "plan"]
    assert {one["parentSpanId"] for one in (tool, call, step)} == {root["spanId"]}
    assert root["parentSpanId"] == ""
    assert tool["status"] == {"code": 2, "message": "no"}
    told = {one["key"]: one["value"] for one in call["attributes"]}
    assert told["gen_ai.usage.input_tokens"] == {"intValue": "1200"}
    # It comes back as what it was.
    send(org, "/v1/traces", json.dumps(reply).encode())
    [back] = [one for one in runs_of(org) if one["run_id"] != row["run_id"]]
    assert figures(back) == (1200, 1000, 90, 0)
    assert back["status"] == "completed"


TOTALS = [
    ("run.started", {"input": "weather?"}),
    ("model.call", {"model": "gpt-4o", "input_tokens": 200, "output_tokens": 90, "cost_usd": 0.2}),
    ("usage", {"total_tokens": 500, "cost_usd": 0.5}),
    ("run.completed", {"result": "rain"}),
]


def by_native(client: httpx2.Client) -> tuple[str, str]:
    """A run with a bare total beyond its call."""
    told: list[Json] = [
        {"event_id": f"e{at}", "client_seq": at, "run_key": "k", "type": kind, "data": data}
        for at, (kind, data) in enumerate(TOTALS, start=1)
    ]
    told[0] |= {"thread": "sky", "agent": "forecaster"}
    reply = client.post("/api/v1/events", json={"client_id": "desk", "events": told})
    assert reply.status_code == 200, reply.text
    return runs_of(client)[0]["run_id"], "sky"


FEEDS = [by_native, checkpoints_feed, steps_feed, runs_feed]


@pytest.mark.parametrize("feed", FEEDS, ids=lambda one: one.__name__)
def test_a_run_of_each_dialect_comes_back_elsewhere_as_it_was(server: Server, unique: Unique, feed: Any) -> None:
    """Its tokens, its money, its agent and its thread; by a request, and by `towerlog import` of the same file."""
    ours, theirs = (server.client(server.make_org(unique("otlp"))[1]) for _ in range(2))
    run_id, _ = feed(ours)
    row = ours.get(f"/api/v1/runs/{run_id}").json()
    reply = ours.get(f"/api/v1/runs/{run_id}/otlp").json()
    accepted(reply)
    again = json.dumps(reply).encode()
    assert send(theirs, "/v1/traces", again).json() == {}
    [back] = runs_of(theirs)
    kept = [name for name in row["usage"] if name.endswith("_tokens")]
    told = {name: row["usage"][name] or 0 for name in kept}
    assert {name: back["usage"][name] or 0 for name in kept} == told
    assert (back["total_cost_usd"] or 0) == (row["total_cost_usd"] or 0)
    assert (back["agent"], back["thread_id"], back["status"]) == (row["agent"], row["thread_id"], row["status"])
    # And from there again: what came in as spans is known.
    out = theirs.get(f"/api/v1/runs/{back['run_id']}/otlp").content
    assert send(theirs, "/v1/traces", out).json() == {}
    assert len(runs_of(theirs)) == 1


def test_a_run_of_an_exporter_is_known_when_it_comes_back(org: httpx2.Client) -> None:
    for export in EXPORTS:
        send(org, export.path, export.sent(JSON))
    rows = runs_of(org)
    for row in rows:
        reply = org.get(f"/api/v1/runs/{row['run_id']}/otlp")
        assert send(org, "/v1/traces", reply.content).json() == {}, row
    assert {row["run_id"]: row["usage"] for row in runs_of(org)} == {row["run_id"]: row["usage"] for row in rows}


@pytest.mark.parametrize("kind", ["invoke_agent", "execute_tool", "chat", "other"])
def test_a_span_whose_clock_was_set_back_is_known_when_it_comes_back(org: httpx2.Client, kind: str) -> None:
    """So is one without an end, or without any time."""
    begun = 1_775_124_000_000_000_000
    times = [(begun, begun - 5_000_000_000), (begun, 0), (0, begun), (0, 0)]
    spans = [
        span(number, 1, gen_ai__operation__name=kind) | {"startTimeUnixNano": str(one), "endTimeUnixNano": str(other)}
        for number, (one, other) in enumerate(times, 2)
    ]
    send(org, "/v1/traces", json.dumps(traces(span(1), *spans)).encode())
    told = {one["spanId"]: (one["startTimeUnixNano"], one["endTimeUnixNano"]) for one in spans}
    for row in runs_of(org):
        reply = org.get(f"/api/v1/runs/{row['run_id']}/otlp")
        found = {one["spanId"]: (one["startTimeUnixNano"], one["endTimeUnixNano"]) for one in spans_in(reply.json())}
        assert {name: times for name, times in found.items() if name in told and told[name] != times} == {}
        assert send(org, "/v1/traces", reply.content).json() == {}, kind


def test_a_long_run_goes_out_in_parts(org: httpx2.Client) -> None:
    many = [span(number, 1) for number in range(2, 1202)]
    send(org, "/v1/traces", json.dumps(traces(*many, span(1))).encode())
    [row] = runs_of(org)
    path, found = f"/api/v1/runs/{row['run_id']}/otlp", set()
    while path:
        reply = org.get(path)
        found |= {one["spanId"] for one in spans_in(reply.json())}
        path = reply.links.get("next", {}).get("url", "")
    assert found == {one["spanId"] for one in (*many, span(1))}
