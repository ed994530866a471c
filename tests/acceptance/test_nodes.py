"""Several nodes on one PostgreSQL: what is done on one is seen, heard and obeyed on every other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    cancel,
    complete,
    create_run,
    detail,
    held_run,
    ok,
    report,
    rest_of,
    run_stream,
    step,
    types_of,
    watch,
)
from tests.acceptance.test_keys_and_orgs import drained
from tests.acceptance.test_live import Screen
from tests.acceptance.test_stream_tickets import ticket_of
from tests.support.hooks import HERE, receiving_hooks
from tests.support.nats import NatsServer
from tests.support.nodes import Nodes, leads
from tests.support.pusher import PusherClient
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY, clean_environment, run_inside
from tests.support.wait import wait_until

CONFIGURATION = 78
REVOKED_DEADLINE_S = 5.0
LONG_BEFORE_ITS_END_S = 45.0
"""Of a poll that would end by itself after a minute."""
Json = dict[str, Any]


@pytest.fixture(scope="module", params=["postgres", "nats"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three of them, which found an empty database at the same moment, and hear each other in one of the ways."""
    folder = tmp_path_factory.mktemp("nodes")
    env = {"TOWERLOG_EGRESS_ALLOW": HERE, "TOWERLOG_WEBHOOK_RETRY_SECONDS": "1,1,1"}
    with ExitStack() as opened:
        if request.param == "nats":
            env["TOWERLOG_WAKE"] = opened.enter_context(NatsServer(folder)).url
        yield opened.enter_context(Nodes(folder, 3, env))


@pytest.fixture
def clients(nodes: Nodes) -> list[httpx2.Client]:
    """One for each node."""
    return nodes.clients()


def test_nodes_that_start_at_once_make_one_organisation(nodes: Nodes, clients: list[httpx2.Client]) -> None:
    assert len({client.get("/api/v1/whoami").json()["org_id"] for client in clients}) == 1
    assert nodes.base.sql("SELECT name FROM org", nodes.database) == [["default"]]
    assert sum(leads(server) for server in nodes.servers) == 1


def test_a_run_is_followed_on_one_node_while_all_write_it(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    worker, count = unique("worker"), 20
    run_id = held_run(clients[0], unique("thread"), worker)

    def write(number: int) -> None:
        for turn in range(count):
            report(clients[number], run_id, worker, {"type": "message.delta", "payload": {"n": turn, "by": number}})

    with run_stream(nodes.servers[0], run_id) as first, run_stream(nodes.servers[1], run_id) as second:
        with ThreadPoolExecutor(3) as pool:
            for writing in [pool.submit(write, number) for number in range(3)]:
                writing.result()
        complete(clients[2], run_id, worker)
        seqs = [[frame.json["seq"] for frame in rest_of(stream)] for stream in (first, second)]
    stored = [event["seq"] for event in ok_events(clients[1], run_id)]
    assert seqs == [stored] * 2
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) > 3 * count


def ok_events(client: httpx2.Client, run_id: str) -> list[Json]:
    """All events of a run by the native API."""
    found: list[Json] = ok(client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 1000}))["data"]
    return found


def test_an_agents_feed_is_in_order_whichever_node_takes_it_in(
    nodes: Nodes, clients: list[httpx2.Client], unique
) -> None:
    agent = unique("agent")
    step(clients[0], unique("run"), "tool_call", {"tool_name": "first"}, agent_name=agent)
    [row] = ok(clients[0].get("/api/v1/agents", params={"name": agent}))["data"]
    with watch(nodes.servers[2], f"/agents/{row['agent_id']}/events?follow=true&tail=1") as stream:
        stream.next_event()
        with ThreadPoolExecutor(3) as pool:
            sent = [
                pool.submit(step, client, f"{agent}-{number}", "tool_call", {"tool_name": str(turn)}, agent_name=agent)
                for turn in range(15)
                for number, client in enumerate(clients)
            ]
            ids = {one.result()["event_id"] for one in sent}
        told = [stream.next_event() for _ in range(len(sent))]
    assert len({frame.id for frame in told}) == len(sent) == 45
    assert len(ids) <= 45


