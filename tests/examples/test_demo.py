"""The demo: it feeds runs through every dialect, what it prints works as it stands, and it leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.curl import put_on_path
from tests.support.demo import Demo
from tests.support.wait import wait_until

LIVE_S = 20.0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


def seen_in(client: httpx2.Client) -> set[str]:
    """The dialects through which events have come in, over all runs."""
    seen: set[str] = set()
    for run in client.get("/api/v1/runs", params={"limit": 50}).json()["data"]:
        events = client.get(f"/api/v1/runs/{run['run_id']}/events", params={"limit": 200}).json()["data"]
        seen |= {event["dialect"] for event in events}
    return seen


def test_all_five_dialects_feed_it(demo) -> None:
    demo.commands()
    with demo.client() as client:
        wait_until(
            lambda: {"checkpoints", "steps", "activity", "runs", "lanes"} <= seen_in(client),
            "events of all five dialects",
            deadline_s=LIVE_S,
        )


def test_every_printed_curl_line_works_as_it_stands(demo, tmp_path) -> None:
    put_on_path(tmp_path)
    environment: dict[str, str] = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    commands = demo.commands()
    assert len(commands) >= 9
    for command in commands:
        if " -N " in command:
            assert "data: {" in first_frame(command, environment), command
            continue
        # -f is put in so that a refusal is a failure.
        strict = command.replace("curl -sS", "curl -sS -f", 1)
        done = subprocess.run(
            strict, shell=True, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.startswith(("{", "[")), command


def first_frame(command: str, environment: dict[str, str]) -> str:
    """What a streaming command prints until its first event is there."""
    with subprocess.Popen(shlex.split(command), env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        printed: list[bytes] = []

        def got_one() -> bool:
            printed.append(process.stdout.read() or b"")
            return b"data: {" in b"".join(printed)

        try:
            wait_until(got_one, f"a frame of {command}", deadline_s=LIVE_S)
        finally:
            process.kill()
    return b"".join(printed).decode()


def test_it_ends_with_ctrl_c_and_takes_everything_with_it(tmp_path) -> None:
    own = Demo(tmp_path)
    own.commands()
    assert len(processes_naming(own.url, str(tmp_path))) >= 7, "the demo, its server and five agents"
    begun = time.monotonic()
    own.stop()
    assert own.process.returncode == 0, own.text
    assert time.monotonic() - begun < 20
    assert "Traceback" not in own.text
    assert processes_naming(own.url, str(tmp_path)) == [], "a child outlived the demo"


def processes_naming(*texts: str) -> list[str]:
    """This machine's processes that have one of these texts in their command line or their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if any(text.encode() in told for text in texts):
            found.append(folder.name)
    return found
