"""The connection: a head that drips, or never ends, does not hold a socket; a whole request comes in directly."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.asgi.sockets import listening
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.asgi.connection import Connection
from towerlog.asgi.http1 import heads, phases
from towerlog.asgi.http1.fitness import _ProbeApp, _ProbeTransport, check_server
from towerlog.errors import UnfitServer

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says hello, drops the connection when asked for `/drop`, answers in one write when asked for `/whole`."""
    if scope["path"] == "/drop":
        scope["extensions"]["towerlog.abort"]()
        return
    if scope["path"] in {"/stream", "/broken"}:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"one ", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if scope["path"] == "/broken":
            scope["extensions"]["towerlog.break_off"]()
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    if scope["path"] == "/whole" and scope["extensions"]["towerlog.reply"](200, [(b"content-length", b"5")], b"whole"):
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with a short patience."""
    monkeypatch.setattr(phases, "HEAD_DEADLINE_S", 0.3)
    monkeypatch.setattr(heads, "MAX_HEAD_BYTES", 2000)
    async with listening(app) as number:
        yield number


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


async def test_a_reply_of_unknown_length_is_chunked(port: int) -> None:
    said = await reply_to(port, b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"transfer-encoding: chunked\r\n" in said
    assert said.endswith(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("asks", [b"", b"Connection: keep-alive\r\n"])
async def test_in_http_1_0_it_is_not_and_ends_with_its_connection(port: int, asks: bytes) -> None:
    said = await reply_to(port, b"GET /stream HTTP/1.0\r\n" + asks + b"\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"one two"


async def test_in_http_1_0_a_length_that_is_known_is_told(port: int) -> None:
    said = await reply_to(port, b"GET / HTTP/1.0\r\n\r\n")
    assert b"content-length: 5\r\n" in said
    assert said.endswith(b"\r\n\r\nhello")


async def test_what_is_broken_off_has_no_last_chunk(port: int, caplog: pytest.LogCaptureFixture) -> None:
    said = await reply_to(port, b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.endswith(b"3\r\ntwo\r\n"), "all that was sent has arrived, and no end"
    assert not caplog.records, "the server does not take it for a mistake"


async def test_what_is_broken_off_in_http_1_0_is_reset(port: int) -> None:
    assert await reply_to(port, b"GET /broken HTTP/1.0\r\n\r\n") == b"reset"


@pytest.mark.parametrize("sent", [b"2", b"2 ", b"\t 2\t ", b" 2"])
async def test_blanks_around_a_header_value_are_no_part_of_it(sent: bytes) -> None:
    app = _ProbeApp()
    seen: list[bytes] = []

    def take(scope: Any, _body: bytes, respond: Any) -> None:
        seen.append(dict(scope["headers"])[b"last-event-id"])
        respond(204, [], b"")

    app.take = take  # type: ignore[method-assign]
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
    link, transport = Connection(config=config, server_state=ServerState(), app_state={}), _ProbeTransport()
    link.connection_made(transport)
    link.data_received(GET + b"Last-Event-ID:" + sent + b"\r\n\r\n")
    link.connection_lost(None)
    assert seen == [b"2"]


async def test_a_silent_connection_is_closed_without_a_word(port: int) -> None:
    """A browser has opened it for later: what it reads there would be the answer to its next request."""
    assert await reply_to(port) == b""


async def test_a_head_that_is_never_whole_is_given_up(port: int) -> None:
    said = await reply_to(port, GET, b"X-Slow: ")
    assert said.startswith(b"HTTP/1.1 408")
    assert b"too long" in said


async def test_the_second_head_of_a_connection_has_a_deadline_too(port: int) -> None:
    said = await reply_to(port, GET + b"\r\n", GET)
    assert said.count(b"HTTP/1.1 200") == 1
    assert said.count(b"HTTP/1.1 408") == 1


async def test_a_head_has_a_bound(port: int) -> None:
    said = await reply_to(port, GET, *[b"X-Fill: " + b"x" * 900 + b"\r\n"] * 100)
    assert said.startswith((b"HTTP/1.1 400", b"reset")), "and it is not given up for its time, which is 408"


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
    # Pipelined: the second and third wait for the first; the last closes.
    said = await reply_to(port, whole + whole, whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert (said.count(b"whole"), said.count(b"hello")) == (3, 0)
    assert said.count(b"\r\n\r\n") == 3
    assert said.count(b"connection: close\r\n\r\n") == 1


async def test_the_head_of_a_whole_reply_comes_without_its_body(port: int) -> None:
    said = await reply_to(port, b"HEAD /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n")


class Taker:
    """An application that takes what is sent to `/short` directly, and answers when told."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        if scope["path"] != "/short":
            return "goes on"
        self.taken.append((body, respond))
        return None


def post(path: str, body: bytes, *head: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *head)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def taker() -> AsyncIterator[tuple[Taker, int]]:
    """A server whose application takes requests directly, and its port."""
    made = Taker()
    async with listening(made) as number:
        yield made, number


