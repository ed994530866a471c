"""The phases of a connection, spoken to through raw sockets: each has its time and its size, and then it ends."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.asgi.sockets import listening
from tests.support.wait import wait_until_async
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.addresses import Addresses
from towerlog.asgi.guard.arrivals import Arrivals
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.http1 import phases
from towerlog.asgi.shares.share import Resource
from towerlog.model.principal import Principal

LARGE = b"x" * 16_000_000
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"


class App:
    """Answers `/echo` with the length of the body, `/refuse` without reading it, `/large` and `/stream` with a lot."""

    def __init__(self) -> None:
        ledger = ShareLedger(400_000, {Resource.CONNECTION: 100}, {"address": {Resource.CONNECTION: 8}})
        self.arrivals = Arrivals(ledger, Addresses())
        self.served: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []
        """Of the request that came last, as they are now."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.served.append(scope["path"])
        self.headers = scope["headers"]
        status, body = 200, b"small"
        if scope["path"] == "/echo":
            status, body = await length_of(receive)
        elif scope["path"] == "/large":
            body = LARGE
        elif scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100):
                await send({"type": "http.response.body", "body": LARGE[:100_000], "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        elif scope["path"] == "/known":
            scope["known"](self.arrivals.ledger.account(Principal(1, "o", "u", "k", frozenset())))
        elif scope["path"] == "/refuse":
            status, body = 401, b"no"
        head = [(b"content-length", b"%d" % len(body))]
        if not scope["extensions"]["towerlog.reply"](status, head, body):
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": body})


async def length_of(receive: Any) -> tuple[int, bytes]:
    """The status and the body of the reply to a body."""
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            fault = message["fault"]
            return (408, b"late") if isinstance(fault, Rejection) else (503, b"full")
        total += len(message["body"])
        if not message["more_body"]:
            return 200, b"%d" % total


class TakingApp(App):
    """Takes what came whole: answers it at once, but leaves `/large` and `/known` to a task, as the product may."""

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        path = scope["path"]
        if path in {"/large", "/stream", "/known"}:
            return "goes on"
        self.served.append(path)
        self.headers = scope["headers"]
        status, text = {"/echo": (200, b"%d" % len(body)), "/refuse": (401, b"no")}.get(path, (200, b"small"))
        respond(status, [(b"content-length", b"%d" % len(text))], text)
        return None


@pytest.fixture(params=[App, TakingApp], ids=["by tasks", "taken"])
async def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[App, int]]:
    """A server that is quick to lose patience, and its port."""
    for name, patience in {"HEAD": 0.5, "BODY": 0.5}.items():
        monkeypatch.setattr(phases, f"{name}_DEADLINE_S", patience)
    monkeypatch.setattr(phases, "SLOW_READER_S", 0.5)
    monkeypatch.setattr(phases, "LINGER_S", 0.5)
    app = request.param()
    async with listening(app) as number:
        yield app, number
    assert app.arrivals.ledger.process.is_idle, "everything was given back"


@pytest.fixture
def port(served: tuple[App, int]) -> int:
    return served[1]


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def said(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the end; a reset is an end too."""
    parts: list[bytes] = []
    try:
        while part := await asyncio.wait_for(reader.read(65536), 60):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


async def exchanged(port: int, *packets: bytes) -> bytes:
    """What comes back until the server ends the connection."""
    reader, writer = await connected(port)
    for packet in packets:
        writer.write(packet)
        await writer.drain()
    found = await said(reader)
    writer.close()
    return found


async def pour(port: int, beginning: bytes, more: bytes, at_most: int) -> tuple[int, bytes]:
    """(bytes that were taken, what came back): sends `more` over and over, until the server ends it or so much."""
    reader, writer = await connected(port)
    writer.write(beginning)
    listening = asyncio.create_task(said(reader))
    sent = 0
    try:
        while sent < at_most and not writer.is_closing():
            writer.write(more)
            await writer.drain()
            sent += len(more)
    except ConnectionError:
        pass
    found = await listening
    writer.close()
    return sent, found


def statuses(text: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", text)]


# Body


async def test_a_body_that_drips_is_given_up_and_its_connection_ends(port: int) -> None:
    reader, writer = await connected(port)
    writer.write(POST + b"Content-Length: 100\r\n\r\n")
    listening = asyncio.create_task(said(reader))
    # A byte at a time, at a pace that would take ten times as long as a body may.
    while not (await asyncio.wait({listening}, timeout=phases.BODY_DEADLINE_S / 10))[0]:
        writer.write(b"x")
    text = await listening
    writer.close()
    assert statuses(text) == [408]
    assert b"connection: close\r\n" in text


async def test_a_body_that_comes_in_time_is_read(port: int) -> None:
    reader, writer = await connected(port)
    for packet in (POST, b"Content-Length: 10\r\n\r\n", b"12345", b"67890"):
        writer.write(packet)
        await writer.drain()
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n10"), 60)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_body_of_many_packets_is_read_as_it_comes(port: int) -> None:
    """More of it than is read before anybody asks, so that it must be asked for again and again."""
    reader, writer = await connected(port)
    for size in (3_000_000, 100_000, 3_000_000, 64_000, 200_000):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % size)
        for at in range(0, size, 1_000_000):
            writer.write(b"x" * min(size - at, 1_000_000))
            await writer.drain()
        text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n%d" % size), 60)
        assert statuses(text) == [200]
    writer.close()


async def test_a_body_and_the_beginning_of_the_next_head_come_in_one_packet(port: int) -> None:
    body = b"x" * 200_000
    reader, writer = await connected(port)
    writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET[:20])
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n200000"), 60)
    writer.write(GET[20:])
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\nsmall"), 60)
    writer.close()


async def test_bytes_count_as_they_come_and_not_as_they_are_declared(served: tuple[App, int]) -> None:
    app, port = served
    _, writer = await connected(port)
    writer.write(POST + b"Content-Length: 390000\r\n\r\nx")
    await wait_until_async(lambda: app.served == ["/echo"], "the request")
    assert app.arrivals.ledger.process.held_bytes <= 1
    assert statuses(await exchanged(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) == [200]
    writer.close()


async def test_what_an_address_may_hold_is_bounded(served: tuple[App, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the whole, while nobody has asked for the body."""
    app, port = served

    read = length_of

    async def waiting(receive: Any) -> tuple[int, bytes]:
        await wait_until_async(lambda: app.arrivals.ledger.refused > 0, "a refusal")
        return await read(receive)

    monkeypatch.setattr(sys.modules[__name__], "length_of", waiting)
    body = POST + b"Content-Length: 90000\r\n\r\n" + b"x" * 89_000
    found = await asyncio.gather(exchanged(port, body), exchanged(port, body))
    assert sorted(status for text in found for status in statuses(text)) == [408, 503]


# Trailers


@pytest.mark.parametrize(
    ("ending", "more"),
    [
        (b"0\r\n", b"X-Trailer: " + b"y" * 1000 + b"\r\n"),
        (b"0\r\n", b"z" * 1000),
        (b"0\r\nX-Trailer: ", b"z" * 1000),
        (b"1;", b"extension=" + b"z" * 1000),
    ],
    ids=["many", "a name without end", "a value without end", "a chunk's extension"],
)
async def test_what_comes_with_a_body_and_is_none_has_a_bound(port: int, ending: bytes, more: bytes) -> None:
    sent, text = await pour(port, CHUNKED + b"1\r\nx\r\n" + ending, more, 100_000_000)
    # What the kernels of both sides hold comes on top of the bound, and what is dropped while the connection ends.
    assert sent < 50_000_000
    assert statuses(text) in ([400], [])


@pytest.mark.parametrize(
    "ending",
    [b"0\r\n" + b"x: %s\r\n" % (b"y" * 997) * 120 + b"\r\n", b"1;x=" + b"y" * 120_000 + b"\r\nx\r\n0\r\n\r\n"],
    ids=["trailers", "an extension"],
)
async def test_the_bound_holds_for_what_comes_at_once(port: int, ending: bytes) -> None:
    assert statuses(await exchanged(port, CHUNKED + b"2\r\nxx\r\n" + ending)) == [400]


async def test_trailers_are_no_headers(served: tuple[App, int]) -> None:
    app, port = served
    text = await exchanged(
        port, CHUNKED + b"2\r\nxx\r\n0\r\nHost: evil.example\r\nAuthorization: Bearer x\r\n\r\n" + b"junk\r\n\r\n"
    )
    assert statuses(text) == [200, 400]
    assert app.headers == [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]


# Pipeline


@pytest.mark.parametrize("count", [5, 6, 9, 200])
async def test_four_requests_may_wait_and_the_rest_is_read_later(served: tuple[App, int], count: int) -> None:
    app, port = served
    reader, writer = await connected(port)
    writer.write(GET * count + POST + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n")
    text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n8"), 60)
    assert statuses(text) == [200] * (count + 1)
    assert b"connection: close" not in text
    assert len(app.served) == count + 1
    writer.close()


async def test_what_waits_is_answered_in_order_and_the_connection_goes_on(port: int) -> None:
    reader, writer = await connected(port)
    for _ in range(3):
        writer.write(GET + POST + b"Content-Length: 3\r\n\r\nabc" + GET)
        text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n3"), 60)
        text += await asyncio.wait_for(reader.readuntil(b"small"), 60)
        assert statuses(text) == [200] * 3
    writer.close()


async def test_a_pipelined_body_has_its_time_from_when_it_is_its_turn(served: tuple[App, int]) -> None:
    """While it waits nothing is read of it, so that it cannot be late."""
    app, port = served
    reader, writer = await connected(port)
    writer.write(POST + b"Content-Length: 2\r\n\r\n1")
    await wait_until_async(lambda: len(app.served) == 1, "the first")
    writer.write(b"2" + POST + b"Content-Length: 2\r\n\r\n1")
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2"), 60)
    writer.write(b"2")
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2"), 60)
    writer.close()


# Reply


@pytest.mark.parametrize("asked", [GET.replace(b"small", path) for path in (b"large", b"stream")])
@pytest.mark.parametrize("count", [1, 5])
async def test_who_takes_nothing_of_a_reply_is_cut_off(served: tuple[App, int], asked: bytes, count: int) -> None:
    app, port = served
    reader, writer = await connected(port)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(asked * count)
    await wait_until_async(lambda: app.arrivals.readers_cut == 1, "the cut")
    await wait_until_async(lambda: app.arrivals.ledger.process.is_idle, "its end")
    writer.transport.abort()


@pytest.mark.parametrize("ends", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
async def test_who_takes_a_reply_slowly_gets_it_all(port: int, ends: bytes) -> None:
    """It takes longer than a reader may take nothing, and never takes nothing for so long."""
    reader, writer = await connected(port)
    writer.write(GET.replace(b"small", b"large").replace(b"\r\n\r\n", b"\r\n" + ends + b"\r\n"))
    found, began = 0, asyncio.get_running_loop().time()
    for step in range(1, 9):
        found += len(await asyncio.wait_for(reader.readexactly(400_000), 60))
        await wait_until_async(lambda due=began + step * 0.2: asyncio.get_running_loop().time() > due, "its next step")
    while found < len(LARGE) and (part := await asyncio.wait_for(reader.read(1_000_000), 60)):
        found += len(part)
    assert found >= len(LARGE)
    writer.close()


async def test_a_reply_that_waits_for_its_reader_is_counted(served: tuple[App, int]) -> None:
    app, port = served
    reader, writer = await connected(port)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(GET.replace(b"small", b"large"))
    process = app.arrivals.ledger.process
    await wait_until_async(lambda: process.reply_bytes > process.bounds.byte_count, "the count")
    assert process.free_bytes == process.bounds.byte_count - process.bounds.reply_bytes, "bodies have their part"
    writer.transport.abort()
    await wait_until_async(lambda: process.is_idle, "the end of the count")


# Lingering


async def test_after_a_reply_to_half_a_body_the_connection_ends_whatever_still_comes(port: int) -> None:
    reader, writer = await connected(port)
    writer.write(POST.replace(b"echo", b"refuse") + b"Content-Length: 1000000\r\n\r\nx")
    text = await said(reader)
    assert statuses(text) == [401]
    assert b"connection: close\r\n" in text

    async def is_refused() -> bool:
        try:
            writer.write(b"x")
            await writer.drain()
        except ConnectionError:
            return True
        return writer.is_closing()

    await wait_until_async(is_refused, "the end of what it drips")


async def test_the_sender_of_a_body_that_nobody_wants_gets_to_read_why(port: int) -> None:
    """It sends all of it before it reads: a reset would take the reply from it."""
    body = b"x" * 3_000_000
    text = await exchanged(port, POST.replace(b"echo", b"refuse") + b"Content-Length: 3000000\r\n\r\n", body)
    assert statuses(text) == [401]


async def test_what_still_comes_after_the_last_reply_has_a_bound(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "MAX_LINGER_BYTES", 1_000_000)
    monkeypatch.setattr(phases, "LINGER_S", 60.0)
    refused = POST.replace(b"echo", b"refuse") + b"Content-Length: 1000000000\r\n\r\n"
    sent, text = await pour(port, refused, b"x" * 100_000, 100_000_000)
    assert sent < 50_000_000
    assert statuses(text) in ([401], [])


# Connections


async def test_an_address_has_so_many_connections_until_it_shows_a_key(served: tuple[App, int]) -> None:
    app, port = served
    held = [await connected(port) for _ in range(8)]
    for _, writer in held:
        writer.write(GET[:3])
    await wait_until_async(lambda: app.arrivals.ledger.process.places[Resource.CONNECTION] == 8, "eight")
    share = app.arrivals.ledger.address("127.0.0.1")
    holds = share.holds[Resource.CONNECTION]
    await wait_until_async(lambda: not any(hold.worth() for hold in holds), "none to be idle")
    text = await exchanged(port)
    assert statuses(text) == [503]
    assert b"retry-after:" in text
    assert b"This address has as many connections open as it may have (8)." in text
    reader, writer = held[0]
    writer.write(GET.replace(b"small", b"known")[3:])
    await asyncio.wait_for(reader.readuntil(b"small"), 60)
    held.append(await connected(port))
    held[-1][1].write(GET)
    await asyncio.wait_for(held[-1][0].readuntil(b"small"), 60)
    for _, writer in held:
        writer.close()


async def test_idle_connections_of_an_address_give_way_to_its_own_newcomers(served: tuple[App, int]) -> None:
    """Behind one address there may be many: who holds it up with connections that say nothing locks nobody out."""
    _, port = served
    held = [await connected(port) for _ in range(8)]
    for reader, writer in held:
        writer.write(GET)
        await asyncio.wait_for(reader.readuntil(b"small"), 60)
    text = await exchanged(port, GET.replace(b"small", b"known").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert statuses(text) == [200]
    assert await asyncio.wait_for(held[0][0].read(), 60) == b"", "the one that is idle longest was closed"
    held[1][1].write(GET)
    await asyncio.wait_for(held[1][0].readuntil(b"small"), 60)
    for _, writer in held:
        writer.close()
