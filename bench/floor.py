"""The bare floor: what a durable, ordered ingest costs on this stack before there is any product in it.

Owns the yardstick of `make bench`. Raw ASGI on uvicorn; decoded events go on a queue to one writer thread;
SQLite (apsw) in WAL with `synchronous=FULL`, group commit; the reply is sent after the commit and never before.
It keeps one row per event, a dense seq per run and one row per run, and nothing else: no key is checked, no
wire is translated, nothing is folded or hashed. To keep ratios comparable over time it must not be given more
to do, nor less.

    python bench/floor.py DATA_DIR [PORT]

POST /v1/events takes one event, POST /v1/batch takes `{"events": [...]}`.
"""

import asyncio
import collections
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import apsw
import msgspec
import uvicorn

DEFAULT_PORT = 9100
MAX_EVENTS_PER_COMMIT = 1000
PRAGMAS = (("journal_mode", "wal"), ("synchronous", "full"), ("cache_size", -65536), ("wal_autocheckpoint", 4000))
SCHEMA = """
create table if not exists run(
  id integer primary key, key text unique, status text, seq integer not null default 0,
  tokens integer default 0, cost real default 0, updated integer);
create table if not exists event(
  id integer primary key, run_id integer not null, seq integer not null, ts integer not null, type text, body blob);
create unique index if not exists event_run_seq on event(run_id, seq);
"""
INSERT_RUN = "insert into run(id,key,status) values(?,?,?)"
INSERT_EVENT = "insert into event(run_id,seq,ts,type,body) values(?,?,?,?,?)"
UPDATE_RUN = "update run set seq=?,tokens=tokens+?,cost=cost+?,status=coalesce(?,status),updated=? where id=?"


class Event(msgspec.Struct):
    """One event as it is on the wire; `data` stays the bytes that came."""

    type: str
    run_id: str
    agent_id: str
    ts: str
    data: msgspec.Raw
    status: str | None = None
    tokens: int | None = None
    cost_usd: float | None = None


class Batch(msgspec.Struct):
    """Many events in one request."""

    events: list[Event]


decode_one = msgspec.json.Decoder(Event).decode
decode_many = msgspec.json.Decoder(Batch).decode

Item = tuple[list[Event], "asyncio.Future[None]"]
Row = tuple[Any, ...]


def take(queue: collections.deque[Item]) -> list[Item]:
    """What waits now, up to the bound of one commit."""
    items: list[Item] = []
    count = 0
    while queue and count < MAX_EVENTS_PER_COMMIT:
        items.append(queue.popleft())
        count += len(items[-1][0])
    return items


def plan(items: list[Item], runs: dict[str, list[int]]) -> tuple[list[Row], list[list[Any]], list[Row]]:
    """Rows to insert, run rows to update and new run rows for one commit; `runs`: number and last seq of each."""
    rows: list[Row] = []
    updates: dict[int, list[Any]] = {}
    new: list[Row] = []
    now = int(time.time() * 1e6)
    for events, _ in items:
        for e in events:
            run = runs.get(e.run_id)
            if run is None:
                run = runs[e.run_id] = [len(runs) + 1, 0]
                new.append((run[0], e.run_id, "running"))
            run[1] += 1
            rows.append((run[0], run[1], now, e.type, bytes(e.data)))
            u = updates.setdefault(run[0], [0, 0, 0.0, None, now, run[0]])
            u[0], u[1], u[2], u[3] = run[1], u[1] + (e.tokens or 0), u[2] + (e.cost_usd or 0.0), e.status or u[3]
    return rows, list(updates.values()), new


class Writes(Protocol):
    """What commits events."""

    def submit(self, events: list[Event]) -> "asyncio.Future[None]":
        """A future that is done when the events are committed."""
        ...


class Writer(threading.Thread):
    """The one thread that writes: takes what waits, commits it once, then answers those who wait."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.queue: collections.deque[Item] = collections.deque()
        self.wake = threading.Event()
        self.loop = loop
        self.runs: dict[str, list[int]] = {}
        self.db = apsw.Connection(path)
        for name, value in PRAGMAS:
            self.db.pragma(name, value)
        self.db.execute(SCHEMA)

    def submit(self, events: list[Event]) -> "asyncio.Future[None]":
        """A future that is done when the events are committed."""
        future = self.loop.create_future()
        self.queue.append((events, future))
        self.wake.set()
        return future

    def run(self) -> None:
        """Commit group after group until the process ends."""
        cursor = self.db.cursor()
        while True:
            self.wake.wait()
            self.wake.clear()
            while self.queue:
                items = take(self.queue)
                rows, updates, new = plan(items, self.runs)
                cursor.execute("begin immediate")
                if new:
                    cursor.executemany(INSERT_RUN, new)
                cursor.executemany(INSERT_EVENT, rows)
                cursor.executemany(UPDATE_RUN, updates)
                cursor.execute("commit")
                self.loop.call_soon_threadsafe(answer, items)


def answer(items: list[Item]) -> None:
    """Tell every waiter of one commit that its events are durable."""
    for _, future in items:
        if not future.done():
            future.set_result(None)


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Floor:
    """The ASGI application: no router, no request object, two paths. Its writer is started with the server."""

    def __init__(self, start: Callable[[], Awaitable[Writes]]) -> None:
        self.start = start
        self.writer: Writes | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        body = await read_body(receive)
        events = [decode_one(body)] if scope["path"] == "/v1/events" else decode_many(body).events
        assert self.writer is not None
        await self.writer.submit(events)
        reply = b'{"ok":true,"n":%d}' % len(events)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    async def live(self, receive: Receive, send: Send) -> None:
        """Start the writer with the server."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.writer = await self.start()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def read_body(receive: Receive) -> bytes:
    """The whole request body."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def main() -> None:
    """Serve on loopback until told to stop."""
    data_dir = sys.argv[1]
    os.makedirs(data_dir, exist_ok=True)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_PORT

    async def start() -> Writes:
        writer = Writer(os.path.join(data_dir, "floor.db"), asyncio.get_running_loop())
        writer.start()
        return writer

    serve(Floor(start), port)


def serve(app: Floor, port: int) -> None:
    """Until told to stop."""
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
