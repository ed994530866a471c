"""Verify, rebuild, backup, restore and doctor on a store in PostgreSQL, whole and damaged."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import answered, towerlog
from tests.support.postgres import cluster
from tests.support.samples import slow
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.sse import parse_frames
from towerlog.cli.exits import CONFIGURATION, FOUND_WRONG, STORAGE_FAILED, UNAVAILABLE
from towerlog.store.postgres.upkeep.programs import dump, reached_by

EVENTS = 60


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with one run of sixty events, of a server that was stopped."""
    name = cluster().lasting_name()
    cluster().create(name)
    env = {**NO_LIMITS, "TOWERLOG_DATABASE_URL": cluster().url(name)}
    with Server(tmp_path_factory.mktemp("filled") / "data", env) as server:
        client = server.client()
        for number in range(EVENTS):
            ingest(client, sdk_event("step", "r", {"n": number}, agent_name="a"))
        server.stop()
    return name


class Database:
    """A copy of it, which a test may damage."""

    def __init__(self, template: str = "template0") -> None:
        self.name = cluster().lasting_name()
        cluster().create(self.name, template)
        self.url = cluster().url(self.name)

    def change(self, sql: str) -> None:
        cluster().sql(sql, self.name)

    def value(self, sql: str) -> str:
        [[found]] = cluster().sql(sql, self.name)
        return found


@pytest.fixture
def database(template: str) -> Iterator[Database]:
    made = Database(template)
    yield made
    cluster().sql(f"DROP DATABASE {made.name} WITH (FORCE)")


@pytest.fixture
def empty() -> Iterator[Database]:
    made = Database()
    yield made
    cluster().sql(f"DROP DATABASE {made.name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of commands lie in a folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def url(database: Database) -> tuple[str, str]:
    return ("--database-url", database.url)


def refuted(database: Database) -> dict[str, Any]:
    """What `verify` says of a store in which something differs."""
    done = towerlog("verify", *url(database), "--json")
    assert done.exit_code == FOUND_WRONG, done.output
    assert "Traceback" not in done.stderr
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def test_a_whole_store_has_no_difference(database: Database) -> None:
    assert answered("verify", *url(database)) == {
        "ok": True,
        "events": EVENTS,
        "differences": 0,
        "shown": [],
        "outdated": 0,
    }


AT = "(org, position) = (SELECT org, position FROM place WHERE seq = {})"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (f"UPDATE event SET data = data || ' ' WHERE {AT.format(7)}", r"default: .*its hash does not fit.*seq 7 of"),
        slow(f"UPDATE event SET data = '\\x00ff' WHERE {AT.format(7)}", "default: "),
        slow(f"UPDATE event SET facts = '{{]' WHERE {AT.format(7)}", "default: position 7 cannot be read"),
        (f"UPDATE event SET type = 'unheard.of' WHERE {AT.format(7)}", "default: position 7 cannot be read"),
        ("DELETE FROM place WHERE seq = 9", "default: position 9: an event without a place"),
        slow(f"DELETE FROM event WHERE {AT.format(9)}", "default: position 9 cannot be read"),
        ("DELETE FROM place WHERE seq = 60; DELETE FROM event WHERE position = 60", "default: the log ends at"),
        slow("UPDATE place SET hash = '' WHERE seq = 60", r"default: .*seq 60 of run RUN\)"),
        ("DELETE FROM usage", r"default: usage of the hour \d{4}-\d\d-\d\dT\d\d:00Z, .*: is missing"),
        slow("DELETE FROM thread", "default: thread r: is missing"),
        ("UPDATE run SET status = 'failed'", "default: run RUN: its columns do not say"),
        slow("UPDATE run SET names = 'x'", "default: run RUN: its columns do not say"),
        ("UPDATE usage SET events = events + 1", "default: usage of the hour .*: differs from its rebuild in events"),
        ("UPDATE api_key SET user_id = 'nobody'", "default: api_key .*: its user is not there"),
        ("UPDATE org_count SET position = 5", "default: org 1: has counted 5 position, and 60 is taken"),
        ("UPDATE audit_entry SET doc = doc || ' '", "default: audit entry 1: its hash does not fit"),
        slow("UPDATE audit_entry SET action = 'key.revoke'", "default: audit entry 1: its columns do not say"),
        ("DELETE FROM audit_entry", "default: audit: entry 1 is missing at its end"),
        ("DROP INDEX place_by_position", "index place_by_position: is not there"),
        slow("ALTER TABLE run DROP CONSTRAINT run_pkey", "index run_pkey: is not there"),
        (
            "CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            " CREATE TRIGGER evil BEFORE INSERT ON place FOR EACH ROW EXECUTE FUNCTION evil()",
            "trigger evil on place: no version of towerlog makes it",
        ),
        ("CREATE RULE evil AS ON DELETE TO run DO INSTEAD NOTHING", "rule evil on run: no version of towerlog makes"),
    ],
)  # fmt: skip
def test_damage_is_found_and_named(database: Database, damage: str, words: str) -> None:
    run_id = database.value("SELECT run_id FROM run")
    database.change(damage)
    found = refuted(database)["shown"]
    assert any(re.match(words.replace("RUN", run_id), one) for one in found), found


