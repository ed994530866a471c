"""The embedded backend: one SQLite file, one writing thread, a few reading threads.

Nobody else writes runs while this store is open (`exclusive`), so what a unit reads stays true until its commit
without a lock. Readers see committed rows only and never hold a transaction open past one question.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import structlog

from towerlog.ambient import Clock, Ids
from towerlog.errors import Overloaded, StorageFailed
from towerlog.store.base import NodeStore
from towerlog.store.damage import Damages
from towerlog.store.lock import WriterLock, may_write_beside
from towerlog.store.space import Space
from towerlog.store.sqlite import content, descent, load, lookups, queue, reads, write
from towerlog.store.sqlite import events as logged
from towerlog.store.sqlite import personas as registered
from towerlog.store.sqlite.alerts import alerts as told
from towerlog.store.sqlite.alerts.bindings import AlertAsks
from towerlog.store.sqlite.approvals import approvals
from towerlog.store.sqlite.approvals.bindings import ApprovalAsks
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.pools import Ask, Locked, Pool, Where, Writing, of_one_file
from towerlog.store.sqlite.connections.transaction import PLENTY_BYTES, WalGauge
from towerlog.store.sqlite.erasure.bindings import ErasingAsks, ErasingUnit
from towerlog.store.sqlite.forwarding import ForwardingAsks
from towerlog.store.sqlite.money import budgets as money
from towerlog.store.sqlite.money.bindings import MoneyAsks
from towerlog.store.sqlite.people.bindings import PeopleAsks, RemovingUnit
from towerlog.store.sqlite.screens.bindings import ScreenAsks
from towerlog.store.sqlite.upkeep import indexes, matching_files, start, verification
from towerlog.store.trouble import Trouble
from towerlog.store.values import Changes

READERS = 4
IDLE_TRUNCATE_SECONDS = 2.0
HELD_TRIES, HELD_PAUSE_SECONDS = 20, 0.05
"""How often, and how long apart, a log that somebody reads from is tried to start anew; then a group is refused."""
HELD = "A long read, such as a backup, keeps the write-ahead log from starting anew; try again."
RETRY_CHECKPOINT_SECONDS = 1.0
"""After one that failed, by a full disk above all: with no writes, nothing else would try again."""

_log = structlog.get_logger("towerlog.store")


class SqliteUnit(ErasingUnit, RemovingUnit):
    """A unit of work. What each method promises stands in `store/base`."""

    load = Ask(load.load, Where.WRITER)
    lanes_expired = Ask(queue.lanes_expired, Where.WRITER)
    runs_cancelling = Ask(lookups.runs_cancelling, Where.WRITER)
    runs_silent = Ask(lookups.runs_silent, Where.WRITER)
    spreads = Ask(descent.spreads, Where.WRITER)
    budget_due = Ask(money.budget_due, Where.WRITER)
    runs_of_step = Ask(money.runs_of_step, Where.WRITER)
    approvals_due = Ask(approvals.approvals_due, Where.WRITER)
    reservations_expired = Ask(money.reservations_expired, Where.WRITER)
    alert_window = Ask(told.windows_of, Where.WRITER)

    def __init__(self, store: SqliteStore) -> None:
        """One at a time: the store's lock is held."""
        self._store = store
        self._writer = store.writer
        self.written: asyncio.Future[Any] | None = None
        """What was written last, once that was begun."""

    def pool(self, where: Where) -> Pool | Locked:
        """The store's threads."""
        return self._store.pool(where)

    def commit(self, changes: Changes) -> asyncio.Future[None]:
        """One transaction. The caller going away does not stop it half-way: the thread runs on to its end."""
        if (failed := self._store.trouble.final) is not None:
            raise self._store.trouble.refusal(failed)
        self.written = self._store.writer.submit(write.write_changes, changes)
        return self.written

    def try_to_write(self) -> asyncio.Future[None]:
        """Next to nothing."""
        self.written = self._store.writer.submit(write.try_to_write)
        return self.written


