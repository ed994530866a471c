"""What one exporter sends, or one reader of traces asks for, holds up nobody and costs a bounded number of bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import ok, step
from tests.acceptance.test_loop_blocks import own
from tests.support.figures import MIB, no_block
from tests.support.otlp import JSON, Json, span, traces
from tests.support.server import Server

__all__ = ["own"]
TIMEOUT_S = 300


def export(client: httpx2.Client, body: Json, path: str = "/v1/traces") -> dict[str, Any]:
    """Sends a request; what of it was rejected."""
    told = ok(client.post(path, content=json.dumps(body).encode(), headers={"Content-Type": JSON}))
    found: dict[str, Any] = told.get("partialSuccess", {})
    return found


@pytest.mark.parametrize("part", ["-----BEGIN PRIVATE KEY-----", "key'='", "-eyJ", '{"password":[', "[[],"])
@pytest.mark.parametrize("size", [20_000, 150_000, 1_000_000])
def test_text_that_looks_like_secrets(own: Server, part: str, size: int) -> None:
    with own.client(timeout=TIMEOUT_S) as client, no_block(own, f"{size} bytes of {part}"):
        export(client, traces(span(1, trace=1 + size + len(part), input__value=part * (size // len(part)))))


def test_many_attributes_of_a_process_and_records_of_nothing(own: Server) -> None:
    about = {f"k{n}": "v" for n in range(7000)}
    with own.client(timeout=TIMEOUT_S) as client, no_block(own, "a process of many attributes"):
        export(client, traces(*(span(1, trace=0xA000 + n) for n in range(99)), **about))
    with own.client(timeout=TIMEOUT_S) as client, no_block(own, "empty records"):
        export(client, {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}] * 8000}]}]}, "/v1/logs")


@pytest.mark.parametrize("place", ["a resource", "a scope"])
def test_what_all_spans_share_costs_no_memory_for_each(fresh_server: Callable[..., Server], place: str) -> None:
    server = fresh_server()
    with server.client(timeout=TIMEOUT_S) as client:
        export(client, traces(span(1, trace=1)))
        before = server.resident_bytes()
        roots = (span(1, trace=n + 2) for n in range(1500))
        body = traces(*roots, about="y" * (MIB if place == "a resource" else 1))
        if place == "a scope":
            body["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = "y" * MIB
        export(client, body)
    assert server.resident_bytes("VmHWM") - before < 120 * MIB


def test_a_run_of_many_attributes_goes_out_in_pages(own: Server) -> None:
    many: dict[str, Any] = {f"k{n}": n for n in range(12_000)}
    with own.client(timeout=TIMEOUT_S) as client:
        for n in range(24):
            export(client, traces(span(n + 2, 1, trace=0xB000, **many)))
        [run] = ok(client.get("/api/v1/runs", params={"q": f"otlp:{0xB000:032x}"}))["data"]
        path, found, pages = f"/api/v1/runs/{run['run_id']}/otlp", 0, 0
        with no_block(own, "the spans of a run"):
            while path:
                reply = client.get(path)
                assert len(reply.content) < 4.5 * MIB
                spans = ok(reply)["resourceSpans"][0]["scopeSpans"][0]["spans"]
                found, pages = found + len(spans), pages + 1
                path = reply.links.get("next", {}).get("url", "")
    assert found == 24
    assert pages > 2


def test_a_long_request_is_placed_in_parts_that_others_come_between(own: Server) -> None:
    _, key = own.make_org("beside-otlp")
    with own.client(timeout=TIMEOUT_S) as client, own.client(key, timeout=TIMEOUT_S) as other:
        many = [span(n + 2, 1, trace=0xC000) for n in range(4000)]
        assert export(client, traces(*many)) == {}
        for one in many:
            one["name"] = "another"
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(export, client, traces(*many))
            between = 0
            while not sent.done():
                step(other, f"beside-{between}", "step", {"node_name": "n"})
                between += 1
    assert sent.result()["rejectedSpans"] == "4000"
    assert between > 10, f"{between} of another organisation while one was refused"


def test_a_key_has_a_rate(fresh_server: Callable[..., Server]) -> None:
    with fresh_server(limits=True, TOWERLOG_OTLP_RATE_PER_MINUTE="2").client() as client:
        replies = [client.post("/v1/traces", json=traces(span(1, trace=n))) for n in (1, 2, 3)]
    assert [one.status_code for one in replies] == [200, 200, 429]
    assert int(replies[2].headers["Retry-After"]) >= 1
    assert replies[2].json()["code"] == 8
