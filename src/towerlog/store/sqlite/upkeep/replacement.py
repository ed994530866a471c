"""Another database in the place of a store: all of it or nothing has changed, whenever the process ends.

1. The new database is synced and gets a second name, `<where the old one is kept>.replacement`. From here on it counts:
   whoever becomes the writer goes on with 2, as often as it takes.
2. What lies beside the old database is moved away, and that gets a second name where it is kept.
3. The new one takes its name.

The folder is synced after each step, so that a power cut undoes no step before a later one.

Where a step fails, and this process goes on, all of them are undone, from the last to the first: who is told that it
has failed takes the old store for the one that is there. What cannot be undone is told with that.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

import structlog

from towerlog.errors import StorageFailed
from towerlog.store.owner import give_to_owner
from towerlog.store.placing import refuse_to_overwrite
from towerlog.store.space import FULL_ERRNOS, no_room
from towerlog.store.sqlite.connections.connection import log_of
from towerlog.store.sync import sync

SUFFIX = ".replacement"
_KEPT = ("-wal", "-journal")
"""What belongs to an old database and would be taken for the new one's; the index of the log is made anew."""
_AS_IT_WAS = "the store is as it was"
_log = structlog.get_logger("towerlog.store")


def replace(path: Path, partial: Path, aside: Path) -> None:
    """Puts `partial` in the place of the database at `path`, which is kept as `aside`. For the one writer.

    Raises FileExistsError, OSError, StorageFailed, which says which of the two stores is there.
    """
    log = log_of(partial)
    if log.exists() and log.stat().st_size:
        raise StorageFailed(f"{partial.name} is not whole: a part of it is still in its log")
    for side in ("", *_KEPT):
        refuse_to_overwrite(_beside(aside, side))
    give_to_owner(partial)
    sync(partial)
    # Linked and not renamed: where the file system has no links, nothing has changed yet.
    replacement = _beside(aside, SUFFIX)
    try:
        os.link(partial, replacement)
    except OSError as error:
        raise StorageFailed(f"{_words(error)}; {_AS_IT_WAS}") from error
    try:
        sync(path.parent)
        partial.unlink()
        _put_there(path, replacement)
    except (OSError, StorageFailed) as error:
        raise StorageFailed(f"{_words(error)}; {_undone(path, replacement)}") from error


def is_unfinished(path: Path) -> bool:
    """Whether a replacement of the database has broken off."""
    return bool(_replacements(path))


def finish(path: Path) -> None:
    """Goes on with a replacement that broke off, and logs that. For the one writer. Raises OSError, StorageFailed."""
    for replacement in _replacements(path):
        _put_there(path, replacement)
        aside = _aside(replacement)
        kept = str(aside) if os.path.lexists(aside) else None
        _log.warning("a restore or rebuild that had broken off was finished", database=str(path), kept=kept)


def _put_there(path: Path, replacement: Path) -> None:
    aside = _aside(replacement)
    for side in _KEPT:
        _move(_beside(path, side), _beside(aside, side))
    _beside(path, "-shm").unlink(missing_ok=True)
    # Linked and not renamed: at no moment is there no database.
    if os.path.lexists(path) and path.lstat().st_size and not os.path.lexists(aside):
        os.link(path, aside)
    sync(path.parent)
    replacement.rename(path)
    sync(path.parent)


def _undone(path: Path, replacement: Path) -> str:
    """Undoes what was done; which store is there, in words."""
    if not os.path.lexists(replacement):
        return "the new store is there, though a power cut may take it away"
    aside = _aside(replacement)
    try:
        # Until the last step the next start would go on with the replacement: at no moment is the old database without
        # its log.
        for side in _KEPT:
            if os.path.lexists(_beside(aside, side)):
                _beside(aside, side).rename(_beside(path, side))
        aside.unlink(missing_ok=True)
        sync(path.parent)
        replacement.unlink()
        sync(path.parent)
    except (OSError, StorageFailed) as error:
        left = f"{replacement.name} is still there, and the next start puts it in the place of the store"
        end = left if os.path.lexists(replacement) else "a power cut may do that"
        return f"that could not be undone ({_words(error)}): {end}"
    return _AS_IT_WAS


def _words(error: OSError | StorageFailed) -> str:
    if isinstance(error, StorageFailed):
        return error.message
    words = no_room(error.errno) if error.errno in FULL_ERRNOS else str(error.strerror)
    return words if error.filename is None else f"{error.filename}: {words}"


def _aside(replacement: Path) -> Path:
    return replacement.with_name(replacement.name.removesuffix(SUFFIX))


def _move(file: Path, kept: Path) -> None:
    if not os.path.lexists(file):
        return
    if os.path.lexists(kept):
        # It was moved before this broke off. What is there again is of a reader, and empty.
        file.unlink()
    else:
        file.rename(kept)


def _beside(database: Path, side: str) -> Path:
    return database.with_name(database.name + side)


def _replacements(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*{SUFFIX}"))
