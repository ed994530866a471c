"""A whole reply: its headers are complete, and none that HTTP forbids."""

from __future__ import annotations

from typing import Any

from towerlog.asgi.gate import head_of
from towerlog.asgi.replies import Message, send_reply
from towerlog.dialects.base import Reply

TRACE = "a" * 32


async def sent(reply: Reply) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await send_reply({}, send, reply, head_of(reply, TRACE, ((b"x-extra", b"1"),)))
    return messages


async def test_a_reply_has_type_length_trace_and_its_own_headers() -> None:
    start, body = await sent(Reply(200, b"{}", headers=((b"link", b"next"),)))
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": b"2",
        b"x-trace-id": TRACE.encode(),
        b"x-extra": b"1",
        b"link": b"next",
    }
    assert body == {"type": "http.response.body", "body": b"{}"}


async def test_nothing_has_no_length() -> None:
    start, _ = await sent(Reply(204, b""))
    assert {b"content-length", b"content-type"}.isdisjoint(dict(start["headers"]))


async def test_another_type_is_said() -> None:
    start, _ = await sent(Reply(200, b"x", "text/plain; charset=utf-8"))
    assert dict(start["headers"])[b"content-type"] == b"text/plain; charset=utf-8"


async def test_a_server_that_offers_it_gets_the_reply_at_once() -> None:
    sent: list[Message] = []
    whole: list[tuple[int, list[tuple[bytes, bytes]], bytes]] = []

    async def send(message: Message) -> None:
        sent.append(message)

    def take(status: int, head: list[tuple[bytes, bytes]], body: bytes) -> bool:
        whole.append((status, head, body))
        return status != 503

    scope = {"extensions": {"towerlog.reply": take}}
    await send_reply(scope, send, Reply(201, b"{}"), head_of(Reply(201, b"{}"), TRACE, ()))
    assert [(status, body) for status, _, body in whole] == [(201, b"{}")]
    assert (b"x-trace-id", TRACE.encode()) in whole[0][1]
    assert sent == []
    await send_reply(scope, send, Reply(503, b"{}"), head_of(Reply(503, b"{}"), TRACE, ()))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