def test_a_screen_shows_what_other_nodes_do(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    with Screen(nodes.servers[0]) as screen:
        assert screen.take().event == "snapshot"
        run_id = create_run(clients[1], unique("thread"), agent=unique("agent"))["run_id"]
        screen.until("run", run_id, status="queued")
        assert screen.until("lane", run_id)["lease"]["state"] == "queued"
        ok(clients[2].post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": "w", "lease_seconds": 60}))
        screen.until("run", run_id, status="running")
        report(clients[1], run_id, "w", {"type": "run.waiting_for_input", "payload": {"question": "now?"}})
        screen.until("run", run_id, status="waiting_for_input")
        wait_for_approval(screen, run_id)
        body = {"amount_usd": 5, "name": "b", "scope": {"agent": unique("agent")}}
        budget = ok(clients[2].post("/api/v1/budgets", json=body), 201)
        screen.until("budget", budget["budget_id"])


def wait_for_approval(screen: Screen, run_id: str) -> None:
    """Takes events until what a run asks is shown."""
    while not any(kind == "approval" and row["run_id"] == run_id for (kind, _), row in screen.rows.items()):
        screen.take()


def test_a_screen_with_a_filter_is_told_what_leaves_it(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    run_id = create_run(clients[1], unique("thread"))["run_id"]
    with Screen(nodes.servers[0], "?status=queued") as screen:
        screen.take()
        cancel(clients[1], run_id)
        screen.until("run", run_id, status="cancelled")


def test_a_worker_of_one_node_is_cancelled_on_another(clients: list[httpx2.Client], unique) -> None:
    worker = unique("worker")
    run_id = held_run(clients[1], unique("thread"), worker)
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(report, clients[1], run_id, worker, wait_seconds=60)
        wait_until(lambda: polled.running(), "the poll")
        cancel(clients[2], run_id)
        told = polled.result(LONG_BEFORE_ITS_END_S)
    assert [command["type"] for command in told["commands"]] == ["cancel"]
    report(clients[0], run_id, worker, {"type": "run.cancelled", "payload": {}})
    assert detail(clients[2], run_id)["status"] == "cancelled"


def test_a_question_is_answered_on_any_node(clients: list[httpx2.Client], unique) -> None:
    worker = unique("worker")
    run_id = held_run(clients[0], unique("thread"), worker)
    report(clients[0], run_id, worker, {"type": "run.waiting_for_input", "payload": {"question": "deploy?"}})
    ok(clients[1].post(f"/v1/runs/{run_id}/input", json={"content": "yes"}))
    told = report(clients[2], run_id, worker)
    assert [command["type"] for command in told["commands"]] == ["input"]
    assert "run.input" in types_of(clients[0], run_id)


def test_claims_that_wait_on_all_nodes_get_each_run_once(nodes: Nodes, unique) -> None:
    _, key = nodes.servers[0].make_org(unique("org"))
    mine = nodes.clients(key)
    polling = ThreadPoolExecutor(6)
    with polling:
        claims = [
            polling.submit(
                mine[number % 3].post,
                "/api/agents/runs/claim",
                json={"worker_id": f"w{number}", "wait_seconds": 60, "lease_seconds": 300},
                timeout=90,
            )
            for number in range(6)
        ]
        wait_until(lambda: all(one.running() for one in claims), "claims that wait")
        made = [create_run(mine[0], unique("thread"))["run_id"] for _ in range(6)]
        # Woken by other nodes, and not by their time.
        _, waiting = futures.wait(claims, LONG_BEFORE_ITS_END_S)
        assert not waiting
        taken = [ok(one.result())["run"]["id"] for one in claims]
    assert sorted(taken) == sorted(made)


def test_an_idempotency_key_counts_on_all_nodes(clients: list[httpx2.Client], unique) -> None:
    path, headers = f"/v1/threads/{unique('thread')}/runs", {"Idempotency-Key": unique("key")}
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda client: client.post(path, headers=headers), clients * 3))
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert len({reply.json()["run_id"] for reply in replies if reply.status_code == 201}) == 1
    again = [ok(client.post(path, headers=headers), 201) for client in clients]
    assert [again[0]] * 3 == again
    other = clients[2].post(path, headers=headers, json={"input": "another"})
    assert other.status_code in (409, 422), other.text


def test_a_key_that_is_revoked_is_good_nowhere(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    made = nodes.servers[0].create_key("read", "ingest")
    mine = nodes.clients(made["key"])
    run_id = create_run(clients[0], unique("thread"))["run_id"]
    streams = [run_stream(server, run_id, made["key"]) for server in nodes.servers]
    for client in mine:
        ok(client.get("/api/v1/whoami"))
    ok(clients[1].delete(f"/api/v1/keys/{made['key_id']}"))
    for client in mine:
        wait_until(
            lambda client=client: client.get("/api/v1/whoami").status_code == 401,  # type: ignore[misc]
            "a refusal",
            deadline_s=REVOKED_DEADLINE_S * 4,
        )
    for stream in streams:
        with stream:
            assert drained(stream, REVOKED_DEADLINE_S * 4)


def test_a_stream_ticket_opens_one_stream_on_one_node(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    run_id = create_run(clients[0], unique("thread"))["run_id"]
    strangers = [server.client(None) for server in nodes.servers]
    ticket = ticket_of(clients[0])
    path = f"/v1/runs/{run_id}/events?follow=false&ticket={ticket}"
    assert strangers[1].get(path[:-3] + "xyz").status_code == 401
    assert strangers[1].get(path).status_code == 200
    assert [one.get(path).status_code for one in strangers] == [401] * 3


def test_live_push_is_heard_and_allowed_over_nodes(nodes: Nodes, clients: list[httpx2.Client], unique) -> None:
    sdk_run = unique("run")
    step(clients[0], sdk_run, "run_start")
    [run] = [row for row in ok(clients[0].get("/api/v1/runs"))["data"] if row["thread_id"] == sdk_run]
    with PusherClient(nodes.servers[0].base_url) as pushed:
        pushed.connect()
        answer = pushed.subscribe(clients[1], f"private-run.{run['run_id']}")
        assert answer["event"] == "pusher_internal:subscription_succeeded", answer
        for turn in range(6):
            step(clients[turn % 3], sdk_run, "step", {"n": turn})
        assert [event["payload"]["n"] for event in pushed.events(6)] == list(range(6))
    with PusherClient(nodes.servers[0].base_url) as stranger:
        stranger.connect()
        stranger.say("pusher:subscribe", data={"channel": f"private-run.{run['run_id']}", "auth": "towerlog:forged"})
        assert stranger.message()["event"] != "pusher_internal:subscription_succeeded"


def test_an_alert_is_made_and_sent_once(nodes: Nodes, unique) -> None:
    _, key = nodes.servers[0].make_org(unique("org"))
    mine = nodes.clients(key)
    with receiving_hooks() as hooks:
        body = {"name": "r", "trigger": "error", "channels": [{"type": "webhook", "target": hooks.url("/a")}]}
        ok(mine[0].post("/api/v1/alert-rules", json=body), 201)
        payload = {"error_type": "IOError", "error_message": "no paper"}
        with ThreadPoolExecutor(6) as pool:
            events = [sdk_event("error", unique("run"), payload) for _ in range(30)]
            done = [pool.submit(ingest, mine[at % 3], event) for at, event in enumerate(events)]
            assert {one.result().status_code for one in done} == {200}
        alerts = ok(mine[1].get("/api/v1/alerts", params={"limit": 100}))["data"]
        assert len(alerts) == 30
        wait_until(lambda: len(hooks.taken) >= 30, "all messages")
        delivered = wait_until(lambda: all_delivered(mine[2]), "what came of them on record")
        assert len(delivered) == 30
        assert len(hooks.taken) == len({one.message_id for one in hooks.taken}) == 30


def all_delivered(client: httpx2.Client) -> list[Json]:
    """The deliveries, once none waits."""
    found: list[Json] = ok(client.get("/api/v1/deliveries", params={"limit": 100}))["data"]
    return found if all(one["state"] == "delivered" for one in found) else []


def test_a_budget_is_used_up_once(nodes: Nodes, unique) -> None:
    _, key = nodes.servers[0].make_org(unique("org"))
    mine = nodes.clients(key)
    with receiving_hooks() as hooks:
        rule = {"name": "r", "trigger": "budget", "channels": [{"type": "webhook", "target": hooks.url("/b")}]}
        ok(mine[2].post("/api/v1/alert-rules", json=rule), 201)
        ok(mine[0].post("/api/v1/budgets", json={"amount_usd": 1, "name": "b", "scope": {"agent": "mine"}}), 201)
        sent = [
            (client, sdk_event("run_end", unique("run"), {"cost_usd": 0.05}, agent_name="mine"))
            for _ in range(10)
            for client in mine
        ]
        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(lambda one: ingest(*one), sent))
        assert {reply.status_code for reply in replies} == {200}
        [budget] = ok(mine[1].get("/api/v1/budgets"))["data"]
        assert budget["spent_usd"] == pytest.approx(1.5)
        assert budget["state"] == "exceeded"
        delivered = wait_until(lambda: all_delivered(mine[2]), "a message")
        alerts = ok(mine[1].get("/api/v1/alerts", params={"limit": 100}))["data"]
        assert len(alerts) == len(delivered) == len(hooks.taken) == 1, alerts


def test_a_limit_is_shared_by_all_nodes(tmp_path: Path, unique) -> None:
    limit = 100
    with Nodes(tmp_path, 3, {"TOWERLOG_STEPS_RATE_PER_MINUTE": str(limit)}) as limited:
        for spread in (3, 1):
            key = limited.servers[0].make_key("ingest")
            mine = limited.clients(key)[:spread]
            counted = Counter(mine, limit)
            counted.run(unique("run"))
            assert 0.9 * limit <= counted.passed <= 1.1 * limit, (spread, counted.passed)


class Counter:
    """Sends to some nodes at once, faster than the limit allows, until none of them has let anything through lately."""

    def __init__(self, clients: list[httpx2.Client], limit: int) -> None:
        self.passed = 0
        self._clients = clients
        self._limit = limit
        self._lock = threading.Lock()

    def run(self, run: str) -> None:
        with ThreadPoolExecutor(len(self._clients)) as pool:
            for sending in [pool.submit(self._send, client, run) for client in self._clients]:
                sending.result()

    def _send(self, client: httpx2.Client, run: str) -> None:
        refused_since: float | None = None
        while refused_since is None or time.monotonic() - refused_since < 1.0:
            reply = ingest(client, sdk_event("step", run, {}))
            if reply.status_code == 200:
                refused_since = None
                with self._lock:
                    self.passed += 1
                assert self.passed <= 3 * self._limit
            else:
                assert reply.status_code == 429, reply.text
                refused_since = refused_since or time.monotonic()


def test_a_node_that_would_not_hear_the_others_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    env = clean_environment({"TOWERLOG_DATABASE_URL": nodes.url, "TOWERLOG_WAKE": "local"})
    refused = run_inside("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=env)
    assert refused.returncode == CONFIGURATION, refused.stderr
    assert "another node serves this database" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert ADMIN_KEY not in refused.stderr
