"""The shared backend: one PostgreSQL database, which any number of processes read and write (`exclusive` is false).

What a unit reads stays true until its commit because it holds the locks of its organisations (`locks`). Readers see
committed rows only; a question that takes several statements may see commits between them, as it may in SQLite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from towerlog.ambient import Clock, Ids
from towerlog.errors import Overloaded, StorageFailed, StoreLocked, TowerlogError
from towerlog.store.base import NodeStore
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import ALL, Connections, Db
from towerlog.store.postgres.failures import DRIVER_ERRORS, storage_error, storage_errors
from towerlog.store.postgres.link.watched import Line
from towerlog.store.postgres.locks import Stamps
from towerlog.store.postgres.months import Months
from towerlog.store.postgres.nodes import PostgresNodes
from towerlog.store.postgres.parts import LogQuestions, PeopleQuestions, StateQuestions, UpkeepQuestions
from towerlog.store.postgres.questions import Transacting, Via
from towerlog.store.postgres.times import NOW_SQL, DatabaseTimes, LeaseTimes, TimesOf
from towerlog.store.postgres.unit import PostgresUnit, failure_of
from towerlog.store.postgres.upkeep import roles
from towerlog.store.postgres.upkeep.figures import Growth, take_figures
from towerlog.store.postgres.upkeep.presence import come_in, take_alone
from towerlog.store.space import Space
from towerlog.store.trouble import Trouble

READERS, KEYS, WRITERS = 6, 2, 2
"""Connections of one process: for questions, for keys, and for what is written."""
ASK_AGAIN_S = 0.2
ASK_S = 5.0
"""How long apart, and how long in all, it is asked what has become of a commit whose connection was lost."""
PING_S = 3.0
"""How long whoever asks whether the store can be read waits for it."""
PING = (
    "SELECT (SELECT max(number) FROM migration), (SELECT value FROM meta WHERE name = 'epoch'),"
    " (SELECT hash FROM place WHERE org = (SELECT max(org) FROM org) ORDER BY position DESC LIMIT 1)"
)

_log = structlog.get_logger("towerlog.store")


class PostgresStore(LogQuestions, PeopleQuestions, StateQuestions, UpkeepQuestions):
    """See `store/base` for what each method promises. Made by `open_store`."""

    name = "postgres"
    exclusive = False

    def __init__(
        self,
        url: str,
        clock: Clock,
        log: tuple[str, dict[int, int] | None],
        pools: tuple[Connections, Connections, Connections],
        presence: Db,
        trouble: Trouble,
    ) -> None:
        """Everything is open already: readers, keys, writers. `presence`: the connection that says so to others."""
        readers, keys, writers = pools
        self.url = url
        self.damages = readers.damages
        self.trouble = trouble
        # The disk is the database server's: it says when it is full.
        self.space = Space(Path("/"), clock.steady_ms)
        self.epoch = log[0]
        self.copied_positions: Mapping[int, int] | None = log[1]
        self.months = Months(url)
        self.stamps = Stamps()
        self._growth = Growth()
        self._pools = pools
        self._writers = writers
        self._nodes = PostgresNodes(url, presence, readers)
        self.nodes: NodeStore | None = self._nodes
        self._witness: Any = self._nodes.connection
        """A connection that was open before the unit under way began."""
        self._unit_lock = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self._pinging: asyncio.Task[TowerlogError | None] | None = None
        self._pool_of: dict[Via, Connections | Transacting] = {
            Via.READERS: readers,
            Via.KEYS: keys,
            Via.APART: writers,
            Via.WRITER: Transacting(writers),
            Via.BETWEEN_UNITS: Transacting(writers, self._unit_lock),
        }

    def pool(self, where: Via) -> Connections | Transacting:
        """The connections that answer a kind of question."""
        return self._pool_of[where]

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresUnit]:
        """A unit of work; a second one waits."""
        await self._unit_lock.acquire()
        self._witness = self._nodes.connection
        try:
            db = await self._writers.take()
        except BaseException as error:
            self._unit_lock.release()
            if isinstance(error, Overloaded):
                self.trouble.note_commit(error)
            raise
        unit = PostgresUnit(self, db)
        try:
            yield unit
        except Overloaded as error:
            self.trouble.note_commit(error)
            raise
        finally:
            # Whoever has begun this may go away; what was begun ends all the same, and the lock with it.
            ending = asyncio.get_running_loop().create_task(self._end(unit, db))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)

    async def _end(self, unit: PostgresUnit, db: Db) -> None:
        try:
            if unit.written is not None:
                await asyncio.wait({unit.written})
                self._note_written(failure_of(unit.written))
            await unit.rollback()
        finally:
            try:
                await self._writers.give_back(db)
            finally:
                self._unit_lock.release()

    def _note_written(self, failure: BaseException | None) -> None:
        """After a commit: whether the next may follow."""
        if isinstance(failure, StorageFailed) and failure.fatal:
            if not failure.is_damage:
                self.trouble.end(failure)
        elif isinstance(failure, StorageFailed | Overloaded):
            self.trouble.note_commit(failure)
        elif failure is None and self.trouble.refused is not None:
            self.trouble.note_commit(None)

    def grow(self, events: int) -> None:
        """So many events were committed: the planner is to know of it, now and then."""
        if self._growth.is_due(events):
            taking = asyncio.get_running_loop().create_task(self._take_figures())
            self._ending.add(taking)
            taking.add_done_callback(self._ending.discard)

    async def _take_figures(self) -> None:
        try:
            await self._writers.call(ALL, take_figures)
        except TowerlogError as error:
            _log.warning("figures of the tables could not be taken", error=error.message)

    async def has_committed(self, name: str) -> bool:
        """Whether a transaction has committed, where the connection was lost when it was to.

        Raises StorageFailed where that cannot be found out.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_S):
                while (found := await self._found_committed(name)) is None:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(ASK_AGAIN_S)
                return found
        raise StorageFailed("the connection to the database was lost; whether it was stored is unknown", retry_after=1)

    async def _found_committed(self, name: str) -> bool | None:
        try:
            connection = await connections.connect(self.url, connections.READING)
            try:
                found = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", name)
            finally:
                await connection.close()
        except DRIVER_ERRORS as error:
            _log.warning("it cannot be found out whether a commit was stored", error=str(error))
            return None
        if found == "aborted":
            return False
        # A crash gives the number of a transaction that was lost with it to another; it ends every connection.
        if found == "committed" and self._nodes.connection is self._witness and not self._witness.is_closed():
            return True
        return None

    async def ping(self) -> None:
        """Reads real pages. Raises StorageFailed where that fails, or where reads have failed again and again;
        Overloaded where the database cannot be reached, or does not answer within `PING_S`."""

        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.get_running_loop().create_task(self._read_pages())
        # One that is not answered ends by itself: cancelling it would wait for the server once more.
        done, _ = await asyncio.wait({self._pinging}, timeout=PING_S)
        if not done:
            raise Overloaded("The database does not answer.", retry_after=1)
        if (failed := self._pinging.result()) is not None:
            raise failed
        if self.damages.is_failing():
            raise StorageFailed("reads of the store have failed again and again")

    async def _read_pages(self) -> TowerlogError | None:
        async def read(db: Db) -> None:
            await db.row(PING)

        try:
            await self.pool(Via.READERS).call(ALL, read)
        except (Overloaded, StorageFailed) as error:
            return error
        return None

    def obstacle(self) -> str | None:
        """What is in the way of writes."""
        return self.trouble.obstacle()

    async def close(self) -> None:
        """Finishes what is under way and lets go of the connections."""
        async with self._unit_lock:
            for pool in self._pools:
                await pool.close()
            await self._nodes.close()


