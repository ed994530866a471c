"""Heads: what two servers on one way could understand differently is refused, and its connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from towerlog.asgi.connection import Connection
from towerlog.asgi.http1 import heads
from towerlog.asgi.http1.fitness import _ProbeTransport

HOST = b"Host: localhost\r\n"
CHUNKS = b"\r\n0\r\n\r\n"
BAD = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
    "the same Host twice": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "two keys": b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n",
    "two keys of another kind": b"GET / HTTP/1.1\r\n" + HOST + b"X-API-Key: a\r\nX-Api-Key: b\r\n\r\n",
    "absolute form of another host": b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form with another port": b"GET http://localhost:1/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form of another scheme": b"GET ftp://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment behind a query": b"GET /a?b#c HTTP/1.1\r\n" + HOST + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS,
    "chunked twice": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNKS,
    "chunked in two headers": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" * 2 + CHUNKS,
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "length, chunks": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "bytes beyond ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
    "too many cookies": b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: " + b"; " * 2000 + b"\r\n\r\n",
    "too many tags": b"GET / HTTP/1.1\r\n" + HOST + (b"If-None-Match: " + b"," * 600 + b"\r\n") * 4 + b"\r\n",
    "too large": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
}  # fmt: skip
GOOD = {
    "plain": (b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n", "/a"),
    "escaped": (b"GET /%C3%A4 HTTP/1.1\r\n" + HOST + b"\r\n", "/ä"),
    "absolute form": (b"GET http://LOCALHOST/a?b=c HTTP/1.1\r\n" + HOST + b"\r\n", "/a"),
    "absolute form of nothing": (b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n", "/"),
    "a header twice": (b"GET / HTTP/1.1\r\n" + HOST + b"Accept: a\r\nAccept: b\r\n\r\n", "/"),
    "chunks": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n" + CHUNKS, "/"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", "/"),
    "many cookies": (b"GET /a HTTP/1.1\r\n" + HOST + b"Cookie: " + b"a=b; " * 900 + b"\r\n\r\n", "/a"),
    "an upgrade": (b"GET /a HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "/a"),
}  # fmt: skip


class App:
    """Takes whatever comes."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def take(self, scope: Any, body: bytes, respond: Any) -> None:
        self.seen.append(scope)
        respond(204, [], b"")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("everything came whole")


class Wire(_ProbeTransport):
    """A transport that goes nowhere and can be ended from our side."""

    def write_eof(self) -> None:
        self.ended = True


@pytest.fixture
async def link() -> Iterator[tuple[App, Connection, Wire]]:
    """A connection that nothing has come on."""
    app, wire = App(), Wire()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
    made = Connection(config=config, server_state=ServerState(), app_state={})
    made.connection_made(wire)
    yield app, made, wire
    made.connection_lost(None)


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_head_is_refused_and_nothing_after_it_is_looked_at(
    link: tuple[App, Connection, Wire], name: str
) -> None:
    app, made, wire = link
    made.data_received(BAD[name])
    made.data_received(b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n")
    assert app.seen == []
    assert wire.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in wire.written
    assert wire.written.count(b"HTTP/1.1") == 1 + (b"HTTP/1." in wire.written.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_head_is_served_and_the_next_one_too(link: tuple[App, Connection, Wire], name: str) -> None:
    app, made, wire = link
    head, path = GOOD[name]
    made.data_received(head)
    made.data_received(b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n")
    seen = [scope["path"] for scope in app.seen]
    assert seen == ([path] if name == "HTTP/1.0" else [path, "/after"]), wire.written


async def test_a_head_may_come_byte_by_byte(link: tuple[App, Connection, Wire]) -> None:
    app, made, _ = link
    for byte in GOOD["absolute form"][0]:
        made.data_received(bytes([byte]))
        await asyncio.sleep(0)  # in turns of the loop, as packets come
    assert [scope["query_string"] for scope in app.seen] == [b"b=c"]


def test_a_single_header_is_known_by_its_lower_case_name() -> None:
    assert {name.lower() for name in heads.SINGLE} == heads.SINGLE
