"""Whose the files of the data folder are: its owner's alone, also where root has created them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
SIDES = ("", "-wal", "-shm", "-journal", ".lock")
"""What stands beside a database, by what its name ends in."""


def give_to_owner(file: Path) -> None:
    """Gives a file that root has created to the owner of its folder, whose server could not read it otherwise."""
    if os.geteuid() == 0:
        folder = file.parent.stat()
        os.chown(file, folder.st_uid, folder.st_gid, follow_symlinks=False)


def is_trusted_owner(uid: int, folder: Path) -> bool:
    """Whether a file of this user may be relied on: the caller's own; for root, the folder owner's too."""
    return uid == os.geteuid() or (os.geteuid() == 0 and uid == folder.stat().st_uid)


def keep_private(database: Path) -> None:
    """Takes the database and what stands beside it from everybody but their owner. Skips files of other users."""
    for suffix in SIDES:
        _restrict(database.with_name(database.name + suffix), FILE_MODE)


def keep_folder_private(folder: Path) -> None:
    """The same for the data folder. One that everybody may write to, such as /tmp, stays as it is."""
    if folder.is_dir() and not folder.stat().st_mode & stat.S_ISVTX:
        _restrict(folder, FOLDER_MODE)


def _restrict(path: Path, mode: int) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    is_ours = found.st_uid == os.geteuid() or os.geteuid() == 0
    if is_ours and not stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) & ~mode:
        path.chmod(mode)
