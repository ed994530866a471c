"""What is in a database beyond what the migrations make: found by name, and refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from tests.support.fakes import FakeClock, SeededIds
from towerlog.errors import SchemaMismatch
from towerlog.store.migrate import load_migrations
from towerlog.store.sqlite.connections.schema import MAX_NAMED, strange
from towerlog.store.sqlite.store import open_reader, open_store
from towerlog.store.sqlite.upkeep.backup import copy_database
from towerlog.store.sqlite.upkeep.salvage import salvage

PLANTED = {
    "table": ("CREATE TABLE planted (a)", "the table 'planted'"),
    "index": ("CREATE INDEX planted ON event (recorded_at)", "the index 'planted'"),
    "view": ("CREATE VIEW planted AS SELECT * FROM event", "the view 'planted'"),
    "trigger": (
        "CREATE TRIGGER planted AFTER INSERT ON meta BEGIN UPDATE meta SET value = 'planted'; END",
        "the trigger 'planted'",
    ),
    "a table of ours, otherwise": ("ALTER TABLE org ADD COLUMN planted TEXT", "the table 'org'"),
    "an index of ours, otherwise": (
        "DROP INDEX event_by_id; CREATE INDEX event_by_id ON event (run, event_id)",
        "the index 'event_by_id'",
    ),
}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store that was closed."""
    made = tmp_path / "towerlog.db"
    await (await open_store(made, FakeClock(), SeededIds())).close()
    return made


def run(path: Path, sql: str) -> None:
    """What somebody else does to the file."""
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


@pytest.mark.parametrize("what", PLANTED)
async def test_a_store_with_something_else_in_it_is_refused_by_name(path: Path, what: str, tmp_path: Path) -> None:
    sql, name = PLANTED[what]
    run(path, sql)
    with pytest.raises(SchemaMismatch, match=f"has what no version of towerlog makes: {name}"):
        await open_store(path, FakeClock(), SeededIds())
    with pytest.raises(SchemaMismatch, match=name):
        await open_reader(path, FakeClock())
    with pytest.raises(SchemaMismatch, match=name):
        copy_database(path, tmp_path / "copy.db", "e-new", lambda *_: None)
    assert not any("copy" in name for name in os.listdir(tmp_path))


async def test_a_trigger_is_not_carried_out_before_it_is_refused(path: Path) -> None:
    def meta() -> list[object]:
        db = apsw.Connection(str(path))
        try:
            return list(db.execute("SELECT name, value FROM meta ORDER BY name"))
        finally:
            db.close()

    before = meta()
    run(path, PLANTED["trigger"][0])
    with pytest.raises(SchemaMismatch):
        await open_store(path, FakeClock(), SeededIds())
    assert meta() == before


async def test_what_is_left_out_of_a_rebuild_is_not_refused_any_more(path: Path, tmp_path: Path) -> None:
    run(path, f"{PLANTED['trigger'][0]}; CREATE VIEW another AS SELECT * FROM event")
    with pytest.raises(SchemaMismatch):
        await open_store(path, FakeClock(), SeededIds())
    partial, lost = salvage(path, tmp_path / "made.db", lambda *_: None)
    assert lost == []
    await (await open_store(partial, FakeClock(), SeededIds())).close()


async def test_what_sqlite_makes_by_itself_is_nobodys(path: Path) -> None:
    run(path, "ANALYZE")
    await (await open_store(path, FakeClock(), SeededIds())).close()


async def test_a_few_are_named(path: Path) -> None:
    run(path, "; ".join(f"CREATE TABLE planted_{number} (a)" for number in range(MAX_NAMED + 3)))
    db = apsw.Connection(str(path))
    try:
        found = strange(db, load_migrations("sqlite"))
    finally:
        db.close()
    assert found == [f"the table 'planted_{number}'" for number in range(MAX_NAMED)] + ["3 more"]
