"""The embedded backend: one SQLite file, one writing thread, a few reading threads.

Nobody else writes runs while this store is open (`exclusive`), so what a unit reads stays true until its commit
without a lock. Readers see committed rows only and never hold a transaction open past one question.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Concatenate, ParamSpec, TypeVar

import apsw
import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.errors import StorageFailed
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, RunRef
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import Counters, Org, User
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import UsageRow
from towerlog.store.sqlite import audit, load, lookups, queue, reads
from towerlog.store.sqlite import connection as files
from towerlog.store.sqlite import personas as registry
from towerlog.store.sqlite import write as writes
from towerlog.store.values import Changes, Content, KeyFound, Loaded, Quarantined, Rows, StoredReply, Wanted

P = ParamSpec("P")
T = TypeVar("T")
READERS = 3
IDLE_TRUNCATE_SECONDS = 2.0


class _Worker:
    """A pool of threads, each with its own connection."""

    def __init__(self, count: int, opener: Callable[[], apsw.Connection], name: str) -> None:
        self._local = threading.local()
        self._opener = opener
        self._opened: list[apsw.Connection] = []
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def connection(self) -> apsw.Connection:
        """The calling thread's own connection, opened at its first use."""
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._opener()
            self._opened.append(found)
        return found

    async def call(
        self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a question in one of the threads. Storage errors leave as StorageFailed."""

        def ask() -> T:
            try:
                return question(self.connection(), *args, **kwargs)
            except apsw.Error as error:
                raise _failed(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._pool, ask)

    def close(self) -> None:
        """Waits for what runs, then closes every connection."""
        self._pool.shutdown(wait=True)
        for connection in self._opened:
            connection.close()


class SqliteUnit:
    """A unit of work. See `store/base.py` for what each method promises."""

    def __init__(self, store: SqliteStore) -> None:
        """One at a time: the store's lock is held."""
        self._store = store
        self._ask = store.writer.call

    async def counters(self, org: int) -> Counters:
        """The numbers given out so far."""
        return await self._ask(lookups.counters, org)

    async def runs_by_ref(self, wanted: Sequence[tuple[int, RunRef]]) -> list[RunRow | None]:
        """The run of each (org, reference)."""
        return await self._ask(lookups.runs_by_ref, wanted)

    async def runs_by_number(self, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Runs by their numbers."""
        return await self._ask(reads.runs_by_number, numbers)

    async def runs_of_thread(self, org: int, thread_id: str, limit: int) -> list[RunRow]:
        """A thread's newest runs."""
        return await self._ask(reads.runs, org, RunFilter(thread_id=thread_id), limit, None)

    async def run_descendants(self, org: int, run: RunRow, limit: int) -> list[RunRow]:
        """Open runs below this one."""
        return await self._ask(lookups.run_descendants, org, run, limit)

    async def threads(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], ThreadRow]:
        """Threads by (org, thread id)."""
        return await self._ask(lookups.threads_by_id, wanted)

    async def agents_by_name(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
        """Agents by (org, name)."""
        return await self._ask(lookups.agents_by_name, wanted)

    async def agent_by_id(self, org: int, agent_id: str) -> AgentRow | None:
        """One agent by UUID."""
        return await self._ask(reads.agent, org, agent_id)

    async def events_by_id(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Event]:
        """Events by (run, event id)."""
        return await self._ask(lookups.events_by_id, wanted)

    async def checkpoint(self, run: int, agent: str, step_index: int) -> CheckpointRow | None:
        """One checkpoint row."""
        return await self._ask(lookups.checkpoint_row, run, agent, step_index)

    async def checkpoints_waiting(self, org: int, trace_id: str, step_index: int) -> list[CheckpointRow]:
        """The checkpoints of that step in runs of that trace."""
        return await self._ask(lookups.checkpoints_of_trace, org, trace_id, step_index)

    async def nodes_known(self, org: int, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these history nodes are stored."""
        return await self._ask(lookups.nodes_known, org, keys)

    async def metas_known(self, org: int, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these meta lists are stored."""
        return await self._ask(lookups.metas_known, org, keys)

    async def lanes(self, runs: Sequence[int]) -> dict[int, Lane]:
        """Lanes by run number."""
        return await self._ask(lookups.lanes_of_runs, runs)

    async def lane_claimable(
        self, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int, taken: Collection[int]
    ) -> Lane | None:
        """The oldest lane that a worker may take."""
        return await self._ask(queue.lane_claimable, org, agents, labels, now_ms, taken)

    async def lanes_expired(self, now_ms: int, limit: int) -> list[Lane]:
        """Held lanes whose lease ran out."""
        return await self._ask(lookups.lanes_expired, now_ms, limit)

    async def runs_cancelling(self, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs that are being cancelled."""
        return await self._ask(lookups.runs_cancelling, after, limit)

    async def runs_unheard(self, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Watched runs that may have been silent since before this time."""
        return await self._ask(lookups.runs_unheard, noted, before_ms, after, limit)

    async def reply(self, org: int, name: str) -> StoredReply | None:
        """The stored reply of an Idempotency-Key."""
        return await self._ask(lookups.stored_reply, org, name)

    async def key(self, org: int, key_id: str) -> Key | None:
        """One API key."""
        return await self._ask(lookups.key_by_id, org, key_id)

    async def persona(self, org: int, persona_key: str, version: str | None) -> Persona | None:
        """One version of a persona, or the newest."""
        return await self._ask(registry.persona, org, persona_key, version)

    async def route(self, org: int, route_id: str) -> ProviderRoute | None:
        """The newest version of a route."""
        return await self._ask(registry.route, org, route_id)

    async def load(self, wanted: Wanted, now_ms: int) -> Loaded:
        """All of it in one turn of the writer's thread."""
        return await self._ask(load.load, wanted, now_ms)

    async def commit(self, changes: Changes) -> None:
        """One transaction. The caller going away does not stop it half-way: the thread runs on to its end."""
        if self._store.failed is not None:
            raise self._store.failed
        await self._ask(writes.write_changes, changes)
        self._store.note_commit()


class SqliteStore:
    """See `store/base.py` for what each method promises. Made by `open_store`."""

    name = "sqlite"
    exclusive = True

    def __init__(
        self, path: Path, clock: Clock, lock: IO[str] | None, writer: _Worker, epoch: str, gauge: files.WalGauge
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
        self._readers = _Worker(READERS, lambda: files.open_connection(path, read_only=True), "towerlog-read")
        # Whoever reads much must not keep others from showing their key.
        self._key_readers = _Worker(1, lambda: files.open_connection(path, read_only=True), "towerlog-keys")
        self._checkpointer = _Worker(1, lambda: files.open_connection(path), "towerlog-wal")
        self._checkpoint_task: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqliteUnit]:
        """A unit of work; a second one waits."""
        async with self._unit_lock:
            yield SqliteUnit(self)

    def note_commit(self) -> None:
        """After a commit: keeps the WAL within its bounds, beside the writer as far as possible."""
        if self._checkpoint_task is None and self._gauge.unmoved_bytes > files.WAL_CHECKPOINT_BYTES:
            self._checkpoint_task = asyncio.create_task(self._checkpoint())
        if self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_TRUNCATE_SECONDS, self._when_idle)
            self._committed_at = self._clock.steady_ms()
        else:
            self._committed_at = self._clock.steady_ms()

    def _when_idle(self) -> None:
        self._idle_timer = None
        silent_ms = self._clock.steady_ms() - self._committed_at
        if silent_ms < IDLE_TRUNCATE_SECONDS * 1000 - 50:
            left = IDLE_TRUNCATE_SECONDS - silent_ms / 1000
            self._idle_timer = asyncio.get_running_loop().call_later(left, self._when_idle)
        elif self._checkpoint_task is None:
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
            for worker in (self._readers, self._key_readers, self._checkpointer, self.writer):
                worker.close()
            if self._lock_file is not None:
                self._lock_file.close()

    async def ping(self) -> None:
        """Raises StorageFailed unless the store answers."""
        await self._readers.call(reads.one, "SELECT 1", ())

    async def orgs(self) -> list[Org]:
        """All organisations."""
        return await self._readers.call(reads.orgs)

    async def org_create(self, org: Org, user: User, key: Key) -> Org:
        """A new organisation with its first user and key."""
        number = await self.writer.call(writes.write_org, org, user, key)
        return msgspec.structs.replace(org, org=number)

    async def key_by_digest(self, digest: bytes) -> KeyFound | None:
        """The key with this SHA-256."""
        return await self._key_readers.call(reads.key_by_digest, digest)

    async def keys(self, org: int, limit: int, before: str | None) -> list[Key]:
        """Keys, newest first."""
        return await self._readers.call(reads.keys, org, limit, before)

    async def key_by_id(self, org: int, key_id: str) -> Key | None:
        """One API key."""
        return await self._readers.call(lookups.key_by_id, org, key_id)

    async def key_put(self, key: Key) -> None:
        """Writes a key at once."""
        await self.writer.call(writes.write_key, key)

    async def users(self, org: int, user_ids: Iterable[str]) -> dict[str, User]:
        """Users by id."""
        return await self._readers.call(reads.users, org, user_ids)

    async def persona(self, org: int, persona_key: str, version: str | None) -> Persona | None:
        """One version of a persona, or the newest."""
        return await self._readers.call(registry.persona, org, persona_key, version)

    async def personas(self, org: int, limit: int, before: int | None) -> list[Persona]:
        """Versions of personas, newest first."""
        return await self._readers.call(registry.personas, org, limit, before)

    async def route(self, org: int, route_id: str) -> ProviderRoute | None:
        """The newest version of a route."""
        return await self._readers.call(registry.route, org, route_id)

    async def routes(self, org: int, limit: int, before: int | None) -> list[ProviderRoute]:
        """Versions of routes, newest first."""
        return await self._readers.call(registry.routes, org, limit, before)

    async def run(self, org: int, run_id: str) -> RunRow | None:
        """One run."""
        return await self._readers.call(reads.run, org, run_id)

    async def runs(self, org: int, wanted: RunFilter, limit: int, before: int | None) -> list[RunRow]:
        """Runs, newest first."""
        if wanted.q:
            return await self._readers.call(reads.runs_searched, self._clock.steady_ms, org, wanted, limit, before)
        return await self._readers.call(reads.runs, org, wanted, limit, before)

    async def runs_by_number(self, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Runs of this organisation by their numbers."""
        found = await self._readers.call(reads.runs_by_number, numbers)
        return {number: row for number, row in found.items() if row.org == org}

    async def run_ids_of_parents(self, org: int, children: Sequence[RunRow]) -> dict[int, str]:
        """Parents' run ids."""
        return await self._readers.call(reads.run_ids_of_parents, org, children)

    async def run_children(self, org: int, run: RunRow, limit: int) -> list[RunRow]:
        """Direct children."""
        return await self._readers.call(reads.run_children, org, run, limit)

    async def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """One thread."""
        return await self._readers.call(reads.thread, org, thread_id)

    async def threads(self, org: int, limit: int, before: str | None) -> list[ThreadRow]:
        """Threads, newest first."""
        return await self._readers.call(reads.threads, org, limit, before)

    async def events(
        self, org: int, run: int, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> list[Event]:
        """A run's events."""
        found = await self._readers.call(reads.events, run, after_seq, limit, types)
        return _of_org(org, found)

    async def events_at(self, org: int, run: int, seqs: Sequence[int]) -> dict[int, Event]:
        """Some events of a run."""
        found = await self._readers.call(reads.events_at, run, seqs)
        return {seq: event for seq, event in found.items() if event.org == org}

    async def feed(self, org: int, agent: int, limit: int, after: int | None) -> list[Event]:
        """An agent's feed."""
        return _of_org(org, await self._readers.call(reads.feed, org, agent, limit, after))

    async def feed_start(self, org: int, agent: int, tail: int) -> int | None:
        """Where a feed's newest events begin."""
        return await self._readers.call(reads.feed_start, org, agent, tail)

    async def log(self, org: int, after: int, limit: int) -> list[Event]:
        """The organisation's log."""
        return await self._readers.call(reads.log, org, after, limit)

    async def quarantined(self, org: int, run: int, limit: int, after: int) -> list[tuple[int, Quarantined]]:
        """What was refused to workers without the lease."""
        found = await self._readers.call(reads.quarantined, run, limit, after)
        return [(number, item) for number, item in found if item.org == org]

    async def agent(self, org: int, agent_id: str) -> AgentRow | None:
        """One agent."""
        return await self._readers.call(reads.agent, org, agent_id)

    async def agents(self, org: int, limit: int, after: str | None, name: str | None) -> list[AgentRow]:
        """Agents by name."""
        return await self._readers.call(reads.agents, org, limit, after, name)

    async def agents_named(self, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
        """Agents by their names."""
        found = await self._readers.call(lookups.agents_by_name, [(org, name) for name in set(names)])
        return {name: row for (_, name), row in found.items()}

    async def usage(
        self, org: int, since_hour: int, until_hour: int, agent: str | None, model: str | None
    ) -> list[UsageRow]:
        """Roll-up cells."""
        return await self._readers.call(reads.usage, org, since_hour, until_hour, agent, model)

    async def checkpoint_latest(self, org: int, thread_id: str) -> CheckpointRow | None:
        """The thread's state to resume from."""
        return await self._readers.call(reads.checkpoint_latest, org, thread_id)

    async def checkpoint_latest_of_run(self, org: int, run: int) -> CheckpointRow | None:
        """The run's state to resume from."""
        found = await self._readers.call(reads.checkpoint_latest_of_run, run)
        return found if found is not None and found.org == org else None

    async def checkpoints(self, org: int, run: int, limit: int, after: tuple[int, str] | None) -> list[CheckpointRow]:
        """A run's checkpoints."""
        found = await self._readers.call(reads.checkpoints, run, limit, after)
        return [row for row in found if row.org == org]

    async def approvals(self, org: int, limit: int) -> list[CheckpointRow]:
        """Checkpoints that wait for approval."""
        return await self._readers.call(reads.approvals, org, limit)

    async def history(self, org: int, node: bytes, length: int) -> list[bytes]:
        """A history's messages."""
        return await self._readers.call(reads.history, org, node, length)

    async def content(self, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
        """A page of the content store."""
        return await self._readers.call(audit.content, org, kind, after, limit)

    async def metas(self, org: int, key: bytes) -> list[bytes]:
        """The bodies of a meta list."""
        return await self._readers.call(reads.metas, org, key)

    async def lane(self, org: int, run: int) -> Lane | None:
        """One lane."""
        found = await self._readers.call(reads.lane, run)
        return found if found is not None and found.org == org else None

    async def lanes(self, org: int, limit: int, statuses: Sequence[Status] | None = None) -> list[Lane]:
        """Lanes that are not done, or those of runs in some statuses."""
        return await self._readers.call(reads.lanes, org, limit, statuses)

    async def lanes_held(self, org: int, limit: int) -> list[Lane]:
        """Held lanes."""
        return await self._readers.call(reads.lanes_held, org, limit)

    async def lane_counts(self, org: int) -> tuple[int, int, int | None]:
        """(queued, held, oldest queued_at)."""
        return await self._readers.call(reads.lane_counts, org)

    async def replies_drop(self, before_ms: int) -> None:
        """Forgets the replies of Idempotency-Keys older than this."""
        async with self._unit_lock:
            await self.writer.call(writes.drop_old_replies, before_ms)

    async def run_trim(self, org: int, run: int, before_seq: int) -> None:
        """Drops a run's events below a seq."""
        async with self._unit_lock:
            if (await self.runs_by_number(org, [run])).get(run) is not None:
                await self.writer.call(writes.trim_run, run, before_seq)

    async def rows(self, org: int) -> Rows:
        """Every projection row, as of one moment."""
        return await self._readers.call(audit.all_rows, org)


def _failed(error: apsw.Error) -> StorageFailed:
    failed = StorageFailed(f"{type(error).__name__}: {error}", retry_after=1)
    failed.fatal = isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError)
    return failed


def _of_org(org: int, found: list[Event]) -> list[Event]:
    # A run or agent number is only ever taken from a row of the same organisation; this is the second wall.
    return found if not found or found[0].org == org else []


async def open_store(path: Path, clock: Clock, ids: Ids) -> SqliteStore:
    """Opens (or makes) the database at `path` as its one writer.

    Raises StoreLocked when another process writes it, SchemaMismatch for a newer schema, StorageFailed otherwise.
    """
    files.check_library()
    lock = files.prepare_files(path)
    gauge = files.WalGauge()
    writer = _Worker(1, lambda: gauge.watch(files.open_connection(path)), "towerlog-write")
    try:
        await writer.call(files.migrate)
        epoch = await writer.call(files.ensure_epoch, f"e{ids.token(8)}")
        await writer.call(writes.refresh_leases, clock.steady_ms())
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
    reader = _Worker(1, lambda: files.open_connection(path, read_only=True), "towerlog-read-only")
    await reader.call(files.check_schema)
    epoch = await reader.call(files.read_epoch)
    return SqliteStore(path, clock, None, reader, epoch, files.WalGauge())
