"""A start that finds hundreds of open alerts, whose messages are all due: it takes them in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.figures import max_block_ms, metric, no_block
from tests.support.hooks import HERE, Hooks, receiving_hooks
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.engine.timers.messages.outbox import MAX_OF_ORGANISATION

RULES, RUNS = 19, 40
"""760 alerts, each with a message to one of the receivers."""


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving_hooks() as made:
        made.fails = lambda _: _refuse
        yield made


def _refuse(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(503)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_start_under_many_open_alerts_and_messages_blocks_nothing(
    tmp_path_factory: pytest.TempPathFactory, hooks: Hooks
) -> None:
    settings = {**NO_LIMITS, "TOWERLOG_EGRESS_ALLOW": HERE, "TOWERLOG_WEBHOOK_RETRY_SECONDS": "1,1,1"}
    with Server(tmp_path_factory.mktemp("alerts") / "data", settings) as server:
        with server.client() as client:
            for number in range(RULES):
                target = hooks.url(host=f"127.0.1.{number + 1}")
                channels = [{"type": "webhook", "target": target}]
                ok(
                    client.post("/api/v1/alert-rules", json={"name": "r", "trigger": "error", "channels": channels}),
                    201,
                )
            ok(client.post("/api/v1/events", json=failures()))
            wait_until(lambda: written(client) == RULES * RUNS, "a message of each alert", deadline_s=120)
        server.restart()
        before = hooks.tries
        with no_block(server, "from the start on"), server.client() as client:
            wait_until(lambda: hooks.tries - before >= 4 * MAX_OF_ORGANISATION, "several rounds", deadline_s=120)
            assert written(client) == RULES * RUNS, "none is written twice"
        longest_ms = 1000 * metric(server, "towerlog_loop_longest_block_seconds")
        assert metric(server, "towerlog_loop_blocks_total") == 0 or longest_ms <= max_block_ms()
        server.stop()


def failures() -> dict[str, object]:
    """So many runs that have failed."""
    made = [
        {"event_id": f"e{n}", "client_seq": n + 1, "run_key": f"z{n}", "type": "run.failed", "data": {"error": "boom"}}
        for n in range(RUNS)
    ]
    return {"client_id": "c", "events": made}


def written(client: httpx2.Client) -> int:
    """How many messages there are."""
    count, cursor = 0, None
    while True:
        page = ok(client.get("/api/v1/deliveries", params={"limit": 200, **({"cursor": cursor} if cursor else {})}))
        count, cursor = count + len(page["data"]), page.get("next")
        if cursor is None:
            return count
