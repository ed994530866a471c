"""`towerlog serve` on PostgreSQL: it starts, goes on after a restart, and says in a line why it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.launcher import run
from tests.support.postgres import cluster
from tests.support.server import ADMIN_KEY, CLI_DEADLINE_S, Server, clean_environment, run_inside
from towerlog import storage
from towerlog.config import BadSetting, Settings, load_settings

CONFIGURATION, UNAVAILABLE = 78, 69


@pytest.fixture
def url() -> str:
    """An empty database."""
    name = cluster().lasting_name()
    cluster().create(name)
    return cluster().url(name)


def test_a_server_and_commands_beside_it_share_a_database(tmp_path: Path, url: str) -> None:
    with Server(tmp_path / "data", {"TOWERLOG_DATABASE_URL": url}) as server:
        sent = {"event_type": "tool_call", "sdk_run_id": "r1", "event_id": "e1", "payload": {"tool_name": "ls"}}
        assert server.client().post("/api/ingest", json=sent).json()["event_id"] == 1
        key = server.make_key("read")
        server.restart()
        assert server.client().post("/api/ingest", json=sent).json()["event_id"] == 1, "sent again, stored once"
        [run] = server.client(key).get("/api/v1/runs").json()["data"]
        assert run["thread_id"] == "r1"
        verified = server.cli_json("verify")
        assert (verified["ok"], verified["events"]) == (True, 1)
        server.says("data   postgresql://towerlog@/")


def test_a_newer_schema_is_refused(tmp_path: Path, url: str) -> None:
    env = {"TOWERLOG_DATABASE_URL": url, "TOWERLOG_BOOTSTRAP_KEY": ADMIN_KEY}
    assert run_inside("keys", "ls", "--data-dir", str(tmp_path / "data"), env=env).returncode == 0
    cluster().sql("INSERT INTO migration VALUES (99, 'later', 'x')", url.partition("@/")[2].partition("?")[0])
    refused = run_inside("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=env)
    assert refused.returncode == CONFIGURATION
    assert "newer version" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_database_that_cannot_be_reached_is_said_in_a_line(tmp_path: Path) -> None:
    env = {"TOWERLOG_DATABASE_URL": f"postgresql://u:secret@/none?host={tmp_path}"}
    refused = run_inside("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), env=env)
    assert refused.returncode == UNAVAILABLE
    assert "The database cannot be used" in refused.stderr
    assert "secret" not in refused.stderr


def test_what_a_process_of_several_fails_with_is_said_in_a_line(tmp_path: Path, url: str) -> None:
    data = tmp_path / "data"
    (data / "postgres.server").mkdir(parents=True)
    env = {"TOWERLOG_DATABASE_URL": url, "TOWERLOG_BOOTSTRAP_KEY": ADMIN_KEY, "TOWERLOG_WORKERS": "2"}
    refused = run(["serve", "--port", "0", "--data-dir", str(data)], clean_environment(env), CLI_DEADLINE_S)
    assert refused.returncode == UNAVAILABLE, refused.stderr
    assert refused.stderr.splitlines() == [f"towerlog: {data}/postgres.server: Is a directory"]


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"pip install '.\[postgres\]' in a checkout"):
        storage.check_extra("postgresql://h/d")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/d?sslmode=require", "postgresql://u@h:5/d"),
        ("postgresql://u@/d?host=/run", "postgresql://u@/d"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgres://u:a%40b@h/d?password=p", "postgres://u@h/d"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert storage.database_name(Settings(database_url=url)) == shown


def test_the_data_folder_is_where_it_is_without_a_url(tmp_path: Path) -> None:
    settings = load_settings({"database_url": "postgresql://h/d"}, environ={"XDG_DATA_HOME": str(tmp_path)})
    assert settings.data_dir == str(tmp_path / "towerlog")
    with pytest.raises(BadSetting, match="only sqlite"):
        load_settings({"database_url": "mysql://h/d"}, environ={})
