"""The inbox against a real server: one list over all dialects, every way to answer, and exactly one answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from click.testing import CliRunner

from tests.acceptance.conftest import Scoped, Unique
from tests.acceptance.feeds import create_run
from tests.support.senders import Json, checkpoint, ingest, runner_event, save_batch, sdk_event
from tests.support.server import ADMIN_KEY, Server
from tests.support.wait import wait_until
from towerlog.cli.main import main
from towerlog.model.times import parse_ms, spoken_ms
from towerlog.sdk.record.commands import QuestionExpired
from towerlog.sdk.record.recorder import Recorder

INBOX = "/api/v1/approvals"
ANSWERERS = 64
SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 100}}, "required": ["amount"]}


def open_of(client: httpx2.Client, run_id: str) -> list[Json]:
    """What is open of a run."""
    return list(client.get(INBOX, params={"run_id": run_id}).raise_for_status().json()["data"])


def asked_by_steps(client: httpx2.Client, unique: Unique, **payload: Any) -> Json:
    """A question of a run of `steps`, as the inbox shows it."""
    name = unique("sdk")
    reply = ingest(client, sdk_event("human_input_requested", name, {"question": "Send it?", **payload}))
    assert reply.status_code == 200, reply.text
    return next(one for one in inbox(client) if one["thread_id"].endswith(name))


def asked_by_checkpoints(client: httpx2.Client, unique: Unique, **data: Any) -> Json:
    """Tool calls of a runner, as the inbox shows them."""
    thread = unique("thread")
    call = {"id": "call-1", "name": "shell", "arguments": {"command": "rm -rf build"}}
    data = {"status": "waiting_for_approval", "pending_tool_calls": [call], **data}
    save_batch(client, checkpoint(thread, unique("trace"), 3, **data))
    return next(one for one in inbox(client) if one["thread_id"] == thread)


def inbox(client: httpx2.Client) -> list[Json]:
    """All that is open, page by page."""
    found, cursor = [], None
    while True:
        query = {"limit": 200} | ({} if cursor is None else {"cursor": cursor})
        page = client.get(INBOX, params=query).raise_for_status().json()
        found += page["data"]
        cursor = page["next"]
        if cursor is None:
            return found


def answer(client: httpx2.Client, one: Json, **body: Any) -> httpx2.Response:
    return client.post(f"{INBOX}/{one['approval_id']}", json=body)


class Asker:
    """A program that reports a run with the SDK, and asks in it."""

    def __init__(self, server: Server, folder: Path, **terms: Any) -> None:
        self.recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=folder)
        self.agent = f"asker-{uuid4().hex[:8]}"
        self.came: Any = None
        self._terms = terms
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with self.recorder.record_run(self.agent) as run:
            try:
                self.came = run.ask("How much?", **self._terms)
            except QuestionExpired as error:
                self.came = error

    def end(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.recorder.close(20)
        return self.came


@pytest.fixture
def asker(server: Server, tmp_path: Path) -> Iterator[Callable[..., Asker]]:
    made: list[Asker] = []

    def make(**terms: Any) -> Asker:
        made.append(Asker(server, tmp_path, **terms))
        return made[-1]

    yield make
    for one in made:
        one.recorder.close(20)


def of_agent(client: httpx2.Client, agent: str) -> Json:
    return wait_until(lambda: next((one for one in inbox(client) if one["agent"] == agent), None), "the question")


def test_one_list_has_what_every_dialect_waits_for(client: httpx2.Client, unique: Unique) -> None:
    sdk = asked_by_steps(client, unique, context={"to": "ada"}, risk="high", expires_in_seconds=3600, on_expiry="deny")
    runner = asked_by_checkpoints(client, unique, risk="critical")
    run_id = create_run(client, unique("thread"), agent=unique("agent"), input="go")["run_id"]
    assert (sdk["kind"], sdk["question"], sdk["context"]) == ("question", "Send it?", {"to": "ada"})
    assert (sdk["risk"], sdk["on_expiry"], sdk["expired"], sdk["state"]) == ("high", "deny", False, "open")
    assert sdk["expires_at"] > sdk["asked_at"]
    assert (runner["kind"], runner["step_index"], runner["risk"]) == ("approval", 3, "critical")
    assert runner["tool_calls"][0]["name"] == "shell"
    assert (runner["question_id"], runner["expires_at"], runner["on_expiry"]) == (None, None, "wait")
    assert open_of(client, run_id) == []
    order = [one["approval_id"] for one in inbox(client)]
    assert order.index(sdk["approval_id"]) < order.index(runner["approval_id"])
    kinds = client.get(INBOX, params={"kind": "approval", "limit": 200}).json()["data"]
    assert {one["kind"] for one in kinds} == {"approval"}
    assert client.get(f"{INBOX}/{sdk['approval_id']}").json() == sdk


def test_what_cannot_be_used_of_the_terms_is_named_and_costs_no_question(client: httpx2.Client, unique: Unique) -> None:
    odd = {
        "risk": "bold",
        "expires_in_seconds": -1,
        "expires_at": "soon",
        "on_expiry": "shrug",
        "schema": {"$ref": "#"},
    }
    reply = ingest(client, sdk_event("human_input_requested", name := unique("sdk"), {"question": "So?", **odd}))
    assert {one["field"] for one in reply.json()["warnings"]} == {f"payload.{member}" for member in odd}
    found = next(one for one in inbox(client) if one["thread_id"].endswith(name))
    assert (found["risk"], found["expires_at"], found["on_expiry"], found["schema"]) == (None, None, "wait", None)


def by_api(server: Server, client: httpx2.Client, one: Json) -> None:
    assert answer(client, one, content={"amount": 7}).status_code == 200


def by_origin(server: Server, client: httpx2.Client, one: Json) -> None:
    body = {"content": '{"amount": 7}', "question_id": one["question_id"]}
    assert client.post(f"/v1/runs/{one['run_id']}/input", json=body).status_code == 200


def by_cli(server: Server, client: httpx2.Client, one: Json) -> None:
    env = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
    done = CliRunner().invoke(main, ["approvals", "answer", one["approval_id"], '{"amount": 7}'], env=env)
    assert (done.exit_code, "answered" in done.output) == (0, True), done.output


def by_link(server: Server, client: httpx2.Client, one: Json) -> None:
    body = {"sent_to": "Grace by mail", "expires_in_seconds": 60}
    made = client.post(f"{INBOX}/{one['approval_id']}/links", json=body).raise_for_status().json()
    page = server.client(None).post(made["path"], data={"content": '{"amount": 7}'})
    assert page.status_code == 200, page.text


WAYS = [by_api, by_origin, by_cli, by_link]


@pytest.mark.parametrize("way", WAYS)
def test_an_agent_gets_the_answer_by_whichever_way_it_came(
    server: Server, client: httpx2.Client, asker: Callable[..., Asker], way: Callable[..., None]
) -> None:
    asking = asker(schema=SCHEMA, risk="low", timeout=60)
    one = of_agent(client, asking.agent)
    assert (one["schema"], one["risk"]) == (SCHEMA, "low")
    way(server, client, one)
    assert asking.end() == {"amount": 7}
    closed = client.get(f"{INBOX}/{one['approval_id']}").json()
    assert (closed["state"], bool(closed["answered_by"])) == ("answered", True)
    assert closed["resumed_at"] >= closed["answered_at"], "the agent has acknowledged it"
    second = answer(client, one, content={"amount": 8})
    assert second.status_code == 409
    assert closed["answered_by"] in second.json()["detail"]
    assert spoken_ms(parse_ms(closed["answered_at"])) in second.json()["detail"]
    assert second.json()["errors"]["answered_at"] == closed["answered_at"]


def test_an_answer_that_does_not_fit_the_schema_is_refused_by_every_way(
    client: httpx2.Client, asker: Callable[..., Asker]
) -> None:
    asking = asker(schema=SCHEMA, timeout=60)
    one = of_agent(client, asking.agent)
    for refused in (
        answer(client, one, content={"amount": 101}),
        answer(client, one, content="seven"),
        answer(client, one, decision="approve"),
        client.post(f"/v1/runs/{one['run_id']}/input", json={"content": '{"amount": "x"}'}),
    ):
        assert refused.status_code == 422, refused.text
        assert "schema" in refused.text
    assert [open_["approval_id"] for open_ in open_of(client, one["run_id"])] == [one["approval_id"]]
    assert answer(client, one, content={"amount": 1}).status_code == 200
    assert asking.end() == {"amount": 1}


def test_an_agent_whose_question_expires_is_told_so(client: httpx2.Client, asker: Callable[..., Asker]) -> None:
    asking = asker(expires_in=0.2, on_expiry="deny", timeout=60)
    assert isinstance(asking.end(), QuestionExpired)


@pytest.mark.parametrize(
    ("decision", "state", "status"), [("approve", "approved", "approved"), ("deny", "denied", "rejected")]
)
def test_tool_calls_are_decided_about_once(
    client: httpx2.Client, unique: Unique, decision: str, state: str, status: str
) -> None:
    one = asked_by_checkpoints(client, unique)
    assert answer(client, one, content="yes").status_code == 422
    reply = answer(client, one, decision=decision, reason="seen")
    assert (reply.status_code, reply.json()["state"]) == (200, state)
    latest = client.get(f"/v1/runners/threads/{one['thread_id']}/latest").json()
    assert latest["status"] == status
    closed = client.get(f"{INBOX}/{one['approval_id']}").json()
    second = answer(client, one, decision="deny")
    assert second.status_code == 409
    assert closed["answered_by"] in second.json()["detail"]
    origin = client.post(f"/approvals/{latest['trace_id']}/3/approve")
    assert (origin.status_code, closed["answered_by"] in origin.json()["detail"]) == (409, True)


def test_other_tool_calls_at_the_same_step_are_another_approval(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    data = {"status": "waiting_for_approval", "pending_tool_calls": [{"name": "read"}]}
    save_batch(client, checkpoint(thread, trace, 1, **data))
    [seen] = [one for one in inbox(client) if one["thread_id"] == thread]
    save_batch(client, checkpoint(thread, trace, 1, **data | {"pending_tool_calls": [{"name": "delete"}]}))
    [now] = [one for one in inbox(client) if one["thread_id"] == thread]
    stale = answer(client, seen, decision="approve")
    assert (stale.status_code, "replaced" in stale.json()["detail"]) == (409, True), "it is not what was seen"
    assert client.post(f"{INBOX}/{seen['approval_id']}/links", json={"sent_to": "ada"}).status_code == 409
    shown = client.get(f"{INBOX}/{seen['approval_id']}").json()
    assert (shown["state"], shown["answered_by"], shown["tool_calls"]) == ("withdrawn", None, [{"name": "read"}])
    by_step = client.post(f"/approvals/{trace}/1/approve", json={"asked_seq": int(seen["approval_id"].split(".")[-1])})
    assert by_step.status_code == 409
    assert answer(client, now, decision="approve").status_code == 200
    save_batch(client, checkpoint(thread, trace, 1, status="in_progress"))
    shown = client.get(f"{INBOX}/{now['approval_id']}").json()
    assert (shown["state"], shown["answered_by"] is None) == ("approved", False)


def test_a_link_to_replaced_tool_calls_says_so(client: httpx2.Client, unique: Unique) -> None:
    one = asked_by_checkpoints(client, unique)
    path = client.post(f"{INBOX}/{one['approval_id']}/links", json={"sent_to": "ada"}).raise_for_status().json()["path"]
    trace = client.get(f"/v1/runners/threads/{one['thread_id']}/latest").json()["trace_id"]
    save_batch(client, checkpoint(one["thread_id"], trace, 3, status="waiting_for_approval", pending_tool_calls=[{}]))
    page, form = client.get(path), client.post(path, data={"decision": "approve"})
    assert (page.status_code, "<form" in page.text) == (200, False)
    assert (form.status_code, "stopped waiting" in form.text) == (409, True)


@pytest.mark.parametrize(
    ("schema", "content", "told"),
    [
        ({"type": ["null", "string"]}, None, "null"),
        ({}, None, "null"),
        ({"type": "string"}, "", '""'),
        ({"type": "boolean"}, False, "false"),
        ({"type": "string"}, None, '"null"'),
        ({"type": "integer"}, "", None),
        *(
            (None, content, None)
            for content in ("", " ", "\u200b", "\u3000", None, 0, False, {}, [], ["yes"], {"a": 1})
        ),
    ],
)
def test_null_and_the_empty_text_are_answers_where_the_schema_takes_them(
    client: httpx2.Client, unique: Unique, schema: Json | None, content: object, told: str | None
) -> None:
    one = asked_by_steps(client, unique, **({} if schema is None else {"schema": schema}))
    reply = answer(client, one, content=content)
    assert (reply.status_code, "content" in reply.text) == (200 if told is not None else 422, told is None), reply.text
    if told is not None:
        pending = client.get(f"/api/v1/runs/{one['run_id']}/events", params={"type": "run.input"}).json()["data"]
        assert [row["data"]["content"] for row in pending] == [told]


@pytest.mark.parametrize("end", ["thread_completed", "thread_error", "thread_budget_exceeded"])
def test_what_nobody_decided_before_the_end_is_no_answer(client: httpx2.Client, unique: Unique, end: str) -> None:
    one = asked_by_checkpoints(client, unique)
    save_batch(client, runner_event(end, one["thread_id"]))
    shown = client.get(f"{INBOX}/{one['approval_id']}").json()
    assert (shown["state"], shown["answered_by"]) == ("ended", None)
    late = answer(client, one, decision="approve")
    assert (late.status_code, "The run has ended" in late.json()["detail"]) == (409, True)


def test_a_decision_stays_known_when_its_run_has_ended(client: httpx2.Client, unique: Unique) -> None:
    one = asked_by_checkpoints(client, unique)
    assert answer(client, one, decision="approve").status_code == 200
    decided = client.get(f"{INBOX}/{one['approval_id']}").json()
    save_batch(client, runner_event("thread_completed", one["thread_id"]))
    assert client.get(f"{INBOX}/{one['approval_id']}").json() | {"run_status": ""} == decided | {"run_status": ""}


def test_what_an_agent_has_left_behind_is_not_open_any_more(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    wait = {"status": "waiting_for_approval", "pending_tool_calls": [{"name": "ls"}]}
    save_batch(client, checkpoint(thread, trace, 1, **wait))
    [one] = [row for row in inbox(client) if row["thread_id"] == thread]
    save_batch(client, checkpoint(thread, trace, 2), checkpoint(thread, trace, 3, **wait))
    assert [row["step_index"] for row in open_of(client, one["run_id"])] == [3]
    for late in (answer(client, one, decision="approve"), client.post(f"/approvals/{trace}/1/approve")):
        assert (late.status_code, "went on" in late.json()["detail"]) == (409, True)
    assert client.get(f"{INBOX}/{one['approval_id']}").json()["state"] == "withdrawn"
    assert client.get(f"/v1/runs/{one['run_id']}").json()["status"] == "waiting_for_input"


def test_of_several_agents_at_one_step_a_decision_names_one(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    for agent in ("A", "B"):
        wait = {"status": "waiting_for_approval", "pending_tool_calls": [{"name": agent}]}
        save_batch(client, checkpoint(thread, trace, 1, agent_id=agent, **wait))
    refused = client.post(f"/approvals/{trace}/1/approve")
    assert (refused.status_code, "agent_id" in refused.text) == (409, True), refused.text
    run_id = next(row["run_id"] for row in inbox(client) if row["thread_id"] == thread)
    assert len(open_of(client, run_id)) == 2
    assert client.post(f"/approvals/{trace}/1/approve", json={"agent_id": "A"}).status_code == 200
    assert client.get(f"/v1/runs/{run_id}").json()["status"] == "waiting_for_input", "the other one still waits"
    assert client.post(f"/approvals/{trace}/1/reject").status_code == 200
    assert client.get(f"/v1/runs/{run_id}").json()["status"] == "running"


@pytest.mark.parametrize("ask", [asked_by_steps, asked_by_checkpoints])
def test_of_many_answers_one_counts_and_the_others_are_told_whose(
    server: Server, client: httpx2.Client, unique: Unique, ask: Callable[..., Json]
) -> None:
    one = ask(client, unique)
    bodies = [{"decision": ("approve", "deny")[number % 2]} for number in range(ANSWERERS)]
    barrier, statuses = threading.Barrier(ANSWERERS), []

    def act(body: Json) -> None:
        own = server.client()
        barrier.wait(60)
        statuses.append(own.post(f"{INBOX}/{one['approval_id']}", json=body))

    threads = [threading.Thread(target=act, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    codes = [reply.status_code for reply in statuses]
    assert (codes.count(200), codes.count(409)) == (1, ANSWERERS - 1), codes
    closed = client.get(f"{INBOX}/{one['approval_id']}").json()
    [taken] = [reply.json()["state"] for reply in statuses if reply.status_code == 200]
    assert closed["state"] == taken
    who, when = closed["answered_by"], closed["answered_at"]
    refused = [reply.json() for reply in statuses if reply.status_code == 409]
    assert all(f"by {who} at {spoken_ms(parse_ms(when))}" in one["detail"] for one in refused)
    assert {(one["errors"].get("answered_by"), one["errors"]["answered_at"]) for one in refused} == {(who, when)}


def test_what_has_ended_leaves_nothing_in_the_inbox(client: httpx2.Client, unique: Unique) -> None:
    asked, waiting = asked_by_steps(client, unique), asked_by_checkpoints(client, unique)
    for one in (asked, waiting):
        client.post(f"/api/v1/runs/{one['run_id']}:kill").raise_for_status()
        assert open_of(client, one["run_id"]) == []
        assert client.get(f"{INBOX}/{one['approval_id']}").json()["state"] == "ended"
        assert answer(client, one, decision="approve").status_code == 409


@pytest.mark.parametrize(
    "text", ["x", "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55.q1", "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55.a1.1"]
)
def test_an_id_of_nothing_is_not_found(client: httpx2.Client, text: str) -> None:
    assert client.get(f"{INBOX}/{text}").status_code == 404
    assert client.post(f"{INBOX}/{text}", json={"decision": "deny"}).status_code == 404


def test_a_place_that_asks_nothing_is_not_found(client: httpx2.Client, unique: Unique) -> None:
    one = asked_by_steps(client, unique)
    other = f"{one['run_id']}.q{one['question_id'] + 900}"
    assert client.get(f"{INBOX}/{other}").status_code == 404
    assert client.post(f"{INBOX}/{other}", json={"content": "x"}).status_code == 404


def test_another_organisation_sees_and_answers_nothing(
    client: httpx2.Client, other_org: httpx2.Client, unique: Unique
) -> None:
    for one in (asked_by_steps(client, unique), asked_by_checkpoints(client, unique)):
        assert one["approval_id"] not in [found["approval_id"] for found in inbox(other_org)]
        assert other_org.get(f"{INBOX}/{one['approval_id']}").status_code == 404
        assert answer(other_org, one, decision="approve").status_code == 404
        assert [found["approval_id"] for found in open_of(client, one["run_id"])] == [one["approval_id"]]


def test_a_key_needs_its_scope(client: httpx2.Client, scoped: Scoped, unique: Unique) -> None:
    one = asked_by_steps(client, unique)
    assert answer(scoped("read"), one, content="x").status_code == 403
    assert scoped("ingest").get(INBOX).status_code == 403
    assert answer(scoped("control"), one, content="x").status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"decision": "approve", "content": "x"}, {"content": " "}, {"decision": "maybe"}, {"a": 1}]
)
def test_an_answer_is_one_thing(client: httpx2.Client, unique: Unique, body: Json) -> None:
    assert answer(client, asked_by_steps(client, unique), **body).status_code == 422
