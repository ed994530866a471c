"""The storage that the settings name, opened for a command or for a server: to read, to write, to copy, to replace."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

from towerlog.ambient import Clock, Ids
from towerlog.config import BadSetting, Settings, database_path, existing_database, is_shared
from towerlog.engine.bootstrap import OrgMinted, first_start
from towerlog.engine.nodes.peers import Peers
from towerlog.errors import StorageFailed
from towerlog.model.audit import AuditEntry
from towerlog.model.event import COPY
from towerlog.store.base import Identities, Store
from towerlog.store.columns.moving import StoreSource, StoreTarget
from towerlog.store.lock import make_folder
from towerlog.store.owner import keep_folder_private
from towerlog.store.placing import Copy
from towerlog.store.postgres.link.address import unfit_attribute
from towerlog.store.sqlite.connections.at_rest import unchanged
from towerlog.store.sqlite.connections.failures import named
from towerlog.store.sqlite.identities import open_identities as open_sqlite_identities
from towerlog.store.sqlite.store import open_reader, open_store
from towerlog.store.sqlite.upkeep.backup import at_length
from towerlog.store.sqlite.upkeep.departure import departing
from towerlog.store.sqlite.upkeep.index_room import check_reader_room
from towerlog.store.sqlite.upkeep.matching_files import check_not_alone
from towerlog.store.sqlite.upkeep.replacement import is_unfinished
from towerlog.store.sqlite.upkeep.restore_target import Place, copy_of, held_place
from towerlog.store.stock import DatabaseHealth
from towerlog.wake.base import Bus
from towerlog.wake.local import LocalWake

if TYPE_CHECKING:
    from towerlog.store.postgres.upkeep.place import SharedPlace

_USER_ALONE = re.compile(r"^([^:@]*):[^@]*@")
LOCAL, DATABASE, NATS = "local", "postgres", ("nats://", "tls://")
"""Values of `wake`, and how those begin that name a NATS server."""


def keep_data_private(settings: Settings) -> None:
    """Takes the data folder from everybody but its owner, also one that was there before the first start.

    A folder that only a database URL names may hold other things: there the files alone are private.
    """
    if not settings.database_url or is_shared(settings):
        keep_folder_private(Path(settings.data_dir))


def database_name(settings: Settings) -> str:
    """The store for people: the file, or the address without a password."""
    if not is_shared(settings):
        return str(database_path(settings).absolute())
    parts = urlsplit(settings.database_url)
    return urlunsplit((parts.scheme, _USER_ALONE.sub(r"\1@", parts.netloc), parts.path, "", ""))


def check_extra(url: str) -> None:
    """Raises BadSetting where what PostgreSQL needs is not installed, or the URL asks for a server without writes."""
    if (words := unfit_attribute(url)) is not None:
        raise BadSetting(f"database_url: {words}")
    if find_spec("asyncpg") is None:
        raise BadSetting("database_url: PostgreSQL needs the extra `postgres`: pip install '.[postgres]' in a checkout")


def check_workers(settings: Settings) -> None:
    """Raises BadSetting where several processes cannot serve this store."""
    if settings.workers > 1 and not is_shared(settings):
        raise BadSetting("workers: more than one needs PostgreSQL; one process writes an SQLite store")
    if settings.workers > 1 and settings.wake == LOCAL:
        raise BadSetting("workers: more than one have to hear each other; wake must not be local")


def check_wake(text: str) -> None:
    """Raises ValueError for what is no way in which nodes hear each other."""
    if text not in (LOCAL, DATABASE) and not text.startswith(NATS):
        raise ValueError("must be local, postgres, or nats://HOST:PORT")


def peers_of(settings: Settings, store: Store, clock: Clock, node: str, secret: str) -> Peers | None:
    """The other nodes of a shared store, and how this one hears them; None where it is alone. Raises BadSetting.

    `node` names this one, `secret` is what the nodes of the store alone know.
    """
    if store.nodes is None:
        if settings.wake not in ("", LOCAL):
            raise BadSetting("wake: is for nodes of one PostgreSQL; an SQLite store has one process")
        return None
    bus: Bus | None = None
    way = settings.wake or DATABASE
    if way == DATABASE:
        # Not before it is asked for: its driver is an extra.
        from towerlog.wake.postgres import PostgresBus

        bus = PostgresBus(settings.database_url)
    elif way != LOCAL:
        if find_spec("nats") is None:
            raise BadSetting("wake: NATS needs the extra `nats`: pip install '.[nats]' in a checkout")
        from towerlog.wake.nats import NatsBus

        bus, way = NatsBus(settings.wake, f"towerlog.{store.epoch}", secret), "nats"
    return Peers(store, store.nodes, bus, LocalWake(), clock, node, way)


async def open_for_server(
    settings: Settings, clock: Clock, ids: Ids, on_fatal: Callable[[StorageFailed], None]
) -> Store:
    """The store for a server. Raises BadSetting, and what `open_store` of its backend raises."""
    if not is_shared(settings):
        path = database_path(settings)
        with named(path):
            return await open_store(path, clock, ids, on_fatal, settings.disk_guard_mib)
    check_extra(settings.database_url)
    # Not before it is asked for: its driver is an extra.
    from towerlog.store.postgres.store import open_store as open_shared

    make_folder(database_path(settings))
    return await open_shared(settings.database_url, clock, ids, on_fatal)


@asynccontextmanager
async def _opened(path: Path, opener: Callable[[Path], Awaitable[Store]]) -> AsyncIterator[Store]:
    """The store at `path`, until the end of the block; what fails meanwhile is told with its name."""
    with named(path), unchanged(path):
        store = await opener(path)
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def _opened_alone(settings: Settings, clock: Clock, ids: Ids) -> AsyncIterator[Store]:
    check_extra(settings.database_url)
    from towerlog.store.postgres.store import open_store as open_shared

    store = await open_shared(settings.database_url, clock, ids, alone=True)
    try:
        yield store
    finally:
        await store.close()


def _open_shared_identities(settings: Settings, token: str) -> Identities:
    check_extra(settings.database_url)
    from towerlog.store.postgres.upkeep.identities import open_identities as open_shared

    return open_shared(settings.database_url, token)


async def open_identities(settings: Settings, clock: Clock, ids: Ids) -> tuple[Identities, OrgMinted | None]:
    """The organisations and keys of the store, beside a running server or as its writer.

    With them the first organisation, when this has made it. Raises StoreLocked, SchemaMismatch, StoreTorn,
    StorageFailed, OSError.
    """
    keep_data_private(settings)
    if is_shared(settings):
        make_folder(database_path(settings))
        identities = _open_shared_identities(settings, ids.token(8))
    else:
        identities = await open_sqlite_identities(database_path(settings), ids.token(8))
    try:
        if not identities.is_alone and (not is_shared(settings) or await identities.orgs()):
            return identities, None
        return identities, await first_start(identities, clock, ids, settings.bootstrap_key)
    except BaseException:
        identities.close()
        raise


def opened_for_reading(settings: Settings, clock: Clock) -> AbstractAsyncContextManager[Store]:
    """The store for reading, also while a server writes it. Raises what `existing_store` and `open_reader` raise."""
    if is_shared(settings):
        return opened_as_it_is(settings, clock)
    return _opened(existing_store(settings), lambda path: open_reader(path, clock))


def opened_for_writing(settings: Settings, clock: Clock, ids: Ids) -> AbstractAsyncContextManager[Store]:
    """The store for writing, with its servers stopped. Raises what `writable_store` and `open_store` raise."""
    if is_shared(settings):
        return _opened_alone(settings, clock, ids)
    return _opened(writable_store(settings), lambda path: open_store(path, clock, ids))


@contextmanager
def leaving(settings: Settings, url: str) -> Iterator[StoreSource]:
    """The store, with its server stopped, for its move to the database at `url`.

    Raises BadSetting where the one is no file or the other is one, and what `existing_store`, `held_place` and
    `departing` raise.
    """
    if is_shared(settings) or not is_shared(moved(settings, url)):
        raise BadSetting("a store moves from an SQLite file to postgresql://USER@HOST/DATABASE, and no other way")
    check_extra(url)
    path = existing_store(settings)
    with held_place(path), departing(path) as source:
        yield source


def arriving_at(url: str, source: StoreSource) -> AbstractAsyncContextManager[StoreTarget]:
    """The database that this store moves into. Raises what `arriving` raises."""
    from towerlog.store.postgres.upkeep.arrival import arriving

    return arriving(url, source.fingerprint())


def moved(settings: Settings, url: str) -> Settings:
    """The settings of a store that has moved."""
    return dataclasses.replace(settings, database_url=url)


@asynccontextmanager
async def opened_as_it_is(settings: Settings, clock: Clock, *, unfinished: bool = False) -> AsyncIterator[Store]:
    """A shared database for reading; `unfinished`: also one that is not complete yet.

    Raises BadSetting, and what `open_reader` of its backend raises.
    """
    check_extra(settings.database_url)
    from towerlog.store.postgres.store import open_reader as open_shared_reader

    store = await open_shared_reader(settings.database_url, clock, unfinished=unfinished)
    try:
        yield store
    finally:
        await store.close()


def copied(settings: Settings, target: Path, ids: Ids, progress: Callable[[int, int], None]) -> Copy:
    """A copy of the store beside `target`; of a shared database what pg_dump makes of it.

    Raises what `existing_store`, `copy_of` and `dumped` raise.
    """
    if is_shared(settings):
        check_extra(settings.database_url)
        from towerlog.store.postgres.upkeep.programs import dumped

        return Copy(dumped(settings.database_url, target), target)
    return copy_of(existing_store(settings), target, copy_epoch(ids), settings.disk_guard_mib, progress)


def readable_at_length(
    settings: Settings, folder: Path | None, ids: Ids, progress: Callable[[int, int], None]
) -> AbstractContextManager[tuple[Copy, list[str]]]:
    """The store for long reads, see `at_length`: a copy in `folder`, or beside it, where a server writes it.

    A shared database is read itself: who reads at length is in nobody's way there.
    """
    if is_shared(settings):
        return _itself()
    path = existing_store(settings)
    return at_length(path, folder or path.parent, copy_epoch(ids), settings.disk_guard_mib, progress)


def existing_store(settings: Settings) -> Path:
    """The database's path, where there is one. Raises FileNotFoundError; StoreTorn where a part of a store is there;
    DiskFull where it cannot be opened for that."""
    check_not_alone(database_path(settings))
    path = existing_database(settings)
    if not is_shared(settings):
        check_reader_room(path)
    return path


def writable_store(settings: Settings) -> Path:
    """The path for a command that writes, which goes on with a replacement that broke off. Raises as above."""
    path = database_path(settings)
    return path if is_unfinished(path) else existing_store(settings)


def copy_epoch(ids: Ids) -> str:
    """A name for a log that is a copy of another one."""
    return f"{COPY}{ids.token(8)}"


@contextmanager
def _itself() -> Iterator[tuple[Copy, list[str]]]:
    yield Copy(Path(), Path()), []


def place_of(settings: Settings) -> AbstractContextManager[Place]:
    """The place of the settings' store, held as its writer's. Raises what `held_place` raises."""
    return held_place(database_path(settings))


def make_indexes_anew(settings: Settings, progress: Callable[[int], None]) -> None:
    """Makes every index of a shared database anew. Raises StoreLocked where a server has it open, StorageFailed."""
    check_extra(settings.database_url)
    from towerlog.store.postgres.upkeep.indexes import make_anew

    make_anew(settings.database_url, progress)


async def health_of(settings: Settings, clock: Clock) -> DatabaseHealth:
    """How a shared database keeps the store. Raises BadSetting, StorageFailed, Overloaded."""
    check_extra(settings.database_url)
    from towerlog.store.postgres.upkeep.health import look_at

    return await look_at(settings.database_url, clock)


class Replacing(Protocol):
    """The place of a store, held for a backup to be put there. What was there is kept."""

    def take(self, file: Path, is_alone: bool, progress: Callable[[int, int], None]) -> None:
        """Copies a backup; nobody opens the copy yet. `is_alone`: of a database file whose log is lost."""
        ...

    def opened(self, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """The copy, for reading."""
        ...

    def fill(self, told: Iterable[AuditEntry]) -> tuple[str | None, int]:
        """From now on the copy is the store. Where the old one is, if there was one, and the bytes of the new one."""
        ...

    def discard(self) -> None:
        """Forgets the copy, unless it is the store."""
        ...


@contextmanager
def replacing(settings: Settings, ids: Ids, kept_as: str) -> Iterator[Replacing]:
    """The place of the settings' store, held. Raises what `held_place` of its backend raises."""
    if not is_shared(settings):
        with place_of(settings) as place:
            yield _FileReplacing(settings, place, copy_epoch(ids), kept_as)
        return
    check_extra(settings.database_url)
    from towerlog.store.postgres.upkeep.place import held_place as held_database

    with held_database(settings.database_url) as held:
        yield _SharedReplacing(settings, held, copy_epoch(ids), kept_as)


