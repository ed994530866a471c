"""The process: it comes up, says so once, serves, and goes down in an orderly way whatever is open."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.launcher import launch_python
from tests.support.server import STOP_DEADLINE_S, clean_environment, wait_for_exit
from tests.support.sse import EventStream
from tests.support.wait import wait_until
from towerlog.asgi.process.sockets import listen
from towerlog.config import Settings
from towerlog.engine.core import EngineSettings
from towerlog.errors import StoreLocked
from towerlog.model.answer_link import LinkAddress
from towerlog.model.liveness import Thresholds
from towerlog.parts import engine_settings, transport_config
from towerlog.server import SWITCH_SECONDS, url_of

PROGRAM = """
import json, sys
from towerlog import server
from towerlog.config import load_settings
from towerlog.errors import StorageFailed

def announce(started):
    told = {"url": started.url, "admin_key": started.admin_key, "switch_seconds": sys.getswitchinterval()}
    print(json.dumps(told), flush=True)

class Doomed(server.Engine):
    async def start(self):
        await super().start()
        import asyncio
        asyncio.get_running_loop().call_later(0.3, self._store.trouble.end, StorageFailed("the disk is gone"))

if "--doomed" in sys.argv:
    server.Engine = Doomed
sys.exit(server.run(load_settings({"port": 0, "data_dir": sys.argv[1]}), announce))
"""
KEY = "adm_" + "0123456789abcdefghijklmnopqrstuvwxyzKEYS"


class Process:
    """A serving process and what it has said."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        env = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": "", **environment})
        self.log = folder.with_suffix(".log").open("ab+")
        reading, writing = os.pipe()
        self.printed = open(reading, "rb")  # noqa: SIM115 - closed with the process
        self.process = launch_python(PROGRAM, [str(folder), *arguments], env, writing, self.log.fileno())
        os.close(writing)

    def started(self) -> dict[str, Any]:
        line = self.printed.readline()
        assert line, self.said()
        told: dict[str, Any] = json.loads(line)
        return told

    def said(self) -> str:
        return Path(self.log.name).read_text()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.code()

    def code(self) -> int:
        """The exit code, once it has ended."""
        assert wait_for_exit(self.process, STOP_DEADLINE_S), self.said()
        assert self.process.returncode is not None
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.printed.close()
        self.log.close()


