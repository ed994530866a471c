"""Where tests keep their files: in memory where there is room, so that a test does not wait for the disk.

What a test shows does not depend on it: a process that is killed loses nothing of either, and a disk that loses what
was not synced is modelled by the tests that are about it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = Path("/dev/shm")
ENOUGH_BYTES = 6 * 1024**3
"""Several times what a whole run keeps at once."""


def folder_in_memory() -> Path | None:
    """The folder, where it may be written to and has room."""
    if not os.access(FOLDER, os.W_OK) or shutil.disk_usage(FOLDER).free < ENOUGH_BYTES:
        return None
    return FOLDER if _available_bytes() >= ENOUGH_BYTES else None


def keep_files_in_memory() -> None:
    """Has pytest make its temporary folders there, unless `PYTEST_DEBUG_TEMPROOT` names another place."""
    folder = folder_in_memory()
    if folder is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))


def _available_bytes() -> int:
    """Memory that could be given out now; 0 where the system does not say."""
    told = Path("/proc/meminfo")
    if not told.exists():
        return 0
    lines = dict(line.split(":", 1) for line in told.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
