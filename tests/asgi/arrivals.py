"""The ways in which one request can reach the application: whole, in pieces, or with a key not seen lately.

`whole` is what the connection does with a request that came in one packet; the others wait for something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from tests.asgi.conversation import ADMIN_KEY, HERE, Answer, Listening, ask, scope_of
from tests.support.wait import DEADLINE_S
from towerlog.asgi.app import App
from towerlog.asgi.faults import Rejection
from towerlog.errors import NotFound

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def request(method: str, target: str, body: bytes, **headers: str | bytes) -> dict[str, Any]:
    """The scope of a request with the admin's key; `Content_Type="…"` is a header."""
    given = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json", **TRACE}
    if body:
        given["Content-Length"] = str(len(body))
    given |= {name.replace("_", "-"): text for name, text in headers.items()}
    return scope_of(method, target, given, HERE)


async def taken(app: App, scope: dict[str, Any], body: bytes) -> Answer | None:
    """The answer of a request that needs no task; None where it needs one, which then is not begun."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    if app.take(scope, body, responder(answer)) is not None:
        return None
    return await asyncio.wait_for(answer, DEADLINE_S)


def responder(answer: asyncio.Future[Answer]) -> Callable[[int, list[tuple[bytes, bytes]], bytes], None]:
    """What writes a whole reply into a future."""

    def respond(status: int, head: list[tuple[bytes, bytes]], text: bytes) -> None:
        answer.set_result(Answer(status, {name.decode(): value.decode("latin-1") for name, value in head}, text))

    return respond


async def whole(app: App, scope: dict[str, Any], body: bytes) -> Answer:
    """As the connection does it: taken, and served by a task from where it stopped."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    exchange = app.take(scope, body, responder(answer))
    if exchange is None:
        return await asyncio.wait_for(answer, DEADLINE_S)
    listening = Listening(app, {**scope, "extensions": {"towerlog.exchange": exchange}})
    await asyncio.wait_for(listening.task, DEADLINE_S)
    return listening.answer


async def dripped(app: App, scope: dict[str, Any], body: bytes) -> Answer:
    """Served by a task from the start, the body in pieces."""
    parts = [body[at : at + 7000] for at in range(0, len(body), 7000)] or [b""]
    listening = Listening(app, scope, parts)
    await asyncio.wait_for(listening.task, DEADLINE_S)
    return listening.answer


async def cold(app: App, scope: dict[str, Any], body: bytes) -> Answer:
    """Whole, but its key was not seen lately."""
    assert app._service is not None
    app._service._auth._known.clear()
    return await whole(app, scope, body)


WAYS = {"whole": whole, "dripped": dripped, "cold key": cold}


async def warm(app: App) -> None:
    """Shows the admin's key once, so that it is remembered."""
    assert (await ask(app, "GET", "/v1/runs")).status == 200


def decodes(app: App, method: str, path: str) -> list[Any]:
    """Grows by one with each request that the endpoint at this path, if there is one, decodes from now on."""
    seen: list[Any] = []
    try:
        route, _ = app.table.find(method, path.encode())
    except (NotFound, Rejection):
        return seen
    endpoint = route.endpoint
    if endpoint is None:
        return seen

    def decode(call: Any) -> Any:
        seen.append(call.path)
        return endpoint.decode(call)

    route.endpoint = msgspec.structs.replace(endpoint, decode=decode)
    return seen


def in_flight(app: App) -> int:
    """Bytes of bodies that are admitted now."""
    assert app._gate is not None
    return app.arrivals.ledger.process.held_bytes
