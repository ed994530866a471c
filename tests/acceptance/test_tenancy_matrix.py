"""Every route × (no key, bad key, revoked key, wrong scope, another organisation's object), generated from OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    checkpoint_ids,
    container_event,
    create_run,
    detail,
    held_run,
    log_of,
    ok,
    push,
    report,
    rest_of,
    run_stream,
    snapshot,
    started,
    step,
)
from tests.acceptance.routes import ROUTES, Kind, Route, form_problem, shape_of
from tests.support.browser import session_id_of
from tests.support.readback import ReadBack
from tests.support.senders import save_batch
from tests.support.server import Server
from tests.support.wait import wait_until

CANARY = "canary-4c1d"
ABSENT = "01890000-0000-7000-8000-00000000dead"
NOWHERE = {
    **dict.fromkeys(["run_id", "agent_id", "checkpointed_run_id", "key_id", "budget_id", "price_id"], ABSENT),
    **dict.fromkeys(["rule_id", "alert_id", "delivery_id", "user_id"], ABSENT),
    "thread_id": "no-thread",
    "org_id": ABSENT,
    "trace_id": "no-trace",
    "step_index": "1",
    "checkpoint_id": "1:nobody",
    "persona_id": "no-persona@1",
    "route_id": "no-route",
    "action": "cancel",
    "guide": "runs",
    "kind": "nothing",
    "folder": "dialects",
    "approval_id": "0189d3f0-0000-7000-8000-00000000dead.q1",
    "token": "nothing",
    **dict.fromkeys(["reservation_id", "link_id", "session_id"], ABSENT),
}
"""Ids of the right form that nothing has."""

SCOPES = {"ingest", "read", "control", "worker"}


@dataclass(frozen=True)
class Organisation:
    """One tenant with something of every kind in it; `ids` fills the parameters of paths."""

    name: str
    client: httpx2.Client
    ids: dict[str, str]
    secrets: frozenset[str]


@dataclass(frozen=True)
class Operation:
    """One method and path as the OpenAPI document names it, and what the table says of it."""

    method: str
    path: str
    route: Route

    def filled(self, ids: dict[str, str]) -> str:
        """The path with its parameters put in, in their order."""
        noun = {"/agents/": "agent_id", "/api/agents/runs/": "run_id"}

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "id":
                name = next(known for start, known in noun.items() if self.path.startswith(start))
            if name == "run_id" and "{checkpoint_id}" in self.path:
                name = "checkpointed_run_id"
            return ids[name]

        return re.sub(r"\{([^}:]*)(?::[^}]*)?\}", value, self.path)

    def ask(self, client: httpx2.Client, ids: dict[str, str], **options: Any) -> httpx2.Response:
        """Sends it with the body of the table; a stream is asked for what is there, so that a leak is no hang."""
        # The log of the native API is a page and no stream.
        is_stream = self.path == "/api/v1/live" or (self.path.endswith("/events") and not self.path.startswith("/api/"))
        if self.method == "GET" and is_stream:
            options["params"] = {"follow": "false"}
        if self.path.endswith("/agui"):
            return self._beginning(client, ids)
        return client.request(self.method, self.filled(ids), json=self.route.body, **options)

    def _beginning(self, client: httpx2.Client, ids: dict[str, str]) -> httpx2.Response:
        """Of a stream that ends with its run."""
        with client.stream(self.method, self.filled(ids)) as reply:
            told = next(reply.iter_bytes(), b"") if reply.is_success else reply.read()
            return httpx2.Response(reply.status_code, headers=reply.headers, content=told)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def furnish(server: Server, name: str) -> Organisation:
    """Makes an organisation and puts something of every kind into it, each thing with the canary inside."""
    org_id, key = server.make_org(name)
    client = server.client(key)
    history = [{"role": "user", "content": CANARY}]
    save_batch(
        client,
        started("a-thread", "a-trace", agent_id=f"agent-{CANARY}", model=f"model-{CANARY}"),
        snapshot(
            "a-thread", "a-trace", 1, history, status="waiting_for_approval", agent_id=f"agent-{CANARY}",
            pending_tool_calls=[{"name": CANARY}], model=f"model-{CANARY}",
        ),
    )  # fmt: skip
    step(client, "an-sdk-run", "run_start", {"input": CANARY}, agent_name=f"agent-{CANARY}")
    step(client, "an-sdk-run", "tool_call", {"tool_name": CANARY, "phase": "end"})
    run_id = held_run(client, "b-thread", f"worker-{CANARY}", input=CANARY, metadata={"m": CANARY})
    report(client, run_id, f"worker-{CANARY}", {"type": "message.delta", "payload": {"content": CANARY}}, phase=CANARY)
    queued = create_run(client, f"thread-{CANARY}", input=CANARY)["run_id"]
    back = ReadBack(client)
    agent_id = back.agent_id(f"agent-{CANARY}")
    push(client, agent_id, container_event(input_summary=CANARY, output_summary=CANARY))
    of_checkpoints = back.run("a-thread")["run_id"]
    persona = {"persona_key": f"persona-{CANARY}", "version": "1", "agent": f"agent-{CANARY}", "instructions": CANARY}
    persona_id = ok(client.post("/api/v1/personas", json=persona), 201)["persona_id"]
    ok(client.post("/api/v1/routes", json={"route_id": f"route-{CANARY}", "provider": CANARY, "model": CANARY}), 201)
    key_id = server.create_key("read", org=name)["key_id"]
    budget = {"name": f"budget-{CANARY}", "scope": {"agent": f"agent-{CANARY}"}, "amount_usd": 10}
    budget_id = ok(client.post("/api/v1/budgets", json=budget), 201)["budget_id"]
    price = {"model": f"model-{CANARY}", "usd_per_million": {"input": 1}}
    price_id = ok(client.post("/api/v1/prices", json=price), 201)["price_id"]
    held = {"run_id": run_id, "amount_usd": 0.01}
    reservation_id = ok(client.post("/api/v1/budgets/reserve", json=held))["reservation_id"]
    link_id = ok(client.post("/api/v1/sign-in-links", json={}), 201)["link_id"]
    session_id = session_id_of(client)
    [approval_id] = [one["approval_id"] for one in ok(client.get("/api/v1/approvals"))["data"]]
    member = {"name": f"member-{CANARY}", "role": "viewer", "email": f"{CANARY}@example.com"}
    member_id = ok(client.post("/api/v1/members", json=member), 201)["user_id"]
    target = f"https://hooks.invalid/{CANARY}"
    rule = {"name": f"rule-{CANARY}", "trigger": "error", "channels": [{"type": "webhook", "target": target}]}
    rule_id = ok(client.post("/api/v1/alert-rules", json=rule), 201)["rule_id"]
    step(client, "a-failed-run", "error", {"error_message": CANARY}, agent_name=f"agent-{CANARY}")
    [alert], [delivery] = (ok(client.get(f"/api/v1/{noun}"))["data"] for noun in ("alerts", "deliveries"))
    ids = {
        "org_id": org_id, "session_id": session_id,
        "kind": "deltas", "reservation_id": reservation_id, "link_id": link_id,
        "approval_id": approval_id, "token": NOWHERE["token"],
        "rule_id": rule_id, "alert_id": alert["alert_id"], "delivery_id": delivery["delivery_id"],
        "run_id": run_id, "thread_id": "a-thread", "agent_id": agent_id, "trace_id": "a-trace", "step_index": "1",
        "checkpoint_id": checkpoint_ids(client, of_checkpoints)[0], "checkpointed_run_id": of_checkpoints,
        "key_id": key_id, "persona_id": persona_id, "route_id": f"route-{CANARY}", "action": "cancel",
        "guide": "runs", "folder": "dialects", "budget_id": budget_id, "price_id": price_id, "user_id": member_id,
    }  # fmt: skip
    user_id = detail(client, run_id)["created_by_user_id"]
    return Organisation(name, client, ids, frozenset({CANARY, org_id, user_id, queued, of_checkpoints, key}))


@pytest.fixture(scope="module")
def theirs(server) -> Organisation:
    """The organisation that has something to lose."""
    return furnish(server, "matrix-theirs")


@pytest.fixture(scope="module")
def operations(server) -> list[Operation]:
    """Every operation of the OpenAPI document; one that nobody has judged fails here."""
    paths = ok(server.client(None).get("/openapi.json"))["paths"]
    named = [(method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"]
    unjudged = [f"{method} {path}" for method, path in named if (method, shape_of(path)) not in ROUTES]
    assert not unjudged, f"say in routes.py who may call these: {unjudged}"
    return [Operation(method, path, ROUTES[method, shape_of(path)]) for method, path in named]


@pytest.fixture(scope="module")
def guarded(operations) -> list[Operation]:
    """The operations that need a key."""
    return [operation for operation in operations if operation.route.kind is not Kind.OPEN]


@pytest.fixture
def mine(server, unique) -> Iterator[httpx2.Client]:
    """The admin of an organisation that has nothing."""
    _, key = server.make_org(unique("mine"))
    return server.client(key)


def test_the_table_names_no_route_that_is_not_there(operations) -> None:
    there = {(operation.method, shape_of(operation.path)) for operation in operations}
    alternatives = {("POST", "/v1/runs/{}:cancel"), ("POST", "/v1/runs/{}:{}")}
    assert there & alternatives
    # Whether the open pages describe themselves in the document is the document's affair.
    expected = {key for key, route in ROUTES.items() if route.kind is not Kind.OPEN} - alternatives
    assert expected - there == set()


def problems(operations: list[Operation], ids: dict[str, str], client: httpx2.Client, status: int) -> list[str]:
    """Every operation whose answer has another status or another form than it should."""
    wrong = []
    for operation in operations:
        reply = operation.ask(client, ids)
        if reply.status_code != status:
            wrong.append(f"{operation}: {reply.status_code} {reply.text[:200]}")
        elif problem := form_problem(operation.path, reply):
            wrong.append(f"{operation}: {problem}")
    return wrong


@pytest.mark.parametrize(
    "key", [None, "", "nobody", "x" * 48, "\u00fc" * 40], ids=["none", "blank", "short", "long", "latin"]
)
def test_no_key_and_a_bad_key(server, theirs, guarded, key) -> None:
    client = server.client(None)
    if key is not None:
        client.headers["Authorization"] = f"Bearer {key}".strip()
    assert problems(guarded, theirs.ids, client, 401) == []


def test_no_key_is_401_whatever_else_is_wrong(server, guarded) -> None:
    client = server.client(None)
    codes = {}
    for operation in guarded:
        path = operation.filled(NOWHERE | {"step_index": "x"})
        codes[str(operation)] = client.request(operation.method, path, content=b"\xff{").status_code
    assert {name: code for name, code in codes.items() if code != 401} == {}


def test_a_revoked_key(server, theirs, guarded) -> None:
    made = server.create_key(*SCOPES, "admin", org=theirs.name)
    client = server.client(made["key"])
    assert client.get("/v1/runs").status_code == 200
    assert server.cli_inside("keys", "revoke", made["key_id"]).returncode == 0
    wait_until(lambda: client.get("/v1/runs").status_code == 401, "the key to die")
    assert problems(guarded, theirs.ids, client, 401) == []


def test_a_key_without_the_scope(server, theirs, guarded) -> None:
    clients: dict[frozenset[str], httpx2.Client] = {}
    wrong = []
    for operation in [one for one in guarded if one.route.kind is not Kind.SELF]:
        scopes = frozenset(SCOPES - operation.route.scopes)
        if scopes not in clients:
            clients[scopes] = server.client(server.make_key(*sorted(scopes), org=theirs.name))
        wrong += problems([operation], theirs.ids, clients[scopes], 403)
    assert wrong == []


def test_a_key_without_the_scope_learns_nothing_of_what_is_there(server, theirs, guarded) -> None:
    client = server.client(server.make_key("ingest", org=theirs.name))
    for operation in guarded:
        if "ingest" not in operation.route.scopes:
            assert operation.ask(client, NOWHERE).status_code == 403, operation


def stripped(reply: httpx2.Response, ids: dict[str, str]) -> str:
    """A reply's body without what differs between any two requests: trace ids, and the ids that were asked for."""
    text = reply.text.replace(reply.headers["X-Trace-Id"], "TRACE")
    text = re.sub(r'("trace_id":\s*)"[^"]*"', r'\1"TRACE"', text)
    for name, value in sorted(ids.items(), key=lambda item: -len(item[1])):
        if name not in {"step_index", "action"}:
            text = text.replace(value, name)
    return text


