"""`towerlog migrate`: a store that a server has filled goes on in PostgreSQL as if nothing had happened."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.cli.killed_at import CODE
from tests.support.launcher import launch_python, run
from tests.support.postgres import cluster
from tests.support.samples import first
from tests.support.senders import checkpoint, ingest, runner_event, save_batch, sdk_event
from tests.support.server import NO_LIMITS, Server, clean_environment
from tests.support.sse import parse_frames

STEPS = 30
QUEUED, ONCE = "/v1/threads/queued/runs", {"Idempotency-Key": "once"}
CONFIGURATION, UNAVAILABLE, KILLED = 78, 69, -9
QUICK = (7, 40, 90, 163)
"""Statements of the kill test that the quick tier tries."""
MANY = range(0, 700, 13)
DEADLINE_S = 120


def fill(server: Server) -> None:
    """Two runs, a history, a key that was revoked, a budget, a rule, a member and a request that may be repeated."""
    client = server.client()
    ingest(client, sdk_event("run_start", "r1", {"input": "go"}, agent_name="alpha", event_id="first"))
    for number in range(STEPS):
        ingest(client, sdk_event("tool_call", "r1", {"n": number}, agent_name="alpha", event_id=f"e{number}"))
    ingest(client, sdk_event("run_end", "r1", {"output": "done"}, agent_name="alpha"))
    save_batch(client, runner_event("thread_started", "talk", "trace-1"))
    save_batch(client, checkpoint("talk", "trace-1", 1, history=[{"role": "user", "content": "the first question"}]))
    budget = {"name": "b", "scope": {"organisation": True}, "amount_usd": 5, "period": "day"}
    assert client.post("/api/v1/budgets", json=budget).status_code < 300
    assert client.post(QUEUED, headers=ONCE).status_code == 201
    server.make_org("other")
    server.make_key("read")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that was stopped."""
    server = Server(tmp_path_factory.mktemp("filled") / "data", NO_LIMITS)
    try:
        server.start()
        fill(server)
        server.stop()
    finally:
        server.close()
    return server.data_dir


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(filled, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def url() -> Iterator[str]:
    """An empty database."""
    name = cluster().lasting_name()
    cluster().create(name)
    yield cluster().url(name)
    cluster().sql(f"DROP DATABASE {name} WITH (FORCE)")


def database(url: str) -> str:
    """The name in a URL of the cluster."""
    return url.partition("@/")[2].partition("?")[0]


def told(server: Server) -> dict[str, Any]:
    """What readers are told, of everything that this test looks at."""
    client = server.client()
    paths = ("runs", "agents", "threads", "budgets", "keys", "audit", "usage")
    return {path: client.get(f"/api/v1/{path}").json() for path in paths}


def frames(server: Server, run_id: str, after: str | None) -> list[str]:
    """The ids of a run's frames behind one of them, to its end."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with server.client().stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as stream:
        return [frame.id for frame in parse_frames(stream.read()) if frame.id is not None]


def test_a_store_that_has_lost_rows_is_refused_before_anything_is_moved(data: Path, url: str) -> None:
    """Else all of it is moved, and what is there can neither be used nor gone on with."""
    with closing(apsw.Connection(str(data / "towerlog.db"))) as db:
        db.execute("DELETE FROM budget")
    refused = towerlog("migrate", "--data-dir", data, "--to", url)
    assert refused.exit_code == 1
    assert "is missing, audit entry" in refused.stderr
    assert "nothing was moved" in refused.stderr
    assert "`towerlog rebuild`" in refused.stderr
    assert cluster().sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database(url)) == [["0"]]
    answered("rebuild", "--data-dir", data)
    assert answered("migrate", "--data-dir", data, "--to", url)["ok"]


def test_readers_go_on_where_they_were(data: Path, url: str) -> None:
    with Server(data, NO_LIMITS) as old:
        before = told(old)
        ended = next(run["run_id"] for run in before["runs"]["data"] if run["status"] == "completed")
        seen = frames(old, ended, None)
        old.stop()
    moved = answered("migrate", "--data-dir", data, "--to", url)
    assert moved["ok"], moved["shown"]
    assert moved["database"] == f"postgresql://towerlog@/{database(url)}"
    assert moved["events"] > STEPS
    with Server(data, {**NO_LIMITS, "TOWERLOG_DATABASE_URL": url}) as new:
        now = told(new)
        newest = now["audit"]["data"].pop(0)
        assert (newest["action"], newest["after"]["rows"]) == ("store.migrate", moved["rows"])
        assert now == before
        assert frames(new, ended, seen[4]) == seen[5:]
        client = new.client()
        [queued] = [run for run in before["runs"]["data"] if run["thread_id"] == "queued"]
        assert client.post(QUEUED, headers=ONCE).json()["run_id"] == queued["run_id"]
        ingest(client, sdk_event("tool_call", "r9", {"n": 1}, agent_name="alpha"))
        save_batch(client, checkpoint("talk", "trace-2", 1, history=[{"role": "user", "content": "another"}]))
        assert new.cli_json("verify")["ok"]


def test_the_file_stays_as_it_was(data: Path, url: str) -> None:
    file = data / "towerlog.db"
    before = file.read_bytes()
    assert answered("migrate", "--data-dir", data, "--to", url)["ok"]
    assert file.read_bytes() == before
    assert answered("verify", "--data-dir", data)["ok"]


def killed(data: Path, url: str, at: int) -> int:
    """The exit code of a move that is killed at a statement."""
    with tempfile.TemporaryFile() as output:
        arguments = [str(at), "migrate", "--data-dir", str(data), "--to", url]
        started = launch_python(CODE, arguments, clean_environment({}), output.fileno(), output.fileno())
        try:
            code = started.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            started.kill()
            raise
        output.seek(0)
        assert code in (0, KILLED), output.read().decode()
        return code


@pytest.mark.parametrize("start", first(QUICK))
def test_it_goes_on_when_it_was_killed(data: Path, url: str, start: int) -> None:
    """Killed once, then some statements later, and so on until it gets through."""
    kills, at = 0, start
    while killed(data, url, at) == KILLED:
        kills += 1
        at += start + 60
    assert kills
    finish(data, url)


@pytest.mark.slow
@pytest.mark.parametrize("at", MANY)
def test_it_goes_on_wherever_it_was_killed(data: Path, url: str, at: int) -> None:
    killed(data, url, at)
    if tables(url):
        left = cluster().sql("SELECT count(*) FROM meta WHERE name = 'epoch'", database(url))
        if left == [["0"]] and cluster().sql("SELECT count(*) FROM meta", database(url)) != [["0"]]:
            refused = towerlog("verify", "--data-dir", data, "--database-url", url)
            assert (refused.exit_code, "is not complete" in refused.stderr) == (CONFIGURATION, True)
    finish(data, url)


def finish(data: Path, url: str) -> None:
    """The move is brought to its end, unless it had come there; then the store is whole."""
    last = towerlog("migrate", "--data-dir", data, "--to", url)
    assert last.exit_code == 0 or "has data already" in last.stderr, last.output
    assert answered("verify", "--data-dir", data, "--database-url", url)["ok"]


def test_a_store_that_is_not_complete_is_opened_by_nobody(data: Path, url: str) -> None:
    assert killed(data, url, 200) == KILLED
    for command in (["serve", "--port", "0"], ["verify"], ["keys", "ls"], ["backup", str(data / "copy")]):
        given = [*command, "--data-dir", str(data), "--database-url", url]
        refused = run(given, clean_environment({}), DEADLINE_S)
        assert refused.returncode == CONFIGURATION, refused.stderr
        assert "`towerlog migrate` is filling it" in refused.stderr


def test_nobody_begins_with_a_database_whose_schema_a_move_was_making(data: Path, url: str) -> None:
    """It is the move's from its first table on, and goes on as one."""
    at = next(at for at in range(8, 60, 2) if killed(data, url, at) == KILLED and tables(url))
    assert cluster().sql("SELECT count(*) FROM migration", database(url)) == [["1"]], f"the first migration, {at}"
    for command in (["serve", "--port", "0"], ["verify"]):
        given = [*command, "--data-dir", str(data), "--database-url", url]
        refused = run(given, clean_environment({}), DEADLINE_S)
        assert refused.returncode == CONFIGURATION, refused.stderr
        assert "`towerlog migrate` is filling it" in refused.stderr
    finish(data, url)


def tables(url: str) -> bool:
    """Whether the schema has been begun."""
    return cluster().sql("SELECT to_regclass('meta') IS NOT NULL", database(url)) == [["t"]]


@pytest.mark.parametrize(
    ("value", "words", "code"), [("X'7b7d'", "its hash does not fit", 1), ("'{}'", "event cannot be moved", 70)]
)
def test_a_damaged_store_does_not_become_a_new_one(data: Path, url: str, value: str, words: str, code: int) -> None:
    with closing(apsw.Connection(str(data / "towerlog.db"))) as db:
        db.execute(f"UPDATE event SET data = {value} WHERE seq = 3")
    done = towerlog("migrate", "--data-dir", data, "--to", url)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    refused = towerlog("verify", "--data-dir", data, "--database-url", url)
    assert refused.exit_code == CONFIGURATION


def test_a_store_with_a_server_is_not_moved(data: Path, url: str) -> None:
    with Server(data, NO_LIMITS):
        refused = towerlog("migrate", "--data-dir", data, "--to", url)
    assert refused.exit_code == UNAVAILABLE
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "target"),
    [((), "sqlite:////tmp/x.db"), ((), "mysql://h/d"), (("--database-url", "postgresql://h/d"), "postgresql://h/e")],
)
def test_it_goes_from_a_file_to_postgres_alone(data: Path, source: tuple[str, ...], target: str) -> None:
    refused = towerlog("migrate", "--data-dir", data, *source, "--to", target)
    assert refused.exit_code == CONFIGURATION
    assert "no other way" in refused.stderr
