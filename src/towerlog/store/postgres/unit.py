"""A unit of work: the locks of its organisations, what it reads under them, and one commit.

The transaction begins with the first locks; then everything is read in a statement or a few, planned, and written in a
statement or a few. A unit that finds its work in all organisations looks without a lock, locks those that it has found
something of, and looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from towerlog.errors import Overloaded, StorageFailed
from towerlog.model.alert import WindowCount
from towerlog.model.approval import ApprovalRow
from towerlog.model.budget import BudgetRow, Reservation
from towerlog.model.lane import Lane
from towerlog.model.principal import shard_org
from towerlog.model.removal import RemovedOrg
from towerlog.model.retention import Erasing
from towerlog.model.run import RunRow
from towerlog.store.columns.order import awaited_in_order
from towerlog.store.damage import Damages
from towerlog.store.postgres import load, write
from towerlog.store.postgres.connections import ALL, Db, named_orgs, seeing
from towerlog.store.postgres.failures import DRIVER_ERRORS, is_passing, storage_error, storage_errors
from towerlog.store.postgres.locks import STAMPS, Stamps, lock_orgs, stamping
from towerlog.store.postgres.months import Months
from towerlog.store.postgres.reading import descent, lanes, runs
from towerlog.store.postgres.subjects import alerts, approvals, money
from towerlog.store.postgres.times import NOW_SQL
from towerlog.store.postgres.upkeep import erasure, removal
from towerlog.store.trouble import Trouble
from towerlog.store.values import Changes, Loaded, Spread, Wanted

T = TypeVar("T")
_runs_cancelling = awaited_in_order("runs_cancelling", runs.runs_cancelling)
_runs_silent = awaited_in_order("runs_silent", runs.runs_silent)
_runs_of_step = awaited_in_order("runs_of_step", money.runs_of_step)
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED; {seeing('', local=True)}"


class _OfOrg(Protocol):
    @property
    def org(self) -> int: ...


R = TypeVar("R", bound=_OfOrg)


class _Keeper(Protocol):
    """What a unit needs of the store that began it."""

    damages: Damages
    trouble: Trouble
    months: Months
    stamps: Stamps

    async def has_committed(self, name: str) -> bool: ...

    def grow(self, events: int) -> None: ...


class PostgresUnit:
    """A unit of work. What each method promises stands in `store/base`."""

    def __init__(self, store: _Keeper, db: Db) -> None:
        """One at a time: the store's lock is held."""
        self._store = store
        self._db = db
        self._locked: set[int] = set()
        self._held: frozenset[int] = frozenset()
        self.is_open = False
        """A transaction has begun and has not ended."""
        self.written: asyncio.Task[Any] | None = None
        """What was written last, once that was begun."""

    async def hold(self, orgs: frozenset[int]) -> bool:
        """Whether each has the stamp that this process has seen last, asked in the round trip that locks them."""
        if not orgs:
            return True
        stamps = self._store.stamps
        with storage_errors(self._store.damages):
            told = await self._lock(orgs, stamps.asking(orgs))
            self._held = orgs
            if told == f"SELECT {len(orgs)}":
                return True
            return stamps.take(orgs, await self._db.rows(STAMPS, list(orgs)))

    async def load(self, wanted: Wanted, serving_ms: int) -> Loaded:
        """Everything in one statement, as far as nearly every group asks for it."""
        with storage_errors(self._store.damages):
            orgs = load.orgs_of(wanted)
            self._go_beyond(orgs)
            await self._lock(orgs)
            return await load.load(self._db, wanted, serving_ms, serving_ms)

    async def lanes_expired(self, serving_ms: int, limit: int) -> list[Lane]:
        """Held lanes whose lease ran out."""
        with storage_errors(self._store.damages):
            self._db.times.note(await self._db.value(f"SELECT {NOW_SQL}"), serving_ms)
        return await self._found(partial(lanes.lanes_expired, self._db, serving_ms, limit))

    async def runs_cancelling(self, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs that are being cancelled."""
        return await self._found(partial(_runs_cancelling, self._db, after, limit))

    async def runs_silent(self, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs whose silence is timed."""
        return await self._found(partial(_runs_silent, self._db, noted, before_ms, after, limit))

    async def spreads(self, limit: int) -> list[Spread]:
        """Cancels that have not reached all runs below theirs."""
        return await self._found(partial(descent.spreads, self._db, limit))

    async def approvals_due(self, after_ms: int, until_ms: int, limit: int) -> list[ApprovalRow]:
        """What has expired and is not marked."""
        return await self._found(partial(approvals.approvals_due, self._db, after_ms, until_ms, limit))

    async def reservations_expired(self, now_ms: int, limit: int) -> list[Reservation]:
        """Reservations whose time is over."""
        with storage_errors(self._store.damages):
            self._db.times.note(await self._db.value(f"SELECT {NOW_SQL}"), now_ms)
        return await self._found(partial(money.reservations_expired, self._db, now_ms, limit))

    async def budget_due(self, now_ms: int) -> BudgetRow | None:
        """The budget about which there is something to do."""

        async def due() -> list[BudgetRow]:
            found = await money.budget_due(self._db, now_ms)
            return [] if found is None else [found]

        return next(iter(await self._found(due)), None)

    async def runs_of_step(self, row: BudgetRow, limit: int) -> list[RunRow]:
        """The next runs that its step has to reach."""
        with storage_errors(self._store.damages):
            await self._lock({row.org})
            return await _runs_of_step(self._db, row, limit)

    async def alert_window(self, org: int, rule_id: str, since_minute: int) -> WindowCount:
        """What a rule has added up."""
        with storage_errors(self._store.damages):
            await self._lock({org})
            return await alerts.windows_of(self._db, org, rule_id, since_minute)

    def erase(self, run: int) -> Awaitable[Erasing | None]:
        """A step of an erasure."""
        return self._write(self._in_one(lambda: erasure.erase_step(self._db, run), {shard_org(run)}))

    def erase_org(self, org: int, now_ms: int) -> Awaitable[tuple[RemovedOrg, int] | None]:
        """A step of the erasure of an organisation."""
        return self._write(self._in_one(lambda: removal.erase_org_step(self._db, org, now_ms), {org}))

    def sweep_content(self, before: tuple[int, int]) -> Awaitable[tuple[int, int] | None]:
        """Content that no event was stored with."""
        return self._write(self._in_one(lambda: erasure.sweep_content(self._db, before), None))

    def give_back(self) -> Awaitable[int]:
        """Nothing: the database keeps its free pages, and uses them anew."""
        return self._write(_nothing())

    def try_to_write(self) -> Awaitable[None]:
        """Next to nothing."""
        return self._write(self._in_one(lambda: write.try_to_write(self._db), ()))

    def commit(self, changes: Changes) -> Awaitable[None]:
        """One transaction. The caller going away does not stop it half-way."""
        return self._write(self._commit(changes))

    def _write(self, writing: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Begins to write; what awaits it may go away. Raises what refuses everything."""
        failed = self._store.trouble.final
        if failed is not None:
            writing.close()
            raise self._store.trouble.refusal(failed)
        task = asyncio.get_running_loop().create_task(writing)
        self.written = task
        return asyncio.shield(task)

    async def _commit(self, changes: Changes) -> None:
        orgs = write.orgs_of_changes(changes)
        with storage_errors(self._store.damages):
            self._go_beyond(orgs)
            self._store.stamps.doubt(orgs)  # until it is known to be stored
            await self._store.months.ensure(event.recorded_at for event in changes.events)
            await self._lock(orgs)
            written = await write.write_changes(self._db, changes, orgs)
        await self._end(written.name)
        # A unit that has held nothing may be another's than who holds: that one does not know what this has changed.
        self._store.stamps.note(orgs & self._held, written.stamp)
        self._store.grow(len(changes.events))

    async def _in_one(self, work: Callable[[], Awaitable[T]], orgs: Iterable[int] | None) -> T:
        """Some work in the transaction of this unit, which it ends. `orgs`: None for all, which it locks itself."""
        with storage_errors(self._store.damages):
            await (self._see_all() if orgs is None else self._lock(orgs))
            if orgs:
                await self._db.connection.execute(stamping(set(orgs)))
            done = await work()
        await self._end(None)
        return done

    async def _end(self, name: str | None) -> None:
        """The commit. Via the connection is lost in it, the database is asked what has become of it."""
        try:
            await self._db.connection.execute("COMMIT")
        except DRIVER_ERRORS as error:
            self.is_open = False
            if name is None or not is_passing(error):
                raise StorageFailed(f"whether it was stored is unknown: {storage_error(error).message}") from error
            if not await self._store.has_committed(name):
                raise Overloaded(
                    "The connection to the database was lost; nothing was stored.", retry_after=1
                ) from error
        self._locked.clear()
        self.is_open = False

    async def rollback(self) -> None:
        """Ends a transaction that was not committed. Via that fails the connection is closed, which ends it too."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            await self._db.connection.execute("ROLLBACK")
        except DRIVER_ERRORS:
            self._db.break_off()

    def _go_beyond(self, orgs: set[int]) -> None:
        """Organisations that a unit is about and that it has not held. Raises Overloaded where something may have been
        taken for known of them."""
        more = orgs - self._held
        if self._held and more:
            was_known = self._store.stamps.knows_any(more)
            self._store.stamps.doubt(more)
            if was_known:
                raise Overloaded("Another organisation is concerned; send it again.", retry_after=1)

    async def _lock(self, orgs: Iterable[int], asking: str = "") -> str:
        """Locks organisations that are not locked yet; begins the transaction. Raises what the driver raises.

        `asking`: a statement that is to follow; what the last one tells of itself.
        """
        more = set(orgs) - self._locked
        statements = [] if self.is_open else [_BEGIN]
        if more:
            statements += [seeing(named_orgs(more | self._locked), local=True), lock_orgs(more)]
        if asking:
            statements.append(asking)
        if not statements:
            return ""
        self.is_open = True
        told: str = await self._db.connection.execute("; ".join(statements))
        self._locked |= more
        return told

    async def _see_all(self) -> None:
        """Begins the transaction, for a look at all organisations. Raises what the driver raises."""
        begin = [] if self.is_open else [_BEGIN]
        self.is_open = True
        await self._db.connection.execute("; ".join([*begin, seeing(ALL, local=True)]))

    async def _found(self, find: Callable[[], Awaitable[list[R]]]) -> list[R]:
        """Rows of whatever organisations, as they are once those are locked."""
        with storage_errors(self._store.damages):
            await self._see_all()
            if not (before := await find()):
                return before
            await self._lock({row.org for row in before})
            return [row for row in await find() if row.org in self._locked]


async def _nothing() -> int:
    return 0


def failure_of(task: asyncio.Task[Any] | None) -> BaseException | None:
    """What a task has failed with, if it is over and has."""
    return None if task is None or not task.done() or task.cancelled() else task.exception()
