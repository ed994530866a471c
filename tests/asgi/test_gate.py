"""The gate: one order of checks for every request, however it comes; nothing is done twice, refusals cost no decode."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.asgi.arrivals import WAYS, decodes, in_flight, request, taken, warm, whole
from tests.asgi.conversation import ADMIN_KEY, Answer, HandClock, ask
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.asgi.exchange import Exchange
from towerlog.config import Settings
from towerlog.errors import NotFound, OutOfMemory, Overloaded, StorageFailed
from towerlog.server import build

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"
STEP = {"event_type": "step", "sdk_run_id": "r", "payload": {"node_name": "n"}}
INGEST = "/api/ingest"

_FRESH_ID = re.compile(rb"01[0-9a-f]{6}-[0-9a-f]{4}-7[0-9a-f-]{21}")

Make = Callable[[], Awaitable[App]]


@pytest.fixture
async def make(tmp_path: Path, clock: HandClock) -> AsyncIterator[Make]:
    """Makes applications that are alike, each with a store of its own, and the admin's key warm."""
    made: list[App] = []

    async def one() -> App:
        folder = str(tmp_path / f"app{len(made)}")
        settings = Settings(data_dir=folder, bootstrap_key=ADMIN_KEY, max_body_bytes=100_000, max_streams=3)
        app, _ = build(settings, clock, SystemIds(clock))
        await app.start()
        made.append(app)
        await warm(app)
        return app

    yield one
    for app in made:
        await app.stop()


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def events(*more: Any) -> bytes:
    return text({"client_id": "c", "events": list(more)})


TOLD = {"event_id": "e1", "client_seq": 1, "run_key": "k", "type": "step", "data": {"name": "n"}}
LARGE = text({**STEP, "payload": {"text": "x" * 60_000, "more": [str(n) for n in range(1000)]}})

BATCH = text({"events": [{"type": "x", "data": {"thread_id": "t"}}, {}]})
POLL = text({"worker_id": "w", "wait_seconds": 5})

SAID: dict[str, tuple[str, str, bytes, dict[str, str], int, int]] = {
    # name: method, target, body, headers, status, decodes
    "stored": ("POST", INGEST, text(STEP), {}, 200, 1),
    "large": ("POST", INGEST, LARGE, {}, 200, 1),
    "a batch": ("POST", "/v1/runners/events", BATCH, {}, 200, 1),
    "a client's batch": ("POST", "/api/v1/events", events(TOLD, {**TOLD, "event_id": "\u00fc"}, 5), {}, 200, 1),
    "an unknown agent": ("POST", f"/agents/{ABSENT}/events", text({"type": "file_read"}), {}, 404, 1),
    "an unknown run": ("POST", f"/api/agents/runs/{ABSENT}/events", text({"worker_id": "w"}), {}, 404, 1),
    "a wrong field": ("POST", INGEST, text({**STEP, "event_type": "nonsense"}), {}, 422, 1),
    "no JSON": ("POST", INGEST, b"{", {}, 400, 1),
    "no UTF-8": ("POST", INGEST, b'{"event_type":\xff}', {}, 400, 1),
    "a wrong type": ("POST", INGEST, text(STEP), {"Content_Type": "text/plain"}, 415, 0),
    "a query": ("POST", f"{INGEST}?a=b", text(STEP), {}, 200, 1),
    "an unknown key": ("POST", INGEST, text(STEP), {"Authorization": "Bearer nobody"}, 401, 0),
    "an Idempotency-Key": ("POST", INGEST, text(STEP), {"Idempotency_Key": "k"}, 200, 1),
    "a bad Idempotency-Key": ("POST", INGEST, text(STEP), {"Idempotency_Key": "\t"}, 422, 1),
    "a compressed body": ("POST", INGEST, gzip.compress(text(STEP), mtime=0), {"Content_Encoding": "gzip"}, 200, 1),
    "an unknown coding": ("POST", INGEST, text(STEP), {"Content_Encoding": "br"}, 415, 0),
    "no telemetry": ("POST", "/v1/threads", text({"thread_id": "t"}), {}, 201, 1),
    "a read": ("GET", "/v1/runs", b"", {}, 200, 1),
    "a page": ("GET", "/healthz", b"", {}, 200, 0),
    "another host": ("POST", INGEST, text(STEP), {"Host": "evil.example"}, 421, 0),
    "no such path": ("POST", "/nowhere", b"{}", {}, 404, 0),
    "no such method": ("DELETE", INGEST, b"", {}, 405, 0),
    "too long a query": ("POST", f"{INGEST}?{'x' * 8193}", text(STEP), {}, 414, 0),
    "too many fields": ("POST", f"{INGEST}?{'&'.join('x' * 101)}", text(STEP), {}, 400, 0),
    "nothing": ("POST", INGEST, b"", {}, 400, 1),
    "too much": ("POST", INGEST, b"[" * 100_001, {}, 413, 0),
    "a long poll": ("POST", f"/api/agents/runs/{ABSENT}/events", POLL, {}, 404, 1),
}  # fmt: skip


