"""Many rules and a batch that concerns all of them: each fires once, and another organisation hardly waits."""

from __future__ import annotations

import logging
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.figures import metric, no_block
from tests.support.server import NO_LIMITS, Server
from towerlog.engine.load.misses import MAX_ALERTS_ASKED

RULES, RUNS = 60, 300
MAX_COMMITS_BESIDE = 4
"""That a post waits for, as the server counts: the one under way, its own, and one each of timers and messages."""
MAX_ALERTS_OF_COMMIT = MAX_ALERTS_ASKED + RULES
"""Those of its last event may be more than it looks up."""
PROBES = 40
log = logging.getLogger("figures")
"""What was measured: `pytest -o log_cli=true --log-cli-level=INFO`."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests alone: its figures are theirs."""
    with Server(tmp_path_factory.mktemp("floods") / "data", NO_LIMITS) as server:
        yield server
        server.stop()


def batch(kind: str, prefix: str, **data: Any) -> dict[str, Any]:
    """One event of that type for each run."""
    events = [
        {"event_id": f"{kind}{n}", "client_seq": n + 1, "run_key": f"{prefix}{n}", "type": kind, "data": data}
        for n in range(RUNS)
    ]
    return {"client_id": f"{prefix}-{kind}", "events": events}


def posts_of(client: httpx2.Client, name: str) -> Callable[[], float]:
    """Posts one event each time it is called, and gives how many seconds that took."""
    sent = 0

    def post() -> float:
        nonlocal sent
        sent += 1
        event = {
            "event_id": f"{name}{sent}",
            "client_seq": sent,
            "run_key": name,
            "type": "step",
            "data": {"name": "s"},
        }
        began = time.perf_counter()
        ok(client.post("/api/v1/events", json={"client_id": name, "events": [event]}))
        return time.perf_counter() - began

    return post


def waited(server: Server) -> Counter[float]:
    """How many commands have waited for no more than so many commits, as the server has counted them."""
    with server.client() as client:
        text = client.get("/metrics").text
    found = re.findall(r'^towerlog_command_commits_bucket{le="(\S+)"} (\S+)$', text, re.MULTILINE)
    return Counter({float(edge): int(float(count)) for edge, count in found})


def most(before: Counter[float], after: Counter[float]) -> float:
    """The most commits that a command has waited for between two such looks."""
    all_of_them = after[math.inf] - before[math.inf]
    return min(edge for edge in after if after[edge] - before[edge] == all_of_them)


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


def beside(flood: Future[httpx2.Response], post: Callable[[], float]) -> list[float]:
    """How long each post took while the flood was under way."""
    took: list[float] = []
    while not flood.done():
        took.append(post())
    return took


@pytest.mark.parametrize(
    ("trigger", "given", "kind", "data"),
    [
        ("cost_threshold", {"config": {"amount_usd": 1}}, "model.call", {"model": "m", "cost_usd": 2}),
        pytest.param("error", {}, "run.failed", {"error": "boom"}, marks=pytest.mark.slow),
    ],
)
def test_rules_times_runs_do_not_hold_up_another_organisation(
    own: Server, trigger: str, given: dict[str, Any], kind: str, data: dict[str, Any]
) -> None:
    """How long a post waits is a matter of the machine: it waits for few commits, each of which does little, and none
    of their steps is long."""
    _, key = own.make_org(trigger.replace("_", "-"))
    _, other_key = own.make_org(f"beside-{trigger.replace('_', '-')}")
    with own.client(key, timeout=300) as client, own.client(other_key, timeout=300) as other:
        for number in range(RULES):
            body = {"name": f"r{number}", "trigger": trigger, "channels": [{"type": "in_app"}], **given}
            ok(client.post("/api/v1/alert-rules", json=body), 201)
        ok(client.post("/api/v1/events", json=batch("run.started", "z")))
        post = posts_of(other, "n")
        post()
        alone = p99([post() for _ in range(PROBES)])
        with no_block(own, "the flood"), ThreadPoolExecutor(1) as threads:
            began = time.perf_counter()
            flood = threads.submit(client.post, "/api/v1/events", json=batch(kind, "z", **data))
            before, had = metric(own, "towerlog_commits_total"), waited(own)
            took = beside(flood, post)
            commits_meanwhile = metric(own, "towerlog_commits_total") - before
            lasted, has = time.perf_counter() - began, waited(own)
        log.info(
            "%s: flood %.1f s; alone p99 %.0f ms; beside n %d p50 %.0f p99 %.0f ms; commits at most %s",
            trigger, lasted, alone * 1e3, len(took), sorted(took)[len(took) // 2] * 1e3, p99(took) * 1e3,
            most(had, has),
        )  # fmt: skip
        assert {one["status"] for one in ok(flood.result())["results"]} == {"stored"}
        assert count_alerts(client) == RULES * RUNS
        assert len(took) > 5, "the flood is long enough to be beside it"
        # A post may be in a commit of the flood, so they are not taken off.
        assert commits_meanwhile >= RULES * RUNS / MAX_ALERTS_OF_COMMIT
        assert most(had, has) <= MAX_COMMITS_BESIDE, has - had


def count_alerts(client: httpx2.Client) -> int:
    """How many alerts there are, each of another rule or run."""
    seen: set[tuple[str, str]] = set()
    count, cursor = 0, None
    while True:
        page = ok(client.get("/api/v1/alerts", params={"limit": 200, **({"cursor": cursor} if cursor else {})}))
        count += len(page["data"])
        seen |= {(one["rule_id"], one["run_id"]) for one in page["data"]}
        cursor = page.get("next")
        if cursor is None:
            assert len(seen) == count, "exactly one each"
            return count
