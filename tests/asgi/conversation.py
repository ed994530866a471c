"""One ASGI conversation at a time, without a socket: a request in, a reply (or a stream of bytes) out.

Owns also the hand clock that the transport's tests set: nothing here waits for time to pass.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.wait import wait_until_async

ADMIN_KEY = "adm_" + "0123456789abcdefghijklmnopqrstuvwxyzABCD"
START_MS = 1_790_000_000_000
HERE = ("127.0.0.1", 50_000)


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def steady_ms(self) -> int:
        return self.ms

    def stood_still_ms(self) -> int:
        return 0

    def passed_ms(self) -> int:
        return self.ms

    def move(self, seconds: float) -> None:
        """Forward by so many seconds."""
        self.ms += int(seconds * 1000)


@dataclass
class Answer:
    """A whole reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(
    method: str, target: str, headers: Mapping[str, str | bytes], client: tuple[str, int] | None
) -> dict[str, Any]:
    """The scope that a server would make."""
    path, _, query = target.partition("?")
    encoded = [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in headers.items()
    ]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": encoded,
        "client": client,
    }


async def ask(
    app: Any,
    method: str,
    target: str,
    *,
    key: str | None = ADMIN_KEY,
    headers: Mapping[str, str | bytes] | None = None,
    body: bytes | Sequence[bytes] | None = None,
    value: Any = None,
    client: tuple[str, int] | None = HERE,
) -> Answer:
    """Sends one request: `value` as JSON, or `body` as it is (a sequence: in so many messages, of unknown length)."""
    given = {} if key is None else {"Authorization": f"Bearer {key}"}
    if value is not None:
        body = json.dumps(value).encode()
        given["Content-Type"] = "application/json"
    if isinstance(body, bytes):
        given["Content-Length"] = str(len(body))
    elif body is not None:
        given["Transfer-Encoding"] = "chunked"
    scope = scope_of(method, target, {**given, **(headers or {})}, client)
    parts = [body] if isinstance(body, bytes) else list(body or [b""])
    listening = Listening(app, scope, parts)
    await listening.task
    return listening.answer


@dataclass
class Listening:
    """A request whose reply is looked at while it comes."""

    app: Any
    scope: dict[str, Any]
    parts: list[bytes] = field(default_factory=lambda: [b""])
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    is_stuck: bool = False

    def __post_init__(self) -> None:
        self._left = asyncio.Event()
        self._freed = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self.app(self.scope, self._receive, self._send))

    @property
    def answer(self) -> Answer:
        return Answer(self.status, self.headers, self.body)

    def leave(self) -> None:
        """The client goes away."""
        self._left.set()

    def free(self, *, stays_stuck: bool = False) -> None:
        """A client that was stuck takes what it was sent, and no more where it `stays_stuck`."""
        self.is_stuck = stays_stuck
        self._freed.set()
        self._freed = asyncio.Event()

    async def until(self, text: bytes, count: int = 1) -> None:
        """Waits until this has come so many times."""
        await wait_until_async(lambda: self.body.count(text) >= count, f"{text!r} in {self.body!r}")

    async def _receive(self) -> dict[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if self.is_stuck:
            await self._freed.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.is_whole = not message.get("more_body", False)


def listen(app: Any, target: str, key: str = ADMIN_KEY, **headers: str) -> Listening:
    """Opens a stream."""
    return Listening(app, scope_of("GET", target, {"Authorization": f"Bearer {key}", **headers}, HERE))
