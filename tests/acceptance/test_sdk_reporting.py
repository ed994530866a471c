"""The SDK against a real server: what it reports is what the server shows, and no crash loses any of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.recorder import Recorder

EVENTS = 100_000
RUNS = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, for it is killed."""
    made = Server(tmp_path / "data", NO_LIMITS).start()
    yield made
    made.close()


@pytest.fixture
def recorder(server: Server, tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool", longest_pause_seconds=0.5)
    yield made
    made.close(0.0)


def shown(server: Server, recorder: Recorder, run_key: str) -> dict[str, Any]:
    """The run as the server shows it, by the agent that has its key as a name."""
    client = server.client()
    found = client.get("/api/v1/runs", params={"agent": run_key}).raise_for_status().json()["data"]
    assert len(found) == 1, found
    run: dict[str, Any] = client.get(f"/api/v1/runs/{found[0]['run_id']}").raise_for_status().json()
    return run


def test_a_run_is_shown_as_it_was_told(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="teller", thread="t1", input={"q": 1}, metadata={"m": 1}) as run:
        run.step("mark")
        with run.step("part"), run.tool_call("search", arguments={"q": 1}) as call:
            call.result = ["x"]
        run.message_delta("hello")
        run.model_call("some-model", input_tokens=3, output_tokens=4, cost_usd="0.01")
        run.checkpoint([{"role": "user", "content": "hello"}], state={"a": 1})
        run.result = {"ok": True}
    assert recorder.flush(20)
    assert recorder.status().refused == 0, recorder.status()
    found = shown(server, recorder, "teller")
    assert (found["status"], found["thread_id"]) == ("completed", "t1")
    assert found["delivery"]["complete"] is True


def test_an_answer_reaches_the_run_that_asked(server: Server, recorder: Recorder) -> None:
    answers: list[object] = []

    def ask() -> None:
        with recorder.record_run(agent="asker") as run:
            answers.append(run.ask("Publish?"))

    thread = threading.Thread(target=ask)
    thread.start()
    run_id = wait_until(lambda: waiting(server), "the question")
    server.client().post(f"/v1/runs/{run_id}/input", json={"content": "yes"}).raise_for_status()
    thread.join(20)
    assert answers == ["yes"]
    assert recorder.flush(20)
    assert shown(server, recorder, "asker")["status"] == "completed"


def waiting(server: Server) -> str:
    runs = server.client().get("/api/v1/runs", params={"agent": "asker"}).json()["data"]
    return str(runs[0]["run_id"]) if runs and runs[0]["status"] == "waiting_for_input" else ""


@pytest.mark.slow
def test_an_outage_loses_none_of_100000_events_and_stores_none_twice(server: Server, recorder: Recorder) -> None:
    each, pace = EVENTS // RUNS, threading.Event()

    def report(number: int) -> None:
        with recorder.record_run(agent=f"agent-{number}") as run:
            for told in range(each - 2):
                run.message_delta("x")
                if told % 100 == 0:
                    # All of them together about as fast as a busy program, not as fast as the language.
                    pace.wait(0.03)

    threads = [threading.Thread(target=report, args=(number,)) for number in range(RUNS)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        before = recorder.status().acknowledged
        wait_until(lambda before=before: recorder.status().acknowledged > before + 500, "some delivery", deadline_s=60)
        server.kill()
        wait_until(lambda: recorder.status().spooled > 500, "the spool", deadline_s=60)
        server.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: recorder.flush(1), "the delivery", deadline_s=240)
    assert recorder.status().dropped == 0
    assert recorder.status().acknowledged == EVENTS
    for number in range(RUNS):
        found = shown(server, recorder, f"agent-{number}")
        clients = [(client["received"], client["highest"]) for client in found["delivery"]["clients"]]
        assert (found["status"], found["delivery"]["complete"], clients) == ("completed", True, [(each, each)])
