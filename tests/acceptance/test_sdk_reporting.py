"""The SDK against a real server: what it reports is what the server shows, and no crash loses any of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_live import Screen
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.record.commands import QuestionRefused, RunCancelled
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import Run

RUNS = 8
OUTAGES = 2
PART_DEADLINE_S = 60.0


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

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    run_id = wait_until(lambda: waiting(server), "the question")
    server.client().post(f"/v1/runs/{run_id}/input", json={"content": "yes"}).raise_for_status()
    thread.join(60)
    assert answers == ["yes"]
    assert recorder.flush(20)
    assert shown(server, recorder, "asker")["status"] == "completed"


def test_whoever_asks_too_much_is_told_and_the_others_get_their_answers(server: Server, recorder: Recorder) -> None:
    count = 66

    async def ask() -> list[Any]:
        async with recorder.record_run(agent="asker") as run:
            asked = [run.ask(f"{number}: May I?\n" + "+ a line of a long text\n" * 100) for number in range(count)]
            return await asyncio.gather(*asked, return_exceptions=True)

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(ask())), daemon=True)
    thread.start()
    run_id = wait_until(lambda: waiting(server), "the questions")
    client = server.client()

    def still_open() -> list[int]:
        questions = client.get(f"/v1/runs/{run_id}").json()["questions"]
        return [one["question_id"] for one in questions]

    wait_until(lambda: len(still_open()) == 64, "all that are stored")
    while thread.is_alive():
        for question_id in still_open():
            given = client.post(f"/v1/runs/{run_id}/input", json={"content": "yes", "question_id": question_id})
            assert given.status_code in (200, 409), given.text
        thread.join(0.05)
    assert found.count("yes") == 64
    assert [type(one) for one in found if one != "yes"] == [QuestionRefused] * 2


def waiting(server: Server) -> str:
    runs = server.client().get("/api/v1/runs", params={"agent": "asker"}).json()["data"]
    return str(runs[0]["run_id"]) if runs and runs[0]["status"] == "waiting_for_input" else ""


class Reporting:
    """A thread that reports one run for as long as it may, and what it saw."""

    def __init__(self, recorder: Recorder, agent: str) -> None:
        self.heard: list[str] = []
        self._recorder = recorder
        self._agent = agent
        self.thread = threading.Thread(target=self._report, daemon=True)
        self.thread.start()

    def _report(self) -> None:
        pause = threading.Event()
        try:
            with self._recorder.record_run(agent=self._agent) as run:
                while True:
                    self._work(run)
                    pause.wait(0.05)
        except RunCancelled:
            self.heard.append("cancelled")

    def _work(self, run: Run) -> None:
        run.step("work")
        run.check()


def test_a_run_that_only_reports_is_cancelled_over_http(server: Server, recorder: Recorder) -> None:
    reporting = Reporting(recorder, "busy")
    client = server.client()
    [run_id] = wait_until(lambda: run_ids(server, "busy"), "the run")
    client.post(f"/v1/runs/{run_id}:cancel", json={"reason": "enough"}).raise_for_status()
    reporting.thread.join(60)
    assert reporting.heard == ["cancelled"]
    assert recorder.flush(20)
    found = client.get(f"/v1/runs/{run_id}").json()
    assert (found["status"], found["forced"], found["cancel"]["reason"]) == ("cancelled", False, "enough")
    times = [found["cancel"][f"{stage}_at"] for stage in ("requested", "delivered", "acknowledged", "stopped")]
    assert None not in times
    assert times == sorted(times)
    assert shown(server, recorder, "busy")["delivery"]["complete"] is True


def run_ids(server: Server, agent: str) -> list[str]:
    return [run["run_id"] for run in server.client().get("/api/v1/runs", params={"agent": agent}).json()["data"]]


class Pausable(Reporting):
    """As above; it may be paused between two pieces of work."""

    def _work(self, run: Run) -> None:
        run.pause_point()
        run.step("work")


def test_a_run_that_only_reports_is_paused_and_goes_on(server: Server, recorder: Recorder) -> None:
    reporting = Pausable(recorder, "pausable")
    client = server.client()
    [run_id] = wait_until(lambda: run_ids(server, "pausable"), "the run")

    def told(*types: str) -> list[dict[str, Any]]:
        query = {"type": ",".join(types), "limit": 500}
        events: list[dict[str, Any]] = client.get(f"/api/v1/runs/{run_id}/events", params=query).json()["data"]
        return events

    client.post(f"/api/v1/runs/{run_id}:pause").raise_for_status()
    wait_until(lambda: shown(server, recorder, "pausable")["status"] == "paused", "the pause")
    client.post(f"/api/v1/runs/{run_id}:resume").raise_for_status()
    # The acknowledgement alone makes it `running`; the run's own word comes after it.
    [resumed] = wait_until(lambda: told("run.resumed"), "the end of it")
    [paused] = told("run.paused")
    assert [step for step in told("step") if paused["seq"] < step["seq"] < resumed["seq"]] == []
    wait_until(lambda: told("step")[-1]["seq"] > resumed["seq"], "work after the pause")
    client.post(f"/v1/runs/{run_id}:cancel", json={}).raise_for_status()
    reporting.thread.join(60)
    assert reporting.heard == ["cancelled"]


@pytest.fixture
def often(monkeypatch) -> None:
    """Recorders that have nothing to tell ask more often than usual what is wanted."""
    monkeypatch.setattr("towerlog.sdk.record.delivery.POLL_EVERY_S", 0.1)


@pytest.mark.usefixtures("often")
def test_a_cancel_reaches_the_runs_below(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="above") as above, recorder.record_run(agent="below") as below:
        assert recorder.flush(20)
        [run_id] = run_ids(server, "above")
        server.client().post(f"/v1/runs/{run_id}:cancel", json={}).raise_for_status()
        wait_until(lambda: above.cancelled and below.cancelled, "the cancel of both")
        below.give_up()
        above.give_up()
    assert recorder.flush(20)
    found = [shown(server, recorder, agent) for agent in ("above", "below")]
    assert [(run["status"], run["forced"]) for run in found] == [("cancelled", False)] * 2
    assert found[1]["parent_run_id"] == run_id


@pytest.mark.usefixtures("often")
def test_a_cancel_reaches_a_run_that_says_nothing(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="quiet") as run:
        assert recorder.flush(20)
        [run_id] = run_ids(server, "quiet")
        server.client().post(f"/v1/runs/{run_id}:cancel", json={}).raise_for_status()
        wait_until(lambda: run.cancelled, "the cancel")
        run.give_up()
    assert recorder.flush(20)
    assert shown(server, recorder, "quiet")["status"] == "cancelled"


def test_a_run_that_falls_silent_is_ended_as_lost_and_its_late_word_is_kept(tmp_path: Path) -> None:
    # What lies between is the time in which the silence must be noted; that it was is told of, whenever that is read.
    thresholds = {"TOWERLOG_SILENT_AFTER_SECONDS": "1", "TOWERLOG_LOST_AFTER_SECONDS": "6"}
    watching = Server(tmp_path / "watching", {**NO_LIMITS, **thresholds})
    recorder = Recorder(watching.start().base_url, ADMIN_KEY, spool_dir=tmp_path / "spool")
    try:
        with Screen(watching) as screen, recorder.record_run(agent="mute") as run:
            assert recorder.flush(20)
            while (verdict := screen.until("run", str(run.run_id))["liveness"]["verdict"]) == "alive":
                screen.take()
            assert verdict == "silent"
            wait_until(lambda: shown(watching, recorder, "mute")["status"] == "lost", "the run to be given up")
            run.step("late")
        assert recorder.flush(20)
        found = shown(watching, recorder, "mute")
        assert (found["status"], found["liveness"]["verdict"], found["late_events"]) == ("lost", "lost", 2)
        assert "nothing was heard" in found["error"]
        page = watching.client().get(f"/api/v1/runs/{found['run_id']}/events").json()["data"]
        told = [(event["type"], event["late"]) for event in page]
        assert told == [
            ("run.started", False),
            ("run.silent", False),
            ("run.lost", False),
            ("step", True),
            ("run.completed", True),
        ]
        assert recorder.status().refused == 0
    finally:
        recorder.close(0.0)
        watching.close()


@pytest.mark.usefixtures("often")
def test_a_run_that_is_there_but_says_nothing_is_not_given_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("towerlog.sdk.record.recorder.BEAT_S", 0.2)
    watching = Server(tmp_path / "watching", {**NO_LIMITS, "TOWERLOG_LOST_AFTER_SECONDS": "3"})
    recorder = Recorder(watching.start().base_url, ADMIN_KEY, spool_dir=tmp_path / "spool")
    try:
        with recorder.record_run(agent="mute"):
            assert recorder.flush(20)
            wait_until(lambda: lifetime_s(shown(watching, recorder, "mute")) > 4, "signs of life")
            found = shown(watching, recorder, "mute")
            assert (found["status"], found["liveness"]["verdict"]) == ("running", "alive")
            assert found["liveness"]["process_at"] > found["liveness"]["progress_at"]
            progress_at = found["liveness"]["progress_at"]
        assert recorder.flush(20)
        assert shown(watching, recorder, "mute")["status"] == "completed"
        assert progress_at < found["last_event_at"], "a sign of life is no progress"
    finally:
        recorder.close(0.0)
        watching.close()


def lifetime_s(run: dict[str, Any]) -> float:
    """From a run's beginning to its last sign of life."""
    begun, heard = (datetime.fromisoformat(at) for at in (run["created_at"], run["liveness"]["process_at"]))
    return (heard - begun).total_seconds()


