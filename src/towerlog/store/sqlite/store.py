"""The embedded backend: one SQLite file, one writing thread, a few reading threads.

Nobody else writes runs while this store is open (`exclusive`), so what a unit reads stays true until its commit
without a lock. Readers see committed rows only and never hold a transaction open past one question.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import apsw

from towerlog.ambient import Clock, Ids
from towerlog.errors import StorageFailed
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.store.sqlite import audit, descent, load, lookups, queue, reads, write
from towerlog.store.sqlite import connection as files
from towerlog.store.sqlite import personas as registered
from towerlog.store.sqlite.pools import Ask, Locked, Pool, Where
from towerlog.store.values import Changes, Found

READERS = 3
IDLE_TRUNCATE_SECONDS = 2.0


class SqliteUnit:
    """A unit of work. What each method promises stands in `store/base`."""

    load = Ask(load.load, Where.WRITER)
    lanes_expired = Ask(queue.lanes_expired, Where.WRITER)
    runs_cancelling = Ask(lookups.runs_cancelling, Where.WRITER)
    runs_silent = Ask(lookups.runs_silent, Where.WRITER)
    try_to_write = Ask(write.try_to_write, Where.WRITER)
    spreads = Ask(descent.spreads, Where.WRITER)

    def __init__(self, store: SqliteStore) -> None:
        """One at a time: the store's lock is held."""
        self._store = store
        self.written: asyncio.Future[None] | None = None
        """The commit, once it was begun."""

    def pool(self, where: Where) -> Pool | Locked:
        """The store's threads."""
        return self._store.pool(where)

    def commit(self, changes: Changes) -> asyncio.Future[None]:
        """One transaction. The caller going away does not stop it half-way: the thread runs on to its end."""
        if self._store.failed is not None:
            raise self._store.failed
        self.written = self._store.writer.submit(write.write_changes, changes)
        return self.written


