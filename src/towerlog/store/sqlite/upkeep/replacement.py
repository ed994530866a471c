"""Another database in the place of a store: all of it or nothing has changed, whenever the process ends.

1. The new database is synced and gets a second name, `<where the old one is kept>.replacement`. From here on it counts:
   whoever becomes the writer goes on with 2, as often as it takes.
2. What lies beside the old database is moved away, and that gets a second name where it is kept.
3. The new one takes its name.

The folder is synced after each step, so that a power cut undoes no step before a later one.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from towerlog.errors import StorageFailed
from towerlog.store.owner import give_to_owner
from towerlog.store.placing import refuse_to_overwrite
from towerlog.store.sqlite.connections.connection import log_of
from towerlog.store.sync import sync

SUFFIX = ".replacement"
_KEPT = ("-wal", "-journal")
"""What belongs to an old database and would be taken for the new one's; the index of the log is made anew."""


def replace(path: Path, partial: Path, aside: Path) -> None:
    """Puts `partial` in the place of the database at `path`, which is kept as `aside`. For the one writer.

    Raises FileExistsError, OSError, StorageFailed.
    """
    log = log_of(partial)
    if log.exists() and log.stat().st_size:
        raise StorageFailed(f"{partial.name} is not whole: a part of it is still in its log")
    for side in ("", *_KEPT):
        refuse_to_overwrite(_beside(aside, side))
    give_to_owner(partial)
    sync(partial)
    # Linked and not renamed: where the file system has no links, nothing has changed yet.
    os.link(partial, _beside(aside, SUFFIX))
    sync(path.parent)
    partial.unlink()
    finish(path)


def is_unfinished(path: Path) -> bool:
    """Whether a replacement of the database has broken off."""
    return bool(_replacements(path))


def finish(path: Path) -> bool:
    """Goes on with a replacement that broke off; whether there was one. For the one writer.

    Raises OSError, StorageFailed.
    """
    found = _replacements(path)
    for replacement in found:
        aside = replacement.with_name(replacement.name.removesuffix(SUFFIX))
        for side in _KEPT:
            _move(_beside(path, side), _beside(aside, side))
        _beside(path, "-shm").unlink(missing_ok=True)
        # Linked and not renamed: at no moment is there no database.
        if os.path.lexists(path) and path.lstat().st_size and not os.path.lexists(aside):
            os.link(path, aside)
        sync(path.parent)
        replacement.rename(path)
        sync(path.parent)
    return bool(found)


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
