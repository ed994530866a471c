"""Whose files they are: their owner's alone, also where root has made them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.cli.commands import answered
from towerlog.cli import connect
from towerlog.config import Settings
from towerlog.store import owner

STRANGER = 54_321


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of another user, where this one may make such; else of its own."""
    made = tmp_path / "data"
    made.mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(made, STRANGER, STRANGER)
    return made


def test_what_root_makes_belongs_to_the_owner_of_the_folder(folder, monkeypatch) -> None:
    monkeypatch.delenv("TOWERLOG_API_KEY", raising=False)
    monkeypatch.delenv("TOWERLOG_URL", raising=False)
    answered("keys", "create", "--name", "n", "--scopes", "read", "--init", "--data-dir", folder)
    settings = Settings(data_dir=str(folder))
    key = connect.local_key(settings)
    assert connect.local_key(settings) == key, "root reads what it has given away"
    answered("backup", folder / "copy.db", "--data-dir", folder)
    whose = {file.name: file.stat().st_uid for file in folder.iterdir()}
    assert {"towerlog.db", "towerlog.db.lock", "cli.key", "copy.db"} <= set(whose)
    assert set(whose.values()) == {folder.stat().st_uid}, whose
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_for_everybody_stays_one_and_a_link_is_not_followed(tmp_path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    owner.keep_folder_private(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    other = tmp_path / "other"
    other.touch(mode=0o644)
    (shared / "towerlog.db-wal").symlink_to(other)
    owner.keep_private(shared / "towerlog.db")
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


def test_modes_that_are_stricter_stay(tmp_path) -> None:
    database = tmp_path / "towerlog.db"
    database.touch()
    database.chmod(0o400)
    owner.keep_private(database)
    assert stat.S_IMODE(database.stat().st_mode) == 0o400


@pytest.mark.parametrize("uid", [None, STRANGER + 1])
def test_the_file_of_a_stranger_is_not_trusted(folder, uid) -> None:
    assert owner.is_trusted_owner(os.geteuid() if uid is None else uid, folder) is (uid is None)