WAITING = {"an unknown key", "an Idempotency-Key", "no telemetry", "a read", "a page", "a long poll"}
"""What cannot be answered without waiting for something."""


@pytest.mark.parametrize("case", SAID)
async def test_however_a_request_comes_its_answer_is_the_same(make: Make, case: str) -> None:
    method, target, body, headers, status, cost = SAID[case]
    answers: list[Answer] = []
    for arrive in WAYS.values():
        app = await make()
        counted = decodes(app, method, target.partition("?")[0])
        answer = await arrive(app, request(method, target, body, **headers), body)
        answers.append(Answer(answer.status, answer.headers, _FRESH_ID.sub(b"", answer.body)))
        assert len(counted) == cost
        assert in_flight(app) == 0
    first, *others = answers
    assert first.status == status, first.body
    for other in others:
        assert (other.status, other.headers, other.body) == (first.status, first.headers, first.body)


async def test_telemetry_needs_no_task_and_the_rest_goes_on_where_it_stopped(make: Make) -> None:
    app = await make()
    for case, (method, target, body, headers, status, _) in SAID.items():
        answer = await taken(app, request(method, target, body, **headers), body)
        assert (answer is None) == (case in WAITING), case
        if answer is not None:
            assert answer.status == status, case


async def test_what_is_acknowledged_is_in_the_log(make: Make) -> None:
    app = await make()
    bodies = [text({**STEP, "event_id": f"e{n}"}) for n in range(5)]
    answers = await asyncio.gather(*(taken(app, request("POST", INGEST, body), body) for body in bodies))
    assert [answer.json for answer in answers if answer] == [{"status": "ok", "event_id": n} for n in range(1, 6)]
    [row] = (await ask(app, "GET", "/api/v1/runs")).json["data"]
    assert row["last_seq"] == 5


# What a refusal costs


@pytest.mark.parametrize("way", WAYS)
async def test_over_the_limit_nothing_is_decoded(make: Make, way: str) -> None:
    app = await make()
    counted = decodes(app, "POST", INGEST)
    for n in range(200):
        answer = await (whole if n % 2 else WAYS["dripped"])(app, request("POST", INGEST, text(STEP)), text(STEP))
        assert answer.status == 200
    assert len(counted) == 200
    refused = await WAYS[way](app, request("POST", INGEST, text(STEP)), text(STEP))
    assert refused.status == 429
    assert "retry-after" in refused.headers
    assert len(counted) == 200


