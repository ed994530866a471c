"""Where the server of a store listens: a file beside the database, which the server keeps locked as long as it listens.

The lock is the proof. What a server wrote that has gone, or the key of a store sent to whatever else listens on its
port, would help a stranger; no other user can lock a file of this folder, and nobody can take a port while the server
listens on it. The lock (`flock`) ends with the process whatever ends it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from towerlog.store import owner

MAX_BYTES = 1000
_NETWORK = Path("/proc/self/ns/net")
_MACHINE = Path("/proc/sys/kernel/random/boot_id")


class Listening:
    """Says where a server listens until it is closed. Close it before the server closes its socket."""

    def __init__(self, database: Path, url: str) -> None:
        """Call it once the server listens at `url`, as the writer of `database`. Raises OSError."""
        self._file = file_of(database)
        self._file.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor: int | None = os.open(self._file, flags, owner.FILE_MODE)
        try:
            owner.give_to_owner(self._file)
            # Locked when it is whole: who finds it locked may read it.
            os.write(self._descriptor, f"{url}\n{network()}\n".encode())
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self.close()
            raise OSError(error.errno, error.strerror, str(self._file)) from error

    def close(self) -> None:
        """From now on nobody is sent there, also where the file cannot be removed: nobody holds it then. May be called
        twice."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._file.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def address_of_server(database: Path) -> str | None:
    """The URL at which the server of this store listens now, seen from its machine; None where none does.

    Raises PermissionError for a file that another user may have written, ValueError for a server that listens on
    another machine or in the network of a container, OSError.
    """
    file = file_of(database)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not owner.is_trusted_owner(found.st_uid, file.parent) or stat.S_IMODE(found.st_mode) & 0o022:
            raise PermissionError(f"{file}: another user may have written this file")
        if not _is_locked(descriptor):
            return None
        url, where, *_ = os.read(descriptor, MAX_BYTES).decode("ascii").split("\n")
    finally:
        os.close(descriptor)
    if where != network():
        raise ValueError(f"the server of {database} runs on another machine or in a container, where {url} is its own")
    return url


def file_of(database: Path) -> Path:
    """The file beside the database."""
    return database.with_name(f"{database.name}.server")


def network() -> str:
    """Which network `127.0.0.1` belongs to: that of this boot of the machine, and of the container in it."""
    try:
        return f"{_MACHINE.read_text().strip()} {_NETWORK.stat().st_ino}"
    except OSError:
        # Not every system tells.
        return ""


def _is_locked(descriptor: int) -> bool:
    """Whether another process holds it. Nobody but the server waits for this lock, and it waits for this look."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