def test_what_another_organisation_has_is_not_there(mine, theirs, guarded) -> None:
    before = all_of(theirs)
    wrong = problems([one for one in guarded if one.route.kind is Kind.OBJECT], theirs.ids, mine, 404)
    for operation in guarded:
        if operation.route.kind is Kind.OBJECT:
            foreign, missing = operation.ask(mine, theirs.ids), operation.ask(mine, NOWHERE)
            if stripped(foreign, theirs.ids) != stripped(missing, NOWHERE):
                wrong.append(f"{operation}: foreign {foreign.text} absent {missing.text}")
            if set(foreign.headers) != set(missing.headers):
                wrong.append(f"{operation}: foreign {dict(foreign.headers)} absent {dict(missing.headers)}")
    assert wrong == []
    assert all_of(theirs) == before


def all_of(organisation: Organisation) -> dict[str, Any]:
    """What an organisation sees of itself."""
    client = organisation.client
    rows = ok(client.get("/v1/runs"))
    return {
        "rows": rows,
        "logs": [log_of(client, row["run_id"]) for row in rows],
        "threads": ok(client.get("/v1/threads")),
        "agents": ok(client.get("/api/v1/agents")),
        "keys": [key["key_id"] for key in ok(client.get("/api/v1/keys"))["data"]],
        "members": ok(client.get("/api/v1/members"))["data"],
        "approvals": ok(client.get("/approvals")),
        "rules": [rule["name"] for rule in ok(client.get("/api/v1/alert-rules"))["data"]],
        "alerts": ok(client.get("/api/v1/alerts")),
        "budgets": [budget["name"] for budget in ok(client.get("/api/v1/budgets"))["data"]],
        "prices": ok(client.get("/api/v1/prices"))["data"],
        "personas": ok(client.get("/api/v1/personas")),
        "routes": ok(client.get("/api/v1/routes")),
    }


