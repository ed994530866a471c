"""Workers and those who ask for runs, as the wire has them: owns keep-alive connections that wait for their replies.

These scenarios have to read a reply before they can send what follows, so their load is Python's and no compiled
tool's.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import uvloop

from bench.corpus import compact, post
from bench.pace import reply_length
from bench.servers import Server
from bench.wire import HOST, Refused

AGENT = "bench"
LEASE_SECONDS = 300
REPLY_DEADLINE_SECONDS = 60.0
T = TypeVar("T")


class Connection(asyncio.Protocol):
    """One keep-alive connection; its owner has at most one request under way."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.received = bytearray()
        self.transport: asyncio.Transport | None = None
        self.reply: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are transports by what they do, not by their class.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        length = reply_length(self.received)
        if length is not None and len(self.received) >= length and self.reply is not None:
            status = int(self.received[9:12])
            body = bytes(self.received[self.received.find(b"\r\n\r\n") + 4 : length])
            del self.received[:length]
            if not self.reply.done():
                self.reply.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(Refused("the server closed a connection under load"))

    async def post(self, path: str, value: Any) -> Any:
        """The reply's JSON, None for one without a body. Raises Refused for a status that is no success."""
        assert self.transport is not None
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(post(path, compact(value), self.key))
        status, body = await asyncio.wait_for(self.reply, REPLY_DEADLINE_SECONDS)
        if not 200 <= status < 300:
            raise Refused(f"POST {path} answered {status}: {body[:300]!r}")
        return json.loads(body) if body else None


@asynccontextmanager
async def connections(server: Server, count: int) -> AsyncIterator[list[Connection]]:
    """So many connections, closed at the end."""
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: Connection(server.key), HOST, server.port)
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            if connection.transport is not None:
                connection.transport.close()


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Carries out a scenario's load on the loop that costs least."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Worker:
    """What a worker of one agent sends, by a name of its own."""

    def __init__(self, connection: Connection, number: int, agent: str = AGENT) -> None:
        self.connection = connection
        self.agent = agent
        self.worker_id = f"bench-worker-{number}"

    async def claim(self, wait_seconds: int) -> Any:
        """A run under its lease; None when there was none."""
        asked = {"worker_id": self.worker_id, "agents": [self.agent], "lease_seconds": LEASE_SECONDS}
        return await self.connection.post("/api/agents/runs/claim", {**asked, "wait_seconds": wait_seconds})

    async def report(self, claimed: Any, first_seq: int, *events: tuple[str, Any]) -> None:
        """Events of a claimed run, the first of them the client's `first_seq`. Raises Refused unless all are stored."""
        run_id, epoch = claimed["run"]["id"], claimed["run"]["lease_epoch"]
        told = [
            {"event_id": f"{run_id}-{seq}", "client_seq": seq, "type": kind, "data": data}
            for seq, (kind, data) in enumerate(events, first_seq)
        ]
        body = {"worker_id": self.worker_id, "lease_epoch": epoch, "client_id": f"{self.worker_id}:{epoch}"}
        reply = await self.connection.post(f"/api/v1/runs/{run_id}:report", {**body, "events": told})
        if any(result["status"] != "stored" for result in reply["results"]):
            raise Refused(f"not all of a report was stored: {reply['results']}")


async def create(connection: Connection, thread: str) -> str:
    """A queued run in a thread of its own; its id."""
    made = await connection.post(f"/v1/threads/{thread}/runs", {"agent": AGENT, "input": "measure"})
    return str(made["run_id"])
