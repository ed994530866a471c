"""Requests that one request makes of this server, for its own caller: each passes the gate as if it had come by itself.

So a tool may do what its caller's key may do, and nothing else, and counts in every share, limit and figure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from towerlog.asgi.replies import Message, Receive, Send
from towerlog.asgi.routes import PageVisit
from towerlog.dialects.base import JSON

_KEPT = frozenset({b"authorization", b"x-api-key", b"cookie", b"host", b"origin", b"traceparent", b"user-agent"})
"""Headers that say who asks, and of whom. Those of the body, of caches and of repeats are of the outer request."""


class InnerStream(Protocol):
    """A stream that was opened."""

    async def run(self) -> None:
        """Sends until it ends, or its reader has left."""
        ...


Serve = Callable[[Message, Receive, Send], Awaitable[InnerStream | None]]
"""Answers a request; of a stream it is its caller's to run it."""


class InnerReply(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it is no refusal."""
        return self.status < 400


def path_of(pattern: str, parameters: Mapping[str, str]) -> str:
    """A path with its parameters in place."""
    for name, value in parameters.items():
        pattern = pattern.replace(f"{{{name}}}", quote(value, safe=""))
    return pattern


async def ask(
    serve: Serve, visit: PageVisit, method: str, path: str, query: Mapping[str, str], body: Any = None
) -> InnerReply:
    """One request and its whole reply. `body` is sent as JSON; None: none is."""
    conversation = _Conversation()
    text = b"" if body is None else msgspec.json.encode(body)
    stream = await serve(_scope(visit, method, path, query, text), conversation.receive, conversation.send)
    assert stream is None, "a stream is looked at, not asked"
    return InnerReply(conversation.status, bytes(conversation.body))


async def wait_for_news(serve: Serve, visit: PageVisit, path: str, query: Mapping[str, str], seconds: float) -> None:
    """Until a stream has sent its first event, or its time is over; what it says is not kept."""
    conversation = _Conversation(keeps=False)
    stream = await serve(_scope(visit, "GET", path, query, b""), conversation.receive, conversation.send)
    if stream is None:
        return
    running = asyncio.ensure_future(stream.run())
    heard = asyncio.ensure_future(conversation.heard.wait())
    try:
        await asyncio.wait((running, heard), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        heard.cancel()
        conversation.left.set()
        # It ends by itself once its reader has left, and gives its place back before this request is answered.
        await running


def _scope(visit: PageVisit, method: str, path: str, query: Mapping[str, str], body: bytes) -> Message:
    headers = [(name, value) for name, value in visit.headers.items() if name in _KEPT]
    if body:
        headers += [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(body))]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("ascii"),
        "query_string": urlencode(query).encode("ascii"),
        "headers": headers,
        "client": (visit.address, 0),
        "extensions": {"towerlog.body": lambda: body},
    }


class _Conversation:
    """The other side of an ASGI conversation: collects a reply, or hears the first event of a stream."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.status = 500
        self.body = bytearray()
        self.heard = asyncio.Event()
        self.left = asyncio.Event()
        self._keeps = keeps

    async def receive(self) -> Message:
        """Nothing more comes; its reader leaves when `left` is set."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Takes a part of the reply."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        body: bytes = message.get("body", b"")
        if self._keeps:
            self.body += body
        elif b"data: " in body:
            self.heard.set()
