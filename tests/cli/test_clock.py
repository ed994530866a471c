"""`towerlog retention confirm-clock`: what it says first, whom it believes, and what a server makes of it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import answered, towerlog
from tests.support.postgres import cluster
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.cli import clock
from towerlog.model.times import parse_ms

DAY_S = 86_400
COMMAND = ("retention", "confirm-clock")


@dataclasses.dataclass(frozen=True)
class Aged:
    """A store whose server ran last a while ago, as it seems."""

    server: Server
    database: str

    @property
    def options(self) -> tuple[str, ...]:
        """Those that name it."""
        named = ("--database-url", self.database) if self.database else ()
        return ("--data-dir", str(self.server.data_dir), *named)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        if self.database:
            return [tuple(row) for row in cluster().sql(statement, re.split("[/?]", self.database)[3])]
        return self.server.stored(statement)

    def keep_age(self, ago_s: int) -> None:
        """Puts back the clock by which things grow old."""
        [(kept,)] = self.sql("SELECT value FROM meta WHERE name = 'age'")
        now_ms = json.loads(kept)["now_ms"] - ago_s * 1000
        self.sql(f"UPDATE meta SET value = '{{\"now_ms\":{now_ms}}}' WHERE name = 'age'")


@pytest.fixture(params=["sqlite", "postgres"])
def aged(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """One that has stopped."""
    database = ""
    if request.param == "postgres":
        name = cluster().lasting_name()
        cluster().create(name)
        database = cluster().url(name)
    env = {**NO_LIMITS, "TOWERLOG_BOOTSTRAP_KEY": ADMIN_KEY} | ({"TOWERLOG_DATABASE_URL": database} if database else {})
    with Server(tmp_path / "data", env) as server:
        client = server.client()
        ended = {"event_id": "e", "run_key": "r", "client_seq": 1, "type": "run.completed", "data": {"result": "kept"}}
        client.post("/api/v1/events", json={"client_id": "c", "events": [ended]}).raise_for_status()
        client.put("/api/v1/retention/events", json={"max_age_seconds": DAY_S}).raise_for_status()
        wait_until(lambda: Aged(server, database).sql("SELECT 1 FROM meta WHERE name = 'age'"), "the age to be kept")
        server.stop()
        yield Aged(server, database)


def is_off(server: Server) -> bool:
    return "clock_off" in server.client().get("/readyz").text


def test_it_says_what_is_deleted_and_deletes_nothing_unless_it_is_told_so(aged: Aged) -> None:
    aged.keep_age(100 * DAY_S)
    done = towerlog(*COMMAND, *aged.options, stdin="n\n")
    assert done.exit_code == 1
    for words in ("100 d 0 h ahead of", "deleted, and nothing brings it back", "events of 0 runs, by the policy"):
        assert words in done.stderr
    assert aged.sql("SELECT 1 FROM meta WHERE name = 'age_confirmed'") == []
    aged.server.start()
    wait_until(lambda: is_off(aged.server), "the clock to be looked at")


def test_a_server_that_runs_takes_it_and_the_audit_has_it(aged: Aged) -> None:
    aged.keep_age(100 * DAY_S)
    aged.server.start()
    wait_until(lambda: is_off(aged.server), "the clock to be looked at")
    said = answered(*COMMAND, "--yes", *aged.options)
    assert (said["confirmed"], said["off_seconds"] // DAY_S, said["due"]) == (True, 100, {"events": 0})
    wait_until(lambda: not is_off(aged.server), "the word to be taken")
    entries = aged.server.client().get("/api/v1/audit", params={"action": "clock.confirm"}).json()["data"]
    assert [one["actor"]["type"] for one in entries] == ["operator"]
    [entry] = entries
    assert parse_ms(entry["after"]["clock"]) - parse_ms(entry["before"]["clock"]) >= 100 * DAY_S * 1000


def test_the_next_start_takes_it(aged: Aged) -> None:
    aged.keep_age(100 * DAY_S)
    answered(*COMMAND, "--yes", *aged.options)
    aged.server.start()
    aged.server.says("clock_confirmed")
    assert not is_off(aged.server)


def test_a_clock_that_is_behind_is_said_to_delete_nothing(aged: Aged) -> None:
    aged.keep_age(-10 * DAY_S)
    done = towerlog(*COMMAND, *aged.options, stdin="y\n")
    assert done.exit_code == 0, done.output
    assert "behind the time" in done.stderr
    assert "That deletes nothing." in done.stderr
    aged.server.start()
    aged.server.says("clock_confirmed")


def test_where_nothing_is_held_back_there_is_nothing_to_confirm(aged: Aged) -> None:
    assert answered(*COMMAND, "--yes", *aged.options)["confirmed"] is False
    assert "nothing is to be confirmed" in towerlog(*COMMAND, *aged.options).stdout
    assert aged.sql("SELECT 1 FROM meta WHERE name = 'age_confirmed'") == []


def test_a_clock_that_is_set_while_it_asks_is_not_confirmed(aged: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    aged.keep_age(100 * DAY_S)
    now_ms = clock.SystemClock.now_ms

    def set_ahead(*_words: object, **_more: object) -> bool:
        monkeypatch.setattr(clock.SystemClock, "now_ms", lambda one: now_ms(one) + DAY_S * 1000)
        return True

    monkeypatch.setattr(clock.click, "confirm", set_ahead)
    done = towerlog(*COMMAND, *aged.options)
    assert done.exit_code == 1
    assert "was set meanwhile; nothing was confirmed" in done.stderr
    assert aged.sql("SELECT 1 FROM meta WHERE name = 'age_confirmed'") == []


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = towerlog(*COMMAND, "--data-dir", tmp_path / "none")
    assert done.exit_code == 69
    assert not (tmp_path / "none").exists()
