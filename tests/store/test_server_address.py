"""Where a server listens is told only while it does, and only by its own store."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from towerlog.store import server_address
from towerlog.store.server_address import Listening, address_of_server, file_of

URL = "http://127.0.0.1:1234"
DIES = """
import os, sys
from pathlib import Path
from towerlog.store.server_address import Listening
held = Listening(Path(sys.argv[1]), "http://127.0.0.1:1234")
os._exit(0)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "towerlog.db"


def test_a_server_is_found_while_it_listens(database) -> None:
    assert address_of_server(database) is None
    held = Listening(database, URL)
    assert address_of_server(database) == URL
    assert address_of_server(database) == URL, "a look changes nothing"
    assert stat.S_IMODE(file_of(database).stat().st_mode) == 0o600
    held.close()
    held.close()
    assert address_of_server(database) is None
    assert not file_of(database).exists()


def test_what_a_dead_server_wrote_counts_for_nothing(database) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(database)], check=True)
    assert file_of(database).read_text().startswith(URL)
    assert address_of_server(database) is None
    held = Listening(database, "http://127.0.0.1:5678")
    assert address_of_server(database) == "http://127.0.0.1:5678"
    held.close()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(database, mode) -> None:
    held = Listening(database, URL)
    file_of(database).chmod(mode)
    with pytest.raises(PermissionError, match="another user may have written"):
        address_of_server(database)
    held.close()


def test_a_link_is_not_followed(database, tmp_path) -> None:
    elsewhere = Listening(tmp_path / "other", URL)
    file_of(database).symlink_to(file_of(tmp_path / "other"))
    with pytest.raises(OSError, match=r"towerlog\.db\.server"):
        address_of_server(database)
    held = Listening(database, "http://127.0.0.1:5678")
    assert address_of_server(tmp_path / "other") == URL, "a new server replaces the link, not what it leads to"
    held.close()
    elsewhere.close()


def test_the_loopback_of_another_machine_is_not_ours(database, monkeypatch) -> None:
    held = Listening(database, URL)
    monkeypatch.setattr(server_address, "network", lambda: "another")
    with pytest.raises(ValueError, match="another machine or in a container"):
        address_of_server(database)
    held.close()


def test_as_root_the_file_belongs_to_the_owner_of_the_folder(database) -> None:
    if os.geteuid() == 0:
        os.chown(database.parent, 54_321, 54_321)
    held = Listening(database, URL)
    assert file_of(database).stat().st_uid == database.parent.stat().st_uid
    assert address_of_server(database) == URL
    held.close()


def test_where_the_file_cannot_be_removed_nobody_is_sent_there_all_the_same(database) -> None:
    """And the stop of the server goes on: the folder may be one that nobody may write to any more."""
    held = Listening(database, URL)
    file_of(database).rename(database.with_name("moved"))
    file_of(database).mkdir()
    held.close()
    file_of(database).rmdir()
    database.with_name("moved").rename(file_of(database))
    assert address_of_server(database) is None
