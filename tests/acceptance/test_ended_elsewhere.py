"""A program whose run somebody else has ended learns of it wherever it waits or looks, against a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("ended") / "data", NO_LIMITS).start()
    yield made
    made.close()


@pytest.fixture
def recorder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    # It asks what people want of its run every five seconds.
    monkeypatch.setattr("towerlog.sdk.record.delivery.POLL_EVERY_S", 0.2)
    made = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool", longest_pause_seconds=0.5)
    yield made
    made.close(0.0)


def look(run: Run, glance: Callable[[Run], object]) -> None:
    pause = threading.Event()
    while True:
        glance(run)
        pause.wait(0.05)


def step_and_check(run: Run) -> None:
    run.step("work")
    run.check()


WAYS: dict[str, Callable[[Run], object]] = {
    "asks": lambda run: run.ask("Pay?"),
    "checks": lambda run: look(run, step_and_check),
    "reads": lambda run: look(run, Run.messages),
    "pauses": lambda run: look(run, Run.pause_point),
}


class Program:
    """A thread with a run that does one thing for as long as it may, and what ended that."""

    def __init__(self, recorder: Recorder, work: Callable[[Run], object]) -> None:
        self.error: BaseException | None = None
        self.run: Run = recorder.start_run("program")
        self._work = work
        self.thread = threading.Thread(target=self._carry_out, daemon=True)
        assert recorder.flush(20)
        self.thread.start()

    def _carry_out(self) -> None:
        try:
            self._work(self.run)
        except BaseException as error:
            self.error = error

    def ended_by(self) -> BaseException | None:
        self.thread.join(60)
        assert not self.thread.is_alive(), "it still waits"
        return self.error


def status(server: Server, program: Program) -> str:
    return str(server.client().get(f"/v1/runs/{program.run.run_id}").json()["status"])


@pytest.mark.parametrize("way", WAYS)
def test_whose_run_is_killed_learns_of_it(server: Server, recorder: Recorder, way: str) -> None:
    program = Program(recorder, WAYS[way])
    client, path = server.client(), f"/api/v1/runs/{program.run.run_id}"
    if way == "asks":
        wait_until(lambda: status(server, program) == "waiting_for_input", "the question")
    if way == "pauses":
        client.post(f"{path}:pause").raise_for_status()
        wait_until(lambda: status(server, program) == "paused", "the pause")
    client.post(f"{path}:kill", json={"reason": "too dear"}).raise_for_status()
    error = program.ended_by()
    assert isinstance(error, RunCancelled)
    assert str(error) == "the run has ended as cancelled: too dear"


def test_who_asks_after_the_end_does_not_wait(server: Server, recorder: Recorder) -> None:
    begins = threading.Event()
    program = Program(recorder, lambda run: (begins.wait(60), run.ask("Pay?")))
    server.client().post(f"/api/v1/runs/{program.run.run_id}:kill").raise_for_status()
    begins.set()
    assert isinstance(program.ended_by(), RunCancelled)


@pytest.mark.parametrize("way", ["asks", "checks"])
def test_of_two_programs_with_one_run_the_second_learns_of_the_firsts_end(
    server: Server, recorder: Recorder, tmp_path: Path, way: str
) -> None:
    program = Program(recorder, WAYS[way])
    other = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "other")
    with other.record_run("program", run_key=program.run.run_key):
        pass
    assert other.close(20)
    error = program.ended_by()
    assert type(error) is RunCancelled
    assert str(error) == "the run has ended as completed; another run needs an id of its own"


def test_a_question_does_not_outlive_its_own_program_s_run(recorder: Recorder) -> None:
    found: list[object] = []

    def ask(run: Run) -> None:
        try:
            run.ask("Pay?")
        except RunCancelled as error:
            found.append(str(error))

    with recorder.record_run("leaver") as run:
        thread = threading.Thread(target=ask, args=(run,), daemon=True)
        thread.start()
        wait_until(lambda: bool(run._inbox._asking), "the question")
    thread.join(60)
    ask(run)
    assert found == ["the run has ended"] * 2


async def test_a_task_that_asks_does_not_outlive_its_run(recorder: Recorder) -> None:
    async with recorder.record_run("leaver") as run:
        asking = asyncio.ensure_future(run.ask("Pay?"))
        await asyncio.sleep(0)
    with pytest.raises(RunCancelled, match="the run has ended"):
        await asyncio.wait_for(asking, 60)


def told(server: Server, kind: str, name: str, **payload: Any) -> dict[str, Any]:
    body = {"event_type": kind, "sdk_run_id": name, "payload": payload}
    done: dict[str, Any] = server.client().post("/api/ingest", json=body).raise_for_status().json()
    return done


def test_an_agent_without_the_sdk_is_told_in_the_words_that_it_knows(server: Server) -> None:
    told(server, "run_start", "steps-1")
    run = server.client().get("/v1/runs", params={"q": "steps-1"}).json()[0]
    server.client().post(f"/api/v1/runs/{run['run_id']}:kill", json={"reason": "too dear"}).raise_for_status()
    [command] = told(server, "step", "steps-1")["commands"]
    assert (command["type"], command["content"]) == ("cancel", "the run has ended as cancelled: too dear")
    told(server, "run_start", "steps-2")
    for kind in ("run_end", "step"):
        assert "commands" not in told(server, kind, "steps-2")
