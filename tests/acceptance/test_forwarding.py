"""Forwarding: runs that have ended get to a collector as spans, also one that was away, and over kills of a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance.conftest import FreshServer, Unique
from tests.support.collector import TraceCollector, collecting
from tests.support.figures import metric, no_block
from tests.support.nodes import Nodes
from tests.support.samples import first
from tests.support.server import NO_LIMITS, Server, clean_environment, run_inside
from tests.support.wait import wait_until

CONFIGURATION = 78
TOKEN = "s3cret-of-the-collector"
Json = dict[str, Any]


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    yield from collecting()


def settings(collector: TraceCollector) -> dict[str, str]:
    return {
        "TOWERLOG_FORWARD_OTLP_URL": collector.url,
        "TOWERLOG_FORWARD_OTLP_HEADERS": f"Authorization=Bearer%20{TOKEN},X-Scope-OrgID=team",
    }


def events_of(key: str, *, extra: int = 0, ends: bool = True) -> list[Json]:
    """A run with a tool and a model call."""
    told: list[tuple[str, Json]] = [("run.started", {"input": "weather?"})]
    told += [("tool.call", {"tool": "ls", "tool_call_id": "c1", "arguments": {"path": "/"}})]
    told += [("tool.result", {"tool": "ls", "tool_call_id": "c1", "result": "etc", "success": True})]
    told += [("model.call", {"model": "gpt-4o", "usage": {"input_tokens": 1200, "output_tokens": 90}})] * (1 + extra)
    told += [("run.completed", {"result": "sunny"})] if ends else []
    return [
        {"event_id": f"{key}:{number}", "client_seq": number, "run_key": key, "thread": key, "agent": "weather",
         "type": kind, "data": data}
        for number, (kind, data) in enumerate(told, start=1)
    ]  # fmt: skip


def send(client: httpx2.Client, key: str, events: list[Json] | None = None, client_id: str = "") -> None:
    body = {"client_id": client_id or key, "events": events_of(key) if events is None else events}
    reply = client.post("/api/v1/events", json=body)
    assert reply.status_code == 200, reply.text
    assert {one["status"] for one in reply.json()["results"]} <= {"stored", "duplicate"}, reply.text


def late(key: str, number: int) -> Json:
    data = {"model": "gpt-4o", "usage": {"input_tokens": 1}}
    one = events_of(key)[0]
    return {**one, "event_id": f"{key}:late{number}", "client_seq": 100 + number, "type": "model.call", "data": data}


def run_of(client: httpx2.Client, key: str) -> str:
    rows = client.get("/api/v1/runs", params={"thread_id": key}).json()["data"]
    [run_id] = [str(row["run_id"]) for row in rows if row["thread_id"] == key]
    return run_id


def test_a_run_that_has_ended_is_sent_as_its_endpoint_shows_it(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    server, key = fresh_server(**settings(collector)), unique("run")
    with server.client() as client:
        send(client, key, events_of(key, ends=False))
        send(client, other := unique("other"))
        wait_until(lambda: collector.roots() == [run_of(client, other)], "the other run at the collector")
        assert len(collector.spans) == 3, "what has not ended is not sent"
        collector.spans.clear()
        send(client, key, events_of(key)[-1:])
        run_id = run_of(client, key)
        wait_until(lambda: collector.roots() == [run_id], "the run at the collector")
        [shown] = client.get(f"/api/v1/runs/{run_id}/otlp").json()["resourceSpans"]
        [scope] = shown["scopeSpans"]
    assert [one.name for one in collector.spans] == ["execute_tool ls", "chat gpt-4o", "invoke_agent weather"]
    for ours, theirs in zip(scope["spans"], collector.spans, strict=True):
        assert ours["traceId"] == theirs.trace_id.hex()
        assert (ours["spanId"], ours["parentSpanId"]) == (theirs.span_id.hex(), theirs.parent_span_id.hex())
        assert ours["startTimeUnixNano"] == str(theirs.start_time_unix_nano)
        assert [one["key"] for one in ours["attributes"]] == [one.key for one in theirs.attributes]
    assert len(collector.orgs) == 1
    assert collector.paths == {"/v1/traces"}
    assert collector.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert collector.headers[0]["x-scope-orgid"] == "team"
    # Counted once the collector's answer was read.
    wait_until(lambda: metric(server, "towerlog_forwarded_spans_total") == 6, "all of them to be counted")
    assert TOKEN not in server.log


def test_spans_go_out_with_the_status_that_they_came_with(collector: TraceCollector, fresh_server: FreshServer) -> None:
    """Stock exporters tell none unless something has failed."""
    told: list[Json] = [{}, {"status": {}}, {"status": {"code": 1}}, {"status": {"code": 2, "message": "m"}}]
    times = {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
    spans = [
        {"traceId": f"{n:032x}", "spanId": f"{n:016x}", "name": f"s{n}", "kind": 1, **times, **status}
        for n, status in enumerate(told, start=1)
    ]
    server = fresh_server(**settings(collector))
    with server.client() as client:
        reply = client.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
        assert reply.status_code == 200, reply.text
        wait_until(lambda: len(collector.spans) >= len(told), "all of them at the collector")
    found = {one.name: (one.status.code, one.status.message) for one in collector.spans}
    assert found == {"s1": (0, ""), "s2": (0, ""), "s3": (1, ""), "s4": (2, "m")}


def test_what_comes_after_the_end_is_sent_alone(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    server, key = fresh_server(**settings(collector)), unique("run")
    with server.client() as client:
        send(client, key)
        wait_until(lambda: len(collector.spans) == 3, "the run at the collector")
        for number in range(2):
            send(client, key, [late(key, number)])
            wait_until(lambda sent=4 + number: len(collector.spans) == sent, "the late span")
        send(client, other := unique("other"), events_of(other)[-1:])
        wait_until(lambda: len(collector.roots()) == 2, "the next run")
    assert Counter(one.name for one in collector.spans) == {
        "execute_tool ls": 1,
        "chat gpt-4o": 3,
        "invoke_agent weather": 2,
    }
    assert len({one.span_id for one in collector.spans}) == 6


def test_a_collector_that_is_away_delays_nobody_and_gets_all_of_it_later(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    collector.stop()
    server = fresh_server(**settings(collector))
    keys = [unique("run") for _ in range(15)]
    with server.client() as client, no_block(server, "forwarding to nobody"):
        for key in keys:
            send(client, key, events_of(key, extra=50))
        wait_until(lambda: metric(server, "towerlog_forwarding_failures_total") >= 1, "an attempt that failed")
        wait_until(lambda: metric(server, "towerlog_forwarding_behind_events") > 0, "what waits to be counted")
        server.says("forwarding_waits")
        assert client.get("/readyz").status_code == 200
        collector.start()
        wait_until(lambda: len(collector.spans) == 15 * 53, "all of it at the collector")
        runs = [run_of(client, key) for key in keys]
        wait_until(lambda: metric(server, "towerlog_forwarding_behind_events") == 0, "nothing to wait")
    assert sorted(collector.roots()) == sorted(runs)
    assert len({one.span_id for one in collector.spans}) == len(collector.spans)
    server.says("forwarding_goes_on")


def test_a_kill_loses_no_run(collector: TraceCollector, fresh_server: FreshServer, unique: Unique) -> None:
    """What was under way is sent again."""
    server = fresh_server(**settings(collector))
    runs: set[str] = set()

    def forward(count: int) -> None:
        keys = [unique("run") for _ in range(count)]
        with server.client() as client:
            for key in keys:
                send(client, key, events_of(key, extra=30))
            runs.update(run_of(client, key) for key in keys)

    forward(5)
    wait_until(lambda: set(collector.roots()) == runs, "the first runs at the collector")
    forward(5)
    collector.stop()
    forward(10)
    wait_until(lambda: metric(server, "towerlog_forwarding_failures_total") >= 1, "an attempt that failed")
    server.kill()
    collector.start()
    server.start()
    forward(1)
    wait_until(lambda: set(collector.roots()) == runs, "every run at the collector")
    assert len({one.span_id for one in collector.spans}) == 21 * 33
    forward(1)
    wait_until(lambda: set(collector.roots()) == runs, "the last run at the collector")
    sent = len(collector.spans)
    server.restart()
    forward(1)
    wait_until(lambda: set(collector.roots()) == runs, "the run after the restart")
    assert len(collector.spans) <= sent + 2 * 33, "what was forwarded before the last run is not sent again"


def test_runs_from_before_the_setting_stay_here(collector: TraceCollector, tmp_path: Path, unique: Unique) -> None:
    before, after = unique("run"), unique("run")
    with Server(tmp_path / "data", NO_LIMITS) as server:
        with server.client() as client:
            send(client, before)
        server.stop()
        with (
            Server(tmp_path / "data", {**NO_LIMITS, **settings(collector)}) as forwarding,
            forwarding.client() as client,
        ):
            send(client, after)
            wait_until(lambda: collector.roots() == [run_of(client, after)], "the run at the collector")


def test_what_is_refused_is_counted_and_holds_nobody_up(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    """One run that the collector does not want costs no other run its place, and is not sent for ever."""
    bad, good = unique("bad"), [unique("good") for _ in range(5)]

    def answer(spans: list[Span]) -> tuple[int, bytes]:
        if any(pair.value.string_value == "no" for span in spans for pair in span.attributes):
            return 400, b"\x01 not ours"
        return 200, ExportTraceServiceResponse().SerializeToString()

    collector.stop()
    collector.answer = answer
    server = fresh_server(**settings(collector))
    with server.client() as client:
        events = events_of(bad)
        events[1]["data"]["arguments"] = "no"
        send(client, good[0])
        send(client, bad, events)
        for key in good[1:]:
            send(client, key)
        collector.start()
        wait_until(lambda: metric(server, "towerlog_forwarded_spans_total") == 15, "the others at the collector")
        runs = [run_of(client, key) for key in good]
    assert sorted(collector.roots()) == sorted(runs)
    assert metric(server, "towerlog_forwarding_refused_spans_total") == 3
    server.says("spans_refused")


def test_a_part_that_the_collector_rejects_is_counted(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    told = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    collector.answer = lambda _: (200, ExportTraceServiceResponse(partial_success=told).SerializeToString())
    server = fresh_server(**settings(collector))
    with server.client() as client:
        send(client, unique("run"))
    wait_until(lambda: metric(server, "towerlog_forwarding_refused_spans_total") == 2, "two spans to be counted")
    server.says("too old")


@pytest.mark.parametrize("status", first([401, 404, 503]))
def test_a_collector_that_is_asked_wrongly_is_asked_again(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique, status: int
) -> None:
    """A wrong path or key loses nothing: what has ended waits until it is put right."""
    collector.answer = lambda _: (status, b"") if collector.tries < 3 else (200, b"")
    server = fresh_server(**settings(collector))
    with server.client() as client:
        send(client, key := unique("run"))
        wait_until(lambda: collector.roots() == [run_of(client, key)], "the run at the collector")
    assert metric(server, "towerlog_forwarding_failures_total") == 2
    server.says(f"answered with {status}")


def test_large_runs_go_in_requests_of_a_bounded_size(
    collector: TraceCollector, fresh_server: FreshServer, unique: Unique
) -> None:
    """Each value of a span that is too large is left out, the span is not."""
    server, key = fresh_server(**settings(collector)), unique("run")
    events = events_of(key, extra=30)
    for number, one in enumerate(events):
        if one["type"] == "model.call":
            one["data"] = {**one["data"], "attributes": {"gen_ai.output.messages": "x" * 200_000, "n": number}}
    events[1]["data"]["arguments"] = "y" * 3_000_000
    with server.client() as client, no_block(server, "forwarding of a large run"):
        for part in (events[:10], events[10:20], events[20:]):
            send(client, key, part)
        before = server.resident_bytes()
        wait_until(lambda: len(collector.roots()) == 1, "the run at the collector")
    assert len(collector.spans) == 33
    assert len(collector.sizes) > 10
    assert max(collector.sizes) < 600_000
    [tool] = [one for one in collector.spans if one.name == "execute_tool ls"]
    told = {one.key: one.value for one in tool.attributes}
    assert told["towerlog.attributes_left_out"].int_value == 1
    assert "gen_ai.tool.call.arguments" not in told
    assert server.resident_bytes() - before < 100 * 2**20


def test_a_wrong_address_or_header_ends_the_start(tmp_path: Path) -> None:
    for name, value, words in (
        ("URL", "ftp://collector", "forward_otlp_url: the URL does not begin with https:// or http://"),
        ("HEADERS", "secret-without-name", "forward_otlp_headers: entry 1 is not name=value"),
        ("HEADERS", "Host=secret-host", "forward_otlp_headers: has a header that cannot be sent"),
    ):
        env = {"TOWERLOG_DATA_DIR": str(tmp_path), "TOWERLOG_FORWARD_OTLP_URL": "http://127.0.0.1:4318"}
        refused = run_inside("serve", env=clean_environment({**env, f"TOWERLOG_FORWARD_OTLP_{name}": value}))
        assert refused.returncode == CONFIGURATION, refused.stderr
        assert words in refused.stderr
        assert "secret" not in refused.stderr.replace("secret-without", "")


def test_of_several_nodes_the_one_that_leads_forwards(
    collector: TraceCollector, tmp_path: Path, unique: Unique
) -> None:
    """And when it is killed, another one goes on where it was."""
    with Nodes(tmp_path, 2, settings(collector)) as nodes:
        first = nodes.leader()
        keys = [unique("run") for _ in range(6)]
        for number, key in enumerate(keys[:4]):
            with nodes.servers[number % 2].client() as client:
                send(client, key)
        wait_until(lambda: len(collector.roots()) == 4, "the runs at the collector")
        [other] = [one for one in nodes.servers if one is not first]
        assert metric(other, "towerlog_forwarded_spans_total") == 0
        first.kill()
        with other.client() as client:
            for key in keys[4:]:
                send(client, key)
            runs = {run_of(client, key) for key in keys}
            wait_until(lambda: set(collector.roots()) == runs, "the runs at the collector")
