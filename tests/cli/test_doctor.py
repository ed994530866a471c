"""`towerlog doctor`: a verdict on each thing that can be wrong, and an exit code by the worst."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.sdk.served import told
from tests.sdk.talker import reply, talking
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog import __version__
from towerlog.cli import exits, measure
from towerlog.cli.doctor import check_disk, check_durability
from towerlog.config import Settings


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Measuring itself is tested elsewhere."""
    monkeypatch.setattr(measure, "INGEST_MS", 20)


def checked(*arguments: str | Path, code: int = 0, **env: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The worst verdict of each check, and all that was said."""
    done = towerlog("doctor", "--json", *arguments, **env)
    assert done.exit_code == code, done.output
    said = json.loads(done.stdout)
    order = ["ok", "warn", "wrong"]
    verdicts: dict[str, str] = {}
    for found in said["checks"]:
        verdicts[found["check"]] = max(found["verdict"], verdicts.get(found["check"], "ok"), key=order.index)
    return verdicts, said


def test_a_check_that_cannot_look_is_wrong_and_the_others_go_on(tmp_path) -> None:
    too_long = tmp_path / ("x" * 300)
    verdicts, said = checked("--data-dir", too_long, code=exits.FOUND_WRONG, TOWERLOG_PORT="9")
    assert verdicts["store"] == "wrong"
    assert {"settings", "store", "disk", "durability", "server"} <= set(verdicts)
    assert any("File name too long" in one["message"] for one in said["checks"])


def test_all_is_well_beside_a_running_server(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        verdicts, said = checked("--data-dir", server.data_dir)
        assert set(verdicts.values()) == {"ok"}, [one for one in said["checks"] if one["verdict"] != "ok"]
        assert set(verdicts) == {
            "settings",
            "store",
            "disk",
            "durability",
            "ingest",
            "server",
            "clock",
            "key",
            "runs",
            "messages",
            "channels",
        }
        [key] = [one["message"] for one in said["checks"] if one["check"] == "key"]
        assert key.endswith("in organisation default")
        assert said["figures"]["events_per_second"] > 0
        assert said["figures"]["fsync_mean_ms"] >= 0
        assert abs(said["figures"]["clock_skew_seconds"]) < 5
        assert (said["ok"], said["version"]) == (True, __version__)
        # It has looked, and has left nothing but the key that the commands use from now on.
        names = {file.name for file in server.data_dir.iterdir()}
        assert {name for name in names if not name.startswith("towerlog.db")} == {"cli.key"}
        printed = towerlog("doctor", "--data-dir", server.data_dir).stdout
        assert "durable events a second" in printed
    finally:
        server.close()


def test_before_the_first_start_there_is_nothing_wrong_and_nothing_is_made(tmp_path, held_port) -> None:
    verdicts, _ = checked("--data-dir", tmp_path / "data", TOWERLOG_PORT=str(held_port.number))
    assert (verdicts["store"], verdicts["server"], verdicts["key"]) == ("warn", "warn", "warn")
    assert not (tmp_path / "data").exists()


def test_the_server_of_another_store_is_not_taken_for_this_ones(tmp_path) -> None:
    with Server(tmp_path / "other", NO_LIMITS) as other:
        answered("keys", "create", "--init", "--name", "n", "--scopes", "read", "--data-dir", tmp_path / "own")
        verdicts, said = checked("--data-dir", tmp_path / "own", TOWERLOG_PORT=str(other.port))
    assert (verdicts["server"], verdicts.get("clock"), verdicts.get("key")) == ("warn", None, None), said
    assert any("no server of" in one["message"] for one in said["checks"])


def test_a_server_that_was_named_must_be_there(tmp_path, held_port) -> None:
    env = {"TOWERLOG_URL": held_port.url, "TOWERLOG_API_KEY": ADMIN_KEY}
    verdicts, _ = checked("--data-dir", tmp_path / "data", code=exits.FOUND_WRONG, **env)
    assert verdicts["server"] == "wrong"


def test_a_key_that_is_not_good_is_wrong(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        env = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": "tl_live_nobody"}
        verdicts, said = checked("--data-dir", tmp_path / "data", code=exits.NO_PERMISSION, **env)
        assert (verdicts["server"], verdicts["key"]) == ("ok", "wrong")
        assert "tl_live_nobody" not in json.dumps(said)
        alone = {"TOWERLOG_URL": server.base_url}
        verdicts, _ = checked("--data-dir", tmp_path / "data", code=exits.FOUND_WRONG, **alone)
        assert verdicts["settings"] == "wrong"
    finally:
        server.close()


def test_copies_that_a_killed_command_has_left_are_named_after_an_hour(tmp_path) -> None:
    data = tmp_path / "data"
    answered("keys", "create", "--init", "--name", "n", "--scopes", "read", "--data-dir", data)
    old, fresh = data / ".towerlog.db.x1.partial", data / ".backup.db.x2.partial"
    for file in (old, fresh):
        file.write_bytes(bytes(5000))
    os.utime(old, (time.time() - 4000,) * 2)
    verdicts, said = checked("--data-dir", data)
    [words] = [one["message"] for one in said["checks"] if one["check"] == "copies"]
    assert verdicts["copies"] == "warn"
    assert old.name in words
    assert fresh.name not in words


@pytest.mark.parametrize(
    ("document", "date", "server", "clock"),
    [
        ({"info": {"version": "0.0.1"}}, "Thu, 01 Jan 1970 00:00:00 GMT", "warn", "warn"),
        ({"something": "else"}, "", "wrong", None),
    ],
)
def test_another_version_and_another_time_are_worth_a_word(tmp_path, document, date, server, clock) -> None:
    replies = [reply(200, b"{}", {"Date": date}), reply(200, json.dumps(document).encode())]
    who = b'{"org_id":"o","user_id":"u","key_id":"k","scopes":["read"]}'
    with talking(*replies, reply(200, who)) as talker:
        env = {"TOWERLOG_URL": talker.url, "TOWERLOG_API_KEY": "k"}
        code = exits.FOUND_WRONG if server == "wrong" else exits.OK
        verdicts, said = checked("--data-dir", tmp_path / "data", code=code, **env)
    assert (verdicts["server"], verdicts.get("clock")) == (server, clock)
    words = " ".join(one["message"] for one in said["checks"])
    assert (f"what answers at {talker.url} is not a Towerlog server" in words) is (server == "wrong")


def test_a_rotten_store_is_wrong(tmp_path, held_port) -> None:
    (tmp_path / "towerlog.db").write_bytes(b"this is no database" * 100)
    verdicts, _ = checked("--data-dir", tmp_path, code=exits.FOUND_WRONG, TOWERLOG_PORT=str(held_port.number))
    assert verdicts["store"] == "wrong"


@pytest.mark.parametrize(("free", "verdict"), [(1 << 20, "wrong"), (500 << 20, "warn"), (50 << 30, "ok")])
def test_a_full_disk_is_told_of_in_time(tmp_path, monkeypatch, free, verdict) -> None:
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=free >> 12, f_frsize=4096, f_blocks=1 << 20)
    )
    [found] = check_disk(Settings(data_dir=str(tmp_path)), None)
    assert found.verdict == verdict


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr(measure, "held_folder", refuse)
    [found] = check_durability(Settings(data_dir=str(tmp_path)), None)
    assert found.verdict == "wrong"
    assert "permission denied" in found.message


def test_an_open_address_is_worth_a_word(tmp_path, held_port) -> None:
    verdicts, _ = checked("--data-dir", tmp_path, TOWERLOG_HOST="0.0.0.0", TOWERLOG_PORT=str(held_port.number))
    assert verdicts["settings"] == "warn"


def test_runs_that_nobody_serves_and_runs_that_were_lost_are_seen(tmp_path, monkeypatch) -> None:
    # By its name: the package has the command where the module was.
    module = sys.modules["towerlog.cli.doctor"]
    monkeypatch.setattr(module, "CHECKS", (module.check_runs,))
    monkeypatch.setattr(module, "LONG_QUEUED_MS", 0)
    server = Server(
        tmp_path / "data", {**NO_LIMITS, "TOWERLOG_SILENT_AFTER_SECONDS": "1", "TOWERLOG_LOST_AFTER_SECONDS": "2"}
    )
    try:
        client = server.start().client()
        client.post("/v1/threads/t/runs", json={"agent": "nobody-home"})
        told(server, "run_start", "gone")
        wait_until(lambda: client.get("/api/v1/runs?status=lost").json()["data"], "the run is lost")
        known = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
        verdicts, said = checked(**known)
        words = " ".join(one["message"] for one in said["checks"])
        assert verdicts == {"runs": "warn"}
        assert "1 queued run for agent 'nobody-home', waiting for" in words
        assert "1 run lost in the last 24 hours" in words
    finally:
        server.close()


def test_messages_that_were_given_up_are_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["towerlog.cli.doctor"]
    monkeypatch.setattr(module, "CHECKS", (module.check_messages, module.check_channels))
    server = Server(tmp_path / "data", dict(NO_LIMITS))
    try:
        client = server.start().client()
        known = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
        assert checked(**known)[0] == {"messages": "ok", "channels": "ok"}
        # This server knows no mail server, so it gives up at once.
        mail = {"type": "email", "target": "ada@example.com"}
        made = client.post("/api/v1/alert-rules", json={"name": "ours", "trigger": "error", "channels": [mail]})
        assert made.status_code == 201, made.text
        told(server, "error", "gone", error_type="IOError", error_message="no paper")
        wait_until(lambda: client.get("/api/v1/deliveries?state=failed").json()["data"], "it is given up")
        verdicts, said = checked(**known)
        assert verdicts == {"messages": "warn", "channels": "warn"}, "no channel is fine whose messages are given up"
        assert "email ada@example.com: 1 message given up in the last 24 hours" in [
            one["message"] for one in said["checks"]
        ]
        assert "1 message about alerts given up in the last 24 hours" in said["checks"][0]["message"]
        assert "towerlog_deliveries_given_up_total 1.0" in client.get("/metrics").text
    finally:
        server.close()


def test_channels_that_reach_nobody_are_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["towerlog.cli.doctor"]
    monkeypatch.setattr(module, "CHECKS", (module.check_channels,))
    server = Server(tmp_path / "data", dict(NO_LIMITS))
    try:
        client = server.start().client()
        known = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
        assert checked(**known)[0] == {"channels": "ok"}
        done = towerlog("alerts", "set", "ours", "--trigger", "error", "--email", "ada@example.com", **known)
        assert "warning: channels.0.target: nothing will arrive there: this server sends no mail" in done.output
        [rule] = client.get("/api/v1/alert-rules").json()["data"]
        changed = client.patch(
            f"/api/v1/alert-rules/{rule['rule_id']}",
            json={"channels": [{"type": "in_app"}, {"type": "slack", "target": "http://127.0.0.1:8099/"}]},
        )
        [warning] = changed.json()["warnings"]
        assert (warning["field"], "loopback" in warning["message"]) == ("channels.1.target", True)
        verdicts, said = checked(**known)
        assert verdicts == {"channels": "warn"}
        assert [one["message"].startswith("alert rule 'ours' (") for one in said["checks"]] == [True]
    finally:
        server.close()


def test_a_setting_that_does_not_exist_is_told(tmp_path) -> None:
    [found] = [one for one in check_settings_with(tmp_path, TOWERLOG_PROT="1") if "no such setting" in one["message"]]
    assert found["verdict"] == "warn"
    assert "TOWERLOG_PROT is set, but there is no such setting (did you mean TOWERLOG_PORT?)" in found["message"]


def check_settings_with(folder: Path, **env: str) -> list[dict[str, Any]]:
    done = towerlog("doctor", "--json", "--data-dir", folder / "none", **env)
    found: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    return [one for one in found if one["check"] == "settings"]


@pytest.mark.parametrize("is_off", [False, True])
def test_a_clock_that_holds_deletion_back_is_told(tmp_path, monkeypatch: pytest.MonkeyPatch, is_off: bool) -> None:
    module = sys.modules["towerlog.cli.doctor"]
    monkeypatch.setattr(module, "CHECKS", (module.check_server,))
    with Server(tmp_path / "data", dict(NO_LIMITS)) as server:
        server.stop()
        if is_off:
            keep_age(server, 10 * 86_400_000)
        server.start()
        wait_until(lambda: ("clock_off" in server.client().get("/readyz").text) is is_off, "the clock to be looked at")
        verdicts, said = checked(TOWERLOG_URL=server.base_url, TOWERLOG_API_KEY=ADMIN_KEY)
        told = [one for one in said["checks"] if "deleted for its age" in one["message"]]
        assert [one["verdict"] for one in told] == (["warn"] if is_off else [])
        assert (verdicts["clock"] == "warn") is is_off


def keep_age(server: Server, ago_ms: int) -> None:
    """As a server leaves it that was away for so long."""
    with closing(apsw.Connection(str(server.data_dir / "towerlog.db"))) as db:
        [(kept,)] = db.execute("SELECT value FROM meta WHERE name = 'age'")
        now_ms = int(re.findall(r'"now_ms":(\d+)', kept)[0])
        db.execute("UPDATE meta SET value = ? WHERE name = 'age'", (f'{{"now_ms":{now_ms - ago_ms}}}',))
