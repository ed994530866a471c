"""The tools of MCP: each an endpoint of ours, described as that is, asked as its caller and as nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from towerlog.asgi.app import App
from towerlog.asgi.pages.mcp import tools as tools_module
from towerlog.asgi.pages.mcp.inner import InnerReply, ask, path_of, wait_for_news
from towerlog.asgi.pages.mcp.tools import TOOLS, Tools
from towerlog.asgi.replies import Message, Receive, Send
from towerlog.asgi.routes import PageVisit
from towerlog.model.principal import Principal, Scope

PRINCIPAL = Principal(1, "org", "user", "key", frozenset({Scope.READ}))
SECRET = {b"authorization": b"Bearer k", b"host": b"h", b"origin": b"https://o", b"cookie": b"c"}
OF_OUTER = {b"idempotency-key": b"i", b"content-encoding": b"gzip", b"accept": b"text/html", b"last-event-id": b"3"}


def visit(**fields: Any) -> PageVisit:
    """A request to `/mcp`."""
    given: dict[str, Any] = {"headers": {**SECRET, **OF_OUTER}, "principal": PRINCIPAL, "address": "203.0.113.9"}
    return PageVisit(query={}, is_local=False, steady_ms=0, **{**given, **fields})


class Gate:
    """Stands for the server: keeps what it was asked, and answers with what it is told."""

    def __init__(self, *replies: InnerReply) -> None:
        self.asked: list[Message] = []
        self._replies = list(replies)

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request."""
        self.asked.append(scope)
        reply = self._replies.pop(0)
        await send({"type": "http.response.start", "status": reply.status, "headers": []})
        await send({"type": "http.response.body", "body": reply.body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": reply.body[5:]})


async def test_every_tool_is_an_endpoint_that_describes_what_it_takes(app: App) -> None:
    found = Tools(app.table, Gate().serve).of(msgspec.structs.replace(PRINCIPAL, scopes=frozenset({Scope.ADMIN})))
    assert [tool for tool, _ in found] == list(TOOLS)
    for tool, schema in found:
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= set(schema["properties"])
        assert not [name for name, field in schema["properties"].items() if not field.get("description")], tool.name
        assert "$ref" not in msgspec.json.encode(schema).decode()


async def test_a_caller_is_offered_what_its_scopes_allow(app: App) -> None:
    tools = Tools(app.table, Gate().serve)
    for scope in Scope:
        offered = {tool.name for tool, _ in tools.of(msgspec.structs.replace(PRINCIPAL, scopes=frozenset({scope})))}
        acts = {tool.name for tool in TOOLS if tool.method != "GET"}
        reads = {tool.name for tool in TOOLS} - acts
        assert offered == {Scope.READ: reads, Scope.CONTROL: acts, Scope.ADMIN: reads | acts}.get(scope, set())


async def test_an_inner_request_has_its_caller_s_key_and_nothing_else_of_the_outer_one() -> None:
    gate = Gate(InnerReply(201, b'{"ok":true}'))
    reply = await ask(gate.serve, visit(), "POST", "/v1/x", {}, {"a": 1})
    assert (reply.status, reply.body, reply.is_good) == (201, b'{"ok":true}', True)
    [scope] = gate.asked
    headers = dict(scope["headers"])
    assert {name: headers.pop(name) for name in SECRET} == SECRET
    assert headers == {b"content-type": b"application/json", b"content-length": b"7"}
    assert scope["client"] == ("203.0.113.9", 0)
    assert scope["extensions"]["towerlog.body"]() == b'{"a":1}'
    assert (scope["method"], scope["raw_path"], scope["query_string"]) == ("POST", b"/v1/x", b"")


def test_a_parameter_is_one_segment_of_a_path() -> None:
    assert (
        path_of("/v1/runs/{run_id}:cancel", {"run_id": "../a b/ü?x#y"}) == "/v1/runs/..%2Fa%20b%2F%C3%BC%3Fx%23y:cancel"
    )


async def test_arguments_go_where_the_endpoint_reads_them(app: App) -> None:
    gate = Gate(*[InnerReply(200, b"{}")] * 2)
    tools = Tools(app.table, gate.serve)
    await tools.call(visit(), "list_runs", {"status": "running", "limit": 3, "has_errors": None})
    await tools.call(visit(), "answer_run", {"run_id": "r1", "content": "yes", "question_id": 4})
    listed, answered = gate.asked
    assert (listed["raw_path"], listed["query_string"]) == (b"/api/v1/runs", b"status=running&limit=3")
    assert answered["raw_path"] == b"/v1/runs/r1/input"
    assert msgspec.json.decode(answered["extensions"]["towerlog.body"]()) == {"content": "yes", "question_id": 4}


async def test_a_refusal_is_told_in_the_words_of_the_endpoint(app: App) -> None:
    gate = Gate(InnerReply(403, b'{"code":"auth.scope"}'))
    found = await Tools(app.table, gate.serve).call(visit(), "cancel_run", {"run_id": "r1"})
    assert (found.text, found.is_error) == ('{"code":"auth.scope"}', True)


async def test_what_no_endpoint_would_read_is_not_asked(app: App) -> None:
    gate = Gate()
    tools = Tools(app.table, gate.serve)
    for name, arguments, word in (
        ("list_runs", {"sort": "cost"}, "sort"),
        ("get_run", {}, "run_id"),
        ("tail_run", {"run_id": "r", "wait_seconds": True}, "wait_seconds"),
        ("tail_run", {"run_id": "r", "wait_seconds": 31}, "wait_seconds"),
    ):
        found = await tools.call(visit(), name, arguments)
        assert found.is_error
        assert found.text.startswith(word)
    assert gate.asked == []


async def test_a_uri_names_a_run_or_nothing(app: App) -> None:
    tools = Tools(app.table, Gate(InnerReply(200, b"{}")).serve)
    assert await tools.read_run(visit(), "run://0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55") is not None
    for uri in ("run://", "run://../keys", "file:///etc/passwd", "run://0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55/x"):
        assert await tools.read_run(visit(), uri) is None


async def test_a_tail_begins_at_the_end(app: App) -> None:
    gate = Gate(InnerReply(200, b'{"last_seq":120}'), InnerReply(200, b'{"data":[1]}'))
    await Tools(app.table, gate.serve).call(visit(), "tail_run", {"run_id": "r", "wait_seconds": 5})
    assert gate.asked[1]["query_string"] == b"limit=50&after_seq=70"


async def test_a_long_answer_is_cut_at_a_character(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_module, "MAX_ANSWER_BYTES", 4)
    found = await Tools(app.table, Gate(InnerReply(200, "aéé".encode())).serve).call(visit(), "list_runs", {})
    assert found.text.startswith("aé\n… cut here: 4 of 5 bytes")


class Stream:
    """A stream that says something once it is told to, and ends when its reader leaves."""

    def __init__(self, receive: Receive, send: Send, speak: asyncio.Event, begun: asyncio.Event) -> None:
        self._receive, self._send, self._speak, self._begun = receive, send, speak, begun
        self.is_over = False

    async def run(self) -> None:
        """Until its reader has left."""
        self._begun.set()
        await self._send({"type": "http.response.body", "body": b"retry: 1000\n: ping\n", "more_body": True})
        left = asyncio.ensure_future(self._receive())
        await asyncio.wait((left, asyncio.ensure_future(self._speak.wait())), return_when=asyncio.FIRST_COMPLETED)
        if self._speak.is_set():
            await self._send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        assert (await left)["type"] == "http.disconnect"
        self.is_over = True


@pytest.mark.parametrize("speaks", [True, False])
async def test_who_waits_leaves_the_stream_and_its_place_before_the_answer(speaks: bool) -> None:
    speak, begun, streams = asyncio.Event(), asyncio.Event(), list[Stream]()

    async def serve(scope: Message, receive: Receive, send: Send) -> Stream:
        streams.append(Stream(receive, send, speak, begun))
        return streams[-1]

    waiting = asyncio.ensure_future(wait_for_news(serve, visit(), "/x", {}, 600 if speaks else 0.01))
    await begun.wait()
    if speaks:
        assert not waiting.done()
        speak.set()
    await waiting
    assert [stream.is_over for stream in streams] == [True]
