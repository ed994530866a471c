"""Backups of an SQLite store: a copy taken while the server writes, proved sound, and put in its place in one step.

`copy_database` makes the copy beside its place and proves that SQLite can read all of it; whoever calls proves what
the copy says, and then publishes or discards it. What was restored is another log than the one that went on, so the
copy gets a new epoch: a cursor of the old log gets a gap, never wrong events.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec

from towerlog.errors import StorageFailed
from towerlog.store.owner import give_to_owner
from towerlog.store.sqlite import connection as files
from towerlog.store.sqlite.upkeep.failures import storage_failed
from towerlog.store.sync import sync

STEP_PAGES = 256
"""Pages copied between two words of progress: 4 MiB."""

Progress = Callable[[int, int], None]
"""Told how many pages are copied, and of how many."""


class Copy(msgspec.Struct, frozen=True):
    """A finished database under a temporary name."""

    partial: Path
    target: Path

    def publish(self) -> int:
        """Gives it its final name, synced to disk; its size in bytes. Raises what `publish` raises."""
        return publish(self.partial, self.target)

    def discard(self) -> None:
        """Removes it, unless it was published."""
        discard(self.partial)


def copy_database(source: Path, target: Path, fresh_epoch: str, progress: Progress) -> Path:
    """A sound copy of the store at `source`, under a name of its own in the folder of `target`.

    It is the store of one moment, that of the call: all that had been committed by then, nothing that came later.
    Raises FileExistsError when there is something at `target`, OSError, SchemaMismatch, StorageFailed.
    """
    refuse_to_overwrite(target)
    partial = partial_beside(target)
    try:
        _copy_pages(source, partial, progress)
        _make_it_another_log(partial, fresh_epoch)
    except apsw.Error as error:
        discard(partial)
        raise storage_failed(error, None) from error
    except BaseException:
        discard(partial)
        raise
    return partial


def partial_beside(target: Path) -> Path:
    """An empty file of a name of its own in the folder of `target`. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    return Path(name)


def publish(partial: Path, target: Path) -> int:
    """Puts a finished copy in its place, durably; its size in bytes. Raises FileExistsError, OSError, StorageFailed."""
    refuse_to_overwrite(target)
    give_to_owner(partial)
    sync(partial)
    partial.rename(target)
    sync(target.parent)
    return target.stat().st_size


def discard(partial: Path) -> None:
    """Removes a copy that is not to be kept, and what SQLite put beside it."""
    for suffix in ("", "-journal", "-wal", "-shm", ".lock"):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def refuse_to_overwrite(target: Path) -> None:
    """Raises FileExistsError when there is anything at this path, be it a link to nowhere."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "this file exists already; choose another name", str(target))


def _copy_pages(source: Path, partial: Path, progress: Progress) -> None:
    from_db = files.open_connection(source, read_only=True)
    into_db = apsw.Connection(str(partial))
    try:
        files.check_schema(from_db)
        # The open transaction holds the moment: without it every commit of the server would start the copy anew.
        with from_db:
            from_db.execute("SELECT count(*) FROM meta").get  # noqa: B018 - a transaction begins with its first read
            with into_db.backup("main", from_db, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
                    progress(copying.page_count - copying.remaining, copying.page_count)
    finally:
        into_db.close()
        from_db.close()


def _make_it_another_log(partial: Path, fresh_epoch: str) -> None:
    db = apsw.Connection(str(partial))
    try:
        # One file that needs no neighbour; a server that opens it turns the write-ahead log on again.
        db.pragma("journal_mode", "delete")
        db.pragma("synchronous", "full")
        files.make_a_copy(db, fresh_epoch)
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
    finally:
        db.close()
    if found != ["ok"]:
        raise StorageFailed(f"the copy is not sound: {'; '.join(found)}")