def test_no_byte_of_theirs_reaches_anybody_else(mine, theirs, operations) -> None:
    before = all_of(theirs)
    received = []
    for operation in operations:
        for ids in [theirs.ids, theirs.ids | {"thread_id": "b-thread", "step_index": "0"}]:
            reply = operation.ask(mine, ids)
            assert reply.status_code < 500, f"{operation}: {reply.text}"
            received.append((str(operation), f"{reply.headers}{reply.text}"))
    leaks = [name for name, text in received if any(secret in text for secret in theirs.secrets)]
    assert leaks == []
    assert all_of(theirs) == before


def test_what_is_counted_and_searched_is_mine_alone(mine, theirs) -> None:
    for by in ["hour", "agent", "model"]:
        assert ok(mine.get("/api/v1/usage", params={"by": by}))["data"] == [], by
    for query in [{"q": CANARY}, {"agent": f"agent-{CANARY}"}, {"model": f"model-{CANARY}"}, {"status": "running"}]:
        assert ok(mine.get("/v1/runs", params=query)) == [], query
        assert ok(mine.get("/api/v1/runs", params=query))["data"] == [], query
    for noun in [
        "agents",
        "threads",
        "workers",
        "lanes",
        "personas",
        "routes",
        "budgets",
        "prices",
        "alert-rules",
        "alerts",
        "deliveries",
    ]:
        assert ok(mine.get(f"/api/v1/{noun}"))["data"] == [], noun
    queue = ok(mine.get("/api/agents/runs"))
    assert queue["data"] == []
    assert [value for name, value in queue.items() if name != "data" and value] == [], "not even how much they have"
    assert ok(mine.get("/api/agents/workers"))["data"] == []
    assert ok(mine.get("/approvals")) == []


