"""The ASGI vocabulary: names for its messages, and how one whole reply is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from towerlog.dialects.base import Reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

NO_EXTENSIONS: dict[str, Any] = {}


async def send_reply(scope: Message, send: Send, reply: Reply, head: list[tuple[bytes, bytes]]) -> None:
    """Sends a whole reply, in one write where our server offers that. A HEAD's body is dropped by the server."""
    at_once = scope.get("extensions", NO_EXTENSIONS).get("towerlog.reply")
    if at_once is not None and at_once(reply.status, head, reply.body):
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": head})
    await send({"type": "http.response.body", "body": reply.body})
