"""All of it or nothing, also where the process is ended in the midst."""

from __future__ import annotations

import gc
from pathlib import Path

import apsw

from towerlog.store.sqlite.connections.store_notes import whole


def test_what_is_dropped_after_its_connection_writes_nothing_and_says_nothing(tmp_path: Path) -> None:
    """As where a signal comes between the beginning and the block."""
    file = str(tmp_path / "a.db")
    db = apsw.Connection(file)
    db.execute("CREATE TABLE a (b)")
    held = whole(db)
    held.__enter__()
    db.execute("INSERT INTO a VALUES (1)")
    db.close()
    del held
    gc.collect()  # what is raised here would be a warning, which is an error
    again = apsw.Connection(file)
    assert again.execute("SELECT count(*) FROM a").get == 0
    again.close()