class SqliteStore(AlertAsks, ApprovalAsks, ErasingAsks, ForwardingAsks, MoneyAsks, PeopleAsks, ScreenAsks):
    """See `store/base` for what each method promises. Made by `open_store`."""

    name, exclusive = "sqlite", True
    nodes: NodeStore | None = None

    events = Ask(logged.events)
    events_at = Ask(logged.events_at)
    feed = Ask(logged.feed)
    feed_start = Ask(logged.feed_start)
    log = Ask(logged.log)
    counters = Ask(lookups.counters)
    runs_touched = Ask(logged.runs_touched)
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
    agents_by_number = Ask(reads.agents_by_number)
    usage_by = Ask(reads.usage_by)
    thread_states = Ask(reads.thread_states)
    run_of_trace = Ask(reads.run_of_trace)
    checkpoints_at = Ask(reads.checkpoints_at)
    checkpoint_latest_of_run = Ask(reads.checkpoint_latest_of_run)
    checkpoints = Ask(reads.checkpoints)
    replies_drop = Ask(write.drop_old_replies, Where.BETWEEN_UNITS)

    history = Ask(content.history)
    metas = Ask(content.metas)
    known_nodes = Ask(load.known_nodes)
    known_metas = Ask(load.known_metas)
    known_length = Ask(lookups.chain_length)

    lane = Ask(queue.lane)
    lanes = Ask(queue.lanes)
    lanes_held = Ask(queue.lanes_held)
    lanes_queued = Ask(queue.lanes_queued)
    lanes_of = Ask(queue.lanes_of)
    lane_counts = Ask(queue.lane_counts)
    quarantined = Ask(queue.quarantined)

    persona = Ask(registered.persona)
    personas = Ask(registered.personas)
    route = Ask(registered.route)
    routes = Ask(registered.routes)

    audit = Ask(entries.page)
    audit_chain = Ask(entries.chain)
    audit_head = Ask(entries.head)

    rows = Ask(verification.all_rows)
    structure_faults = Ask(indexes.structure_faults)
    content = Ask(verification.content_page)
    stock = Ask(verification.stock)

    def __init__(
        self,
        path: Path,
        clock: Clock,
        opened_as: str,
        lock: WriterLock | None,
        writer: Pool,
        log: tuple[str, dict[int, int] | None],
        gauge: WalGauge,
        damages: Damages,
        trouble: Trouble,
        space: Space,
    ) -> None:
        """Everything is open already. `opened_as` names this opening; `lock`: the one writer's."""
        self.damages = damages
        self.trouble = trouble
        self.space = space
        self._opened_as, self._logs_begun = opened_as, 0
        self.path = path
        self.epoch = log[0]
        self.copied_positions: Mapping[int, int] | None = log[1]
        self.writer = writer
        self.steady_ms = clock.steady_ms
        self._lock_file = lock
        self._gauge = gauge
        self._unit_lock = asyncio.Lock()
        reader = of_one_file(path, partial(files.open_connection, path, read_only=True, damages=damages))
        readers = Pool(READERS, reader, "towerlog-read", damages, trouble)
        keys = Pool(1, reader, "towerlog-keys", damages, trouble)
        own = of_one_file(path, partial(files.open_connection, path))
        self._checkpointer = Writing(1, own, "towerlog-wal", damages, trouble)
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
            room = self.space.spare_bytes
            if self._gauge.written_bytes > files.WAL_HELD_BYTES:
                await self._start_log_anew()
            # Whoever only reads leaves the log as it is.
            elif self._lock_file is not None and room < PLENTY_BYTES and files.is_long(self.path, room):
                await self._shorten_log()
            unit = SqliteUnit(self)
            try:
                yield unit
            finally:
                if unit.written is not None and unit.written.done() and not unit.written.cancelled():
                    self._note_written(unit.written.exception())

    async def ping(self) -> None:
        """Reads real pages. Raises StorageFailed where that fails, or where reads have failed again and again."""
        await self.pool(Where.READERS).call(reads.ping)
        if self.damages.is_failing():
            raise StorageFailed("reads of the store have failed again and again")

    def obstacle(self) -> str | None:
        """What is in the way of writes."""
        return (self.trouble.final is None and self.space.is_low() and self.space.obstacle()) or self.trouble.obstacle()

    async def _start_log_anew(self) -> None:
        """Back-pressure, where the log has grown past its bound: nothing is written before it can start anew.

        It cannot while somebody, a backup above all, still reads from it. Raises Overloaded after `HELD_TRIES` looks.
        """
        if self._checkpoint_task is not None:  # which keeps it as well, and ends by itself
            await asyncio.wait({self._checkpoint_task}, timeout=HELD_TRIES * HELD_PAUSE_SECONDS)
        for _ in range(HELD_TRIES):
            pages, _ = await self.writer.call(files.checkpoint, apsw.SQLITE_CHECKPOINT_RESTART)
            if pages >= 0:
                self._gauge.start_anew()
                return
            await asyncio.sleep(HELD_PAUSE_SECONDS)
        held = Overloaded(HELD, retry_after=1)
        self.trouble.note_commit(held)
        raise held

    async def _shorten_log(self) -> None:
        """Where little room is left a log has none of it: what it holds is moved, and what makes room finds some."""
        try:
            await self._renew_log()
        except StorageFailed as error:
            if error.fatal:
                raise
            self.trouble.note_checkpoint(error)

    async def _renew_log(self) -> None:
        self._logs_begun += 1
        await self.writer.call(matching_files.renew_log, f"{self._opened_as}.{self._logs_begun}")

    def _note_written(self, failure: BaseException | None) -> None:
        """After a commit: whether the next may follow. Keeps the WAL within bounds, beside the writer if possible."""
        if isinstance(failure, StorageFailed) and failure.fatal:
            # Damage was told as that of a read is, and rolled back; after a failed disk there is nothing to go on from.
            if not failure.is_damage:
                self.trouble.end(failure)
            return
        if failure is not None:
            if isinstance(failure, StorageFailed):
                self.space.forget()
                self.trouble.note_commit(failure)
            return
        # Below the guard little is written all the same: that keys are revoked, and replies. All else is still refused.
        if self.trouble.refused is not None and not self.space.was_low:
            self.trouble.note_commit(None)
        if self._checkpoint_task is None and self._gauge.unmoved_bytes > files.WAL_CHECKPOINT_BYTES:
            self._checkpoint_task = asyncio.create_task(self._checkpoint())
        self._checkpoint_in(IDLE_TRUNCATE_SECONDS)

    def _checkpoint_in(self, seconds: float) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._when_idle)

    def _when_idle(self) -> None:
        self._idle_timer = None
        if self._checkpoint_task is None:
            self._checkpoint_task = asyncio.create_task(self._checkpoint(truncate=True))
        else:
            self._checkpoint_in(IDLE_TRUNCATE_SECONDS)

    async def _checkpoint(self, truncate: bool = False) -> None:
        try:
            _, moved = await self._checkpointer.call(files.checkpoint)
            self._gauge.note_moved(moved)
            if truncate or self._gauge.written_bytes > files.WAL_RESET_BYTES:
                # What came meanwhile, in the writer's thread: now nothing is left and the WAL starts anew.
                if truncate:
                    await self._renew_log()
                else:
                    await self.writer.call(files.checkpoint)
            self.trouble.note_checkpoint(None)
        except StorageFailed as error:
            # It has changed nothing that counts: what it would have moved is still in the log.
            if error.fatal:
                self.trouble.end(error)
            else:
                self.trouble.note_checkpoint(error)
                self._checkpoint_in(RETRY_CHECKPOINT_SECONDS)
        finally:
            self._checkpoint_task = None

    async def close(self) -> None:
        """Finishes what is under way and lets go of the files.

        The log is emptied, unless that fails: the next start reads it then, and nothing is lost.
        """
        if self._checkpoint_task is not None:
            await self._checkpoint_task
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        async with self._unit_lock:
            if self._lock_file is not None and self.trouble.final is None:
                await self._settle()
            for pool in self._pools:
                pool.close()
            if self._lock_file is not None:
                self._lock_file.close()

    async def _settle(self) -> None:
        try:
            await self.writer.call(matching_files.settle_log)
        except StorageFailed as error:
            _log.warning("the log is left as it is; the next start reads it", error=error.message)


