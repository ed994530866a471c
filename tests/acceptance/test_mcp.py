"""`/mcp` with the official client: what an assistant may see and do, and that nothing of it goes past the gate."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.acceptance.feeds import complete, create_run, detail, held_run, ok, report, types_of
from tests.support.senders import tell
from tests.support.server import ADMIN_KEY, Server

READS = {"list_runs", "search_runs", "get_run", "tail_run", "cost_report"}
ACTS = {"answer_run", "cancel_run"}
MODES = ["auto", "legacy"]
"""The protocol of 2026, and the one with a handshake."""
ACCEPT = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def connected(server: Server, key: str = ADMIN_KEY, mode: str = "auto") -> AsyncIterator[Client]:
    """The client on a server, with a key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
        Client(streamable_http_client(f"{server.base_url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def using(server: Server, work: Callable[[Client], Awaitable[Any]], key: str = ADMIN_KEY, mode: str = "auto") -> Any:
    """What a coroutine finds with a client."""

    async def run() -> Any:
        async with connected(server, key, mode) as client:
            return await work(client)

    return anyio.run(run)


async def called(client: Client, name: str, **arguments: Any) -> Any:
    """The answer of a tool, which must be none of an error."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


async def refused(client: Client, name: str, **arguments: Any) -> str:
    """What a tool says that it refuses."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, result.content
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", MODES)
def test_runs_are_listed_searched_and_read(server, client, unique, mode: str) -> None:
    name = unique("tower")
    tell(client, "run_start", name, {"input": "hi"}, agent_name=unique("agent"))
    tell(client, "run_end", name, {"output": "bye", "prompt_tokens": 3, "completion_tokens": 2, "cost_usd": 0.25})

    async def work(assistant: Client) -> None:
        [row] = (await called(assistant, "search_runs", q=f"steps:{name}"))["data"]
        newest = (await called(assistant, "list_runs", limit=1, agent=row["agent"]))["data"]
        assert [one["run_id"] for one in newest] == [row["run_id"]]
        run = await called(assistant, "get_run", run_id=row["run_id"])
        assert (run["input"], run["result"], run["total_cost_usd"]) == ("hi", "bye", 0.25)
        page = await called(assistant, "tail_run", run_id=row["run_id"])
        assert [event["type"] for event in page["data"]] == ["run.started", "run.completed"]
        [spent] = (await called(assistant, "cost_report", by="agent", agent=row["agent"]))["data"]
        assert spent["cost_usd"] == 0.25

    using(server, work, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_a_resource(server, client, unique, mode: str) -> None:
    run_id = create_run(client, unique("thread"), input="hi")["run_id"]

    async def work(assistant: Client) -> None:
        [template] = (await assistant.list_resource_templates()).resource_templates
        assert template.uri_template == "run://{run_id}"
        page = await assistant.list_resources()
        assert f"run://{run_id}" in [str(one.uri) for one in page.resources]
        assert page.next_cursor
        further = await assistant.list_resources(cursor=page.next_cursor)
        assert {str(one.uri) for one in page.resources}.isdisjoint(str(one.uri) for one in further.resources)
        [content] = (await assistant.read_resource(f"run://{run_id}")).contents
        assert json.loads(content.text)["input"] == "hi"
        for uri in ("run://0189d3f0-0000-7000-8000-00000000dead", "run://../keys", "file:///etc/passwd"):
            with pytest.raises(Exception, match=r"run|Resources|There is"):
                await assistant.read_resource(uri)

    for number in range(51):
        create_run(client, unique(f"t{number}"))
    run_id = create_run(client, unique("thread"), input="hi")["run_id"]
    using(server, work, mode=mode)


def test_a_tail_is_the_newest_and_waits_for_news(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", *[{"type": "step", "payload": {"name": f"s{number}"}} for number in range(60)])
    last = detail(client, run_id)["last_seq"]

    async def work(assistant: Client) -> None:
        seqs = [event["seq"] for event in (await called(assistant, "tail_run", run_id=run_id))["data"]]
        assert seqs == list(range(last - 49, last + 1))
        some = (await called(assistant, "tail_run", run_id=run_id, after_seq=2, limit=3))["data"]
        assert [event["seq"] for event in some] == [3, 4, 5]
        assert (await called(assistant, "tail_run", run_id=run_id, after_seq=last))["data"] == []
        found: list[Any] = []

        async def wait() -> None:
            found.append(await called(assistant, "tail_run", run_id=run_id, after_seq=last, wait_seconds=30))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            streams = 0
            while not streams:
                streams = await anyio.to_thread.run_sync(streams_of, client)
            assert not found, "it waits"
            await anyio.to_thread.run_sync(lambda: complete(client, run_id, "w"))
        assert [event["type"] for event in found[0]["data"]] == ["run.completed"]
        over = await called(assistant, "tail_run", run_id=run_id, after_seq=last + 1, wait_seconds=30)
        assert over["data"] == [], "of a run that has ended nothing is waited for"

    using(server, work)


def streams_of(client: httpx2.Client) -> int:
    """How many streams the server has open."""
    lines = client.get("/metrics").text.splitlines()
    return int(float(next(line.split()[-1] for line in lines if line.startswith("towerlog_streams_open"))))


@pytest.mark.parametrize("mode", MODES)
def test_a_question_is_answered_and_a_run_cancelled(server, client, unique, mode: str) -> None:
    run_id = held_run(client, unique("thread"), "w")
    report(client, run_id, "w", {"type": "run.waiting_for_input", "payload": {"question": "go?"}})

    async def work(assistant: Client) -> None:
        [asked] = (await called(assistant, "get_run", run_id=run_id))["questions"]
        assert await called(assistant, "answer_run", run_id=run_id, content="yes", question_id=asked["question_id"])
        assert "runs.question_closed" in await refused(
            assistant, "answer_run", run_id=run_id, content="no", question_id=asked["question_id"]
        )
        assert await called(assistant, "cancel_run", run_id=run_id, reason="enough") == {"ok": True}

    using(server, work, mode=mode)
    assert {"run.input", "run.cancel_requested"} <= set(types_of(client, run_id))
    assert detail(client, run_id)["cancel"]["reason"] == "enough"


def test_a_tool_names_what_is_wrong_with_its_arguments(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]

    async def work(assistant: Client) -> None:
        assert "statuss: list_runs takes only" in await refused(assistant, "list_runs", statuss="running")
        assert "status" in await refused(assistant, "list_runs", status="fine")
        assert await refused(assistant, "answer_run", run_id=run_id) == "content: is required."
        assert "content" in await refused(assistant, "answer_run", run_id=run_id, content=7)
        assert "wait_seconds" in await refused(assistant, "tail_run", run_id=run_id, wait_seconds=31)
        assert "encoded slash" in await refused(assistant, "get_run", run_id="../../api/v1/keys")
        assert "not_found" in await refused(assistant, "get_run", run_id="keys")
        assert "limit" in await refused(assistant, "tail_run", run_id=run_id, limit="many")
        with pytest.raises(Exception, match="no tool"):
            await assistant.call_tool("drop_table", {})

    using(server, work)


def test_a_key_sees_and_does_what_its_scopes_allow(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")

    async def offered(assistant: Client) -> set[str]:
        return {tool.name for tool in (await assistant.list_tools()).tools}

    assert using(server, offered) == READS | ACTS
    for scopes, names in ({"read": READS, "control": ACTS, "ingest": set()}).items():
        key = server.make_key(scopes)
        assert using(server, offered, key) == names

        async def beyond(assistant: Client, names: Any = names) -> None:
            if "cancel_run" not in names:
                assert "control" in await refused(assistant, "cancel_run", run_id=run_id)
            if "get_run" not in names:
                assert "read" in await refused(assistant, "get_run", run_id=run_id)
                assert (await assistant.list_resources()).resources == []
                with pytest.raises(Exception, match="read"):
                    await assistant.read_resource(f"run://{run_id}")

        using(server, beyond, key)
    assert "run.cancel_requested" not in types_of(client, run_id)


def test_another_organisation_s_runs_are_not_there(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"), input="secret")["run_id"]
    _, key = server.make_org(unique("org"))

    async def work(assistant: Client) -> None:
        assert (await called(assistant, "list_runs"))["data"] == []
        assert (await assistant.list_resources()).resources == []
        for name in ("get_run", "tail_run", "cancel_run"):
            assert "secret" not in await refused(assistant, name, run_id=run_id)
        with pytest.raises(Exception, match="run"):
            await assistant.read_resource(f"run://{run_id}")

    using(server, work, key)
    assert "run.cancel_requested" not in types_of(client, run_id)


def message(method: str, **params: Any) -> dict[str, Any]:
    """A message as its first version has it."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_who_has_no_key_is_told_nothing(anonymous, server) -> None:
    for method in ("initialize", "tools/list", "tools/call"):
        reply = anonymous.post("/mcp", json=message(method, name="list_runs", arguments={}), headers=ACCEPT)
        assert reply.status_code == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    wrong = server.client("adm_" + "x" * 40)
    assert wrong.post("/mcp", json=message("tools/list"), headers=ACCEPT).status_code == 401


def test_a_revoked_key_calls_no_tool(server, client) -> None:
    made = server.create_key("read")
    with_key = server.client(made["key"])
    call = message("tools/call", name="list_runs", arguments={})
    assert "result" in ok(with_key.post("/mcp", json=call, headers=ACCEPT))
    assert client.delete(f"/api/v1/keys/{made['key_id']}").status_code in (200, 204)
    status = 200
    with anyio.from_thread.start_blocking_portal() as portal:
        while status == 200:
            status = with_key.post("/mcp", json=call, headers=ACCEPT).status_code
            portal.call(anyio.sleep, 0.05)
    assert status == 401


def test_only_messages_are_taken_and_each_is_bounded(client) -> None:
    assert client.get("/mcp").status_code == 405
    assert client.delete("/mcp").status_code == 405
    too_long = message("tools/call", name="get_run", arguments={"run_id": "x" * 300_000})
    assert client.post("/mcp", json=too_long, headers=ACCEPT).status_code == 413
    for body in (b"", b"{", b"[]", b"7", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1,"method":7}', b"\xff"):
        sent = {**ACCEPT, "Content-Type": "application/json"}
        reply = client.post("/mcp", content=body, headers=sent)
        assert 400 <= reply.status_code < 500, body
    neither = {"Accept": "text/plain"}
    assert client.post("/mcp", json=message("tools/list"), headers=neither).status_code == 406
    assert client.post(
        "/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=ACCEPT
    ).is_success


RAW = {**ACCEPT, "Content-Type": "application/json"}
VERSIONS = [{}, {"MCP-Protocol-Version": "2025-06-18"}, {"MCP-Protocol-Version": "2026-07-28"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_id_that_is_none_is_refused_and_nothing_is_carried_out(client, unique, version: dict[str, str]) -> None:
    run_id = held_run(client, unique("thread"), "w")
    cancel = json.dumps({"name": "cancel_run", "arguments": {"run_id": run_id}})
    for sent in ("{}", "[]", "null", "true", "1.5", "1.0", "1e3", '"' + "x" * 300 + '"', "9" * 300):
        body = f'{{"jsonrpc":"2.0","id":{sent},"method":"tools/call","params":{cancel}}}'
        reply = client.post("/mcp", content=body, headers={**RAW, **version})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, -32600), (sent, reply.text)
        assert (reply.json()["id"], len(reply.content) < 400) == (None, True), reply.text
    assert client.post("/mcp", content=body.replace("9" * 300, "NaN"), headers={**RAW, **version}).status_code == 400
    assert "run.cancel_requested" not in types_of(client, run_id)


@pytest.mark.parametrize("version", VERSIONS)
def test_errors_send_back_nothing_long_and_name_no_types_of_a_library(client, version: dict[str, str]) -> None:
    long = "x" * 100_000
    for sent in (
        {"method": long},
        {"method": "x" * 150, "params": {}},
        {"method": 7},
        {"method": "tools/list", "params": 7},
        {"method": "tools/call", "params": {"name": long, "arguments": {}}},
        {"method": "tools/call", "params": {"name": "get_run", "arguments": {long: 1}}},
        {"method": "tools/call", "params": {"name": {"a": long}}},
        {"method": "resources/read", "params": {"uri": long}},
        {"method": "initialize", "params": {"protocolVersion": long}},
        {"method": "completion/complete", "params": {"ref": long}},
        {"result": 5},
        {"error": long},
        {"result": {}, "jsonrpc": long},
        {long: 1},
    ):
        reply = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, **sent}, headers={**RAW, **version})
        assert len(reply.content) < 2000, reply.text[:300]
        assert not [word for word in ("pydantic", "JSONRPC", "validation error") if word in reply.text], reply.text


def test_a_page_of_another_origin_asks_nothing(client, fresh_server) -> None:
    call = message("tools/list")
    for origin in ("https://evil.example", "null"):
        assert client.post("/mcp", json=call, headers={**ACCEPT, "Origin": origin}).status_code == 403
    server: Server = fresh_server(TOWERLOG_CORS_ORIGINS="https://app.example.com")
    for origin in ("https://app.example.com", server.base_url):
        assert server.client().post("/mcp", json=call, headers={**ACCEPT, "Origin": origin}).status_code == 200


def test_an_answer_that_is_too_long_is_cut_and_says_so(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    complete(client, run_id, "w", {"text": "é" * 400_000})

    async def work(assistant: Client) -> str:
        result = await assistant.call_tool("get_run", {"run_id": run_id})
        return str(result.content[0].text)

    text = using(server, work)
    assert "cut here" in text[-200:]
    assert len(text.encode()) < 270_000


def test_without_the_extra_it_says_which_one(tmp_path: Path) -> None:
    for name in ("mcp", "mcp_types"):
        (tmp_path / "without" / name).mkdir(parents=True)
        missing = f'raise ModuleNotFoundError("No module named {name!r}", name="{name}")\n'
        (tmp_path / "without" / name / "__init__.py").write_text(missing)
    with Server(tmp_path / "data", {"PYTHONPATH": str(tmp_path / "without")}) as server:
        for _ in range(2):
            reply = server.client().post("/mcp", json=message("tools/list"), headers=ACCEPT)
            assert reply.status_code == 404
            assert "pip install '.[mcp]' in a checkout" in reply.json()["detail"]
        assert server.client(None).post("/mcp", json=message("tools/list"), headers=ACCEPT).status_code == 401
        assert server.client().get("/v1/runs").status_code == 200


def test_a_server_that_stops_keeps_nobody_waiting(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "t", "w")

    async def work(assistant: Client) -> None:
        last = (await called(assistant, "get_run", run_id=run_id))["last_seq"]
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                found = await called(assistant, "tail_run", run_id=run_id, after_seq=last, wait_seconds=30)
                assert found["data"] == [], "it is answered by what there is"

            group.start_soon(wait)
            while not await anyio.to_thread.run_sync(streams_of, client):
                pass
            await anyio.to_thread.run_sync(server.stop)

    using(server, work)
    assert "Traceback" not in server.log, server.log


def test_a_number_that_json_has_not_is_no_filter_that_takes_all(client, unique) -> None:
    tell(client, "run_start", unique("tower"))
    for sent in ("Infinity", "-Infinity", "NaN", "1e999"):
        body = (
            '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_runs","arguments":'
            f'{{"q":"x","min_cost_usd":{sent}}}}}}}'
        )
        reply = client.post("/mcp", content=body, headers={**ACCEPT, "Content-Type": "application/json"})
        assert reply.status_code == 400 or reply.json()["result"]["isError"], reply.text