class SqliteStore:
    """See `store/base` for what each method promises. Made by `open_store`."""

    name = "sqlite"
    exclusive = True

    events = Ask(reads.events)
    events_at = Ask(reads.events_at)
    feed = Ask(reads.feed)
    feed_start = Ask(reads.feed_start)
    log = Ask(reads.log)
    run_trim = Ask(write.trim_run, Where.BETWEEN_UNITS)

    run = Ask(reads.run)
    run_ids_beginning = Ask(reads.run_ids_beginning)
    runs_by_number = Ask(reads.runs_by_number)
    run_ids_of_parents = Ask(descent.run_ids_of_parents)
    run_children = Ask(descent.run_children)
    run_descendants = Ask(descent.run_descendants)
    thread = Ask(reads.thread)
    threads = Ask(reads.threads)
    agent = Ask(reads.agent)
    agents = Ask(reads.agents)
    agents_named = Ask(reads.agents_named)
    usage_by = Ask(reads.usage_by)
    checkpoint_latest = Ask(reads.checkpoint_latest)
    checkpoint_latest_of_run = Ask(reads.checkpoint_latest_of_run)
    checkpoints = Ask(reads.checkpoints)
    approvals = Ask(reads.approvals)
    replies_drop = Ask(write.drop_old_replies, Where.BETWEEN_UNITS)

    history = Ask(reads.history)
    metas = Ask(reads.metas)

    lane = Ask(queue.lane)
    lanes = Ask(queue.lanes)
    lanes_held = Ask(queue.lanes_held)
    lane_counts = Ask(queue.lane_counts)
    quarantined = Ask(queue.quarantined)

    orgs = Ask(reads.orgs)
    org_create = Ask(write.write_org, Where.WRITER)
    key_by_digest = Ask(reads.key_by_digest, Where.KEYS)
    keys = Ask(reads.keys)
    key_by_id = Ask(lookups.key)
    key_put = Ask(write.write_key, Where.WRITER)
    users = Ask(reads.users)
    persona = Ask(registered.persona)
    personas = Ask(registered.personas)
    route = Ask(registered.route)
    routes = Ask(registered.routes)

    rows = Ask(audit.all_rows)
    content = Ask(audit.content)
    stock = Ask(audit.stock)
    ping = Ask(reads.ping)

    def __init__(
        self, path: Path, clock: Clock, lock: IO[str] | None, writer: Pool, epoch: str, gauge: files.WalGauge
    ) -> None:
        """Everything is open already."""
        self.path = path
        self.epoch = epoch
        self.writer = writer
        self._clock = clock
        self._lock_file = lock
        self._gauge = gauge
        self.failed: StorageFailed | None = None
        """What a checkpoint beside the writer failed with."""
        self._unit_lock = asyncio.Lock()
        readers = Pool(READERS, lambda: files.open_connection(path, read_only=True), "towerlog-read")
        keys = Pool(1, lambda: files.open_connection(path, read_only=True), "towerlog-keys")
        self._checkpointer = Pool(1, lambda: files.open_connection(path), "towerlog-wal")
        self._pools = (readers, keys, self._checkpointer, writer)
        self._pool_of: dict[Where, Pool | Locked] = {
            Where.READERS: readers,
            Where.KEYS: keys,
            Where.WRITER: writer,
            Where.BETWEEN_UNITS: Locked(writer, self._unit_lock),
        }
        self._checkpoint_task: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def pool(self, where: Where) -> Pool | Locked:
        """The threads that answer a kind of question."""
        return self._pool_of[where]

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqliteUnit]:
        """A unit of work; a second one waits."""
        async with self._unit_lock:
            unit = SqliteUnit(self)
            yield unit
            written = unit.written
            if written is not None and written.done() and not written.cancelled() and written.exception() is None:
                self._note_commit()

    async def runs(self, org: int, wanted: RunFilter, limit: int, before: int | None) -> Found[RunRow]:
        """Runs, newest first. No entry of the table: a search is bounded by the clock, which this store has."""
        if wanted.q:
            steady_ms = self._clock.steady_ms
            return await self.pool(Where.READERS).call(reads.runs_searched, org, wanted, limit, before, steady_ms)
        return await self.pool(Where.READERS).call(reads.runs, org, wanted, limit, before)

    def _note_commit(self) -> None:
        """After a commit: keeps the WAL within its bounds, beside the writer as far as possible."""
        if self._checkpoint_task is None and self._gauge.unmoved_bytes > files.WAL_CHECKPOINT_BYTES:
            self._checkpoint_task = asyncio.create_task(self._checkpoint())
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = asyncio.get_running_loop().call_later(IDLE_TRUNCATE_SECONDS, self._when_idle)

    def _when_idle(self) -> None:
        self._idle_timer = None
        if self._checkpoint_task is None:
            self._checkpoint_task = asyncio.create_task(self._checkpoint(truncate=True))

    async def _checkpoint(self, truncate: bool = False) -> None:
        try:
            _, moved = await self._checkpointer.call(files.checkpoint)
            self._gauge.note_moved(moved)
            if truncate or self._gauge.written_bytes > files.WAL_RESET_BYTES:
                # What came meanwhile, in the writer's thread: now nothing is left and the WAL starts anew.
                mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncate else apsw.SQLITE_CHECKPOINT_PASSIVE
                await self.writer.call(files.checkpoint, mode)
        except StorageFailed as error:
            # Found out in the background; the next commit must not build on it.
            self.failed = error
        finally:
            self._checkpoint_task = None

    async def close(self) -> None:
        """Finishes what is under way and lets go of the files."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._checkpoint_task is not None:
            await self._checkpoint_task
        async with self._unit_lock:
            if self._lock_file is not None:
                await self.writer.call(files.checkpoint, apsw.SQLITE_CHECKPOINT_TRUNCATE)
            for pool in self._pools:
                pool.close()
            if self._lock_file is not None:
                self._lock_file.close()


async def open_store(path: Path, clock: Clock, ids: Ids) -> SqliteStore:
    """Opens (or makes) the database at `path` as its one writer.

    Raises StoreLocked when another process writes it, SchemaMismatch for a newer schema, StorageFailed otherwise.
    """
    files.check_library()
    lock = files.prepare_files(path)
    gauge = files.WalGauge()
    writer = Pool(1, lambda: gauge.watch(files.open_connection(path)), "towerlog-write")
    try:
        await writer.call(files.migrate)
        epoch = await writer.call(files.ensure_epoch, f"e{ids.token(8)}")
        await writer.call(write.refresh_leases, clock.steady_ms())
        return SqliteStore(path, clock, lock, writer, epoch, gauge)
    except BaseException:
        writer.close()
        lock.close()
        raise


async def open_reader(path: Path, clock: Clock) -> SqliteStore:
    """Opens the database for reading beside whoever writes it; writing methods of what is returned fail.

    Raises SchemaMismatch for a schema of another version, StorageFailed where there is no database.
    """
    files.check_library()
    reader = Pool(1, lambda: files.open_connection(path, read_only=True), "towerlog-read-only")
    await reader.call(files.check_schema)
    epoch = await reader.call(files.read_epoch)
    return SqliteStore(path, clock, None, reader, epoch, files.WalGauge())