async def open_store(
    path: Path,
    clock: Clock,
    ids: Ids,
    on_fatal: Callable[[StorageFailed], None] = lambda error: None,
    guard_mib: int | None = None,
) -> SqliteStore:
    """Opens (or makes) the database at `path` as its one writer.

    `on_fatal` is called once, on the event loop, when the store must not be written any more. `guard_mib`: see `Space`.
    Raises StoreLocked when another process writes it, SchemaMismatch for a newer schema, StoreTorn for files
    that do not belong together, StorageFailed otherwise.
    """
    files.check_library()
    log = files.log_of(path)
    # A command holds the place for a moment; a server, which lets others write beside it, holds it for good.
    lock = await start.in_turn(partial(start.take_place, path), partial(may_write_beside, log))
    await asyncio.to_thread(start.prepare, lock)  # it syncs, and a signal to stop is heard meanwhile
    gauge, damages = WalGauge(), Damages(clock.steady_ms)
    loop = asyncio.get_running_loop()
    trouble = Trouble(lambda error: _told_on(loop, on_fatal, error))
    space = Space(path.parent, clock.steady_ms, guard_mib, path)
    space.is_low()  # a start below the guard writes as a server does that is there: what it needs, and nothing else
    opener = partial(files.open_connection, path, damages=damages, space=space)
    writer = Writing(1, lambda: gauge.watch(opener()), "towerlog-write", damages, trouble)
    try:
        token = ids.token(8)
        epoch = await writer.call(start.begin, lock, token)
        copied = await writer.call(files.read_copied)
        await writer.call(write.refresh_leases, clock.steady_ms())
        await start.in_turn(partial(lock.let_others_write, log))
        return SqliteStore(path, clock, token, lock, writer, (epoch, copied), gauge, damages, trouble, space)
    except BaseException:
        writer.close()
        lock.close()
        raise


async def open_reader(path: Path, clock: Clock) -> SqliteStore:
    """Opens the database for reading beside whoever writes it; writing methods of what is returned fail.

    Raises SchemaMismatch for a schema of another version, StorageFailed where there is no database.
    """
    files.check_library()
    matching_files.check_whole(path)
    damages, trouble = Damages(clock.steady_ms, is_logged=False), Trouble()
    space = Space(path.parent, clock.steady_ms)
    opener = partial(files.open_connection, path, read_only=True, damages=damages)
    reader = Pool(1, opener, "towerlog-read-only", damages, trouble)
    await reader.call(files.check_schema)
    epoch = await reader.call(files.read_epoch)
    copied = await reader.call(files.read_copied)
    return SqliteStore(path, clock, "", None, reader, (epoch, copied), WalGauge(), damages, trouble, space)


def _told_on(loop: asyncio.AbstractEventLoop, on_fatal: Callable[[StorageFailed], None], error: StorageFailed) -> None:
    """Tells it on the event loop, from whichever thread; nobody is left to be told once the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(on_fatal, error)
