"""The ASGI vocabulary: names for its messages, and how one whole reply is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from towerlog.dialects.base import JSON, Reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

_JSON_TYPE = (b"content-type", JSON.encode())
NO_EXTENSIONS: dict[str, Any] = {}
_BODILESS = frozenset({204, 304})


def head_of(reply: Reply, trace_id: str, extra: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of a whole reply. Without `content-length` where HTTP forbids it."""
    head = [(b"x-trace-id", trace_id.encode("ascii")), *extra, *reply.headers]
    if reply.status not in _BODILESS:
        typed = _JSON_TYPE if reply.content_type == JSON else (b"content-type", reply.content_type.encode("latin-1"))
        head += (typed, (b"content-length", b"%d" % len(reply.body)))
    return head


async def send_reply(scope: Message, send: Send, reply: Reply, trace_id: str, extra: Headers = ()) -> None:
    """Sends a whole reply, in one write where our server offers that. A HEAD's body is dropped by the server."""
    head = head_of(reply, trace_id, extra)
    at_once = scope.get("extensions", NO_EXTENSIONS).get("towerlog.reply")
    if at_once is not None and at_once(reply.status, head, reply.body):
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": head})
    await send({"type": "http.response.body", "body": reply.body})
