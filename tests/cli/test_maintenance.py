"""Verify, rebuild and backup on a store that a server has filled, whole and damaged."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.support.server import Server
from towerlog.store.migrate import load_migrations

EVENTS = 60


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one run of sixty events, of a server that was stopped."""
    server = Server(tmp_path_factory.mktemp("filled") / "data", {"TOWERLOG_STEPS_RATE_PER_MINUTE": "0"})
    try:
        server.start()
        client = server.client()
        for number in range(EVENTS):
            event = {"event_type": "step", "sdk_run_id": "r", "agent_name": "a", "payload": {"n": number}}
            assert client.post("/api/ingest", json=event).status_code == 200
        server.stop()
    finally:
        server.close()
    return server.data_dir / "towerlog.db"


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    copy = tmp_path / "towerlog.db"
    copy.write_bytes(filled.read_bytes())
    return copy


def test_a_backup_of_the_version_before_comes_back_with_this_schema(path: Path, tmp_path: Path) -> None:
    """Its runs have no texts until a rebuild, which is no difference."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute("DROP TABLE run_text; DROP TABLE removed_org; DROP INDEX event_by_response")
        with_indexes_of_first_version(db)
        db.execute("DELETE FROM migration WHERE number > 1; PRAGMA journal_mode = delete")
    place = tmp_path / "place" / "towerlog.db"
    assert answered("restore", path, *url(place))["events"] == EVENTS
    for command in (["verify"], ["backup", tmp_path / "copy.db"], ["rebuild"], ["verify"]):
        assert answered(*command, *url(place))["ok"] is True, command


def with_indexes_of_first_version(db: apsw.Connection) -> None:
    """Of what uses content: it filled them with every write."""
    first = load_migrations("sqlite")[0].sql
    names = ("node_by_parent", "node_by_message", "meta_list_by_parent", "checkpoint_by_node", "checkpoint_by_metas")
    for name in (*names, "checkpoint_to_index"):
        db.execute(f"DROP INDEX {name}")
    for table in ("node", "meta_list", "checkpoint"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN indexed")
    for name in names:
        db.execute(re.findall(rf"CREATE INDEX {name} [^;]*;", first)[0])


@pytest.mark.parametrize("command", ["verify", "backup", "restore", "rebuild"])
def test_a_store_with_what_towerlog_does_not_make_is_refused_by_name(path: Path, tmp_path: Path, command: str) -> None:
    """But for a rebuild, which copies nothing of it."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute("CREATE TRIGGER evil AFTER INSERT ON event BEGIN DELETE FROM event; END")
    place = tmp_path / "place" / "towerlog.db"
    given = {"backup": [tmp_path / "copy.db"], "restore": [path]}.get(command, [])
    done = towerlog(command, *url(place if command == "restore" else path), *given)
    if command == "rebuild":
        assert done.exit_code == 0, done.output
        assert answered("verify", *url(path))["events"] == EVENTS
        return
    assert done.exit_code != 0
    assert "has what no version of towerlog makes: the trigger 'evil'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not place.exists()
    assert not (tmp_path / "copy.db").exists()


def change(path: Path, sql: str) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute(sql)
        assert db.total_changes() > 0


def url(path: Path) -> tuple[str, str]:
    return ("--database-url", f"sqlite:///{path}")


def test_a_whole_store_has_no_difference(path) -> None:
    assert answered("verify", *url(path)) == {
        "ok": True,
        "events": EVENTS,
        "differences": 0,
        "shown": [],
        "outdated": 0,
    }
    assert towerlog("verify", *url(path)).stdout == f"{EVENTS} events, no difference.\n"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET data = CAST(replace(CAST(data AS TEXT), '6', '8') AS BLOB) WHERE seq = 7",
        "UPDATE event SET data = 'no blob' WHERE seq = 7",
        "UPDATE event SET facts = CAST('{]' AS BLOB) WHERE seq = 7",
        "UPDATE event SET type = 'unheard.of' WHERE seq = 7",
        "DELETE FROM event WHERE seq = 9",
        "UPDATE event SET recorded_at = recorded_at + 1 WHERE seq = 3",
        "DELETE FROM usage",
        "DELETE FROM thread",
    ],
)
def test_damage_is_found(path, damage) -> None:
    change(path, damage)
    done = towerlog("verify", *url(path))
    assert done.exit_code == 1, done.output
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert "no difference" not in done.stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM usage", r"default: usage of the hour \d{4}-\d\d-\d\dT\d\d:00Z, .*: is missing"),
        ("UPDATE event SET recorded_at = recorded_at + 1 WHERE seq = 3", r"default: .*\(seq 3 of run RUN\)"),
        ("UPDATE event SET recorded_at = recorded_at + 1 WHERE seq = 1", r"default: .*\(seq 1 of run RUN\)"),
        ("DELETE FROM event WHERE seq = 9", r"default: position .*: seq 10 follows 8 in run RUN"),
        ("UPDATE run SET doc = replace(doc, '\"last_seq\":60', '\"last_seq\":59')", "default: run RUN: differs"),
    ],
)
def test_a_difference_is_named_so_that_it_can_be_looked_up(path, damage, words) -> None:
    with closing(apsw.Connection(str(path))) as db:
        run_id = str(db.execute("SELECT run_id FROM run").get)
    change(path, damage)
    found = refuted(path)["shown"]
    assert any(re.match(words.replace("RUN", run_id), one) for one in found), found


