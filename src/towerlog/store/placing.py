"""A finished file takes its name: it is made beside its place under another one, then published or discarded."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import msgspec

from towerlog.store.owner import give_to_owner
from towerlog.store.sync import sync

PARTIAL = ".partial"
"""How the hidden name of a copy ends that is being made."""


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


def partial_beside(target: Path) -> Path:
    """An empty file of a name of its own in the folder of `target`. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
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
