"""Files that hold one key: written whole and for their owner alone, read only where nobody else could have."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from towerlog.ambient import SystemClock, SystemIds
from towerlog.config import BadSetting
from towerlog.model.key import is_intact
from towerlog.store.owner import FILE_MODE, give_to_owner, is_trusted_owner


def read_key(file: Path) -> str:
    """The key in a file. Raises BadSetting for a file that others may read, or that holds something else."""
    with file.open("r", encoding="ascii", errors="replace") as opened:
        status = os.fstat(opened.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077 or not is_trusted_owner(status.st_uid, file.parent):
            raise BadSetting(
                f"{file}: other users may have read this key; revoke it (towerlog keys ls) and remove the file"
            )
        key = opened.read(1000).strip()
    if not is_intact(key):
        raise BadSetting(f"{file}: does not hold a valid key; remove it, and a new one is created")
    return key


def write_key(file: Path, key: str) -> bool:
    """Writes the file unless there is one; whether it did."""
    partial = file.with_name(f"{file.name}.{SystemIds(SystemClock()).token(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(key + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        give_to_owner(partial)
        with contextlib.suppress(FileExistsError):
            # A link, since a rename would replace another process's file.
            os.link(partial, file)
            return True
        return False
    finally:
        partial.unlink()