def test_queries_and_bodies_that_name_theirs(mine, theirs) -> None:
    run_id, agent = theirs.ids["run_id"], theirs.ids["agent_id"]
    for query in [{"parent_run_id": run_id}, {"agent": agent}, {"agent": f"agent-{CANARY}"}, {"thread_id": "a-thread"}]:
        assert ok(mine.get("/v1/runs", params=query)) == [], query
    for path in ["/v1/runs", "/v1/threads"]:
        assert ok(mine.get(path)) == []
    foreign, missing = (mine.get("/v1/runs", params={"before": each}) for each in [run_id, ABSENT])
    assert (foreign.status_code, missing.status_code) == (422, 422)
    assert stripped(foreign, {"run_id": run_id}) == stripped(missing, {"run_id": ABSENT})
    replies = [mine.post("/v1/threads/t/runs", json={"parent_run_id": each}) for each in [run_id, ABSENT]]
    assert replies[0].status_code == replies[1].status_code
    assert stripped(replies[0], {"run_id": run_id}) == stripped(replies[1], {"run_id": ABSENT})
    if replies[0].status_code == 201:
        assert "parent_run_id" not in detail(mine, replies[0].json()["run_id"]) or (
            detail(mine, replies[0].json()["run_id"])["parent_run_id"] != run_id
        )


