"""A finished file takes its name: it is made beside its place under another one, then published or discarded."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def copy_to_verify(path: Path, folder: Path) -> Path:
    """Where a copy of the store at `path` is made for long reads; it never gets this name."""
    return folder / f"{path.name}.verify"


@contextmanager
def held_partial(target: Path) -> Iterator[Path]:
    """As `partial_beside`, for as long as this process lives or holds it: then `remove_left` takes it away."""
    with _folder_of(target) as folder:
        fcntl.flock(folder, fcntl.LOCK_SH)  # nobody removes it between its making and its lock
        partial = partial_beside(target)
        give_to_owner(partial)
        handle = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield partial
    finally:
        discard(partial)
        os.close(handle)


def remove_left(target: Path) -> None:
    """Removes what a `held_partial` of this target has left whose process was killed. Raises OSError."""
    with _folder_of(target) as folder:
        if not _is_locked(folder):
            return
        for partial in target.parent.glob(f".{glob.escape(target.name)}.*{PARTIAL}"):
            try:
                handle = os.open(partial, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:  # another account's, or a link: not ours to remove
                continue
            try:
                if _is_locked(handle):
                    discard(partial)
            finally:
                os.close(handle)


@contextmanager
def _folder_of(target: Path) -> Iterator[int]:
    folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _is_locked(handle: int) -> bool:
    """Whether it could be locked: nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
