"""Connections to PostgreSQL: a few for each kind of question, and the one way in which they are asked.

A statement is prepared at its first use on a connection and kept there. Nothing is left on a connection when it is
given back, so that it need not be reset, which would be a round trip for each question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg

from towerlog.errors import StorageFailed
from towerlog.store.columns.order import falling
from towerlog.store.damage import Damages
from towerlog.store.postgres.failures import DRIVER_ERRORS, is_passing, storage_error, storage_errors
from towerlog.store.postgres.link.watched import Line, WatchedConnection
from towerlog.store.postgres.times import LeaseTimes

P = ParamSpec("P")
T = TypeVar("T")
Row = Any
"""A row of a result: a tuple whose members have names as well."""

CONNECT_S = 5.0
"""How long a new connection may take, and how long is waited for one that is free."""
STATEMENTS_KEPT = 300
"""Prepared statements of one connection."""
MAX_PARAMETER = 2**62
"""Numbers that callers give are no larger; what is past it finds nothing."""
ALL = "*"
"""Who sees the rows of every organisation: timers, and what begins without knowing the organisation."""
NO_NUL, NUL = "\U0010ffff", "\0"
"""PostgreSQL has no text with a zero character. A character that no text has stands for it."""
READ_MS = 30_000
"""How long a question may take."""
LOCK_MS = 10_000
"""How long a unit of work waits for another node's."""
IDLE_MS = 5_000
"""How long a unit of work may do nothing: then its node stands still, and the others go on without it."""
READ_ONLY = "default_transaction_read_only"
READING = {"statement_timeout": str(READ_MS), READ_ONLY: "on"}
BY_KEYS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "0.01",
    "seq_page_cost": "0.01",
}
"""What is written, and what is read for it, is found by keys: a few rows of tables however large. Every index begins
with the organisation, so each of them finds a row in some way. While a table is small the planner takes any, since it
counts pages, and then goes through all rows of the organisation for each that is looked for. This has it count rows."""
WRITING = {"lock_timeout": str(LOCK_MS), "idle_in_transaction_session_timeout": str(IDLE_MS), **BY_KEYS}
COMMON = {
    "application_name": "towerlog",
    "jit": "off",
    "timezone": "UTC",
    "client_min_messages": "warning",
    # Whoever does not say so leaves no stamps (`locks`): a node of a build before them, and a person.
    "towerlog.stamps": "on",
    # A node that is gone without a word leaves no session behind for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class _Connection(WatchedConnection):
    """One that is given back as it is."""

    seen = ""

    def get_reset_query(self) -> str:
        return ""

    async def see(self, orgs: str) -> None:
        """From now on statements see the rows of these organisations alone. Raises what the driver raises."""
        if self.seen != orgs:
            # Should this break off, it is set anew the next time.
            self.seen = ""
            await self.execute(seeing(orgs))
            self.seen = orgs


def seeing(orgs: str, *, local: bool = False) -> str:
    """The statement by which a connection sees these organisations' rows; `local`: to the end of its transaction."""
    return f"SET {'LOCAL ' if local else ''}towerlog.orgs TO '{orgs}'"


def named_orgs(orgs: Iterable[int]) -> str:
    """Organisations as `seeing` takes them."""
    return ",".join(str(int(org)) for org in sorted(set(orgs)))


class Db:
    """A connection in use. Its statements have `$1`, `$2` … for values."""

    def __init__(self, connection: Any, damages: Damages, times: LeaseTimes) -> None:
        """`times`: between the clock of rows and this node's."""
        self.connection = connection
        self.damages = damages
        self.times = times

    def break_off(self) -> None:
        """Closes the connection at once, which ends its transaction. Nothing happens where it is lost already."""
        with contextlib.suppress(*DRIVER_ERRORS):
            self.connection.terminate()

    async def rows(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a result."""
        found: list[Row] = await self.connection.fetch(sql, *map(sendable, values))
        return found

    async def rows_in_time(self, within_ms: int, sql: str, *values: Any) -> list[Row] | None:
        """The same; None where they are not there in so many ms, and then they are not looked for any more."""
        try:
            found: list[Row] = await self.connection.fetch(sql, *map(sendable, values), timeout=within_ms / 1000)
        except TimeoutError:
            return None
        return found

    async def row(self, sql: str, *values: Any) -> Any:
        """The first row, None when there is none."""
        return await self.connection.fetchrow(sql, *map(sendable, values))

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, None when there is none."""
        return await self.connection.fetchval(sql, *map(sendable, values))

    async def do(self, sql: str, *values: Any) -> int:
        """Carries a statement out; how many rows it has touched."""
        told = await self.connection.execute(sql, *map(sendable, values))
        count = str(told).rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def each(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Carries a statement out for each row, in order, sent together."""
        values = [[sendable(value) for value in row] for row in rows]
        if values:
            await self.connection.executemany(sql, values)


def sendable(value: Any) -> Any:
    """A value as PostgreSQL takes it: text without zero characters."""
    if isinstance(value, str):
        return value.replace(NUL, NO_NUL) if NUL in value else value
    return Column(map(sendable, value) if _has_nul(value) else value) if type(value) in (list, tuple) else value


class Column(list[Any]):
    """Values of one type, as the driver takes an array; to be sent once.

    The driver looks through an array before it sends it, and asks of each value whether that is an array itself, which
    takes longer than all the rest. These are none, and so it is shown none the first time.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        super().__init__(values)
        self._is_looked_through = False

    def __iter__(self) -> Iterator[Any]:
        if not self._is_looked_through:
            self._is_looked_through = True
            return iter(())
        return super().__iter__()


async def check_arrays(connection: Any) -> None:
    """Refuses a driver that sends a `Column` otherwise than it is: rows would be missing. Raises StorageFailed, and
    Overloaded where the connection is lost meanwhile."""
    sent = [1, 2, 3]
    try:
        if await connection.fetchval("SELECT $1::bigint[]", sendable(sent)) == sent:
            return
    except DRIVER_ERRORS as error:
        # An outage says nothing about the driver; a message that the server cannot read does.
        if is_passing(error) and not isinstance(error, asyncpg.ProtocolViolationError):
            raise storage_error(error) from error
    raise StorageFailed(
        f"asyncpg {asyncpg.__version__} sends arrays in another way than this version of Towerlog expects; install a"
        " version that towerlog names in its dependencies"
    )


def _has_nul(values: Sequence[Any]) -> bool:
    """Whether a text of these has zero characters. They are of one type, or None."""
    first = next((value for value in values if value is not None), None)
    return isinstance(first, str) and NUL in "".join([text for text in values if text])


def told_text(text: str) -> str:
    """Text of a column, as it was before it was sent."""
    return text.replace(NO_NUL, NUL) if NO_NUL in text else text


def numbered(sql: str, first: int = 1) -> str:
    """A statement with `$1`, `$2` … for each `?` in it."""
    first_part, *parts = sql.split("?")
    return first_part + "".join(f"${first + index}{part}" for index, part in enumerate(parts))


async def newest_first(
    db: Db, table: str, columns: str, where: str, values: tuple[Any, ...], page: tuple[str, str | None, int]
) -> list[tuple[Any, ...]]:
    """Rows of an organisation by the order in which they were made, the last first. `values`: the organisation, then
    those of `where`, which begins with AND or is empty; `page`: the column of an id, the id that it goes on behind, and
    how many at most."""
    by, before, limit = page
    number = None
    if before is not None:
        number = await db.value(numbered(f"SELECT number FROM {table} WHERE org = ? AND {by} = ?"), values[0], before)
        if number is None:
            return []
        where, values = f"{where} AND number < ?", (*values, number)
    sql = f"SELECT {columns}, number FROM {table} WHERE org = ? {where} ORDER BY number DESC LIMIT ?"
    return list(falling(table, number, await db.rows(numbered(sql), *values, limit)))


class Connections:
    """Some connections that are made when they are needed."""

    def __init__(self, pool: Any, damages: Damages, times: LeaseTimes, role: str) -> None:
        """See `open_pool`."""
        self._pool = pool
        self.is_held_apart = bool(role)
        """Statements see the rows of those organisations alone that they are said to be about."""
        self.damages = damages
        self.times = times

    async def take(self) -> Db:
        """A connection, to be given back. Raises Overloaded where none is to be had."""
        with storage_errors():
            return Db(await self._pool.acquire(timeout=CONNECT_S), self.damages, self.times)

    async def give_back(self, db: Db) -> None:
        """After `take`. One that is broken is replaced when one is needed again."""
        try:
            await self._pool.release(db.connection, timeout=CONNECT_S)
        except DRIVER_ERRORS:
            db.break_off()

    async def call(
        self, orgs: str, question: Callable[Concatenate[Db, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Asks a question about these organisations on one of the connections.

        Storage errors leave as StorageFailed and Overloaded.
        """
        with storage_errors(self.damages):
            async with self._pool.acquire(timeout=CONNECT_S) as connection:
                if self.is_held_apart:
                    await connection.see(orgs)
                return await question(Db(connection, self.damages, self.times), *args, **kwargs)

    async def close(self) -> None:
        """Waits for what runs, then closes every connection."""
        await self._pool.close()


async def open_pool(
    line: Line, count: int, settings: dict[str, str], damages: Damages, times: LeaseTimes, role: str = ""
) -> Connections:
    """At most so many connections, with these settings of the server. Raises Overloaded, StorageFailed.

    `line`: pools of one store have it in common. `role`: what they act as, see `roles`; empty for the user of the URL.
    """
    wanted = {**settings, **({"role": role} if role else {})}

    async def make(*_: object, **more: Any) -> Any:
        # The pool asks for what it needs to know its connections by.
        return await _made(line, wanted, **more)

    with storage_errors():
        pool = await asyncpg.create_pool(
            # None are kept open for their own sake: the driver would log each try to have them during an outage.
            min_size=0,
            max_size=count,
            connect=make,
            connection_class=_Connection,
            max_inactive_connection_lifetime=0,
        )
        async with pool.acquire(timeout=CONNECT_S):
            pass
    return Connections(pool, damages, times, role)


async def connect(url: str, settings: dict[str, str]) -> Any:
    """One connection of its own. Raises what the driver raises."""
    return await _made(Line(url), settings, connection_class=_Connection)


async def _made(line: Line, settings: dict[str, str], **more: Any) -> Any:
    wanted = {**COMMON, **settings}
    # The driver takes a session that begins with it for one of a server that takes no writes (`target_session_attrs`).
    is_reading = wanted.pop(READ_ONLY, None)
    more["timeout"] = CONNECT_S
    connection = await asyncpg.connect(line.url, server_settings=wanted, statement_cache_size=STATEMENTS_KEPT, **more)
    try:
        connection.join(line)
        if is_reading is not None:
            await connection.execute(f"SET {READ_ONLY} TO {is_reading}")
    except BaseException:
        connection.terminate()
        raise
    return connection
