"""The connection: a head that drips, or never ends, does not hold a socket; a request lends its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from tests.support.wait import wait_until_async
from towerlog.asgi import connection
from towerlog.asgi.connection import Connection
from towerlog.server import listen

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says hello, drops the connection when asked for `/drop`, answers in one write when asked for `/whole`."""
    if scope["path"] == "/drop":
        scope["extensions"]["towerlog.abort"]()
        return
    if scope["path"] == "/whole" and scope["extensions"]["towerlog.reply"](200, [(b"content-length", b"5")], b"whole"):
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with a short patience."""
    monkeypatch.setattr(connection, "HEAD_DEADLINE_S", 0.3)
    monkeypatch.setattr(connection, "HEAD_BYTES_MAX", 2000)
    config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False)
    server, listener = uvicorn.Server(config), listen("127.0.0.1", 0)
    task = asyncio.create_task(server._serve([listener]))
    await wait_until_async(lambda: server.started, "the server")
    yield listener.getsockname()[1]
    server.should_exit = True
    await task
    listener.close()


async def reply_to(port: int, *pieces: bytes) -> bytes:
    """What comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    said = b""
    try:
        said = await asyncio.wait_for(reader.read(), 60)
    except ConnectionResetError:
        said = b"reset"
    writer.close()
    return said


async def test_a_whole_head_is_answered(port: int) -> None:
    said = await reply_to(port, GET, b"Connection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"hello")


async def test_a_silent_connection_is_closed(port: int) -> None:
    assert (await reply_to(port)).startswith(b"HTTP/1.1 400")


async def test_a_head_that_is_never_whole_is_given_up(port: int) -> None:
    said = await reply_to(port, GET, b"X-Slow: ")
    assert said.startswith(b"HTTP/1.1 400")
    assert b"too long" in said


async def test_the_second_head_of_a_connection_has_a_deadline_too(port: int) -> None:
    said = await reply_to(port, GET + b"\r\n", GET)
    assert said.count(b"HTTP/1.1 200") == 1
    assert said.count(b"HTTP/1.1 400") == 1


async def test_a_head_has_a_bound(port: int) -> None:
    said = await reply_to(port, GET, *[b"X-Fill: " + b"x" * 90 + b"\r\n"] * 40)
    assert said.startswith((b"HTTP/1.1 400", b"reset"))


async def test_one_connection_may_ask_many_times(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(GET + b"\r\n")
        assert b"hello" in await reader.readuntil(b"hello")
    writer.close()


async def test_a_request_can_drop_its_connection(port: int) -> None:
    assert await reply_to(port, b"GET /drop HTTP/1.1\r\nHost: localhost\r\n\r\n") in (b"", b"reset")


async def test_a_whole_reply_goes_out_in_one_write_and_the_connection_goes_on(port: int) -> None:
    whole = b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # Pipelined: the second and third wait for the first; the last closes, and is answered the long way.
    said = await reply_to(port, whole + whole, whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert (said.count(b"whole"), said.count(b"hello")) == (2, 1)
    assert said.count(b"\r\n\r\n") == 3


async def test_the_head_of_a_whole_reply_comes_without_its_body(port: int) -> None:
    said = await reply_to(port, b"HEAD /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n")


class Taker:
    """An application with a short way: takes what is sent to `/short`, answers when told."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    def take(self, scope: Any, body: bytes, respond: Any) -> bool:
        if scope["path"] != "/short":
            return False
        self.taken.append((body, respond))
        return True


def post(path: str, body: bytes, *head: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *head)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def taker() -> AsyncIterator[tuple[Taker, int]]:
    """A server with a short way, and its port."""
    made = Taker()
    config = uvicorn.Config(
        made, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False
    )
    server, listener = uvicorn.Server(config), listen("127.0.0.1", 0)
    task = asyncio.create_task(server._serve([listener]))
    await wait_until_async(lambda: server.started, "the server")
    yield made, listener.getsockname()[1]
    server.should_exit = True
    await task
    listener.close()


async def test_what_came_together_is_answered_in_its_order(taker: tuple[Taker, int]) -> None:
    """One at a time: what waits behind a request goes the long way, so that no depth of them nests."""
    made, port = taker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"one") + post("/short", b"two") + post("/other", b"three"))
    await wait_until_async(lambda: bool(made.taken), "the request")
    [(body, respond)] = made.taken
    respond(200, [(b"content-length", b"3")], body)
    said = b""
    while said.count(b"hello") < 2:
        said += await asyncio.wait_for(reader.read(1000), 60)
    assert said.index(b"one") < said.index(b"hello")
    assert len(made.taken) == 1
    writer.close()


async def test_a_body_that_comes_later_goes_the_long_way(taker: tuple[Taker, int]) -> None:
    made, port = taker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"later")[:-5])
    said = await asyncio.wait_for(reader.readuntil(b"hello"), 60)
    assert made.taken == []
    assert said.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_answer_to_nobody_is_dropped(taker: tuple[Taker, int]) -> None:
    made, port = taker
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"gone"))
    await wait_until_async(lambda: bool(made.taken), "the request")
    cycle = made.taken[0][1].args[0]
    writer.close()
    await wait_until_async(lambda: cycle.disconnected, "the hang-up")
    made.taken[0][1](200, [], b"nobody hears")
    assert not cycle.response_started


async def test_a_request_with_more_behind_it_knows_when_its_connection_is_closed(taker: tuple[Taker, int]) -> None:
    """Two requests and what is none in one packet: the first is at work when the server hangs up."""
    made, port = taker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"one") + post("/short", b"two") + b"no request\r\n\r\n")
    assert b"HTTP/1.1 400" in await asyncio.wait_for(reader.read(), 60)
    respond = made.taken[0][1]
    respond(200, [], b"nobody hears")
    assert not respond.args[0].response_started
    writer.close()


async def test_who_reads_no_reply_is_not_taken_the_short_way(taker: tuple[Taker, int]) -> None:
    """The long way waits for room; the short one would pile replies up without bound."""
    made, port = taker
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.set_write_buffer_limits(0)
    piles: list[int] = []

    def is_full() -> bool:
        if made.taken:
            respond = made.taken.pop()[1]
            piles.append(respond.args[0].transport.get_write_buffer_size())
            respond(200, [(b"content-length", b"100000")], b"x" * 100_000)
            if not respond.args[0].flow.write_paused:
                writer.write(post("/short", b"more"))
            else:
                writer.write(post("/short", b"too much"))
                return True
        return False

    writer.write(post("/short", b"first"))
    await wait_until_async(is_full, "a full pipe")
    # A second connection's request, asked later, is answered after the server has seen the one before.
    assert (await reply_to(port, post("/other", b"", "Connection: close"))).endswith(b"hello")
    assert made.taken == []
    writer.close()