class _FileReplacing:
    def __init__(self, settings: Settings, place: Place, epoch: str, kept_as: str) -> None:
        self._settings, self._place, self._epoch, self._kept_as = settings, place, epoch, kept_as
        self._copy: Copy | None = None

    def take(self, file: Path, is_alone: bool, progress: Callable[[int, int], None]) -> None:
        self._copy = self._place.copy(file, self._epoch, is_alone, progress)

    def opened(self, clock: Clock) -> AbstractAsyncContextManager[Store]:
        assert self._copy is not None
        return opened_for_reading(settings_of(self._settings, self._copy), clock)

    def fill(self, told: Iterable[AuditEntry]) -> tuple[str | None, int]:
        assert self._copy is not None
        self._place.tell(self._copy, told)
        aside, size = self._place.fill(self._copy, self._kept_as)
        return None if aside is None else str(aside), size

    def discard(self) -> None:
        if self._copy is not None:
            self._copy.discard()


class _SharedReplacing:
    def __init__(self, settings: Settings, place: SharedPlace, epoch: str, kept_as: str) -> None:
        self._settings, self._place, self._epoch = settings, place, epoch
        # The name of a schema.
        self._kept_as = kept_as.replace("-", "_").lower()

    def take(self, file: Path, is_alone: bool, progress: Callable[[int, int], None]) -> None:
        self._place.load(file, self._epoch, self._kept_as)

    def opened(self, clock: Clock) -> AbstractAsyncContextManager[Store]:
        return opened_as_it_is(self._settings, clock, unfinished=True)

    def fill(self, told: Iterable[AuditEntry]) -> tuple[str | None, int]:
        aside = self._place.finish(told)
        return f"schema {aside}" if aside else None, self._place.size_bytes

    def discard(self) -> None:
        self._place.undo()


def settings_of(settings: Settings, copy: Copy) -> Settings:
    """The settings with which a copy can be opened."""
    if is_shared(settings):
        return settings
    return dataclasses.replace(settings, database_url=f"sqlite:///{copy.partial}")
