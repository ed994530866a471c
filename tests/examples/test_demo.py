"""The demo: it feeds runs through every dialect, what it prints works as it stands, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.demo import ROOT, Demo
from tests.support.launcher import put_on_path
from tests.support.pages import environment, run_python, tour, wrong_of
from tests.support.server import clean_environment
from tests.support.wait import wait_until

LIVE_S = 120.0
RAW = {"checkpoints", "steps", "activity", "runs", "lanes"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for all tests; the last of them ends it, and a run of some of them here."""
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    if running.process.poll() is None:
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
            "events of all dialects with a wire of their own in the demo",
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


def test_a_rule_has_told_its_receiver_of_an_approval_that_waits(demo) -> None:
    [approve] = [command for command in demo.commands() if "approvals approve" in command]
    approval_id = approve.split()[-1]
    messages = [json.loads(line) for line in (demo.folder / "data" / "messages").read_text().splitlines()]
    assert [(one["type"], one["agent_name"]) for one in messages][:1] == [("alert.fired", "publisher")]
    with demo.client() as client:
        assert client.get(f"/api/v1/approvals/{approval_id}").json()["agent"] == "publisher"
        page = httpx2.get(messages[0]["answer_url"], trust_env=False)
        assert (page.status_code, "publish_page" in page.text) == (200, True)
        [budget] = client.get("/api/v1/budgets").json()["data"]
        assert (budget["action"], budget["name"]) == ("warn", "demo")
        wait_until(
            lambda: [event for event in events_of(client) if event["type"] == "budget.warning"],
            "the budget's warning",
            deadline_s=LIVE_S,
        )


WATCHING = ("runs tail", "--follow")
"""What a printed line has in it that goes on until its run ends or somebody stops it."""


def test_every_printed_line_works_as_it_stands(demo, tmp_path) -> None:
    put_on_path(tmp_path)
    commands = demo.commands()
    assert len(commands) >= 14
    assert not [line for line in commands if demo.key in line or demo.url in line]
    survey, waiting = (line for line in commands if "runs tail" in line)
    [feed] = [line for line in commands if "--follow" in line]
    with watched(demo, waiting, tmp_path) as (tail, shown):
        wait_until(lambda: "more files" in shown.read_text(), "the tail to show what is asked", deadline_s=LIVE_S)
        for command in commands:
            if not any(words in command for words in WATCHING):
                run_line(demo, command, tmp_path)
        wait_until(lambda: tail.poll() is not None, "the tail's end with its run", deadline_s=LIVE_S)
        assert tail.returncode == 0, shown.read_text()
        assert "run.completed" in shown.read_text()
    for line in (survey, feed):
        with watched(demo, line, tmp_path) as (_, shown):
            wait_until(lambda shown=shown: shown.read_text().strip(), f"an event of {line}", deadline_s=LIVE_S)


@contextlib.contextmanager
def watched(demo: Demo, command: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A printed line that goes on, in a shell that has the exports, and the file into which it prints."""
    shown = folder / "shown"
    with shown.open("wb") as out:
        script = f"{demo.exports()}\nexec {command}"
        process = subprocess.Popen(["bash", "-c", script], stdout=out, stderr=out, env=path_with(folder))
    try:
        yield process, shown
    finally:
        process.kill()
        process.wait()


def path_with(folder: Path) -> dict[str, str]:
    """An environment with this folder's programs, and no variable of ours but those that the demo prints."""
    return {**clean_environment({}), "PATH": f"{folder}:{os.environ['PATH']}"}


def run_line(demo: Demo, command: str, folder: Path) -> str:
    """What a printed line answers; a refusal is a failure."""
    strict = command.replace("curl -sS", "curl -sS -f", 1)
    script = f"set -e\n{demo.exports()}\n{strict}"
    shell = ["bash", "-c", script]
    done = subprocess.run(shell, env=path_with(folder), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert done.stdout.strip(), command
    return done.stdout.strip()


OWN = re.compile(r"\d\d:\d\d:\d\d  [a-z]+ {2,}\S")
"""How a line of the demo's log begins."""


def test_all_that_it_prints_has_one_form_and_fits_into_a_terminal(demo) -> None:
    demo.commands()
    # Of what is printed by several at a time the last line may not be whole.
    lines = demo.text.splitlines()[:-1]
    # A folder of a test is longer than one that people have.
    assert [line for line in lines if len(line) > 80 and not line.startswith("  export ")] == []
    began = lines.index(f"Towerlog listens on {demo.url}")
    ended = next(at for at, line in enumerate(lines) if "Ctrl-C ends everything." in line)
    logged = [line for line in (*lines[:began], *lines[ended + 1 :]) if line and not line.startswith(" " * 23)]
    assert [line for line in logged if not OWN.match(line)] == []
    assert len(logged) > 5


def test_what_is_created_is_claimed_and_what_is_cancelled_stops_by_itself(demo, tmp_path) -> None:
    put_on_path(tmp_path)
    (create,) = [command for command in demo.commands() if "runs create" in command]
    (cancel,) = [command for command in demo.commands() if "runs cancel" in command]
    created = run_line(demo, create, tmp_path)
    run_line(demo, cancel, tmp_path)
    cancelled = cancel.split()[3]
    with demo.client() as client:

        def run_of(run_id: str) -> Json:
            return dict(client.get(f"/api/v1/runs/{run_id}").json())

        wait_until(lambda: run_of(created)["status"] == "completed", "the worker's result", deadline_s=LIVE_S)
        wait_until(lambda: run_of(cancelled)["status"] == "cancelled", "the end that was asked for", deadline_s=LIVE_S)
        (end,) = [event for event in events_in(client, created) if event["type"] == "run.completed"]
        assert end["data"]["result"]["files"] > 0, end
        assert not run_of(cancelled)["forced"], "its agent did not stop by itself"


def test_the_tour_of_the_readme_comes_out_as_it_says(demo, tmp_path) -> None:
    demo.commands()
    page = ROOT / "README.md"
    env = environment(tmp_path, demo.url, demo.key)
    steps = tour(page.read_text(), "Five minutes")
    found = wrong_of(page.name, steps, tmp_path, env)
    run_python(page, env)
    assert len(steps) >= 6
    assert not found, "\n\n".join(found)


def test_it_ends_with_ctrl_c_and_takes_everything_with_it(demo) -> None:
    """After all that the tests above have done with it."""
    demo.commands()
    names = (demo.url, str(demo.folder))
    assert len(processes_naming(*names)) >= 10, "the demo, its server, eight agents and an application"
    demo.stop()
    assert demo.process.returncode == 0, demo.text
    assert "Traceback" not in demo.text
    assert processes_naming(*names) == [], "a child outlived the demo"


@pytest.mark.parametrize(
    "moment", ["starting", *(pytest.param(later, marks=pytest.mark.slow) for later in ("its first agents", "ready"))]
)
def test_it_ends_with_sigterm_at_any_moment_and_leaves_nothing_behind(tmp_path, moment) -> None:
    words = {"starting": "starting the server", "its first agents": "listens on", "ready": "Ctrl-C ends everything."}[
        moment
    ]
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