def test_an_index_that_lies_is_found(database: Database) -> None:
    """With the extension that can tell: a row is changed behind the back of its index."""
    database.change("CREATE EXTENSION amcheck")
    assert answered("verify", *url(database))["ok"]
    database.change(
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'thread_by_number'::regclass;"
        " INSERT INTO thread SELECT org, 'behind', created_at, number + 1, doc FROM thread;"
        " UPDATE pg_index SET indisready = true WHERE indexrelid = 'thread_by_number'::regclass"
    )
    assert any(one.startswith("index thread_by_number: ") for one in refuted(database)["shown"])


def test_events_that_cannot_be_read_are_not_counted_as_read(database: Database) -> None:
    database.change(f"UPDATE event SET type = 'unheard.of' WHERE {AT.format(7)}")
    assert refuted(database)["events"] == EVENTS - 1


def test_a_check_changes_nothing(empty: Database) -> None:
    """Not even where there is nothing yet."""
    done = towerlog("verify", *url(empty))
    assert done.exit_code == CONFIGURATION
    assert "is not a towerlog database" in done.stderr
    assert empty.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def test_a_rebuild_mends_what_the_log_can_tell(database: Database) -> None:
    database.change("DELETE FROM usage; UPDATE run SET status = 'failed', doc = convert_to("
                    "replace(convert_from(doc, 'UTF8'), '\"last_seq\":60', '\"last_seq\":59'), 'UTF8')")  # fmt: skip
    database.change("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'run_by_id'::regclass")
    assert refuted(database)["differences"] >= 2
    made = answered("rebuild", *url(database))
    assert (made["ok"], made["events"], made["lost"], made["moved_to"]) == (True, EVENTS, [], None)
    assert answered("verify", *url(database))["ok"] is True
    assert database.value("SELECT action FROM audit_entry ORDER BY number DESC LIMIT 1") == "store.rebuild"


def test_a_rebuild_of_a_damaged_log_is_refused(database: Database) -> None:
    database.change(f"UPDATE event SET data = data || ' ' WHERE {AT.format(7)}")
    refused = towerlog("rebuild", *url(database))
    assert refused.exit_code == FOUND_WRONG
    assert "restore a backup" in refused.stderr


