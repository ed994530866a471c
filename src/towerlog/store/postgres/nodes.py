"""What the nodes of one database agree on by it: who is there, who leads, what was used up; and how far the log is.

All of it stands in `meta`, by the database's clock, which is the only one that they share. It is asked on a connection
of its own, which says as well that the store is open here: long questions and units of work delay no sign of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from towerlog.model.event import Logged
from towerlog.store.columns.order import awaited_in_order
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections
from towerlog.store.postgres.connections import Connections, Db, named_orgs
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.locks import PRESENT, PURPOSE
from towerlog.store.postgres.reading import events
from towerlog.store.postgres.times import NOW_SQL, LeaseTimes
from towerlog.store.values import Found

P = ParamSpec("P")
T = TypeVar("T")
_logged = awaited_in_order("logged", events.logged)
NODE, LEADER, SPENT = "node:", "leader", "spent:"
ANSWER_S = 2.0
"""How long a sign of life may take: then it counts as not given, and the connection is made anew."""
_UNTIL = "split_part(value, ' ', 1)::bigint"
_OVER = f"split_part(meta.value, ' ', 1)::bigint < {NOW_SQL}"
_SAY = (
    f"INSERT INTO meta VALUES ($1, ({NOW_SQL} + $2)::text || ' ' || $3)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_FORGET = f"DELETE FROM meta WHERE (name LIKE '{NODE}%' OR name LIKE '{SPENT}%') AND {_UNTIL} < {NOW_SQL}"
_OTHERS = f"SELECT name, value FROM meta WHERE name LIKE '{NODE}%' AND name <> $1 AND {_UNTIL} >= {NOW_SQL}"
_LEAD = f"{_SAY} WHERE {_OVER} OR split_part(meta.value, ' ', 2) = $3"
_SPEND = f"INSERT INTO meta VALUES ($1, ({NOW_SQL} + $2)::text) ON CONFLICT DO NOTHING"
SETTINGS = {"statement_timeout": str(int(ANSWER_S * 1000)), "lock_timeout": str(int(ANSWER_S * 1000))}


class PostgresNodes:
    """See `store/base`. One for each open store."""

    def __init__(self, url: str, presence: Db, readers: Connections) -> None:
        """`presence`: the connection that says that the store is open here. `readers` answer what may take longer."""
        self._url = url
        self._db = presence
        self._lock = asyncio.Lock()
        self._readers = readers

    @property
    def connection(self) -> Any:
        """The one that is open now; another once it was lost, as all are when the database crashes."""
        return self._db.connection

    async def meet(self, node: str, about: str, ttl_ms: int) -> dict[str, str]:
        """Says that a node is there for so long; the others that are, with what they say of themselves."""
        return await self._ask(_meet, NODE + node, about, ttl_ms)

    async def lead(self, node: str, ttl_ms: int) -> bool:
        """Takes or keeps the lead for so long; False where another node has it."""
        return await self._ask(_lead, node, ttl_ms)

    async def leave(self, node: str) -> None:
        """It is there no more, and leads no more."""
        await self._ask(_leave, node)

    async def spend(self, name: str, ttl_ms: int) -> bool:
        """Uses something up that can be used once; False where it was. It is known for so long."""
        return await self._ask(_spend, SPENT + name, ttl_ms)

    async def positions(self) -> dict[int, int]:
        """Organisation → the position of its newest event."""
        return await self._ask(_positions)

    async def logged(self, org: int, after: int, limit: int) -> Found[Logged]:
        """The organisation's log after a position, each event held against its hash."""
        return await self._readers.call(named_orgs([org]), _logged, org, after, limit)

    async def close(self) -> None:
        """Lets go of the connection."""
        async with self._lock:
            await self._db.connection.close()

    async def _ask(self, question: Callable[Concatenate[Db, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with storage_errors():
            async with self._lock:
                if self._db.connection.is_closed():
                    self._db = await presence(self._url, self._db.damages, self._db.times)
                try:
                    async with asyncio.timeout(ANSWER_S):
                        return await question(self._db, *args, **kwargs)
                except TimeoutError:
                    self._db.break_off()  # what comes late must not be taken for the answer to something else
                    raise


async def presence(url: str, damages: Damages, times: LeaseTimes) -> Db:
    """A connection that says that the store is open here, after the one was lost that had. Raises what the driver
    raises."""
    connection = await connections.connect(url, SETTINGS)
    await connection.execute(f"SELECT pg_advisory_lock_shared({PURPOSE}, {PRESENT})")
    return Db(connection, damages, times)


async def _meet(db: Db, name: str, about: str, ttl_ms: int) -> dict[str, str]:
    await db.do(_SAY, name, ttl_ms, about)
    await db.do(_FORGET)
    found = await db.rows(_OTHERS, name)
    return {row[0].removeprefix(NODE): row[1].partition(" ")[2] for row in found}


async def _lead(db: Db, node: str, ttl_ms: int) -> bool:
    return bool(await db.do(_LEAD, LEADER, ttl_ms, node))


async def _leave(db: Db, node: str) -> None:
    await db.do("DELETE FROM meta WHERE name = $1", NODE + node)
    await db.do("DELETE FROM meta WHERE name = $1 AND split_part(value, ' ', 2) = $2", LEADER, node)


async def _spend(db: Db, name: str, ttl_ms: int) -> bool:
    return bool(await db.do(_SPEND, name, ttl_ms))


async def _positions(db: Db) -> dict[int, int]:
    return {row[0]: row[1] for row in await db.rows("SELECT org, position FROM org_count")}