@pytest.mark.parametrize("field", ["persona_id", "route_id"])
def test_a_run_cannot_be_made_with_theirs(mine, theirs, field) -> None:
    foreign, missing = (mine.post("/v1/threads/t/runs", json={field: ids[field]}) for ids in [theirs.ids, NOWHERE])
    assert (foreign.status_code, missing.status_code) == (422, 422)
    assert stripped(foreign, theirs.ids) == stripped(missing, NOWHERE)
    assert ok(mine.get("/v1/runs")) == []


def test_the_same_names_in_two_organisations_are_two_things(mine, theirs) -> None:
    assert step(mine, "an-sdk-run", "run_start", {"input": "mine"}, agent_name="mine")["event_id"] >= 1
    save_batch(mine, started("a-thread", "a-trace"))
    assert ok(mine.get("/approvals")) == []
    rows = ok(mine.get("/v1/runs"))
    assert len(rows) == 2
    assert CANARY not in str([log_of(mine, row["run_id"]) for row in rows])


def test_an_idempotency_key_is_not_shared(mine, theirs, unique) -> None:
    headers = {"Idempotency-Key": unique("key")}
    path = "/v1/threads/idempotent/runs"
    first = ok(theirs.client.post(path, json={"metadata": {"m": CANARY}}, headers=headers), 201)
    second = ok(mine.post(path, json={}, headers=headers), 201)
    assert first["run_id"] != second["run_id"]
    assert detail(mine, second["run_id"])["org_id"] != detail(theirs.client, first["run_id"])["org_id"]


def test_a_claim_never_hands_out_a_run_of_theirs(mine, theirs) -> None:
    reply = mine.post("/api/agents/runs/claim", json={"worker_id": f"worker-{CANARY}", "wait_seconds": 1})
    assert reply.status_code == 204
    run = report(theirs.client, theirs.ids["run_id"], f"worker-{CANARY}")
    assert run["worker_id"] == f"worker-{CANARY}"


def test_a_stream_of_mine_shows_nothing_of_theirs(server, unique, theirs) -> None:
    _, key = server.make_org(unique("mine"))
    mine = server.client(key)
    run_id = held_run(mine, "b-thread", f"worker-{CANARY}")
    with run_stream(server, run_id, key) as stream:
        delta = {"type": "message.delta", "payload": {"content": CANARY}}
        for _ in range(20):
            report(theirs.client, theirs.ids["run_id"], f"worker-{CANARY}", delta)
        report(mine, run_id, f"worker-{CANARY}", {"type": "ship_complete", "payload": {}})
        text = "".join(frame.data or "" for frame in rest_of(stream))
    assert "message.delta" not in text
    assert "run.completed" in text


ODD = [
    *["//v1/runs", "/v1//runs", "/v1/./runs", "/V1/runs", "/v1/runs/", "/v1%2Fruns", "/v1/runs;x", "/v1/runs%00"],
    *["/healthz/../v1/runs", "/healthz/..%2fv1/runs", "/docs/../api/v1/keys", "/v1/runs%20", "/%76%31/%72%75%6e%73"],
]


@pytest.mark.parametrize("path", ODD)
def test_an_odd_spelling_is_no_way_in(server, theirs, path) -> None:
    reply = server.client(None).request("GET", httpx2.URL(server.base_url).copy_with(raw_path=path.encode()))
    assert reply.status_code in {307, 308, 400, 401, 404, 405}, f"{path}: {reply.status_code}"
    assert CANARY not in reply.text


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"])
def test_an_odd_method_is_no_way_in(server, theirs, guarded, method) -> None:
    client = server.client(None)
    for operation in guarded:
        if operation.method != method:
            reply = client.request(method, operation.filled(theirs.ids))
            assert reply.status_code in {400, 401, 404, 405, 501}, f"{method} {operation.path}: {reply.status_code}"