def test_a_rebuild_settles_what_people_had_set_and_is_lost(database: Database, tmp_path: Path) -> None:
    database.change("DELETE FROM api_key; DELETE FROM org_user")
    assert refuted(database)["differences"] >= 3
    made = answered("rebuild", *url(database))
    assert [len(made[name]) for name in ("made_anew", "gone", "no_keys", "not_mended")] == [1, 1, 1, 0]
    assert answered("verify", *url(database))["ok"] is True
    assert answered("backup", *url(database), tmp_path / "whole.dump")["ok"] is True
    assert database.value("SELECT count(*) FROM credential WHERE kind = 1") == "0", "nothing is left of the key"
    key = answered("keys", "create", *url(database), "--name", "admin", "--scopes", "admin")["key"]
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}) as server:
        assert server.client(key).get("/api/v1/keys").status_code == 200


def test_a_rebuild_lets_those_in_again_whom_nothing_finds_by_their_digest(database: Database, tmp_path: Path) -> None:
    key = answered("keys", "create", *url(database), "--name", "admin", "--scopes", "admin")["key"]
    database.change("DELETE FROM credential")
    found = refuted(database)
    assert {one.partition(" is ")[2] for one in found["shown"]} == {
        "not found by its digest: who shows it is not let in"
    }
    made = answered("rebuild", *url(database))
    assert [made[name] for name in ("made_anew", "gone", "no_keys", "not_mended")] == [[]] * 4
    assert answered("verify", *url(database))["ok"] is True
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}) as server:
        assert server.client(key).get("/api/v1/keys").status_code == 200


@pytest.mark.parametrize("table", ["org", "org_count"])
def test_a_server_says_which_organisation_is_lost_and_a_rebuild_brings_it_back(
    database: Database, tmp_path: Path, table: str
) -> None:
    made = answered("orgs", "create", "other", *url(database))
    number = database.value("SELECT org FROM org WHERE name = 'other'")
    database.change(f"DELETE FROM {table} WHERE org = {number}")
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}) as server:
        assert f'"organisation_number": {number}' in server.says("nobody gets into it")
    [line] = answered("rebuild", *url(database))["made_anew"]
    assert line.startswith("other: its own row was lost")
    assert answered("verify", *url(database))["ok"] is True
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}) as server:
        assert (
            server.client(made["key"]).post("/api/v1/keys", json={"name": "a", "scopes": ["read"]}).status_code == 201
        )


def test_a_backup_comes_back_whole(database: Database, empty: Database, tmp_path: Path) -> None:
    target = tmp_path / "copy.dump"
    made = answered("backup", target, *url(database))
    assert made == {"ok": True, "file": str(target), "bytes": target.stat().st_size, "events": EVENTS}
    assert [found.name for found in tmp_path.iterdir() if "partial" in found.name] == []
    restored = answered("restore", target, *url(empty))
    assert (restored["ok"], restored["events"], restored["moved_to"]) == (True, EVENTS, None)
    assert answered("verify", *url(empty))["events"] == EVENTS
    hashes = "SELECT string_agg(hash::text, ',' ORDER BY position) FROM place"
    assert empty.value(hashes) == database.value(hashes)
    assert empty.value("SELECT value FROM meta WHERE name = 'copied'") == '{"1":60}'
    epoch = "SELECT value FROM meta WHERE name = 'epoch'"
    assert empty.value(epoch).startswith("c") or empty.value(epoch) != database.value(epoch)


BEFORE = (
    "DROP TABLE run_text; ALTER TABLE org_count DROP COLUMN stamp; DROP TABLE removed_org;"
    " DROP INDEX place_by_response; DELETE FROM migration WHERE number > 1"
)
"""A database as the version of the first migration has it."""


def test_a_backup_of_the_version_before_comes_back_with_this_schema(
    database: Database, empty: Database, tmp_path: Path
) -> None:
    """Also where the database was upgraded, and has what serves nodes of that version."""
    database.change(BEFORE)
    old, new = tmp_path / "old.dump", tmp_path / "new.dump"
    dump(database.url, "public", old)
    for _ in range(2):
        assert answered("restore", old, *url(empty))["events"] == EVENTS
        assert answered("verify", *url(empty))["ok"] is True
    assert int(empty.value("SELECT count(*) FROM pg_trigger")) > 0
    answered("backup", new, *url(empty))
    assert answered("restore", new, *url(empty))["events"] == EVENTS


