"""Folders and files of a spool are this user's, and are judged by what was opened and not by a name."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tables import table
from towerlog.sdk.record.backlog import own_files
from towerlog.sdk.record.backlog.own_files import OwnFolder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OwnFolder]:
    with OwnFolder.open(tmp_path) as opened:
        yield opened


def linked(path: Path) -> None:
    """A link to a file of ours elsewhere."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(b"ours")
    path.symlink_to(elsewhere)


def named_twice(path: Path) -> None:
    """A second name for a file of ours elsewhere."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(b"ours")
    os.link(elsewhere, path)


def open_to_all(path: Path) -> None:
    """A file that others may have written to."""
    path.write_bytes(b"whose?")
    path.chmod(0o666)


def bound(path: Path) -> None:
    """A socket. Its address has room for 107 bytes, which a folder of tests may exceed."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


STRANGE: dict[str, Callable[[Path], None]] = {
    "link": linked,
    "second name": named_twice,
    "open to all": open_to_all,
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "socket": bound,
}


@table("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
@table("what", STRANGE)
def test_what_is_no_file_of_this_user_alone_is_not_opened(folder: OwnFolder, what: str, flags: int) -> None:
    name = f"{what} {flags}"
    STRANGE[what](folder.path / name)
    with pytest.raises(OSError):
        folder.open_file(name, flags)


def test_a_file_of_this_user_is_opened_and_a_new_one_is_for_its_owner_alone(folder: OwnFolder) -> None:
    (folder.path / "f").write_bytes(b"ours")
    with os.fdopen(folder.open_file("f", os.O_RDONLY), "rb") as file:
        assert file.read() == b"ours"
    os.close(folder.open_file("new", os.O_WRONLY | os.O_CREAT))
    assert stat.S_IMODE((folder.path / "new").stat().st_mode) == 0o600


def test_a_file_or_a_folder_of_another_user_is_refused(folder: OwnFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / "f").write_bytes(b"theirs")
    (folder.path / "d").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        folder.open_file("f", os.O_RDONLY)
    with pytest.raises(PermissionError, match="a folder of the user"):
        folder.below("d")


def test_what_was_opened_is_judged_whatever_has_its_name_by_then(
    folder: OwnFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file takes the name between the opening and the look at it, as whoever may write to the folder can do."""
    (folder.path / "f").write_bytes(b"whose?")
    (folder.path / "f").chmod(0o666)
    judged = own_files._check_file

    def swapped(found: os.stat_result, path: Path) -> None:
        path.unlink()
        path.write_bytes(b"ours")
        judged(found, path)

    monkeypatch.setattr(own_files, "_check_file", swapped)
    with pytest.raises(PermissionError, match="other users can write it"):
        folder.open_file("f", os.O_RDONLY)


def test_another_folder_under_the_name_of_one_that_is_open_is_not_reached(folder: OwnFolder) -> None:
    folder.make("d")
    with folder.below("d") as opened:
        (folder.path / "d").rename(folder.path / "moved")
        (folder.path / "d").mkdir()
        (folder.path / "d" / "f").write_bytes(b"planted")
        assert opened.files("") == []
        os.close(opened.open_file("g", os.O_WRONLY | os.O_CREAT))
    assert os.listdir(folder.path / "moved") == ["g"]
