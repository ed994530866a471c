"""The storage that the settings name, opened for a command or for a server: to read, to write, to copy, to replace."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path

from towerlog.ambient import Clock, Ids
from towerlog.config import Settings, database_path, existing_database
from towerlog.engine.bootstrap import OrgMinted, first_start
from towerlog.model.event import COPY
from towerlog.store.base import Identities, Store
from towerlog.store.owner import keep_folder_private
from towerlog.store.sqlite.identities import open_identities as open_sqlite_identities
from towerlog.store.sqlite.store import open_reader, open_store, opened
from towerlog.store.sqlite.upkeep.backup import Copy, at_length
from towerlog.store.sqlite.upkeep.place import Place, copy_of, held_place
from towerlog.store.sqlite.upkeep.replacement import is_unfinished
from towerlog.store.sqlite.upkeep.whole import check_not_alone


def keep_data_private(settings: Settings) -> None:
    """Takes the data folder from everybody but its owner, also one that was there before the first start.

    A folder that only a database URL names may hold other things: there the files alone are private.
    """
    if not settings.database_url:
        keep_folder_private(Path(settings.data_dir))


async def open_identities(settings: Settings, clock: Clock, ids: Ids) -> tuple[Identities, OrgMinted | None]:
    """The organisations and keys of the store, beside a running server or as its writer.

    With them the first organisation, when this has made it. Raises StoreLocked, SchemaMismatch, StoreTorn,
    StorageFailed, OSError.
    """
    keep_data_private(settings)
    identities = await open_sqlite_identities(database_path(settings), ids.token(8))
    try:
        if not identities.is_alone:
            return identities, None
        return identities, await first_start(identities, clock, ids, settings.bootstrap_key)
    except BaseException:
        identities.close()
        raise


def opened_for_reading(settings: Settings, clock: Clock) -> AbstractAsyncContextManager[Store]:
    """The store for reading, also while a server writes it. Raises what `existing_store` and `open_reader` raise."""
    return opened(existing_store(settings), lambda path: open_reader(path, clock))


def opened_for_writing(settings: Settings, clock: Clock, ids: Ids) -> AbstractAsyncContextManager[Store]:
    """The store for writing, with its server stopped. Raises what `writable_store` and `open_store` raise."""
    return opened(writable_store(settings), lambda path: open_store(path, clock, ids))


def copied(settings: Settings, target: Path, ids: Ids, progress: Callable[[int, int], None]) -> Copy:
    """A copy of the store beside `target`. Raises what `existing_store` and `copy_of` raise."""
    return copy_of(existing_store(settings), target, copy_epoch(ids), settings.disk_guard_mib, progress)


def readable_at_length(
    settings: Settings, folder: Path | None, ids: Ids, progress: Callable[[int, int], None]
) -> AbstractContextManager[tuple[Copy, list[str]]]:
    """The store for long reads, see `at_length`: a copy in `folder`, or beside it, where a server writes it."""
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


def place_of(settings: Settings) -> AbstractContextManager[Place]:
    """The place of the settings' store, held as its writer's. Raises what `held_place` raises."""
    return held_place(database_path(settings))


def settings_of(settings: Settings, copy: Copy) -> Settings:
    """The settings with which a copy can be opened."""
    return dataclasses.replace(settings, database_url=f"sqlite:///{copy.partial}")
