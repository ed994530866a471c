"""A real HTTP server with one lane, which misbehaves on order: the network and the other side of a worker's tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

Json = dict[str, Any]
Answer = tuple[int, Json] | None
"""Status and body; None: the request is read, and the connection closed."""


class LaneServer:
    """Keeps each event once, by its id. `misbehave` may answer a report in its place, before or after it is kept."""

    def __init__(self) -> None:
        self.reports: list[Json] = []
        self.kept: dict[str, Json] = {}
        self.commands: list[Json] = []
        self.released: list[Json] = []
        self.before: Callable[[Json], Answer | bool] = lambda report: True
        self.after: Callable[[Json], Answer | bool] = lambda report: True
        self.silent = False
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.kept.values()]

    def command(self, command: Json) -> None:
        """From now on in every reply, until an event acknowledges it."""
        self.commands.append(command)
        self._woken.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except asyncio.CancelledError:
            # Only `running` cancels it, at its end; a cancelled handler would be an error to asyncio's own callback.
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = int(head.lower().partition("content-length:")[2].split("\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length) or b"{}")
                answer = await self._answer(head.split()[1], body)
                if answer is None:
                    break
                text = json.dumps(answer[1]).encode()
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (answer[0], len(text), text))
                await writer.drain()

    async def _answer(self, path: str, body: Json) -> Answer:
        if path.endswith("/release"):
            self.released.append(body)
            return 200, {"ok": True}
        self.reports.append(body)
        if self.silent:
            await asyncio.Event().wait()
        if not isinstance(early := self.before(body), bool):
            return early
        results = [self._keep(event) for event in body["events"]]
        await self._hold(body["wait_seconds"])
        if not isinstance(late := self.after(body), bool):
            return late
        return 200, {"results": results, "commands": self.commands, "run": {}}

    def _keep(self, event: Json) -> Json:
        known = event["event_id"] in self.kept
        self.kept.setdefault(event["event_id"], event)
        if event["type"] == "command.acknowledged":
            done = event["data"]["command_id"]
            self.commands = [command for command in self.commands if command["command_id"] != done]
        return {"event_id": event["event_id"], "status": "duplicate" if known else "stored"}

    async def _hold(self, seconds: int) -> None:
        if seconds and not self.commands:
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[LaneServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            while self._tasks:
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
