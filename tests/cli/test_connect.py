"""Which address and which key: the environment's, else the local folder's, private and sent nowhere else."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import answered, towerlog
from tests.sdk.talker import reply, talking
from tests.support.server import Server
from towerlog.cli import connect, exits
from towerlog.config import BadSetting, Settings
from towerlog.model.key import is_intact
from towerlog.sdk.wire.errors import Unreachable
from towerlog.store.server_address import Listening, file_of

KEY = "tl_ro_" + "x" * 10


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """Those of a folder that has a store."""
    monkeypatch.delenv("TOWERLOG_URL", raising=False)
    monkeypatch.delenv("TOWERLOG_API_KEY", raising=False)
    answered("orgs", "create", "acme", "--init", "--data-dir", tmp_path)
    return Settings(data_dir=str(tmp_path), port=1234)


def test_the_local_key_is_made_once_and_is_its_owners_alone(settings, tmp_path) -> None:
    key = connect.local_key(settings)
    assert is_intact(key)
    assert connect.local_key(settings) == key
    assert stat.S_IMODE((tmp_path / connect.COMMANDS.file).stat().st_mode) == 0o600
    keys = answered("keys", "list", "--data-dir", tmp_path)["data"]
    assert [one["scopes"] for one in keys if one["name"] == connect.COMMANDS.name] == [["ingest", "read", "control"]]
    assert [file.name for file in tmp_path.glob(f"{connect.COMMANDS.file}*")] == [connect.COMMANDS.file]


def test_a_worker_has_a_key_of_its_own_that_may_do_less(settings, tmp_path) -> None:
    key = connect.local_key(settings, connect.WORKERS)
    assert connect.local_key(settings, connect.WORKERS) == key != connect.local_key(settings)
    with closing(Listening(tmp_path / "towerlog.db", "http://127.0.0.1:5678")):
        url, sent = connect.server_of(settings, None, connect.WORKERS)
        assert (str(url), sent) == ("http://127.0.0.1:5678", key)
    keys = answered("keys", "list", "--data-dir", tmp_path)["data"]
    assert [one["scopes"] for one in keys if one["name"] == connect.WORKERS.name] == [["ingest", "worker"]]


def test_two_at_once_use_the_same_key_and_leave_no_other(settings, tmp_path) -> None:
    together, got = threading.Barrier(4), []

    def make() -> None:
        together.wait(60)
        got.append(connect.local_key(settings))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(got) == 4
    assert len(set(got)) == 1
    keys = answered("keys", "list", "--data-dir", tmp_path)["data"]
    good = [one for one in keys if one["name"] == connect.COMMANDS.name and one["revoked_at"] is None]
    assert len(good) == 1


def test_to_look_makes_no_store(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("TOWERLOG_API_KEY", raising=False)
    with pytest.raises(FileNotFoundError):
        connect.local_key(Settings(data_dir=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_could_read_is_not_used(settings, tmp_path, mode) -> None:
    connect.local_key(settings)
    os.chmod(tmp_path / connect.COMMANDS.file, mode)
    with pytest.raises(BadSetting, match="others"):
        connect.local_key(settings)


def test_a_file_that_holds_no_key_is_not_sent_anywhere(settings, tmp_path) -> None:
    file = tmp_path / connect.COMMANDS.file
    file.write_text("something else")
    file.chmod(0o600)
    with pytest.raises(BadSetting, match="not hold a valid key") as caught:
        connect.local_key(settings)
    assert "something else" not in str(caught.value)


def test_the_local_key_goes_to_no_other_address(settings, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TOWERLOG_URL", "http://elsewhere")
    with pytest.raises(BadSetting, match="TOWERLOG_API_KEY"):
        connect.client_of(settings, None)
    monkeypatch.delenv("TOWERLOG_URL")
    with pytest.raises(BadSetting, match="TOWERLOG_API_KEY"):
        connect.client_of(settings, "http://elsewhere")
    assert not (tmp_path / connect.COMMANDS.file).exists()


def test_the_local_key_goes_to_no_server_of_another_store(settings, tmp_path) -> None:
    """Not to what listens on the port of the settings, whatever it is, and not when the store's own server has died."""
    commands = (("runs", "ls"), ("queue",), ("doctor",), ("spool", "adopt", "x"))
    server = Server(tmp_path / "own")
    with talking(*[reply(200, b"{}")] * 20) as stranger:
        port = stranger.url.rpartition(":")[2]
        try:
            known = {"TOWERLOG_DATA_DIR": str(server.data_dir), "TOWERLOG_PORT": port}
            server.start()
            assert towerlog("runs", "ls", **known).exit_code == 0
            assert towerlog("doctor", **known).exit_code == 0
            server.kill()
            assert file_of(server.data_dir / "towerlog.db").exists()
            for command in commands:
                towerlog(*command, **known)
            done = towerlog("runs", "ls", **known)
            assert (done.exit_code, done.stdout) == (exits.UNAVAILABLE, "")
            assert f"no server of {server.data_dir / 'towerlog.db'} is running" in done.stderr
        finally:
            server.close()
        for local in (connect.COMMANDS, connect.WORKERS):
            with pytest.raises(Unreachable, match="is running"):
                connect.server_of(settings, None, local)
            assert not (tmp_path / local.file).exists(), "a key that nothing can be asked with is not made"
        assert not stranger.requests