def test_what_was_there_is_kept(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "copy.dump"
    answered("backup", target, *url(database))
    database.change("UPDATE org SET name = 'later'")
    restored = answered("restore", target, *url(database))
    schema = restored["moved_to"].removeprefix("schema ")
    assert re.fullmatch(r"before_\w+", schema)
    assert database.value(f"SELECT name FROM {schema}.org") == "later"
    assert database.value("SELECT name FROM org") == "default"
    assert answered("verify", *url(database))["ok"]
    assert database.value("SELECT action FROM audit_entry ORDER BY number DESC LIMIT 1") == "store.restore"
    again = tmp_path / "again.dump"
    assert answered("backup", again, *url(database))["events"] == EVENTS


def test_a_damaged_store_makes_no_backup(database: Database, tmp_path: Path) -> None:
    database.change("UPDATE place SET hash = '' WHERE seq = 3")
    done = towerlog("backup", tmp_path / "copy.dump", *url(database))
    assert done.exit_code == FOUND_WRONG
    assert "was not kept" in done.stderr
    assert [found.name for found in tmp_path.iterdir() if "copy" in found.name] == []


@pytest.mark.parametrize("spoiled", ["cut", "no backup", "damaged"])
def test_a_backup_that_is_not_valid_changes_nothing(database: Database, tmp_path: Path, spoiled: str) -> None:
    target = tmp_path / "copy.dump"
    answered("backup", target, *url(database))
    if spoiled == "cut":
        target.write_bytes(target.read_bytes()[:-2000])
    elif spoiled == "no backup":
        target.write_bytes(b"something else")
    else:
        other = Database(database.name)
        other.change("UPDATE place SET hash = '' WHERE seq = 3")
        target = tmp_path / "damaged.dump"
        dump(other.url, "public", target)
        cluster().sql(f"DROP DATABASE {other.name}")
    refused = towerlog("restore", target, *url(database))
    assert refused.exit_code == (FOUND_WRONG if spoiled == "damaged" else STORAGE_FAILED), refused.output
    assert len(cluster().sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'before%'", database.name)) == 0
    assert answered("verify", *url(database))["ok"]


def test_a_restore_that_broke_off_goes_on(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the load and its end nobody opens the database; the store of before is kept whatever happens."""
    from towerlog.store.postgres.upkeep.place import SharedPlace

    target = tmp_path / "copy.dump"
    answered("backup", target, *url(database))
    database.change("UPDATE org SET name = 'later'")
    with monkeypatch.context() as broken:
        broken.setattr(SharedPlace, "finish", lambda *_: os._exit(9))
        broken.setattr(SharedPlace, "undo", lambda *_: None)
        pid = os.fork()
        if pid == 0:
            towerlog("restore", target, *url(database))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    refused = towerlog("verify", *url(database))
    assert refused.exit_code == CONFIGURATION
    assert "`towerlog restore` is filling it" in refused.stderr
    restored = answered("restore", target, *url(database))
    schema = restored["moved_to"].removeprefix("schema ")
    assert database.value(f"SELECT name FROM {schema}.org") == "later"
    assert answered("verify", *url(database))["ok"]


def test_beside_a_running_server_only_what_reads_works(database: Database, tmp_path: Path) -> None:
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}) as server:
        assert server.cli("verify").returncode == 0
        assert server.cli("backup", str(tmp_path / "copy.dump")).returncode == 0
        for command in (["rebuild"], ["restore", str(tmp_path / "copy.dump")]):
            refused = server.cli(*command)
            assert refused.returncode == UNAVAILABLE, refused.stderr
            assert "stop it first" in refused.stderr
        ingest(server.client(), sdk_event("step", "r", {"n": 1}, agent_name="a"))


def test_a_reader_that_has_seen_more_is_told(database: Database, tmp_path: Path) -> None:
    """A restored log is another one: a cursor behind its end is answered with a gap."""
    env = {**NO_LIMITS, "TOWERLOG_DATABASE_URL": database.url}
    answered("backup", tmp_path / "copy.dump", *url(database))
    with Server(tmp_path / "data", env) as server:
        client = server.client()
        for number in range(3):
            ingest(client, sdk_event("step", "r", {"n": number}, agent_name="a"))
        [run] = client.get("/api/v1/runs").json()["data"]
        server.stop()
        answered("restore", tmp_path / "copy.dump", *url(database))
        server.start()
        client = server.client()
        ingest(client, sdk_event("run_end", "r", {"output": "x"}, agent_name="a"))
        last = {"Last-Event-ID": str(EVENTS + 3)}
        told = parse_frames(client.get(f"/v1/runs/{run['run_id']}/events", headers=last).content)
        assert told[0].event == "gap" or len(told) >= EVENTS


def test_a_missing_program_is_named(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from towerlog.store.postgres.upkeep import programs

    monkeypatch.setattr(programs, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = towerlog("backup", tmp_path / "copy.dump", *url(database))
    assert refused.exit_code == UNAVAILABLE
    assert "pg_dump: not installed" in refused.stderr
    assert "postgresql-client" in refused.stderr


@pytest.mark.parametrize(
    ("given", "place", "password"),
    [
        ("postgresql://u:p%40w%3Ax@h:5/d?sslmode=require", "postgresql://u@h:5/d?sslmode=require", "p@w\\:x"),
        ("postgresql://u@/d?host=/run/x&password=p", "postgresql://u@/d?host=/run/x", "p"),
        ("postgresql:///d?host=/run/x", "postgresql:///d?host=/run/x", None),
    ],
)
def test_a_password_is_no_argument(given: str, place: str, password: str | None) -> None:
    with reached_by(given) as found:
        plain, _, file = found.partition("passfile=")
        assert plain.rstrip("?&") == place
        if password is None:
            assert not file
        else:
            assert Path(file).read_text() == f"*:*:*:*:{password}\n"
            assert Path(file).stat().st_mode & 0o077 == 0
    assert not file or not Path(file).exists()


def doctor(database: Database, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """What `doctor` finds, by check."""
    done = towerlog("doctor", "--json", *url(database))
    assert done.exit_code == code, done.output
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout)["checks"]:
        found.setdefault(one["check"], []).append(one)
    return found


def test_the_doctor_looks_at_the_database(database: Database) -> None:
    found = doctor(database)
    [store] = found["store"]
    assert store["verdict"] == "ok"
    assert "1 organisation, PostgreSQL " in store["message"]
    assert found["durability"][-1]["figures"]["commit_mean_ms"] >= 0
    assert "disk" not in found
    words = [one["message"] for one in found["durability"] if one["verdict"] == "warn"]
    assert any("checksums" in word for word in words)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
def test_a_database_that_may_lose_events_is_refused(database: Database, tmp_path: Path, setting: str) -> None:
    database.change(f"ALTER DATABASE {database.name} SET {setting} = off")
    found = doctor(database, FOUND_WRONG)
    assert [one["verdict"] for one in found["durability"]][:1] == ["wrong"]
    assert f"{setting} = off" in found["durability"][0]["message"]
    started = towerlog("serve", "--port", "0", "--data-dir", tmp_path / "data", *url(database))
    assert started.exit_code == STORAGE_FAILED
    assert f"{setting} = off" in started.stderr


def test_the_doctor_says_that_it_is_not_a_store(empty: Database) -> None:
    [store] = doctor(empty, FOUND_WRONG)["store"]
    assert "is not a towerlog database" in store["message"]