@pytest.mark.parametrize("way", WAYS)
async def test_without_room_nothing_is_decoded(make: Make, way: str) -> None:
    app = await make()
    await warm(app)
    counted = decodes(app, "POST", INGEST)
    [account] = app.arrivals.ledger.accounts.values()
    held = account.key.bounds.byte_count
    app.arrivals.ledger.take_bytes(account.shares, held)
    for _ in range(20):
        refused = await WAYS[way](app, request("POST", INGEST, text(STEP)), text(STEP))
        assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert counted == []
    assert in_flight(app) == held


@pytest.mark.parametrize("way", WAYS)
async def test_over_a_limit_that_heartbeats_pass_only_what_may_be_one_is_decoded(make: Make, way: str) -> None:
    app = await make()
    report, claim = f"/api/agents/runs/{ABSENT}/events", "/api/agents/runs/claim"
    body = text({"worker_id": "w"})
    for _ in range(600):
        assert (await whole(app, request("POST", report, body), body)).status == 404
    reports, claims = decodes(app, "POST", report), decodes(app, "POST", claim)
    assert (await WAYS[way](app, request("POST", report, body), body)).status == 429
    assert (await WAYS[way](app, request("POST", claim, body), body)).status == 429
    assert (len(reports), len(claims)) == (1, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_each_request_is_counted_once_and_has_one_trace(make: Make, way: str) -> None:
    app = await make()
    gate = app._gate
    assert gate is not None
    fresh: list[str] = []
    make_trace = gate._traces.of
    gate._traces.of = lambda parent: fresh.append(make_trace(parent)) or fresh[-1]  # type: ignore[method-assign]
    for case in ("stored", "an Idempotency-Key", "no telemetry", "a wrong field"):
        method, target, body, headers, status, _ = SAID[case]
        name = "runs" if case == "no telemetry" else "steps"
        before = dict(gate._meters.of(name).statuses)
        answer = await WAYS[way](app, request(method, target, body, **headers), body)
        assert gate._meters.of(name).statuses == {**before, status: before.get(status, 0) + 1}
        assert answer.headers["x-trace-id"] == fresh.pop()
        assert fresh == []


async def test_a_scope_is_asked_for_before_limit_and_room(make: Make) -> None:
    app = await make()
    made = (await ask(app, "POST", "/api/v1/keys", value={"name": "k", "scopes": ["read"]})).json
    assert (await ask(app, "GET", "/v1/runs", key=made["key"])).status == 200
    ledger = app.arrivals.ledger
    ledger.take_bytes((ledger.process,), 64 * 1024 * 1024)
    scope = request("POST", INGEST, text(STEP), Authorization=f"Bearer {made['key']}")
    answer = await taken(app, scope, text(STEP))
    assert answer is not None
    assert answer.status == 403
    assert "x-ratelimit-limit" not in answer.headers


# What goes wrong behind the gate


@pytest.mark.parametrize("error", [Overloaded(retry_after=1), StorageFailed("the disk is gone", retry_after=1)])
async def test_what_the_engine_refuses_at_once_is_answered(
    make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app = await make()

    def refuse(*_: object) -> None:
        raise error

    assert app._gate is not None
    monkeypatch.setattr(app._gate, "_enlist", refuse)
    answer = await taken(app, request("POST", INGEST, text(STEP)), text(STEP))
    assert answer is not None
    assert answer.status == 503
    assert in_flight(app) == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_defect_in_a_decoder_is_a_500(make: Make, way: str) -> None:
    app = await make()
    route, _ = app.table.find("POST", INGEST.encode())
    calls: list[Any] = []

    def decode(call: Any) -> Any:
        calls.append(call)
        raise ZeroDivisionError("a secret")

    route.endpoint = _with(route.endpoint, decode=decode)
    answer = await WAYS[way](app, request("POST", INGEST, text(STEP)), text(STEP))
    assert (answer.status, len(calls), in_flight(app)) == (500, 1, 0)
    assert b"secret" not in answer.body


def exhausts(fault: type[Exception]) -> Callable[..., Any]:
    """What finds too little memory, or stack: the stack in truth, the memory by its word."""

    def recurses(*arguments: Any) -> Any:
        return recurses(*arguments)

    def lacks(*_: Any) -> Any:
        raise MemoryError

    return recurses if fault is RecursionError else lacks


@pytest.mark.parametrize("part", ["decode", "encode"])
@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
@pytest.mark.parametrize("way", WAYS)
async def test_too_little_memory_for_a_request_is_a_503_that_is_counted_and_the_next_is_served(
    make: Make, way: str, fault: type[Exception], part: str
) -> None:
    app = await make()
    route, _ = app.table.find("POST", INGEST.encode())
    real = route.endpoint
    route.endpoint = _with(real, **{part: exhausts(fault)})
    answer = await WAYS[way](app, request("POST", INGEST, text(STEP)), text(STEP))
    assert (answer.status, answer.headers["retry-after"], in_flight(app)) == (503, "1", 0)
    words = json.loads(route.dialect.explain(OutOfMemory(), "trace").body)
    assert json.loads(answer.body).keys() == words.keys()
    route.endpoint = real
    answer = await WAYS[way](app, request("POST", INGEST, text(STEP)), text(STEP))
    assert answer.status == 200
    found = await whole(app, request("GET", "/metrics", b""), b"")
    assert b"towerlog_out_of_memory_total 1.0" in found.body


@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
async def test_too_little_memory_also_for_the_refusal_is_refused_in_the_form_of_another(
    make: Make, fault: type[Exception]
) -> None:
    app = await make()
    route, _ = app.table.find("POST", INGEST.encode())
    route.endpoint = _with(route.endpoint, decode=exhausts(fault))
    route.dialect = _with(route.dialect, explain=exhausts(fault))
    answer = await taken(app, request("POST", INGEST, text(STEP)), text(STEP))
    assert answer is not None
    assert (answer.status, answer.headers["retry-after"], in_flight(app)) == (503, "1", 0)


async def test_an_answer_that_cannot_be_written_is_a_500_of_its_own(make: Make) -> None:
    """The other requests of the same commit get theirs."""
    app = await make()
    route, _ = app.table.find("POST", INGEST.encode())
    real = route.endpoint.encode  # type: ignore[union-attr]
    fails = iter((True, False))

    def encode(outcome: Any, command: Any, call: Any) -> Any:
        if next(fails):
            raise ValueError("cannot be written")
        return real(outcome, command, call)

    route.endpoint = _with(route.endpoint, encode=encode)
    scopes = [request("POST", INGEST, text(STEP)) for _ in range(2)]
    first, second = await asyncio.gather(*(taken(app, scope, text(STEP)) for scope in scopes))
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (500, 200)
    assert in_flight(app) == 0


def _with(endpoint: Any, **fields: Any) -> Any:
    """The endpoint with other fields."""
    return msgspec.structs.replace(endpoint, **fields)


# Refusals in whose words


def exchange(path: str) -> Exchange:
    return Exchange(request("GET", path, b""), 0, 0, b"", {}, "")


@pytest.mark.parametrize(("path", "words"), [("/v1/runs/nowhere", b'"code"'), ("/elsewhere", b'"type"')])
async def test_a_path_that_leads_nowhere_is_explained_by_whoever_owns_most_of_it(
    make: Make, path: str, words: bytes
) -> None:
    gate = (await make())._gate
    assert gate is not None
    reply = gate.refusal(exchange(path), NotFound("run"))
    assert reply.status == 404
    assert words in reply.body


async def test_a_dialect_that_cannot_explain_an_error_still_answers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await make()
    given = exchange(INGEST)
    given.route, _ = app.table.find("POST", INGEST.encode())

    class Speechless:
        name = "steps"

        def explain(self, *_: Any) -> Any:
            raise ValueError("no words")

    monkeypatch.setattr(given.route, "dialect", Speechless())
    assert app._gate is not None
    assert app._gate.refusal(given, NotFound("run")).status == 500
