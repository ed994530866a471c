"""The file that holds the key of the local data folder: who may read it, and whether it holds a key."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from towerlog.config import BadSetting
from towerlog.model.key import is_intact


def read_key(file: Path) -> str:
    """The key in a file. Raises BadSetting for a file that others may read, or that holds something else."""
    with file.open("r", encoding="ascii", errors="replace") as opened:
        status = os.fstat(opened.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise BadSetting(
                f"{file}: other users may have read this key; revoke it (towerlog keys list) and remove the file"
            )
        key = opened.read(1000).strip()
    if not is_intact(key):
        raise BadSetting(f"{file}: does not hold a valid key; remove it, and a new one is created")
    return key