Serve = Callable[..., Process]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts processes over one data folder."""
    made: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        made.append(Process(tmp_path / "data", *arguments, **environment))
        return made[-1]

    yield start
    for one in made:
        one.close()


def get(url: str, key: str | None) -> httpx2.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx2.get(url, headers=headers, trust_env=False, verify=False)


def test_the_first_start_makes_a_key_and_tells_it_once(serve: Serve) -> None:
    first = serve()
    told = first.started()
    assert get(f"{told['url']}/v1/runs", told["admin_key"]).status_code == 200
    assert get(f"{told['url']}/readyz", None).json() == {"status": "ready"}
    assert first.end() == 0
    second = serve()
    again = second.started()
    assert again["admin_key"] is None
    assert get(f"{again['url']}/v1/runs", told["admin_key"]).status_code == 200
    assert second.end(signal.SIGINT) == 0


def test_an_idle_connection_is_closed_after_the_setting(serve: Serve) -> None:
    assert Settings().keep_alive_seconds > 60, "proxies keep theirs for a minute, and must be the first to close"
    told = serve(TOWERLOG_KEEP_ALIVE_SECONDS="2").started()
    with socket.create_connection(("127.0.0.1", int(told["url"].rpartition(":")[2])), timeout=60) as raw:
        raw.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        idle_since = time.monotonic()
        assert raw.recv(1) == b""
        assert time.monotonic() - idle_since > 1.5


def test_no_thread_keeps_the_interpreter_for_long(serve: Serve) -> None:
    told = serve().started()
    assert told["switch_seconds"] == pytest.approx(SWITCH_SECONDS), "commits wait for decoders, statement by statement"


def test_a_bootstrap_key_is_not_repeated(serve: Serve) -> None:
    process = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    told = process.started()
    assert told["admin_key"] is None
    assert get(f"{told['url']}/v1/runs", KEY).status_code == 200
    assert process.end() == 0
    assert KEY not in process.said()


def test_open_streams_and_idle_connections_do_not_hold_it_up(serve: Serve) -> None:
    process = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    url = process.started()["url"]
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=url, headers=headers, trust_env=False, verify=False) as client:
        run_id = client.post("/v1/threads/t/runs").json()["run_id"]
        streams = [EventStream(f"{url}/v1/runs/{run_id}/events", headers) for _ in range(20)]
        for stream in streams:
            stream.next_event()
        idle = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        assert process.end() == 0
        for stream in streams:
            rest = list(stream.rest())
            assert any(frame.retry for frame in rest), "told when to come back"
            stream.close()
        idle.close()


def test_a_long_poll_does_not_hold_it_up(serve: Serve) -> None:
    process = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    url = process.started()["url"]
    body = json.dumps({"worker_id": "w", "wait_seconds": 60}).encode()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as poll:
        head = f"POST /api/agents/runs/claim HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        poll.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        metrics = f"{url}/metrics"
        wait_until(lambda: "towerlog_commands_total 1.0" in get(metrics, None).text, "the poll to have begun")
        assert process.end() == 0


def test_what_was_acknowledged_is_there_after_a_restart(serve: Serve) -> None:
    process = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    url = process.started()["url"]
    run_id = httpx2.post(
        f"{url}/v1/threads/t/runs", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False
    ).json()["run_id"]
    process.end(signal.SIGKILL)
    url = serve(TOWERLOG_BOOTSTRAP_KEY=KEY).started()["url"]
    assert get(f"{url}/v1/runs/{run_id}", KEY).json()["status"] == "queued"


def test_a_storage_that_fails_ends_the_process_with_70(serve: Serve) -> None:
    process = serve("--doomed", TOWERLOG_BOOTSTRAP_KEY=KEY)
    process.started()
    assert process.code() == 70
    assert "the disk is gone" in process.said()


def test_the_log_is_json_in_lines(serve: Serve) -> None:
    process = serve("--doomed", TOWERLOG_BOOTSTRAP_KEY=KEY)
    process.started()
    process.code()
    lines = [json.loads(line) for line in process.said().splitlines()]
    (failed,) = [line for line in lines if line.get("error") == "the disk is gone"]
    assert failed["level"] == "error"
    assert failed["logger"] == "towerlog.store"
    assert failed["timestamp"].endswith("Z")


def test_a_second_process_on_the_same_folder_does_not_start(serve: Serve) -> None:
    first = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    first.started()
    second = serve(TOWERLOG_BOOTSTRAP_KEY=KEY)
    assert second.code() not in (0, 70)
    assert StoreLocked.__name__ in second.said()
    assert first.end() == 0


def test_an_address_that_is_taken_is_an_error() -> None:
    holder = listen("127.0.0.1", 0)
    holder.listen()
    with pytest.raises(OSError):
        listen("127.0.0.1", holder.getsockname()[1])
    holder.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), "http://127.0.0.1:{port}"),
        (Settings(public_url="https://tower.example/"), "https://tower.example"),
    ],
)
def test_the_address_that_users_see(settings: Settings, expected: str) -> None:
    listener = listen("127.0.0.1", 0)
    assert url_of(settings, listener) == expected.format(port=listener.getsockname()[1])
    listener.close()


def test_the_transport_is_told_what_the_settings_say() -> None:
    config = transport_config(Settings(steps_rate_per_minute=3, lanes_min_lease_seconds=7, max_body_bytes=9))
    assert config.rates == {"steps_rate_per_minute": 3, "lanes_rate_per_minute": 600, "otlp_rate_per_minute": 6000}
    assert (config.dialect.min_lease_seconds, config.max_body_bytes) == (7, 9)


def test_the_engine_is_told_what_the_settings_say() -> None:
    told = engine_settings(
        Settings(
            max_queue=9,
            cancel_deadline_seconds=7,
            stalled_after_seconds=1,
            silent_after_seconds=2,
            lost_after_seconds=3,
            public_url="https://tower.example.com/",
        ),
        "s",
    )
    thresholds, links = Thresholds(1000, 2000, 3000), LinkAddress("https://tower.example.com", "s")
    assert told == EngineSettings(9, 7, thresholds, links=links)
    assert engine_settings(Settings(), "s") == EngineSettings()
