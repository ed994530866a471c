"""A wish to go on in another protocol that nobody here speaks is passed over: the message is one of HTTP/1.1."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.asgi.http1.hand import Taking, get, linked
from tests.asgi.http1.test_heads import HOST
from tests.support.tables import table
from tests.support.wait import wait_until_async

INNER = b"DELETE /inner HTTP/1.1\r\n" + HOST + b"\r\n"
WISHES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "TLS": b"Upgrade: TLS/1.2\r\nConnection: upgrade\r\n",
    "anything": b"Connection: keep-alive, Upgrade\r\nUPGRADE: foo\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
}


def sized(wish: bytes, body: bytes, method: bytes = b"POST") -> bytes:
    """A request whose body has a length."""
    return method + b" /a HTTP/1.1\r\n" + HOST + wish + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(wish: bytes, body: bytes) -> bytes:
    """The same in chunks."""
    head = b"POST /a HTTP/1.1\r\n" + HOST + wish + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


@table("step", [1, 7, 100, 10_000])
@table("form", [sized, chunked])
@table("wish", WISHES)
async def test_the_body_is_the_requests_and_nothing_in_it_is_another(wish: str, form: Any, step: int) -> None:
    app = Taking()
    link, transport = linked(app)
    sent = form(WISHES[wish], INNER) + form(WISHES[wish], b"{}") + get("/after")
    for at in range(0, len(sent), step):
        link.data_received(sent[at : at + step])
        await asyncio.sleep(0)
    await wait_until_async(lambda: len(transport.statuses) == 3, "the replies", deadline_s=10)
    assert app.done == [("/a", INNER), ("/a", b"{}"), ("/after", b"")]
    assert not any(b"upgrade" in scope["given"] for scope in app.scopes)
    assert not transport.has_ended
    link.connection_lost(None)


async def test_a_websocket_has_no_body_before_it() -> None:
    """What looks like the beginning of one, and has a body, is a request like others."""
    app = Taking()
    link, transport = linked(app)
    link.data_received(sized(WISHES["websocket"], INNER, b"GET"))
    await wait_until_async(lambda: len(transport.statuses) == 1, "the reply")
    assert app.done == [("/a", INNER)]
    link.connection_lost(None)
