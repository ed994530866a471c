"""A database that was closed in order, where this process can make no file beside it: it is read as it stands.

SQLite reads a database with a log by an index of that log, a file beside both. On a file system that is read-only, or
in a folder of another user, it can make none and reads nothing. Where no log is left none is needed: the database is
opened as one that nobody changes. On a read-only file system nobody does; in another user's folder a server may start
meanwhile, and `unchanged` finds that. Where a log is left on a read-only file system, `readable` copies both.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towerlog.errors import StoreLocked
from towerlog.store.placing import discard, partial_beside
from towerlog.store.sqlite.connections.connection import is_at_rest, is_read_only, log_bytes, log_of

_CHANGED = "{path} was opened by a server while it was read: begin again"
_PLACES = "`towerlog backup` to another disk, or `towerlog verify --copy-in FOLDER`"
_Stand = tuple[int, int, int, int]
"""Which file, its bytes, and when it was written."""


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """What is read inside of a database at rest is of one moment. Raises StoreLocked where it was written meanwhile.

    Of any other database SQLite itself sees to that.
    """
    before = _stand(path)
    try:
        yield
    except Exception as error:
        if not _is_still(path, before):
            raise StoreLocked(_CHANGED.format(path=path)) from error
        raise
    if not _is_still(path, before):
        raise StoreLocked(_CHANGED.format(path=path))


@contextmanager
def readable(path: Path, target: Path) -> Iterator[Path]:
    """The database, or where it lies on a read-only file system with a log, a copy of both beside `target`.

    The copy is removed in the end. Raises OSError, in words where there is no place for it.
    """
    if not (is_read_only(path.parent) and log_bytes(path)):
        yield path
        return
    if is_read_only(target.parent):
        words = f"its file system is read-only, and its log is not empty, which is read in a copy of both: {_PLACES}"
        raise OSError(errno.EROFS, words, str(path))
    own = partial_beside(target)
    try:
        shutil.copyfile(path, own)
        shutil.copyfile(log_of(path), log_of(own))
        yield own
    finally:
        discard(own)


def _is_still(path: Path, before: _Stand | None) -> bool:
    try:
        return before is None or _stand(path) == before
    except OSError:  # a start takes the folder from everybody else
        return False


def _stand(path: Path) -> _Stand | None:
    """None where it is not at rest."""
    if not path.exists() or not is_at_rest(path):
        return None
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
