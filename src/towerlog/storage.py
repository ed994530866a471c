"""The storage that the settings name, opened for a command or for a server: to read, to write, to copy, to replace."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from towerlog.ambient import Clock, Ids, SystemIds
from towerlog.config import BadSetting, Settings, database_path, existing_database, is_shared
from towerlog.engine.bootstrap import OrgMinted, first_start
from towerlog.engine.nodes.peers import Peers
from towerlog.errors import StorageFailed
from towerlog.model.event import COPY
from towerlog.store.base import Identities, Store
from towerlog.store.lock import make_folder
from towerlog.store.owner import keep_folder_private
from towerlog.store.sqlite.connections.failures import named
from towerlog.store.sqlite.identities import open_identities as open_sqlite_identities
from towerlog.store.sqlite.store import open_reader, open_store
from towerlog.store.sqlite.upkeep.backup import Copy, at_length
from towerlog.store.sqlite.upkeep.matching_files import check_not_alone
from towerlog.store.sqlite.upkeep.replacement import is_unfinished
from towerlog.store.sqlite.upkeep.restore_target import Place, copy_of, held_place
from towerlog.wake.base import Bus
from towerlog.wake.local import LocalWake

_USER_ALONE = re.compile(r"^([^:@]*):[^@]*@")
LOCAL, DATABASE, NATS = "local", "postgres", ("nats://", "tls://")
"""Values of `wake`, and how those begin that name a NATS server."""
FOR_FILES = "this command works on a SQLite store; of PostgreSQL use pg_dump, pg_basebackup and pg_restore"


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


def check_extra() -> None:
    """Raises BadSetting where what PostgreSQL needs is not installed."""
    if find_spec("asyncpg") is None:
        raise BadSetting("database_url: PostgreSQL needs the extra `postgres`: pip install 'towerlog[postgres]'")


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
            raise BadSetting("wake: NATS needs the extra `nats`: pip install 'towerlog[nats]'")
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
    check_extra()
    # Not before it is asked for: its driver is an extra.
    from towerlog.store.postgres.store import open_store as open_shared

    make_folder(database_path(settings))
    return await open_shared(settings.database_url, clock, ids, on_fatal)


@asynccontextmanager
async def _opened(path: Path, opener: Callable[[Path], Awaitable[Store]]) -> AsyncIterator[Store]:
    """The store at `path`, until the end of the block; what fails meanwhile is told with its name."""
    with named(path):
        store = await opener(path)
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def _opened_shared(settings: Settings, clock: Clock, ids: Ids) -> AsyncIterator[Store]:
    check_extra()
    from towerlog.store.postgres.store import open_store as open_shared

    store = await open_shared(settings.database_url, clock, ids)
    try:
        yield store
    finally:
        await store.close()


def _open_shared_identities(settings: Settings, token: str) -> Identities:
    check_extra()
    from towerlog.store.postgres.upkeep.identities import open_identities as open_shared

    return open_shared(settings.database_url, token)


def _for_files(settings: Settings) -> None:
    """Raises BadSetting where the store is no file."""
    if is_shared(settings):
        raise BadSetting(FOR_FILES)


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
        return _opened_shared(settings, clock, SystemIds(clock))
    return _opened(existing_store(settings), lambda path: open_reader(path, clock))


def opened_for_writing(settings: Settings, clock: Clock, ids: Ids) -> AbstractAsyncContextManager[Store]:
    """The store for writing, with its server stopped. Raises what `writable_store` and `open_store` raise."""
    if is_shared(settings):
        return _opened_shared(settings, clock, ids)
    return _opened(writable_store(settings), lambda path: open_store(path, clock, ids))


def copied(settings: Settings, target: Path, ids: Ids, progress: Callable[[int, int], None]) -> Copy:
    """A copy of the store beside `target`. Raises what `existing_store` and `copy_of` raise."""
    _for_files(settings)
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
    """The database's path, where there is one. Raises FileNotFoundError; StoreTorn where a part of a store is there."""
    check_not_alone(database_path(settings))
    return existing_database(settings)


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
    _for_files(settings)
    return held_place(database_path(settings))


def settings_of(settings: Settings, copy: Copy) -> Settings:
    """The settings with which a copy can be opened."""
    if is_shared(settings):
        return settings
    return dataclasses.replace(settings, database_url=f"sqlite:///{copy.partial}")
