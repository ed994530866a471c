"""The spools of this machine: what each holds, and a person's decision about one that no program delivers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from towerlog.sdk.record.backlog.client_folder import Folder
from towerlog.sdk.record.backlog.destination import ABOUT, Destination
from towerlog.sdk.record.backlog.own_files import OwnFolder, private_folder
from towerlog.sdk.record.backlog.segments import SUFFIX, measured

MAX_ABOUT_BYTES = 16 * 1024


@dataclass(frozen=True)
class SpoolInfo:
    """One spool. `why_not`: why nothing is sent by itself; `held`: events that a running program will deliver."""

    spool_id: str
    url: str | None
    key: str | None
    """The fingerprint of the key."""
    why_not: str | None
    events: int
    held: int
    bytes: int
    oldest_ms: int | None
    """When the oldest file was begun, in milliseconds since 1970."""


def list_spools(root: Path) -> list[SpoolInfo]:
    """All spools of this user with undelivered events, by their names. Raises OSError."""
    found = [_info(folder) for folder in _folders(root)]
    return [one for one in found if one is not None and one.events]


def find_spools(root: Path, spool_id: str) -> list[Path]:
    """The folders of the spools whose name begins so; of the one of this name alone, where there is one."""
    found = [folder for folder in _folders(root) if folder.name.startswith(spool_id)]
    return [folder for folder in found if folder.name == spool_id] or found


def move_spool(folder: Path, root: Path, destination: Destination) -> int:
    """Moves the events of ended programs into a destination's spool; how many. What cannot be taken over stays.

    Raises OSError.
    """
    path = destination.folder(root)
    moved = 0
    with OwnFolder.open(folder) as home:
        for client in _taken(home, []):
            private_folder(path)
            with OwnFolder.open(path) as target:
                destination.note(target)
                moved += sum(segment.waiting for segment in client.segments())
                name = client.client_id
                os.rename(name, name, src_dir_fd=home.number, dst_dir_fd=target.number)
        _tidy(home)
    return moved


def drop_spool(folder: Path) -> int:
    """Deletes the events of ended programs; how many. What cannot be taken over stays. Raises OSError."""
    dropped = 0
    with OwnFolder.open(folder) as home:
        for client in _taken(home, []):
            for segment in client.segments():
                dropped += segment.waiting
                segment.remove()
            if not client.unreadable:
                client.place.remove("lock")
                os.rmdir(client.client_id, dir_fd=home.number)
        _tidy(home)
    return dropped


def left_behind(folder: Path) -> list[str]:
    """What of a spool cannot be taken over, though no program holds it: a line for each place, with the reason."""
    if not folder.exists():
        return []
    failed: list[OSError] = []
    unreadable: list[str] = []
    try:
        with OwnFolder.open(folder) as home:
            for client in _taken(home, failed):
                client.segments()
                if client.unreadable:
                    unreadable.append(f"{client.place.path}: has a file that cannot be read, or is not ours")
    except OSError as error:
        failed.append(error)
    return [f"{error.filename or folder}: {error.strerror}" for error in failed] + unreadable


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()) if root.is_dir() else []


def _taken(home: OwnFolder, failed: list[OSError]) -> Iterator[Folder]:
    """The folders of programs that have ended, each locked while it is looked at; in `failed` why others cannot be."""
    for name in home.folders():
        try:
            client = Folder.take(home, name)
        except OSError as error:
            failed.append(error)
            continue
        if client is not None:
            try:
                yield client
            finally:
                client.leave()


def _info(folder: Path) -> SpoolInfo | None:
    """What a spool holds; None for one that belongs to another user: nothing of it is ever sent."""
    try:
        home = OwnFolder.open(folder)
    except PermissionError:
        return None
    with home:
        about, held, oldest = _about(home), 0, None
        events = size = 0
        for name in home.folders():
            is_free = _is_free(home, name)
            for begun_ms, lines, whole in _files_of(home, name):
                events, size = events + lines, size + whole
                held += 0 if is_free else lines
                oldest = begun_ms if oldest is None else min(oldest, begun_ms)
    return SpoolInfo(folder.name, about.get("url"), about.get("key"), about.get("why_not"), events, held, size, oldest)


def _files_of(home: OwnFolder, name: str) -> Iterator[tuple[int, int, int]]:
    """(wall ms when it was begun, lines, bytes) of each file of a client. A program may remove one meanwhile."""
    # Of another user's folder or file nothing is sent, and so nothing is counted.
    with contextlib.suppress(FileNotFoundError, PermissionError), home.below(name) as client:
        for file_name in client.files(SUFFIX):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                with os.fdopen(client.open_file(file_name, os.O_RDONLY), "rb") as file:
                    begun_ms = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
                    _, lines, whole = measured(file)
                yield begun_ms, lines, whole


def _about(home: OwnFolder) -> dict[str, str]:
    """What the file of a spool says of its destination; nothing if it is damaged, or not ours."""
    try:
        with os.fdopen(home.open_file(ABOUT, os.O_RDONLY), "rb") as file:
            said = json.loads(file.read(MAX_ABOUT_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: text for name, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}


def _is_free(home: OwnFolder, name: str) -> bool:
    """Whether the program whose folder this is has ended; False also where that cannot be found out."""
    try:
        folder = Folder.take(home, name)
    except OSError:
        return False
    if folder is not None:
        folder.leave()
    return folder is not None


def _tidy(home: OwnFolder) -> None:
    """Removes the folder of a spool that is empty."""
    if not home.folders():
        with contextlib.suppress(OSError):
            home.remove(ABOUT)
            home.path.rmdir()