async def test_what_came_together_is_answered_in_its_order(taker: tuple[Taker, int]) -> None:
    """One at a time: what waits behind a request is served by a task, so that no depth of them nests."""
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


async def test_a_body_that_comes_later_is_served_by_a_task(taker: tuple[Taker, int]) -> None:
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
    await wait_until_async(lambda: cycle.is_gone, "the hang-up")
    made.taken[0][1](200, [], b"nobody hears")
    assert not cycle.is_started


async def test_what_is_no_request_is_refused_after_the_reply_to_the_one_before_it(taker: tuple[Taker, int]) -> None:
    """Three in one packet, the last is none: its refusal must not be taken for the reply to one that was stored."""
    made, port = taker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"one") + post("/other", b"two") + b"no request\r\n\r\n")
    await wait_until_async(lambda: bool(made.taken), "the request")
    made.taken[0][1](200, [(b"content-length", b"3")], b"one")
    said = await asyncio.wait_for(reader.read(), 60)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"200", b"400"]
    assert said.index(b"one") < said.index(b"hello") < said.index(b"HTTP/1.1 400")
    writer.close()


async def test_who_reads_no_reply_is_not_taken_directly(taker: tuple[Taker, int]) -> None:
    """A task waits for room; replies that need none would pile up without bound."""
    made, port = taker
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.set_write_buffer_limits(0)
    piles: list[int] = []

    def is_full() -> bool:
        if made.taken:
            respond = made.taken.pop()[1]
            piles.append(respond.args[0].link.transport.get_write_buffer_size())
            respond(200, [(b"content-length", b"100000")], b"x" * 100_000)
            if not respond.args[0].link.is_write_paused:
                writer.write(post("/short", b"more"))
            else:
                writer.write(post("/short", b"too much"))
                return True
        return False

    writer.write(post("/short", b"first"))

    async def is_full_soon() -> bool:
        # Many requests a look: with a pause before each they would take seconds.
        for _ in range(1000):
            if is_full():
                return True
            await asyncio.sleep(0)
        return False

    await wait_until_async(is_full_soon, "a full pipe")
    # A second connection's request, asked later, is answered after the server has seen the one before.
    assert (await reply_to(port, post("/other", b"", "Connection: close"))).endswith(b"hello")
    assert made.taken == []
    writer.close()


async def test_what_is_not_answered_at_once_goes_on_with_what_is_known_of_it(taker: tuple[Taker, int]) -> None:
    made, port = taker
    seen: list[Any] = []
    real = made.__class__.__call__

    async def serve(self: Taker, scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["method"], scope["extensions"]["towerlog.exchange"]))
        await real(self, scope, receive, send)

    made.__class__.__call__ = serve  # type: ignore[method-assign]
    try:
        assert (await reply_to(port, post("/other", b"", "Connection: close"))).endswith(b"hello")
        assert (await reply_to(port, GET + b"Connection: close\r\n\r\n")).endswith(b"hello")
    finally:
        made.__class__.__call__ = real  # type: ignore[method-assign]
    assert seen == [("POST", "goes on"), ("GET", "goes on")]


async def test_a_direct_answer_closes_a_connection_that_is_to_be_closed(taker: tuple[Taker, int]) -> None:
    made, port = taker
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/short", b"one", "Connection: close"))
    await wait_until_async(lambda: bool(made.taken), "the request")
    made.taken[0][1](200, [(b"content-length", b"3")], b"one")
    said = await asyncio.wait_for(reader.read(), DEADLINE_S)
    assert said.endswith(b"connection: close\r\n\r\none")
    writer.close()


# Whether the server is fit


async def test_the_server_that_is_installed_is_fit() -> None:
    await check_server(Connection)


async def test_without_the_hook_the_start_is_refused() -> None:
    """As with a parser that calls something else at the end of a request: nothing would be answered."""

    class Unhooked(Connection):
        def on_message_complete(self) -> None:
            pass

    with pytest.raises(UnfitServer, match="do not come to the server directly"):
        await check_server(Unhooked)


async def test_with_other_parts_the_start_is_refused() -> None:
    class Renamed(Connection):
        def _serve(self) -> None:
            raise AttributeError("'ServerState' object has no attribute 'total_requests'")

    with pytest.raises(UnfitServer, match="total_requests"):
        await check_server(Renamed)


def test_the_server_that_is_tested_is_the_newest_that_is_let_in() -> None:
    """A newer one is a change of this file's pin and bound, after these tests have run with it."""
    root = Path(__file__).parents[2]
    pinned = re.search(r"^uvicorn==(\S+)$", (root / "constraints.txt").read_text(), re.MULTILINE)
    bound = re.search(r'"uvicorn>=0\.45,<0\.(\d+)"', (root / "pyproject.toml").read_text())
    assert pinned is not None
    assert bound is not None
    assert uvicorn.__version__ == pinned[1]
    assert int(pinned[1].split(".")[1]) == int(bound[1]) - 1
