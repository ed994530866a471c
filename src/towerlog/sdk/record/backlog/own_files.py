"""Folders and files of this user: opened first, then judged by the open descriptor, and reached through it from there.

What was looked at by name may be another file by the time it is opened, where somebody else can write to a folder
above. Whoever could write a line into a file here would have it sent under this user's key.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path
from types import TracebackType

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to go where a link points, nor to wait for the other end of a pipe.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_log = logging.getLogger("towerlog.sdk")


class OwnFolder:
    """A folder of this user, held open. Every file below it is opened through it."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        """What it was opened as, for messages."""
        self.number = number
        """The descriptor."""

    @classmethod
    def open(cls, path: Path) -> OwnFolder:
        """Opens a folder, and takes it from everybody but this user. Raises OSError, also where it is a stranger's."""
        return cls(path, _opened(path, path, None))

    def below(self, name: str) -> OwnFolder:
        """A folder in this one, opened in the same way. Raises OSError."""
        return OwnFolder(self.path / name, _opened(self.path / name, name, self.number))

    def make(self, name: str) -> None:
        """Makes a folder in this one where there is none. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.number)

    def open_file(self, name: str, flags: int) -> int:
        """The descriptor of a file in this folder that nobody but this user could have written. Raises OSError."""
        path = self.path / name
        try:
            number = os.open(name, flags | _FILE, 0o600, dir_fd=self.number)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        try:
            _check_file(os.fstat(number), path)
        except OSError:
            os.close(number)
            raise
        return number

    def files(self, suffix: str) -> list[str]:
        """Names of the files with this ending, in order: no links, which lead elsewhere, and no pipes."""
        with os.scandir(self.number) as found:
            return sorted(one.name for one in found if one.name.endswith(suffix) and one.is_file(follow_symlinks=False))

    def folders(self) -> list[str]:
        """Names of the folders in this one, in order; no links."""
        with os.scandir(self.number) as found:
            return sorted(one.name for one in found if one.is_dir(follow_symlinks=False))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.number)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.number)

    def __enter__(self) -> OwnFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def private_folder(path: Path) -> None:
    """Makes a folder, and above it what is not there yet, each for its owner alone. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def _opened(path: Path, name: Path | str, within: int | None) -> int:
    try:
        number = os.open(name, _FOLDER, dir_fd=within)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
            raise _not_own(path) from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        found = os.fstat(number)
        if found.st_uid != os.geteuid():
            raise _not_own(path)
        if stat.S_IMODE(found.st_mode) & 0o077:
            _log.warning("other users could read the folder %s; from now on its owner alone may", path)
            os.fchmod(number, 0o700)
    except OSError:
        os.close(number)
        raise
    return number


def _not_own(path: Path) -> PermissionError:
    return PermissionError(errno.EPERM, "a spool must be a folder of the user that writes it", str(path))


def _check_file(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(errno.EPERM, "other users can write it", str(path))
    if found.st_nlink > 1:
        # Whoever may write to the folder can put any file of this user into it under a second name.
        raise PermissionError(errno.EPERM, "it has a second name elsewhere", str(path))
