"""The command line on a data folder: verify, rebuild, backup and restore, and how it fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.feeds import (
    cancel,
    complete,
    container_event,
    create_run,
    ended,
    held_run,
    log_of,
    ok,
    push,
    report,
    snapshot,
    started,
    step,
)
from tests.support.readback import ReadBack
from tests.support.samples import first
from tests.support.senders import save_batch
from tests.support.server import NO_LIMITS, Server, clean_environment, copy_store, database_of, executable, run_inside
from towerlog.cli.exits import CONFIGURATION

CANARY = "a-word-that-nothing-else-says"


def feed(client: Any) -> list[str]:
    """Something through every dialect; the ids of all runs."""
    history = [{"role": "user", "content": CANARY}, {"role": "assistant", "content": "yes"}]
    save_batch(client, started("t1", "tr"), snapshot("t1", "tr", 1, history, run_cost_usd=0.002), ended("t1"))
    step(client, "sdk1", "run_start", {"input": CANARY}, agent_name="stepper")
    step(client, "sdk1", "tool_call", {"tool_name": "ls", "phase": "end", "output_preview": "x" * 100})
    step(client, "sdk1", "run_end", {"cost_usd": 0.0023, "model": "gpt-4", "prompt_tokens": 150})
    push(client, ReadBack(client).agent_id("stepper"), container_event(), container_event())
    run_id = held_run(client, "t2", "w")
    report(client, run_id, "w", {"type": "message.delta", "payload": {"content": CANARY}})
    complete(client, run_id, "w", {"answer": 1})
    cancel(client, create_run(client, "t3")["run_id"])
    return [row["run_id"] for row in ok(client.get("/v1/runs"))]


def all_that_is_seen(client: Any) -> dict[str, Any]:
    """Everything a reader gets of the runs, so that two moments can be compared."""
    rows = ok(client.get("/v1/runs", params={"limit": 200}))
    logs = {row["run_id"]: log_of(client, row["run_id"]) for row in rows}
    # Without the span, which moves on with each hour.
    usage = {by: ok(client.get("/api/v1/usage", params={"by": by}))["data"] for by in ["hour", "agent", "model"]}
    return {"rows": rows, "logs": logs, "usage": usage, "agents": ok(client.get("/api/v1/agents"))}


@pytest.fixture(scope="module")
def fed_data(tmp_path_factory) -> Path:
    """The data folder of a server that has taken something through every dialect, and was stopped."""
    server = Server(tmp_path_factory.mktemp("fed") / "data", NO_LIMITS)
    try:
        server.start()
        feed(server.client())
        server.stop()
    finally:
        server.close()
    return server.data_dir


@pytest.fixture
def fed(fed_data, tmp_path) -> Iterator[Server]:
    """A stopped server over a copy of that data."""
    copy_store(fed_data, tmp_path / "fed")
    server = Server(tmp_path / "fed", NO_LIMITS)
    yield server
    server.close()


@pytest.fixture
def fed_and_running(fed) -> Server:
    """A running server over a copy of that data."""
    return fed.start()


def test_verify_passes_beside_the_running_server_and_without_it(fed_and_running) -> None:
    fed = fed_and_running
    for when in ["running", "stopped"]:
        done = fed.cli("verify")
        assert done.returncode == 0, f"{when}: {done.stdout}{done.stderr}"
        assert isinstance(json.loads(fed.cli_inside("verify", "--json").stdout), dict), when
        if when == "running":
            fed.stop()


def test_rebuild_gives_what_was_folded_as_it_came(fed_and_running) -> None:
    fed = fed_and_running
    before, rows = all_that_is_seen(fed.client()), all_rows(fed)
    fed.stop()
    done = fed.cli("rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fed.cli_inside("verify").returncode == 0
    assert without_new_entry(fed) == rows
    fed.start()
    assert all_that_is_seen(fed.client()) == before


def test_verify_finds_one_changed_letter_in_the_log(fed) -> None:
    forge(
        fed,
        f"UPDATE event SET data = CAST(replace(CAST(data AS TEXT), '{CANARY}', '{CANARY.upper()}') AS BLOB)"
        f" WHERE key = (SELECT min(key) FROM event WHERE instr(CAST(data AS TEXT), '{CANARY}'))",
        f"UPDATE event SET data = {REPLACED.format('data')} WHERE position = (SELECT min(position) FROM event WHERE"
        f" position('{CANARY}'::bytea IN data) > 0)",
    )
    done = fed.cli_inside("verify")
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr


REPLACED = f"convert_to(replace(convert_from({{0}}, 'UTF8'), '{CANARY}', '{CANARY.upper()}'), 'UTF8')"
"""A column of PostgreSQL with the canary in another spelling."""


def forge(server: Server, statement: str, *shared: str) -> None:
    """Changes something in the database of a stopped server; `shared`: the same in PostgreSQL, where that is other."""
    said = (one.replace(":canary", f"'{CANARY}'").replace(":forged", f"'{CANARY.upper()}'") for one in shared)
    server.forge(statement.replace(":canary", f"'{CANARY}'").replace(":forged", f"'{CANARY.upper()}'"), *said)


LAST = "position = (SELECT max(position) FROM place)"
AT_2 = "FROM place WHERE place.org = event.org AND place.position = event.position AND place.seq = 2"
SHARED: dict[str, tuple[str, ...]] = {
    "a removed event": ("DELETE FROM event WHERE position = (SELECT max(position) FROM place WHERE seq = 2)",),
    "a removed last event": (f"DELETE FROM event WHERE {LAST}", f"DELETE FROM place WHERE {LAST}"),
    "another time": (
        f"UPDATE event SET recorded_at = event.recorded_at + 1 {AT_2}",
        "UPDATE place SET recorded_at = recorded_at + 1 WHERE seq = 2",
    ),
    "another agent": (f"UPDATE event SET agent = agent + 1 {AT_2}",),
    "another dialect": (f"UPDATE event SET dialect = 'forged' {AT_2}",),
    "a hole": (f"UPDATE place SET seq = seq + 100 WHERE {LAST}",),
    "another digest": (
        "UPDATE event SET content = decode(repeat('00', length(content)), 'hex') WHERE content IS NOT NULL",
    ),
    "another hash": ("UPDATE place SET hash = decode(repeat('00', length(hash)), 'hex') WHERE seq = 1",),
    "a changed message": (
        f"UPDATE message SET body = {REPLACED.format('body')} WHERE position(:canary::bytea IN body) > 0",
    ),
}
"""What does the same in PostgreSQL, where an event is in two tables."""
FORGED_LOG = {
    "a removed event": "DELETE FROM event WHERE key = (SELECT max(key) FROM event WHERE seq = 2)",
    "a removed last event": "DELETE FROM event WHERE key = (SELECT max(key) FROM event)",
    "another type": "UPDATE event SET type = 'message.delta' WHERE type = 'step' OR type = 'tool.result'",
    "another time": "UPDATE event SET recorded_at = recorded_at + 1 WHERE seq = 2",
    "another agent": "UPDATE event SET agent = agent + 1 WHERE seq = 2",
    "another dialect": "UPDATE event SET dialect = 'forged' WHERE seq = 2",
    "a hidden activity": "UPDATE event SET feed = NULL WHERE feed IS NOT NULL",
    "a hole": "UPDATE event SET seq = seq + 100 WHERE key = (SELECT max(key) FROM event)",
    "another digest": "UPDATE event SET content = zeroblob(length(content)) WHERE content IS NOT NULL",
    "another hash": "UPDATE event SET hash = zeroblob(length(hash)) WHERE seq = 1",
    "a changed message": (
        "UPDATE message SET body = CAST(replace(CAST(body AS TEXT), :canary, :forged) AS BLOB)"
        " WHERE instr(CAST(body AS TEXT), :canary)"
    ),
    "a removed message": "DELETE FROM message",
    "a removed node": "DELETE FROM node",
    "a removed agent": "DELETE FROM agent WHERE name = 'stepper'",
    "a renamed agent": "UPDATE agent SET name = 'forged' WHERE name = 'stepper'",
}
FORGED_PROJECTIONS = {
    "a run's status": "UPDATE run SET status = 'failed' WHERE status = 'completed'",
    "a run's model": "UPDATE run SET model = 'forged' WHERE model IS NOT NULL",
    "a run's thread": "UPDATE run SET thread_id = 'forged' WHERE thread_id = 't2'",
    "a run's body": "UPDATE run SET doc = (SELECT doc FROM run ORDER BY run LIMIT 1) WHERE thread_id = 't2'",
    "a removed run": "DELETE FROM run WHERE thread_id = 't2'",
    "usage": "UPDATE usage SET events = events + 1",
    "cost": "UPDATE usage SET cost_nanos = cost_nanos + 1 WHERE cost_nanos IS NOT NULL",
    "a checkpoint's status": "UPDATE checkpoint SET status = 'waiting_for_approval'",
    "a removed checkpoint": "DELETE FROM checkpoint",
    "a thread": "DELETE FROM thread WHERE thread_id = 't3'",
}
ONE_OF_EACH = {"a run's body", "usage", "a removed checkpoint", "a thread"}


def all_rows(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    """All that its tables hold, but for the name of the write-ahead log, which is another one each time."""
    names = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        if server.is_shared()
        else "SELECT name FROM sqlite_schema WHERE type = 'table'"
    )
    rows = {name: sorted(server.stored(f'SELECT * FROM "{name}"'), key=repr) for (name,) in server.stored(names)}
    rows["meta"] = [row for row in rows["meta"] if row[0] != "log"]
    return rows


def without_new_entry(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    """The same without the entry that a rebuild adds to the audit, the newest one, by which the chain has grown."""
    rows = all_rows(server)
    if server.is_shared():
        # The number is the second column, and what the organisation knows of its newest entry the fifth and sixth.
        entries = sorted(rows["audit_entry"], key=lambda row: row[1])
        newest, before = entries.pop(), entries[-1]
        assert rows["org_count"][0][4:6] == (newest[1], newest[-2])
        counts = rows["org_count"][0]
        rows["org_count"] = [(*counts[:4], before[1], before[-2], *counts[6:])]
        rows["audit_entry"] = sorted(entries, key=repr)
        return rows
    entries, columns = rows["audit_entry"], len(rows["org"][0])
    newest = entries.pop()
    # The last two columns of the organisation are the number and the hash of its newest entry.
    assert rows["org"][0][columns - 2 :] == (newest[0] & 0xFFFFFFFFFF, newest[-2])
    rows["org"] = [(*rows["org"][0][: columns - 2], entries[-1][0] & 0xFFFFFFFFFF, entries[-1][-2])]
    return rows


@pytest.mark.parametrize("what", sorted(FORGED_LOG))
def test_verify_finds_a_forged_log(fed, what) -> None:
    forge(fed, FORGED_LOG[what], *SHARED.get(what, ()))
    done = fed.cli_inside("verify")
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", first(sorted(FORGED_PROJECTIONS, key=lambda what: what not in ONE_OF_EACH), quick=4))
def test_verify_finds_a_forged_projection_and_rebuild_mends_it(fed, what) -> None:
    before = all_rows(fed)
    forge(fed, FORGED_PROJECTIONS[what])
    assert all_rows(fed) != before
    done = fed.cli_inside("verify")
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert fed.cli_inside("rebuild").returncode == 0
    assert fed.cli_inside("verify").returncode == 0
    assert without_new_entry(fed) == before


def test_rows_that_a_version_before_has_folded_are_told_and_not_damaged(fed, tmp_path) -> None:
    """They are served, copied and restored as they are, and a rebuild folds them anew."""
    before = all_rows(fed)
    forge(fed, FORGED_PROJECTIONS["usage"])
    forge(fed, "DELETE FROM meta WHERE name LIKE 'folds:%'")
    cells = len(before["usage"])
    told = f"default: {cells} rows folded by a version before this, not damaged. `towerlog rebuild`"
    done = fed.cli_inside("verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["outdated"]) == (0, cells), done.stdout + done.stderr
    assert told in done.stderr
    copy = tmp_path / "copy"
    assert told in ok_of(fed.cli_inside("backup", str(copy))).stderr
    assert told in ok_of(fed.cli_inside("restore", str(copy))).stderr
    assert told not in ok_of(fed.cli_inside("rebuild")).stderr
    done = fed.cli_inside("verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["outdated"]) == (0, 0), done.stdout + done.stderr
    assert all_rows(fed)["usage"] == before["usage"]
    forge(fed, FORGED_PROJECTIONS["usage"])
    assert fed.cli_inside("verify").returncode == 1, "what a rebuild has made is of this version"


def ok_of(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_backup_taken_beside_the_running_server_can_be_served(fed_and_running, tmp_path) -> None:
    fed = fed_and_running
    target = tmp_path / "copy.db"
    done = fed.cli("backup", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    before = all_that_is_seen(fed.client())
    late = create_run(fed.client(), "after-the-backup")["run_id"]
    restored = Server(tmp_path / "restored")
    if fed.is_shared():
        assert restored.cli_inside("restore", str(target)).returncode == 0
    else:
        restored.data_dir.mkdir()
        (restored.data_dir / database_of(fed.data_dir).relative_to(fed.data_dir)).write_bytes(target.read_bytes())
    try:
        restored.start()
        client = restored.client()
        assert all_that_is_seen(client) == before
        assert client.get(f"/v1/runs/{late}").status_code == 404
        create_run(client, "after-the-restore")
        assert restored.cli_inside("verify").returncode == 0
    finally:
        restored.close()


def test_a_backup_can_be_named_by_its_database_url(fed, tmp_path) -> None:
    target = tmp_path / "copy.db"
    assert fed.cli_inside("backup", str(target)).returncode == 0
    command = ["verify", "--database-url", f"sqlite:///{target}", "--data-dir", str(tmp_path / "other")]
    done = run_inside(*command, env=clean_environment({}))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_backup_does_not_write_over_anything_by_surprise(fed, tmp_path) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("keep me")
    done = fed.cli_inside("backup", str(target))
    assert done.returncode != 0
    assert target.read_text() == "keep me"
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_folder_is_refused_in_words(fed_and_running) -> None:
    fed = fed_and_running
    command = [executable(), "serve", "--port", "0", "--data-dir", str(fed.data_dir)]
    done = subprocess.run(command, env=clean_environment({}), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    ok(fed.client().get("/v1/runs"))


@pytest.mark.parametrize("key", ["short", "k" * 31, "k" * 201])
def test_a_bootstrap_key_of_the_wrong_length_is_refused(tmp_path, key) -> None:
    environment = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": key})
    done = run_inside("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=environment)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert key not in done.stderr + done.stdout


@pytest.mark.parametrize(("name", "value"), [("EGRESS_ALLOW", "10.0.0.1/8"), ("SMTP_URL", "smtp://u:hunter2@mail")])
def test_a_way_out_that_cannot_be_keeps_the_server_from_starting(tmp_path, name, value) -> None:
    environment = clean_environment({f"TOWERLOG_{name}": value})
    done = run_inside("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=environment)
    assert done.returncode == CONFIGURATION
    assert f"{name.lower()}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["serve", "keys", "orgs", "verify", "rebuild", "backup"])
def test_every_command_explains_itself(name) -> None:
    done = run_inside(name, "--help", env={})
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_commands_on_a_folder_without_data_fail_in_words(tmp_path) -> None:
    for arguments in [["verify"], ["rebuild"], ["backup", str(tmp_path / "b.db")], ["keys", "list"]]:
        done = run_inside(*arguments, "--data-dir", str(tmp_path / "nothing-here"), env=clean_environment({}))
        assert "Traceback" not in done.stderr, arguments
        assert (done.returncode, done.stdout) == (69, ""), arguments
        assert not (tmp_path / "nothing-here").exists(), arguments
