"""Syncing files and folders to disk. One that fails is final: what was to be written may be lost, and nobody is told
again."""

from __future__ import annotations

import os
from pathlib import Path

from towerlog.errors import StorageFailed


def sync(path: Path) -> None:
    """Syncs a file, or the names in a folder. Raises OSError where it cannot be opened, StorageFailed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_opened(descriptor, path)
    finally:
        os.close(descriptor)


def sync_opened(descriptor: int, path: Path) -> None:
    """The same of what is open. Raises StorageFailed."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        failed = StorageFailed(f"a sync of {path} failed: {error.strerror}")
        failed.fatal = True
        raise failed from error
