"""Room that was freed: pages go back, and no old byte is left in a page between its pointers and its rows."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.erasure.reclaim import give_back, gives_back, wipe, wiped_page

PAGE = 1024


def page(kind: int, cells: list[int], begins: int, fill: bytes = b"x") -> bytes:
    """A leaf page whose rows begin there, with something in the gap."""
    head = bytes([kind, 0, 0]) + len(cells).to_bytes(2, "big") + begins.to_bytes(2, "big") + b"\0"
    head += b"".join(place.to_bytes(2, "big") for place in cells)
    return head + fill * (begins - len(head)) + b"r" * (PAGE - begins)


def test_only_the_gap_becomes_zeros() -> None:
    before = page(13, [1000, 900], 900)
    after = wiped_page(before)
    assert after is not None
    assert (after[:12], after[900:]) == (before[:12], before[900:])
    assert after[12:900] == bytes(888)
    assert wiped_page(after) is None


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(page(0, [1000], 900), id="of another kind"),
        pytest.param(page(13, [800], 900), id="a row before the rows"),
        pytest.param(page(13, [1000], 5), id="rows inside the header"),
        pytest.param(page(13, [1000], 900)[:800], id="rows behind the end"),
    ],
)
def test_what_is_no_page_of_rows_is_left_alone(odd: bytes) -> None:
    assert wiped_page(odd) is None


def test_no_byte_of_a_deleted_row_is_left_and_the_rest_is_whole(tmp_path: Path) -> None:
    """With pages that were split and joined: there the bytes of rows stay behind."""
    db, chosen = files.open_connection(tmp_path / "t.db"), random.Random(7)
    db.execute("CREATE TABLE t (a INT, b TEXT, doc BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID; CREATE INDEX i ON t (b, a)")
    kept = {}
    for number in range(4000):
        group = chosen.randrange(40)
        doc = b"MARK%02d-" % group * chosen.choice([1, 3, 20, 90, 400])
        key = (chosen.randrange(1000), f"MARK{group:02d}-{number}")
        db.execute("INSERT INTO t VALUES (?, ?, ?)", (*key, doc))
        kept[key] = doc
    db.execute("DELETE FROM t WHERE b < 'MARK20'")
    kept = {key: doc for key, doc in kept.items() if key[1] >= "MARK20"}
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    before, at = (tmp_path / "t.db").stat().st_size, 1
    while give_back(db):
        pass
    while at:
        at = wipe(db, at)
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    data = (tmp_path / "t.db").read_bytes()
    assert [group for group in range(20) if b"MARK%02d" % group in data] == []
    assert gives_back(db)
    assert len(data) < before, "the file gives back the pages of deleted rows"
    assert db.pragma("freelist_count") == 0
    assert db.pragma("integrity_check") == "ok"
    assert {(a, b): bytes(doc) for a, b, doc in db.execute("SELECT a, b, doc FROM t")} == kept


def test_nothing_is_wiped_while_somebody_reads_what_is_not_in_the_file_yet(tmp_path: Path) -> None:
    db = files.open_connection(tmp_path / "t.db")
    db.execute("CREATE TABLE t (a)")
    reader = files.open_connection(tmp_path / "t.db", read_only=True)
    reader.execute("BEGIN; SELECT count(*) FROM t").fetchall()
    db.execute("INSERT INTO t VALUES (1)")
    assert wipe(db, 1) == 1
    reader.execute("COMMIT")
    assert wipe(db, 1) == 0


def test_pages_are_given_back_within_the_room_of_one_step(tmp_path: Path) -> None:
    db = files.open_connection(tmp_path / "t.db")
    db.execute("CREATE TABLE gone (doc); CREATE TABLE kept (doc)")
    for table in ("gone", "kept"):
        db.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)"
            f" INSERT INTO {table} SELECT randomblob(7000) FROM n"
        )
    db.execute("DELETE FROM gone")
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    largest, before = 0, (tmp_path / "t.db").stat().st_size
    while give_back(db):
        largest = max(largest, files.log_bytes(tmp_path / "t.db"))
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert 0 < largest < 5 * 1024 * 1024
    assert (tmp_path / "t.db").stat().st_size < before * 2 // 3
