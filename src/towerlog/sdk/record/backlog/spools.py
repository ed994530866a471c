"""The spools of this machine: what each holds, and a person's decision about one that no program delivers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from towerlog.sdk.record.backlog.destination import ABOUT, Destination
from towerlog.sdk.record.backlog.segments import measured
from towerlog.sdk.record.backlog.spool import Folder, own_folder, private_folder, segment_paths

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
    """All spools with undelivered events, by their names. Raises OSError."""
    found = [_info(folder) for folder in _folders(root)]
    return [one for one in found if one.events]


def find_spool(root: Path, spool_id: str) -> Path:
    """The folder of a spool by its name or the beginning of it. Raises ValueError for none or several."""
    found = [folder for folder in _folders(root) if folder.name.startswith(spool_id)]
    exact = [folder for folder in found if folder.name == spool_id]
    if len(exact or found) != 1:
        raise ValueError(f"there {'is no spool' if not found else 'are several spools'} {spool_id!r}")
    return (exact or found)[0]


def move_spool(folder: Path, root: Path, destination: Destination) -> int:
    """Moves the events of ended programs into a destination's spool; how many. What cannot be taken over stays.

    Raises OSError.
    """
    target = destination.folder(root)
    moved = 0
    for client in _taken(folder, []):
        private_folder(target)
        own_folder(target)
        destination.note(target)
        moved += sum(segment.waiting for segment in client.segments())
        client.path.rename(target / client.client_id)
    _tidy(folder)
    return moved


def drop_spool(folder: Path) -> int:
    """Deletes the events of ended programs; how many. What cannot be taken over stays. Raises OSError."""
    dropped = 0
    for client in _taken(folder, []):
        for segment in client.segments():
            dropped += segment.waiting
            segment.remove()
        if not client.unreadable:
            (client.path / "lock").unlink(missing_ok=True)
            client.path.rmdir()
    _tidy(folder)
    return dropped


def left_behind(folder: Path) -> list[str]:
    """What of a spool cannot be taken over, though no program holds it: a line for each place, with the reason."""
    if not folder.exists():
        return []
    failed: list[OSError] = []
    unreadable: list[str] = []
    try:
        own_folder(folder)
        for client in _taken(folder, failed):
            client.segments()
            if client.unreadable:
                unreadable.append(f"{client.path}: has a file that cannot be read")
    except OSError as error:
        failed.append(error)
    return [f"{error.filename or folder}: {error.strerror}" for error in failed] + unreadable


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()) if root.is_dir() else []


def _taken(folder: Path, failed: list[OSError]) -> Iterator[Folder]:
    """The folders of programs that have ended, each locked while it is looked at; in `failed` why others cannot be."""
    for path in _folders(folder):
        try:
            client = Folder.take(path)
        except OSError as error:
            failed.append(error)
            continue
        if client is not None:
            try:
                yield client
            finally:
                client.leave()


def _info(folder: Path) -> SpoolInfo:
    about = _about(folder)
    events = held = size = 0
    oldest: int | None = None
    for client in _folders(folder):
        is_free = _is_free(client)
        for path in segment_paths(client):
            # A program may deliver and remove a file meanwhile.
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                begun_ms = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
                _, lines, whole = measured(file)
                events, size = events + lines, size + whole
                held += 0 if is_free else lines
                oldest = begun_ms if oldest is None else min(oldest, begun_ms)
    return SpoolInfo(folder.name, about.get("url"), about.get("key"), about.get("why_not"), events, held, size, oldest)


def _about(folder: Path) -> dict[str, str]:
    """What the file of a spool says of its destination; nothing if it is damaged, or not ours."""
    try:
        with open(folder / ABOUT, "rb", opener=_opened_file) as file:
            said = json.loads(file.read(MAX_ABOUT_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: text for name, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}


def _opened_file(path: str, flags: int) -> int:
    """Opens a file, without waiting if it is a pipe, nor going where a link points."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_free(client: Path) -> bool:
    """Whether the program whose folder this is has ended; False also where that cannot be found out."""
    try:
        folder = Folder.take(client)
    except OSError:
        return False
    if folder is not None:
        folder.leave()
    return folder is not None


def _tidy(folder: Path) -> None:
    """Removes the folder of a spool that is empty."""
    if not any(path.is_dir() for path in folder.iterdir()):
        (folder / ABOUT).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
