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
import structlog

from towerlog.errors import StorageFailed
from towerlog.store.owner import give_to_owner
from towerlog.store.sync import sync

PARTIAL = ".partial"
"""How the hidden name of a copy ends that is being made."""
_log = structlog.get_logger("towerlog.store")


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
    with _opened(target.parent) as folder:
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
    with _opened(target.parent) as folder:
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
def held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder of a name of its own, removed in the end, and with it those of this prefix whose processes are gone.

    Raises OSError; without a descriptor to spare nothing is left either.
    """
    with _opened(parent) as whole:
        if _is_locked(whole):
            _remove_left_folders(parent, prefix)
        fcntl.flock(whole, fcntl.LOCK_SH)  # as in `held_partial`
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            folder.rmdir()
            raise
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        os.close(handle)  # what it takes is needed to look into the folder
        _remove_folder(folder)


def _remove_left_folders(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:  # another account's, or no folder: not ours to remove
            continue
        try:
            is_left = _is_locked(handle)
        finally:
            os.close(handle)
        if is_left:
            _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    """What cannot be removed is logged."""
    try:
        _remove_all(folder)
    except OSError as error:
        if os.path.lexists(folder):
            _log.warning("a folder that is not needed any more stays", folder=str(folder), error=error.strerror)


def _remove_all(folder: Path) -> None:
    """One folder is open at a time. Raises OSError."""
    with os.scandir(folder) as found:
        inside = list(found)
    for one in inside:
        if one.is_dir(follow_symlinks=False):
            _remove_all(Path(one.path))
        else:
            os.unlink(one.path)
    folder.rmdir()


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_locked(handle: int) -> bool:
    """Whether it could be locked: nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def publish(partial: Path, target: Path) -> int:
    """Puts a finished copy in its place, durably; its size in bytes.

    Raises FileExistsError, OSError; StorageFailed, which says whether the copy is there.
    """
    refuse_to_overwrite(target)
    give_to_owner(partial)
    sync(partial)
    size_bytes = partial.stat().st_size
    partial.rename(target)
    try:
        sync(target.parent)
    except (OSError, StorageFailed) as error:
        words = error.message if isinstance(error, StorageFailed) else str(error.strerror)
        raise StorageFailed(f"{target} is whole and there, though a power cut may take it away: {words}") from error
    return size_bytes


def discard(partial: Path) -> None:
    """Removes a copy that is not to be kept, and what SQLite put beside it.

    What cannot be removed is logged: it changes nothing of what the copy was made for, or of why that has failed.
    """
    for suffix in ("", "-journal", "-wal", "-shm", ".lock"):
        file = partial.with_name(partial.name + suffix)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            # A disk that fails says so of what was never there as well.
            if os.path.lexists(file):
                _log.warning("a file that is not needed any more stays", file=str(file), error=error.strerror)


def refuse_to_overwrite(target: Path) -> None:
    """Raises FileExistsError when there is anything at this path, be it a link to nowhere."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "this file exists already; choose another name", str(target))
