"""Work that is done for one after the other is done for the organisations in turns: a crowd of one is one ahead."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.feeds import ok, step
from tests.support.figures import MIB, metric
from tests.support.otlp import JSON, span, traces
from tests.support.server import Server
from tests.support.wait import wait_until


@pytest.mark.parametrize(("crowd", "halves"), [(10, 100_000), pytest.param(16, 330_000, marks=pytest.mark.slow)])
def test_bodies_to_be_repaired_do_not_delay_another_organisation(
    server: Server, other_org: httpx2.Client, crowd: int, halves: int
) -> None:
    text = b'["' + b"\\ud800" * halves + b'"]'
    body = b'{"event_type":"step","sdk_run_id":"%s","payload":{"x":%s}}' % (uuid4().hex.encode(), text)

    def send(client: httpx2.Client) -> None:
        ok(client.post("/api/ingest", content=body, headers={"Content-Type": "application/json"}))

    step(other_org, f"before-{uuid4().hex}", "step", {"node_name": "n"})
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client(timeout=300)) for _ in range(crowd)]
        threads = stack.enter_context(ThreadPoolExecutor(crowd))
        sent = [threads.submit(send, client) for client in clients]
        wait_until(lambda: metric(server, "towerlog_bytes_in_flight") > (crowd - 3) * len(body), "them to be there")
        step(other_org, f"beside-{uuid4().hex}", "step", {"node_name": "n", "text": "x" * (MIB // 3)})
        waiting = sum(not one.done() for one in sent)
    assert waiting > crowd // 2, "it has waited for nearly all of them"
    for one in sent:
        one.result()


@pytest.mark.parametrize("spans", [10, pytest.param(90, marks=pytest.mark.slow)])
def test_a_body_that_takes_long_to_decode_does_not_delay_another_organisation(
    server: Server, other_org: httpx2.Client, spans: int
) -> None:
    """Each of its bodies outlasts the whole of another's, which came later."""
    found = [span(n + 2, 1, trace=uuid4().int >> 1, input__value="key'='" * 25_000) for n in range(spans)]
    body = json.dumps(traces(*found)).encode()
    step(other_org, f"before-{uuid4().hex}", "step", {"node_name": "n"})
    with server.client(timeout=300) as client, ThreadPoolExecutor(1) as threads:
        for _ in range(3):
            sent = threads.submit(client.post, "/v1/traces", content=body, headers={"Content-Type": JSON})
            wait_until(lambda: metric(server, "towerlog_bytes_in_flight") >= len(body), "it to be there")
            step(other_org, f"beside-{uuid4().hex}", "step", {"node_name": "n", "text": "x" * (MIB // 3)})
            assert not sent.done(), "the other has waited for it"
            ok(sent.result())
