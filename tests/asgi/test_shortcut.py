"""The short way answers like the long way, to the byte, and leaves alone what is not for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.conversation import ADMIN_KEY, HERE, Answer, HandClock, ask, scope_of
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.config import Settings
from towerlog.errors import Overloaded, StorageFailed
from towerlog.server import build

STEP = {"event_type": "step", "sdk_run_id": "r", "payload": {"node_name": "n"}}
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def request(path: str, body: bytes, **headers: str | bytes) -> dict[str, Any]:
    """The scope of a POST."""
    given = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json", **TRACE}
    given |= {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    return scope_of("POST", path, given, HERE)


async def short(app: App, path: str, body: bytes, **headers: str | bytes) -> Answer | None:
    """What the short way answers; None when it leaves the request alone."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def respond(status: int, head: list[tuple[bytes, bytes]], text: bytes) -> None:
        answer.set_result(Answer(status, {name.decode(): value.decode() for name, value in head}, text))

    if not app.take(request(path, body, **headers), body, respond):
        return None
    return await asyncio.wait_for(answer, 60)


async def long(app: App, path: str, body: bytes, **headers: str | bytes) -> Answer:
    """What the long way answers."""
    scope = request(path, body, **headers)
    given = {name.decode(): value for name, value in scope["headers"]}
    return await ask(app, "POST", path, key=None, headers=given, body=body)


async def known(app: App) -> None:
    """Shows the key once: the short way is for callers that were seen lately."""
    assert (await ask(app, "GET", "/v1/runs")).status == 200


@pytest.fixture
async def twin(tmp_path: Path, clock: HandClock) -> AsyncIterator[App]:
    """A second application like the first, to say the same to."""
    settings = Settings(data_dir=str(tmp_path / "twin"), bootstrap_key=ADMIN_KEY, max_body_bytes=100_000, max_streams=3)
    made, _ = build(settings, clock, SystemIds(clock))
    await made.start()
    await known(made)
    yield made
    await made.stop()


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


SAID = {
    "stored": ("/api/ingest", text(STEP), {}),
    "a batch": ("/v1/runners/events", text({"events": [{"type": "x", "data": {"thread_id": "t"}}, {"type": ""}]}), {}),
    "an unknown agent": ("/agents/0189d3f0-0000-7000-8000-00000000dead/events", text({"type": "file_read"}), {}),
    "an unknown run": ("/api/agents/runs/0189d3f0-0000-7000-8000-00000000dead/events", text({"worker_id": "w"}), {}),
    "a wrong field": ("/api/ingest", text({**STEP, "event_type": "nonsense"}), {}),
    "no JSON": ("/api/ingest", b"{", {}),
    "no UTF-8": ("/api/ingest", b'{"event_type":"\xff"}', {}),
    "a wrong type": ("/api/ingest", text(STEP), {"Content_Type": "text/plain"}),
    "a query": ("/api/ingest?a=b", text(STEP), {}),
}


@pytest.mark.parametrize("case", SAID)
async def test_both_ways_answer_the_same(app: App, twin: App, case: str) -> None:
    await known(app)
    path, body, headers = SAID[case]
    took, served = await short(app, path, body, **headers), await long(twin, path, body, **headers)
    assert took is not None
    assert (took.status, took.headers, took.body) == (served.status, served.headers, served.body)


async def test_what_the_short_way_acknowledges_is_in_the_log(app: App) -> None:
    await known(app)
    answers = await asyncio.gather(*(short(app, "/api/ingest", text({**STEP, "event_id": f"e{n}"})) for n in range(5)))
    assert [answer.json for answer in answers if answer] == [{"status": "ok", "event_id": n} for n in range(1, 6)]
    [row] = (await ask(app, "GET", "/api/v1/runs")).json["data"]
    assert row["last_seq"] == 5


LEFT = {
    "an unknown key": ("/api/ingest", text(STEP), {"Authorization": "Bearer nobody"}),
    "an Idempotency-Key": ("/api/ingest", text(STEP), {"Idempotency_Key": "k"}),
    "a compressed body": ("/api/ingest", text(STEP), {"Content_Encoding": "gzip"}),
    "no telemetry": ("/v1/threads/t/runs", b"{}", {}),
    "a page": ("/healthz", b"{}", {}),
    "no such path": ("/nowhere", b"{}", {}),
    "another host": ("/api/ingest", text(STEP), {"Host": "evil.example"}),
    "too long a query": ("/api/ingest?" + "x" * 8193, text(STEP), {}),
    "too many fields": ("/api/ingest?" + "&".join("x" * 101), text(STEP), {}),
    "nothing": ("/api/ingest", b"", {}),
    "too much": ("/api/ingest", b"[" * 100_001, {}),
    "a long poll": (
        "/api/agents/runs/0189d3f0-0000-7000-8000-00000000dead/events",
        text({"worker_id": "w", "wait_seconds": 5}),
        {},
    ),
}


@pytest.mark.parametrize("case", LEFT)
async def test_what_is_unusual_is_left_alone(app: App, case: str) -> None:
    await known(app)
    path, body, headers = LEFT[case]
    assert await short(app, path, body, **headers) is None
    assert (await ask(app, "GET", "/v1/runs")).json == []


async def test_a_key_may_only_do_what_its_scopes_say(app: App, say: Any) -> None:
    made = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": ["read"]})).json
    assert (await ask(app, "GET", "/v1/runs", key=made["key"])).status == 200
    answer = await short(app, "/api/ingest", text(STEP), Authorization=f"Bearer {made['key']}")
    assert answer is not None
    assert answer.status == 403


async def test_the_limit_counts_both_ways_together(app: App, say: Any) -> None:
    await known(app)
    for n in range(200):
        answer = await (short if n % 2 else long)(app, "/api/ingest", text(STEP))
        assert answer is not None
        assert answer.status == 200
    refused = await short(app, "/api/ingest", text(STEP))
    assert refused is not None
    assert refused.status == 429
    assert "retry-after" in refused.headers


@pytest.mark.parametrize("error", [Overloaded(retry_after=1), StorageFailed("the disk is gone", retry_after=1)])
async def test_what_the_engine_refuses_at_once_is_answered(
    app: App, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await known(app)

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(app._backend.engine, "enlist", refuse)
    answer = await short(app, "/api/ingest", text(STEP))
    assert answer is not None
    assert answer.status == 503
    assert app._shortcut._parts.admission.bytes_in_flight == 0


async def test_an_answer_that_cannot_be_written_is_a_500_of_its_own(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other requests of the same commit get theirs."""
    await known(app)
    route, _ = app.table.find("POST", b"/api/ingest")
    real = route.endpoint.encode
    calls = iter((True, False))

    class Endpoint:
        """The endpoint, but the first answer fails."""

        def __getattr__(self, name: str) -> Any:
            return getattr(endpoint, name)

        def encode(self, outcome: Any, call: Any) -> Any:
            if next(calls):
                raise ValueError("cannot be written")
            return real(outcome, call)

    endpoint = route.endpoint
    monkeypatch.setattr(route, "endpoint", Endpoint())
    first, second = await asyncio.gather(*(short(app, "/api/ingest", text(STEP)) for _ in range(2)))
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (500, 200)
    assert app._shortcut._parts.admission.bytes_in_flight == 0