class Feed:
    """Threads that tell `events` events altogether, `RUNS` runs of equal length, a part each time `next` is called."""

    def __init__(self, recorder: Recorder, events: int, parts: int) -> None:
        # The start and the end of each run are events too.
        self._part = (events // RUNS - 2) // parts
        self._last = events // RUNS - 2 - self._part * (parts - 1)
        self._recorder = recorder
        self._gates = [threading.Event() for _ in range(parts)]
        self._opened = 0
        self.threads = [threading.Thread(target=self._report, args=(number,), daemon=True) for number in range(RUNS)]
        for thread in self.threads:
            thread.start()

    def next(self) -> None:
        """Tells the next part."""
        self._gates[self._opened].set()
        self._opened += 1

    def _report(self, number: int) -> None:
        pace = threading.Event()
        with self._recorder.record_run(agent=f"agent-{number}") as run:
            for part, gate in enumerate(self._gates, 1):
                assert gate.wait(PART_DEADLINE_S), "nobody wants the next part"
                for told in range(self._last if part == len(self._gates) else self._part):
                    run.message_delta("x")
                    if told % 100 == 0:
                        # All of them together about as fast as a busy program, not as fast as the language.
                        pace.wait(0.03)


def tried_in_vain(server: Server, times: int) -> None:
    """Stays away from the port for as long as it takes to have been asked that often."""
    with socket.create_server(("127.0.0.1", server.port)) as listener:
        listener.settimeout(PART_DEADLINE_S)
        for _ in range(times):
            listener.accept()[0].close()


@pytest.mark.parametrize(
    ("events", "tries"), [(8_000, 3), pytest.param(100_000, 20, marks=pytest.mark.slow)], ids=["scaled", "whole"]
)
def test_an_outage_loses_no_event_and_stores_none_twice(
    server: Server, recorder: Recorder, events: int, tries: int
) -> None:
    """Twenty tries are ten minutes at the usual pace of one each 30 s; here there is one each half second."""
    feed = Feed(recorder, events, OUTAGES + 1)
    feed.next()
    for _ in range(OUTAGES):
        before = recorder.status().acknowledged
        wait_until(lambda before=before: recorder.status().acknowledged > before + 500, "some delivery", deadline_s=60)
        server.kill()
        feed.next()
        wait_until(lambda: recorder.status().spooled > 500, "the spool", deadline_s=60)
        tried_in_vain(server, tries)
        server.start()
    for thread in feed.threads:
        thread.join(PART_DEADLINE_S)
    wait_until(lambda: recorder.flush(1), "the delivery", deadline_s=240)
    assert recorder.status().dropped == 0
    assert recorder.status().acknowledged == events
    each = events // RUNS
    for number in range(RUNS):
        found = shown(server, recorder, f"agent-{number}")
        clients = [(client["received"], client["highest"]) for client in found["delivery"]["clients"]]
        assert (found["status"], found["delivery"]["complete"], clients) == ("completed", True, [(each, each)])
        assert found["last_seq"] == each, "what was sent again is not stored again"