async def open_store(
    url: str,
    clock: Clock,
    ids: Ids,
    on_fatal: Callable[[StorageFailed], None] = lambda error: None,
    times_of: TimesOf = DatabaseTimes,
    *,
    alone: bool = False,
) -> PostgresStore:
    """Opens the database at `url`, makes or migrates its tables if need be.

    `on_fatal` is called once when the store must not be written any more. `times_of`: between the clock of leases and
    this node's. `alone`: nobody else may have it open, until it is closed. Raises SchemaMismatch for a newer schema or
    another program's tables, StoreLocked, StorageFailed, Overloaded where it cannot be reached.
    """
    async with _connected(url) as presence:
        await schema.check_durable(presence)
        await connections.check_arrays(presence)
        await schema.migrate(presence)
        with storage_errors():
            await schema.refuse_unfinished(presence)
            if (words := await schema.fail_over_words(presence)) is not None:
                _log.warning("the database may lose events in a fail-over", why=words)
            epoch = await schema.ensure_epoch(presence, f"e{ids.token(8)}")
            times = times_of(await presence.fetchval(f"SELECT {NOW_SQL}"), clock.steady_ms())
            db = Db(presence, Damages(clock.steady_ms), times)
            if not alone:
                await come_in(db, clock.steady_ms())
            elif not await take_alone(db):
                raise StoreLocked("a server or a command has the database open: stop it first")
            role = await roles.make_ready(presence)
        return await _opened(url, clock, epoch, db, Trouble(on_fatal), role)


async def open_reader(url: str, clock: Clock, *, unfinished: bool = False) -> PostgresStore:
    """Opens the database for a command that only reads, beside whoever writes it; changes nothing in it.

    `unfinished`: also one that is not filled yet. Raises SchemaMismatch for a schema of another version, Overloaded
    where it cannot be reached.
    """
    async with _connected(url) as presence:
        with storage_errors():
            await schema.check_schema(presence)
            if not unfinished:
                await schema.refuse_unfinished(presence)
            epoch = await schema.read_epoch(presence)
            times = DatabaseTimes(await presence.fetchval(f"SELECT {NOW_SQL}"), clock.steady_ms())
        damages = Damages(clock.steady_ms, is_logged=False)
        return await _opened(url, clock, epoch, Db(presence, damages, times), Trouble())


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    """The connection that stays with the store, closed where it cannot be opened."""
    with storage_errors():
        presence = await connections.connect(url, {})
    try:
        yield presence
    except BaseException as error:
        presence.terminate()
        if isinstance(error, DRIVER_ERRORS):
            raise storage_error(error) from error
        raise


async def _opened(url: str, clock: Clock, epoch: str, db: Db, trouble: Trouble, role: str = "") -> PostgresStore:
    with storage_errors():
        copied = await schema.read_copied(db.connection)
    pools = await _open_pools(url, db.damages, db.times, role)
    return PostgresStore(url, clock, (epoch, copied), pools, db, trouble)


async def _open_pools(
    url: str, damages: Damages, times: LeaseTimes, role: str
) -> tuple[Connections, Connections, Connections]:
    line = Line(url)
    readers = await connections.open_pool(line, READERS, connections.READING, damages, times, role)
    keys = await connections.open_pool(line, KEYS, connections.READING, damages, times, role)
    writers = await connections.open_pool(line, WRITERS, connections.WRITING, damages, times, role)
    return readers, keys, writers