def test_events_that_cannot_be_read_are_not_counted_as_read(path) -> None:
    change(path, "UPDATE event SET type = 'unheard.of' WHERE seq = 7")
    assert refuted(path)["events"] == EVENTS - 1
    change(path, "DELETE FROM event WHERE seq = 9")
    assert refuted(path)["events"] == EVENTS - 2


def refuted(path: Path) -> dict[str, Any]:
    """What `verify` says of a store in which something differs."""
    done = towerlog("verify", *url(path), "--json")
    assert done.exit_code == 1, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def test_at_most_fifty_differences_are_told_one_by_one(path) -> None:
    change(path, "UPDATE event SET recorded_at = recorded_at + 1")
    done = towerlog("verify", *url(path))
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 51
    assert lines[-1].startswith("… and ")


def test_a_rebuild_mends_what_the_log_can_tell(path) -> None:
    change(path, "DELETE FROM usage")
    change(path, "UPDATE run SET doc = replace(doc, '\"last_seq\":60', '\"last_seq\":59')")
    assert towerlog("verify", *url(path)).exit_code == 1
    made = answered("rebuild", *url(path))
    assert (made["ok"], made["events"], made["lost"]) == (True, EVENTS, [])
    assert Path(made["moved_to"]).name.startswith("towerlog.db.before-")
    assert answered("verify", *url(path))["ok"] is True


def test_a_backup_is_a_store_of_its_own(path, tmp_path) -> None:
    target = tmp_path / "copy.db"
    made = answered("backup", target, *url(path))
    assert made == {"ok": True, "file": str(target), "bytes": target.stat().st_size, "events": EVENTS}
    assert answered("verify", *url(target))["events"] == EVENTS
    assert sorted(found.name for found in tmp_path.iterdir() if "partial" in found.name) == []


def test_a_backup_takes_nothing_of_what_the_servers_writes_leave_free(path, tmp_path) -> None:
    target = tmp_path / "copy.db"
    done = towerlog("backup", target, *url(path), TOWERLOG_DISK_GUARD_MIB=str(10**9))
    assert done.exit_code == 70, done.output
    assert f"there is no room for a copy in {tmp_path}" in done.stderr
    assert not target.exists()


def test_a_damaged_store_makes_no_backup(path, tmp_path) -> None:
    change(path, "UPDATE event SET recorded_at = recorded_at + 1 WHERE seq = 3")
    done = towerlog("backup", tmp_path / "copy.db", *url(path))
    assert done.exit_code == 1
    assert "was not kept" in done.stderr
    assert [found.name for found in tmp_path.iterdir() if "copy" in found.name] == []


@pytest.mark.parametrize("name", ["verify", "rebuild", "backup"])
def test_where_nothing_is_nothing_is_made(tmp_path, name) -> None:
    target = [str(tmp_path / "copy.db")] if name == "backup" else []
    done = towerlog(name, *target, "--data-dir", str(tmp_path / "none"))
    assert done.exit_code == 69
    assert "no store here" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_beside_a_running_server_all_but_rebuild_work(tmp_path) -> None:
    server = Server(tmp_path / "data")
    try:
        server.start()
        assert server.cli("verify").returncode == 0
        assert server.cli("backup", str(tmp_path / "copy.db")).returncode == 0
        refused = server.cli("rebuild")
        assert refused.returncode == 69
        assert "in use" in refused.stderr
    finally:
        server.close()
