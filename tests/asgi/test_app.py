"""The application's life: it starts, serves, drains and stops; nothing else than HTTP gets in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, ask, listen
from tests.support.wait import wait_until_async
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.config import Settings
from towerlog.server import build


async def test_the_lifespan_starts_and_stops_everything(settings: Settings, clock: HandClock) -> None:
    app, node = build(settings, clock, SystemIds(clock))
    said: list[dict[str, Any]] = []
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=2)

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    life = asyncio.create_task(app({"type": "lifespan"}, asked.get, send))
    await asked.put({"type": "lifespan.startup"})
    await wait_until_async(lambda: said, "the start")
    assert said[-1] == {"type": "lifespan.startup.complete"}
    assert (await ask(app, "GET", "/v1/runs")).status == 200
    await asked.put({"type": "lifespan.shutdown"})
    await life
    assert said[-1] == {"type": "lifespan.shutdown.complete"}
    again, _ = build(settings, clock, SystemIds(clock))
    await again.start()
    assert (await ask(again, "GET", "/v1/runs")).status == 200, "the store was let go of"
    await again.stop()
    assert node.minted is not None


async def test_a_start_that_fails_says_why(settings: Settings, clock: HandClock, app: App) -> None:
    second, _ = build(settings, clock, SystemIds(clock))
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    with pytest.raises(Exception, match="in use"):
        await second({"type": "lifespan"}, receive, send)
    assert said[0]["type"] == "lifespan.startup.failed"
    assert "in use" in said[0]["message"]


async def test_a_websocket_is_closed_at_once(app: App) -> None:
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app({"type": "websocket", "path": "/app/x"}, None, send)  # type: ignore[arg-type]
    assert [message["type"] for message in said] == ["websocket.close"]


async def test_draining_ends_streams_and_readiness_but_not_requests(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    stream = listen(app, f"/v1/runs/{run_id}/events")
    await stream.until(b"run.queued")
    app.drain()
    await stream.task
    assert not stream.is_whole, "nobody may take it for the run's end"
    waits = [line for line in stream.body.split(b"\n") if line.startswith(b"retry: ")]
    assert len(waits) == 2
    assert 1000 <= int(waits[1].split()[1]) <= 8000
    ready = await say("GET", "/readyz")
    assert (ready.status, ready.json) == (503, {"status": "draining"})
    assert ready.headers["retry-after"]
    assert (await say("GET", "/healthz")).status == 200
    assert (await say("GET", "/v1/runs")).status == 200


async def test_a_stream_that_opens_while_draining_ends_at_once(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    app.drain()
    stream = listen(app, f"/v1/runs/{run_id}/events")
    await asyncio.wait_for(stream.task, 60)
    assert not stream.is_whole


async def test_what_is_still_under_way_when_the_server_ends_is_told_to_come_again(
    app: App, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    begun = asyncio.Event()

    async def long(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    assert app._node is not None
    monkeypatch.setattr(app._node.engine, "execute", long)
    asked = asyncio.create_task(say("DELETE", f"/api/v1/runs/{run_id}"))
    await begun.wait()
    app.drain()
    asked.cancel()
    reply = await asked
    assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "stopped", "1")


async def test_a_failed_storage_is_never_ready_again(app: App, say: Any) -> None:
    app.fail()
    app.drain()
    assert (await say("GET", "/readyz")).json == {"status": "storage_failed"}
