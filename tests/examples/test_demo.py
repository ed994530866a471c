"""The demo: it feeds runs through every dialect, what it prints works as it stands, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.curl import put_on_path
from tests.support.demo import ROOT, Demo
from tests.support.wait import wait_until

LIVE_S = 120.0
RAW = {"checkpoints", "steps", "activity", "runs", "lanes"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


def events_in(client: httpx2.Client, run_id: str) -> list[Json]:
    """The events of a run."""
    return list(client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 200}).json()["data"])


def events_of(client: httpx2.Client, agent: str | None = None) -> list[Json]:
    """The events of all runs, or of one agent's."""
    runs = client.get("/api/v1/runs", params={"limit": 50, **({"agent": agent} if agent else {})}).json()["data"]
    return [event for run in runs for event in events_in(client, run["run_id"])]


def delivery_of(client: httpx2.Client, **filters: str) -> Json:
    """How whole the newest of these runs is."""
    newest = client.get("/api/v1/runs", params={"limit": 1, **filters}).json()["data"][0]
    return dict(client.get(f"/api/v1/runs/{newest['run_id']}").json()["delivery"])


def test_all_five_dialects_feed_it(demo) -> None:
    demo.commands()
    with demo.client() as client:
        wait_until(
            lambda: {event["dialect"] for event in events_of(client)} >= RAW,
            "events of all five dialects",
            deadline_s=LIVE_S,
        )


def test_what_the_worker_serves_streams_calls_tools_saves_its_state_and_asks(demo) -> None:
    told = {"lane.claimed", "tool.call", "tool.result", "message.delta", "checkpoint", "run.waiting_for_input"}
    demo.commands()
    with demo.client() as client:
        wait_until(
            lambda: {event["type"] for event in events_of(client, "counter")} >= told | {"run.input", "run.completed"},
            "a run of the worker, from its claim to its end",
            deadline_s=LIVE_S,
        )
        delivery = delivery_of(client, agent="counter", status="completed")
    assert delivery["complete"] is True, f"towerlog worker numbers what it reports: {delivery}"


def test_the_sdk_reports_without_a_gap_and_waits_for_an_answer(demo) -> None:
    told = {"run.started", "step", "tool.call", "tool.result", "message.delta", "checkpoint", "run.waiting_for_input"}
    demo.commands()
    with demo.client() as client:
        wait_until(
            lambda: {event["type"] for event in events_of(client, "reviewer")} >= told,
            "what the SDK can tell",
            deadline_s=LIVE_S,
        )
        delivery = delivery_of(client, agent="reviewer")
    assert delivery["complete"] is True, delivery


def test_towerlog_exec_tells_how_each_command_ended(demo) -> None:
    demo.commands()
    with demo.client() as client:
        results = wait_until(
            lambda: [e for e in events_of(client, "housekeeper") if e["type"] == "tool.result"],
            "a command's result",
            deadline_s=LIVE_S,
        )
    assert all(event["data"]["result"]["exit_code"] == 0 for event in results), results
    assert all(event["data"]["result"]["stdout_bytes"] > 0 for event in results), results


def test_every_printed_line_works_as_it_stands(demo, tmp_path) -> None:
    put_on_path(tmp_path)
    environment: dict[str, str] = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    commands = demo.commands()
    assert len(commands) >= 12
    shown = tmp_path / "shown"
    with shown.open("wb") as out:
        tail = subprocess.Popen(["bash", "-c", f"exec env {demo.tail()}"], stdout=out, stderr=out, env=environment)
    try:
        wait_until(lambda: b"more files" in shown.read_bytes(), "the tail to show what is asked", deadline_s=LIVE_S)
        for command in commands:
            if " -N " in command:
                assert "data: {" in first_frame(command, environment), command
            else:
                run_line(command, environment)
        wait_until(lambda: tail.poll() is not None, "the tail's end with its run", deadline_s=LIVE_S)
    finally:
        tail.kill()
        tail.wait()
    assert tail.returncode == 0, shown.read_text()
    assert "run.completed" in shown.read_text()


def run_line(command: str, environment: dict[str, str]) -> str:
    """What a printed line answers; a refusal is a failure."""
    strict = command.replace("curl -sS", "curl -sS -f", 1)
    done = subprocess.run(strict, shell=True, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert done.stdout.startswith(("{", "[")), command
    return done.stdout


def test_what_is_created_is_claimed_and_what_is_cancelled_stops_by_itself(demo, tmp_path) -> None:
    put_on_path(tmp_path)
    environment: dict[str, str] = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (create,) = [command for command in demo.commands() if "/v1/threads/mine/runs" in command]
    (cancel,) = [command for command in demo.commands() if ":cancel" in command]
    created = json.loads(run_line(create, environment))["run_id"]
    run_line(cancel, environment)
    cancelled = cancel.rpartition("/runs/")[2].partition(":")[0]
    with demo.client() as client:

        def run_of(run_id: str) -> Json:
            return dict(client.get(f"/api/v1/runs/{run_id}").json())

        wait_until(lambda: run_of(created)["status"] == "completed", "the worker's result", deadline_s=LIVE_S)
        wait_until(lambda: run_of(cancelled)["status"] == "cancelled", "the end that was asked for", deadline_s=LIVE_S)
        (end,) = [event for event in events_in(client, created) if event["type"] == "run.completed"]
        assert end["data"]["result"]["files"] > 0, end
        assert not run_of(cancelled)["forced"], "its agent did not stop by itself"


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
    assert len(processes_naming(own.url, str(tmp_path))) >= 10, "the demo, its server and eight agents"
    own.stop()
    assert own.process.returncode == 0, own.text
    assert "Traceback" not in own.text
    assert processes_naming(own.url, str(tmp_path)) == [], "a child outlived the demo"


@pytest.mark.parametrize("moment", ["starting", pytest.param("its first agents", marks=pytest.mark.slow), "ready"])
def test_it_ends_with_sigterm_at_any_moment_and_leaves_nothing_behind(tmp_path, moment) -> None:
    words = {"starting": "starting the server", "its first agents": "listens on", "ready": "Ctrl-C ends it."}[moment]
    printed, folder = tmp_path / "printed", tmp_path / "temporary"
    folder.mkdir()
    env = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "examples/demo.py", "--seconds", "7200"]
    with printed.open("wb") as out, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=env) as demo:
        try:
            wait_until(lambda: words in printed.read_text(), "the moment", deadline_s=LIVE_S)
        finally:
            demo.send_signal(signal.SIGTERM)
    assert demo.returncode == 0, printed.read_text()
    assert "Traceback" not in printed.read_text()
    assert processes_naming(str(folder)) == [], "a child outlived the demo"
    assert list(folder.iterdir()) == []


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
