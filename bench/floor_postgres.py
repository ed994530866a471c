"""The bare floor on PostgreSQL: what a durable, ordered ingest costs on uvicorn and asyncpg without any product.

The yardstick of the scenario `postgres`, as `floor.py` is of the others: decoded events wait for one writer, which
commits what waits in one transaction (three statements and the commit) and answers after it. One row an event, a dense
seq per run, one row per run, and nothing else.

    python bench/floor_postgres.py DATABASE_URL PORT
"""

import asyncio
import collections
import sys
import time
from typing import Any

import asyncpg
import uvicorn

from bench.floor import (
    MAX_EVENTS_PER_COMMIT,
    Event,
    Item,
    Message,
    Receive,
    Send,
    answer,
    decode_many,
    decode_one,
    read_body,
)

SCHEMA = """
create table if not exists run(
  id bigint primary key, key text unique, status text, seq bigint not null default 0,
  tokens bigint default 0, cost double precision default 0, updated bigint);
create table if not exists event(
  id bigint generated always as identity primary key, run_id bigint not null, seq bigint not null, ts bigint not null,
  type text, body bytea);
create unique index if not exists event_run_seq on event(run_id, seq);
"""
INSERT_RUN = "insert into run(id,key,status) select * from unnest($1::bigint[],$2::text[],$3::text[])"
INSERT_EVENT = (
    "insert into event(run_id,seq,ts,type,body)"
    " select * from unnest($1::bigint[],$2::bigint[],$3::bigint[],$4::text[],$5::bytea[])"
)
UPDATE_RUN = (
    "update run set seq=n.seq,tokens=run.tokens+n.tokens,cost=run.cost+n.cost,status=coalesce(n.status,run.status),"
    "updated=n.updated from unnest($1::bigint[],$2::bigint[],$3::float8[],$4::text[],$5::bigint[],$6::bigint[])"
    " as n(seq,tokens,cost,status,updated,id) where run.id=n.id"
)


class Writer:
    """The one task that writes: takes what waits, commits it once, then answers those who wait."""

    def __init__(self, db: Any) -> None:
        self.queue: collections.deque[Item] = collections.deque()
        self.wake = asyncio.Event()
        self.runs: dict[str, list[int]] = {}
        self.db = db

    def submit(self, events: list[Event]) -> "asyncio.Future[None]":
        """A future that is done when the events are committed."""
        future = asyncio.get_running_loop().create_future()
        self.queue.append((events, future))
        self.wake.set()
        return future

    def take(self) -> list[Item]:
        """What waits now, up to the bound of one commit."""
        items: list[Item] = []
        count = 0
        while self.queue and count < MAX_EVENTS_PER_COMMIT:
            items.append(self.queue.popleft())
            count += len(items[-1][0])
        return items

    def plan(self, items: list[Item]) -> tuple[list[tuple[Any, ...]], list[list[Any]], list[tuple[Any, ...]]]:
        """Rows to insert, run rows to update and new run rows for one commit."""
        rows: list[tuple[Any, ...]] = []
        updates: dict[int, list[Any]] = {}
        new: list[tuple[Any, ...]] = []
        now = int(time.time() * 1e6)
        for events, _ in items:
            for e in events:
                run = self.runs.get(e.run_id)
                if run is None:
                    run = self.runs[e.run_id] = [len(self.runs) + 1, 0]
                    new.append((run[0], e.run_id, "running"))
                run[1] += 1
                rows.append((run[0], run[1], now, e.type, bytes(e.data)))
                u = updates.setdefault(run[0], [0, 0, 0.0, None, now, run[0]])
                u[0], u[1], u[2], u[3] = run[1], u[1] + (e.tokens or 0), u[2] + (e.cost_usd or 0.0), e.status or u[3]
        return rows, list(updates.values()), new

    async def run(self) -> None:
        """Commit group after group until the process ends."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.queue:
                items = self.take()
                rows, updates, new = self.plan(items)
                async with self.db.transaction():
                    if new:
                        await self.db.execute(INSERT_RUN, *zip(*new, strict=True))
                    await self.db.execute(INSERT_EVENT, *zip(*rows, strict=True))
                    await self.db.execute(UPDATE_RUN, *zip(*updates, strict=True))
                answer(items)


class Floor:
    """The ASGI application: no router, no request object, two paths."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writer: Writer | None = None
        self.task: asyncio.Task[None] | None = None

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
                db = await asyncpg.connect(self.url)
                await db.execute(SCHEMA)
                self.writer = Writer(db)
                self.task = asyncio.create_task(self.writer.run())
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


def main() -> None:
    """Serve on loopback until told to stop."""
    uvicorn.run(Floor(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
