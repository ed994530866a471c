"""The bare floor on PostgreSQL: what a durable, ordered ingest costs on uvicorn and asyncpg without any product.

The yardstick of the scenario `postgres`, as `floor.py` is of the others: decoded events wait for one writer, which
commits what waits in one transaction (three statements and the commit) and answers after it. One row an event, a dense
seq per run, one row per run, and nothing else.

    python bench/floor_postgres.py DATABASE_URL PORT
"""

import asyncio
import collections
import sys
from typing import Any

import asyncpg

from bench.floor import Event, Floor, Item, Writes, answer, plan, serve, take

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

    async def run(self) -> None:
        """Commit group after group until the process ends."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.queue:
                items = take(self.queue)
                rows, updates, new = plan(items, self.runs)
                async with self.db.transaction():
                    if new:
                        await self.db.execute(INSERT_RUN, *zip(*new, strict=True))
                    await self.db.execute(INSERT_EVENT, *zip(*rows, strict=True))
                    await self.db.execute(UPDATE_RUN, *zip(*updates, strict=True))
                answer(items)


def main() -> None:
    """Serve on loopback until told to stop."""
    tasks: list[asyncio.Task[None]] = []

    async def start() -> Writes:
        db = await asyncpg.connect(sys.argv[1])
        await db.execute(SCHEMA)
        writer = Writer(db)
        tasks.append(asyncio.create_task(writer.run()))
        return writer

    serve(Floor(start), int(sys.argv[2]))


if __name__ == "__main__":
    main()
