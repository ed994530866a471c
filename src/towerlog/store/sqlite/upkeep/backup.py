"""Backups of an SQLite store: a copy taken while the server writes, proved sound, and put in its place in one step.

`copy_database` makes the copy beside its place and proves that SQLite can read all of it; whoever calls proves what
the copy says, and then publishes or discards it. What was restored is another log than the one that went on, so the
copy gets a new epoch: a cursor of the old log gets a gap, never wrong events.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from towerlog.errors import StorageFailed
from towerlog.model.audit import AuditEntry
from towerlog.store.lock import may_write_beside
from towerlog.store.placing import (
    Copy,
    copy_to_verify,
    discard,
    held_partial,
    partial_beside,
    refuse_to_overwrite,
    remove_left,
)
from towerlog.store.space import check_room
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.at_rest import readable, unchanged
from towerlog.store.sqlite.connections.failures import named, storage_failed, text_damaged, unread_in
from towerlog.store.sqlite.connections.store_notes import whole
from towerlog.store.sqlite.upkeep.pages import Progress, copy_pages


def copy_database(
    source: Path,
    target: Path,
    fresh_epoch: str,
    progress: Progress,
    lost: list[str] | None = None,
    into: Path | None = None,
    *,
    may_be_older: bool = False,
) -> Path:
    """A sound copy of the store at `source`, under a name of its own in the folder of `target`; `into` an empty file.

    It is the store of one moment: all that had been committed at the call is in it, and of what came meanwhile, in its
    order, a part. With `lost` the copy is not proved, and what cannot be read of the store is told there, in words.
    `may_be_older`: a store of an older version is copied as it is.
    Raises FileExistsError when there is something at `target`, OSError, SchemaMismatch, StorageFailed.
    """
    refuse_to_overwrite(target)
    partial = into or partial_beside(target)
    try:
        with named(source), unchanged(source):
            try:
                _copy_pages(source, partial, progress, lost, may_be_older)
            except apsw.Error as error:
                raise files.denied(source, error) or storage_failed(error, None) from error
            except UnicodeDecodeError as error:
                raise text_damaged(error) from error
        with named(target):
            _make_it_another_log(partial, fresh_epoch)
            if lost is None:
                _prove(partial)
    except BaseException:
        discard(partial)
        raise
    return partial


@contextmanager
def at_length(
    path: Path, folder: Path, fresh_epoch: str, guard_mib: int, progress: Progress
) -> Iterator[tuple[Copy, list[str]]]:
    """A store that may be read at length, and what of it cannot be read, in words: itself, where no server writes it
    and it can be read there (`readable`).

    Else a copy in this folder, which is removed in the end, and with it those of commands that were killed: who reads
    the store itself for long keeps its write-ahead log from starting anew. Raises DiskFull where the copy would take
    what writes leave free (`guard_mib`, see `Space`), and what `copy_database` raises with `lost`.
    """
    lost: list[str] = []
    target = copy_to_verify(path, folder)
    if not may_write_beside(files.log_of(path)):
        with readable(path, target) as there:
            yield Copy(there, path), lost
        return
    remove_left(target)
    check_room(folder, (path, files.log_of(path)), guard_mib)
    with held_partial(target) as partial:
        yield Copy(copy_database(path, target, fresh_epoch, progress, lost, partial), target), lost


@contextmanager
def without_log(source: Path, target: Path) -> Iterator[Path]:
    """The database file at `source` under a name of its own in the folder of `target`, where no log lies beside it.

    Raises OSError.
    """
    lone = partial_beside(target)
    try:
        lone.unlink()
        try:
            # Not read here: to close a file whose database this process holds would give up its locks.
            os.link(source, lone)
        except OSError:
            shutil.copyfile(source, lone)  # on another file system, and so not the database that is held
        yield lone
    finally:
        discard(lone)


def _copy_pages(source: Path, partial: Path, progress: Progress, lost: list[str] | None, may_be_older: bool) -> None:
    def unreadable(page: int, error: apsw.Error) -> None:
        if lost is None:
            raise error
        lost.append(f"the database file: page {page} cannot be read: {error}")

    handle = os.open(partial, os.O_WRONLY | os.O_CLOEXEC)
    try:
        copy_pages(source, handle, progress, unreadable, may_be_older=may_be_older)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(partial)) from error
    finally:
        os.close(handle)


@contextmanager
def _opened(partial: Path) -> Iterator[apsw.Connection]:
    """Raises StorageFailed."""
    db: apsw.Connection | None = None
    try:
        db = apsw.Connection(str(partial))
        yield db
    except apsw.Error as error:
        raise storage_failed(error, db) from error
    finally:
        if db is not None:
            db.close()


def _make_it_another_log(partial: Path, fresh_epoch: str) -> None:
    with _opened(partial) as db:
        # One file that needs no neighbour; a server that opens it turns the write-ahead log on again.
        db.pragma("journal_mode", "delete")
        db.pragma("synchronous", "full")
        files.make_a_copy(db, fresh_epoch)


def append_entries(partial: Path, told: Iterable[AuditEntry]) -> None:
    """Adds to the audit of a copy, which stays one file that needs no neighbour. Raises StorageFailed."""
    with _opened(partial) as db:
        db.pragma("synchronous", "full")
        with whole(db):
            entries.write(db, told)


def bring_up_to_date(partial: Path) -> None:
    """Migrates a copy that an older version may have made. Raises SchemaMismatch for a newer one's, StorageFailed."""
    with _opened(partial) as db:
        db.pragma("synchronous", "full")
        files.migrate(db)


def _prove(partial: Path) -> None:
    """Raises StorageFailed where SQLite finds anything wrong."""
    with _opened(partial) as db:
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
        unread = unread_in(found, db)
    if unread is not None:
        raise unread
    if found != ["ok"]:
        raise StorageFailed(f"the copy is not sound: {'; '.join(found)}")
