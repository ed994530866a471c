"""An engine on a real store, with fake time and seeded ids. It does nothing by itself: the test says when to sweep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.backends import Backend, SqliteBackend
from tests.support.fakes import FakeClock, SeededIds
from towerlog.ambient import Clock, Ids
from towerlog.engine import bootstrap
from towerlog.engine.core import Engine, EngineSettings
from towerlog.engine.load.cache import Cache
from towerlog.engine.pricing.book import PriceList
from towerlog.errors import StorageFailed
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import Event, Item, Refusal
from towerlog.model.principal import Principal, Scope
from towerlog.model.run import RunRow
from towerlog.store.base import Store
from towerlog.store.sqlite.store import SqliteStore
from towerlog.wake.local import LocalWake

DIALECT = "steps"


class QuietEngine(Engine):
    """The engine of one process without its timer."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, *more: Any, **named: Any) -> None:
        """With a wake of its own. `more`: settings, prices."""
        self.wake = LocalWake()
        super().__init__(store, self.wake, clock, ids, *more, **named)

    async def start(self) -> None:
        """Takes commands."""
        await self.learn()
        self._writer.start()

    async def sweep(self) -> None:
        """One turn of upkeep."""
        await self.services.deadlines.sweep()
        await self.services.rules.sweep()

    def forget(self) -> None:
        """Empties the writer's cache, as a restart would; nothing may come out differently for it."""
        self._writer._cache = Cache()


class Rig:
    """One store, one engine, one organisation; more of them on demand. Made by `open_rig`."""

    def __init__(
        self,
        store: SqliteStore,
        clock: FakeClock,
        ids: SeededIds,
        settings: EngineSettings,
        fatal: list[StorageFailed],
        prices: PriceList | None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.fatal = fatal
        self.engine = QuietEngine(store, clock, ids, settings, price_list=prices)
        self.principal = Principal(0, "", "", "", frozenset())

    @property
    def org(self) -> int:
        """The first organisation's number."""
        return self.principal.org

    async def make_org(self, name: str) -> Principal:
        """One more organisation, and who may do anything in it."""
        minted = await bootstrap.create_org(self.store, self.clock, self.ids, name)
        key = minted.key
        return Principal(minted.org.org, minted.org.org_id, key.user_id, key.key_id, frozenset(Scope))

    async def do(self, command: c.Write | q.Read, **named: Any) -> Any:
        """Carries out a command. Named: `principal`, `dialect`, `idempotency`."""
        principal = named.pop("principal", self.principal)
        return await self.engine.execute(principal, command, named.pop("dialect", DIALECT), **named)

    async def append(self, *items: Item, dialect: str = DIALECT) -> list[o.Stored | Refusal]:
        """Stores items with one command."""
        done = await self.do(c.Append(dialect, list(items)), dialect=dialect)
        results: list[o.Stored | Refusal] = done.results
        return results

    async def run(self, run_id: str) -> RunRow:
        """A run's row as it is stored."""
        row = await self.store.run(self.org, run_id)
        assert row is not None, f"there is no run {run_id}"
        return row

    async def log(self, org: int | None = None) -> list[Event]:
        """The organisation's whole log."""
        return await self.store.log(org or self.org, 0, 1_000_000)

    async def events(self, run_id: str) -> list[Event]:
        """A run's events."""
        row = await self.run(run_id)
        return await self.store.events(self.org, row.run, 0, 1_000_000)


async def at_rest(store: Store) -> None:
    """Waits until no commit is under way: to a fake clock that moves meanwhile, it would have taken that long."""
    async with store.begin():
        return


@asynccontextmanager
async def open_rig(
    folder: Path,
    *,
    settings: EngineSettings | None = None,
    clock: FakeClock | None = None,
    ids: SeededIds | None = None,
    prices: PriceList | None = None,
    backend: Backend | None = None,
) -> AsyncIterator[Rig]:
    """A rig on the database in this folder, or on another one; the first to open it makes the organisation
    `default`. Only in this folder's is a fatal failure noted."""
    clock, ids = clock or FakeClock(), ids or SeededIds()
    fatal: list[StorageFailed] = []
    own = SqliteBackend.fresh(folder)
    # Most tests look into the file, so the type says that there is one.
    store: Any = await (
        own.make().open(clock, ids, fatal.append) if backend is None else backend.make().open(clock, ids)
    )
    rig = Rig(store, clock, ids, settings or EngineSettings(), fatal, prices)
    try:
        orgs = await store.orgs()
        if orgs:
            [key] = await store.keys(orgs[0].org, 1, None)
            rig.principal = Principal(orgs[0].org, orgs[0].org_id, key.user_id, key.key_id, frozenset(Scope))
        else:
            rig.principal = await rig.make_org("default")
        await rig.engine.start()
        yield rig
        await rig.engine.stop()
    finally:
        await store.close()