def test_a_server_in_a_container_is_not_taken_for_one_here(settings, tmp_path) -> None:
    with closing(Listening(tmp_path / "towerlog.db", "http://127.0.0.1:5678")):
        file = file_of(tmp_path / "towerlog.db")
        file.write_text(file.read_text().replace("\n", "\nelsewhere ", 1))
        with pytest.raises(Unreachable, match=r"container.*TOWERLOG_URL"):
            connect.server_of(settings, None, connect.COMMANDS)


def test_a_store_older_than_the_local_key_is_told_as_such(tmp_path) -> None:
    server = Server(tmp_path / "data")
    try:
        server.start()
        known = {"TOWERLOG_DATA_DIR": str(server.data_dir)}
        answered("backup", tmp_path / "old.db", **known)
        assert towerlog("runs", "ls", **known).exit_code == 0
        server.stop()
        for file in server.data_dir.glob("towerlog.db*"):
            file.unlink()
        (tmp_path / "old.db").rename(server.data_dir / "towerlog.db")
        server.start()
        for command in (("runs", "ls"), ("queue",), ("export", "--since", "1h"), ("runs", "show", "0" * 36)):
            done = towerlog(*command, **known)
            assert done.exit_code == exits.NO_PERMISSION, done.output
            assert str(server.data_dir / "cli.key") in done.stderr
            assert "a backup from before it" in done.stderr
        done = towerlog("doctor", **known)
        assert "a backup from before it" in done.stdout, "doctor says no less than the commands"
    finally:
        server.close()


def test_the_environment_wins_over_the_folder(settings, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TOWERLOG_API_KEY", KEY)
    assert str(connect.client_of(settings, None).http.address) == "http://127.0.0.1:1234"
    monkeypatch.setenv("TOWERLOG_URL", "http://env:1")
    assert str(connect.client_of(settings, None).http.address) == "http://env:1"
    assert str(connect.client_of(settings, "http://flag:2").http.address) == "http://flag:2"
    assert not (tmp_path / connect.COMMANDS.file).exists()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8700"),
        ("0.0.0.0", "http://127.0.0.1:8700"),
        ("::", "http://[::1]:8700"),
        ("box", "http://box:8700"),
    ],
)
def test_a_server_is_reached_from_its_own_machine(host, url) -> None:
    assert connect.local_url(Settings(host=host)) == url


@pytest.mark.parametrize(
    ("env", "code", "words"),
    [
        ({"TOWERLOG_URL": "http://127.0.0.1:9"}, 77, "TOWERLOG_API_KEY"),
        ({"TOWERLOG_URL": "nowhere", "TOWERLOG_API_KEY": KEY}, 78, "http://"),
        ({"TOWERLOG_URL": "http://127.0.0.1:1", "TOWERLOG_API_KEY": KEY}, 69, "refused"),
        ({}, 69, "no store here"),
    ],
)
def test_without_a_server_a_command_ends_in_words(tmp_path: Path, env, code, words) -> None:
    done = towerlog("threads", "--data-dir", tmp_path / "none", **env)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert KEY not in done.output
