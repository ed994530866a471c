"""A recorder through what happens to programs: outages, kills, forks, exits, many of them, and hostile arguments."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdk.record.values.test_encoding import ANYTHING
from tests.sdk.support.ingest_server import KEY, Ingest
from tests.support.ports import HeldPort
from tests.support.samples import first
from tests.support.wait import wait_until
from towerlog.sdk.record.default import DefaultRecorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import Run

Make = Callable[..., Recorder]
REPORTER = Path(__file__).parents[1] / "support" / "reporter.py"


def by_run(ingest: Ingest) -> dict[str, list[int]]:
    return {key: [event["client_seq"] for event in ingest.of(key)] for key in ingest.run_keys()}


def test_an_outage_loses_nothing_and_doubles_nothing(recorder_of: Make, held_port: HeldPort) -> None:
    recorder = recorder_of(held_port.url)
    runs = {f"r{number}": 500 for number in range(8)}
    for run_key, count in runs.items():
        with recorder.record_run(run_key=run_key) as run:
            for number in range(count - 2):
                run.message_delta(str(number))
    wait_until(lambda: recorder.status().spooled == 4000, "the spool")
    assert recorder.status().queued == 0
    ingest = Ingest(held_port.number)
    try:
        # First what stores nothing: a batch whose reply was lost is there already, whatever comes of its repeat.
        ingest.faults.extend(["503", "lost", "drop", "503", "lost"])
        wait_until(lambda: recorder.flush(1), "the delivery")
    finally:
        ingest.close()
    assert by_run(ingest) == {key: list(range(1, count + 1)) for key, count in runs.items()}
    assert recorder.status().spooled == 0
    assert ingest.repeats >= recorder.status().duplicates >= 100


def started(url: str, tmp_path: Path, count: int, pause_s: float) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TOWERLOG_API_KEY": KEY}
    command = [sys.executable, str(REPORTER), url, str(tmp_path / "spool"), str(count), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("away", [True, False], ids=["server away", "server there"])
def test_a_killed_program_loses_nothing_that_had_left_its_memory(
    tmp_path: Path, recorder_of: Make, held_port: HeldPort, away: bool
) -> None:
    ingest = None if away else Ingest(held_port.number)
    process = started(held_port.url, tmp_path, 100_000, 0.01)
    assert process.stdout is not None
    safe: list[int] = []
    while len(safe) < 4:
        word, number = process.stdout.readline().split()
        safe += [int(number)] if word == b"safe" and int(number) > 0 else []
    process.kill()
    process.wait()
    process.stdout.close()
    ingest = ingest or Ingest(held_port.number)
    try:
        heir = recorder_of(held_port.url)
        with heir.record_run(run_key="heir"):
            pass
        key = f"run-{process.pid}"
        wait_until(lambda: len(ingest.of(key)) > safe[-1], "what the killed program had to say")
        assert heir.flush(60)
        found = [event["client_seq"] for event in ingest.of(key)]
        assert found == list(range(1, len(found) + 1))
        assert len({event["client_id"] for event in ingest.of(key)}) == 1
    finally:
        ingest.close()
    assert not list(tmp_path.glob(f"spool/*/*{'.ndjson'}"))


@pytest.mark.parametrize("end", [signal.SIGTERM, None], ids=["SIGTERM", "exit"])
def test_what_a_program_could_not_deliver_is_sent_by_the_next(
    tmp_path: Path, recorder_of: Make, held_port: HeldPort, end: signal.Signals | None
) -> None:
    url = held_port.url
    process = started(url, tmp_path, 50, 0.0 if end is None else 0.05)
    if end is not None:
        wait_until(lambda: any(file.stat().st_size for file in tmp_path.glob("spool/*/*/*.ndjson")), "the spool")
        process.send_signal(end)
    process.communicate(timeout=60)
    ingest = Ingest(held_port.number)
    try:
        heir = recorder_of(url)
        with heir.record_run(run_key="heir"):
            pass
        wait_until(lambda: f"run-{process.pid}" in ingest.run_keys(), "the run")
        assert heir.flush(10)
        if end is None:
            assert ingest.types(f"run-{process.pid}") == ["run.started", *["step"] * 50, "run.completed"]
        assert ingest.run_keys() == [f"run-{process.pid}", "heir"]
    finally:
        ingest.close()


def test_a_fork_is_another_client_and_sends_nothing_of_its_parent(ingest: Ingest, recorder: Recorder) -> None:
    ingest.held.clear()
    with recorder.record_run(run_key="shared", thread="talk") as run:
        run.message_delta("parent")
        child = os.fork()
        if child == 0:
            # Nothing of the test may go on in the child.
            try:
                run.message_delta("child")
                with recorder.record_run(run_key="own"):
                    pass
                code = 0 if recorder.flush(15) else 3
            finally:
                os._exit(code)
        ingest.held.set()
        assert os.waitpid(child, 0)[1] == 0
    assert recorder.flush(10)
    assert ingest.repeats == 0
    said = [(event["data"].get("content"), event["client_seq"]) for event in ingest.of("shared")]
    assert sorted(said, key=str) == sorted([(None, 1), ("parent", 2), ("child", 1), (None, 3)], key=str)
    of_child = {e["client_id"] for e in ingest.events if e["data"].get("content") == "child" or e["run_key"] == "own"}
    of_parent = {e["client_id"] for e in ingest.of("shared")} - of_child
    assert (len(of_child), len(of_parent)) == (1, 1)
    # Whichever event the server sees first, it begins the run in its thread.
    firsts = [event for event in ingest.of("shared") if event["client_seq"] == 1]
    assert [event["thread"] for event in firsts] == ["talk", "talk"]


@pytest.mark.parametrize("raised", [None, SystemExit(0), ValueError("of the child")])
def test_a_fork_that_leaves_the_block_does_not_end_its_parents_run(
    ingest: Ingest, recorder: Recorder, raised: BaseException | None
) -> None:
    parent, child = os.getpid(), -1
    try:
        with recorder.record_run(run_key="shared") as run:
            child = os.fork()
            run.message_delta("parent" if child else "child")
            if child == 0 and raised is not None:
                raise raised
    finally:
        if os.getpid() != parent:
            # Nothing of the test may go on in the child.
            os._exit(0 if recorder.flush(15) else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert recorder.flush(10)
    assert sorted(event["type"] for event in ingest.of("shared")) == [
        "message.delta",
        "message.delta",
        "run.completed",
        "run.started",
    ]


FORKING = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import towerlog

def work(name):
    with towerlog.record_run(agent="forked", run_key=name) as run:
        run.model_call("m", input_tokens=5)

def outer(name):
    inner = multiprocessing.get_context(method).Process(target=work, args=(f"{name}-inner",))
    inner.start(); work(name); inner.join()

method = sys.argv[1]
if __name__ == "__main__":
    context = multiprocessing.get_context(method)
    for name in ("first", "second"):
        one = context.Process(target=outer, args=(name,)); one.start(); one.join()
        work(f"{name}-parent")
    with context.Pool(2, maxtasksperchild=1) as pool:
        pool.map(work, ["pool-1", "pool-2", "pool-3"]); pool.close(); pool.join()
    with ProcessPoolExecutor(1, context) as pool:
        list(pool.map(work, ["executor-1", "executor-2"]))
"""
FORKED = {
    *("first", "first-inner", "first-parent", "second", "second-inner", "second-parent"),
    *("pool-1", "pool-2", "pool-3", "executor-1", "executor-2"),
}


@pytest.mark.parametrize("method", first(["fork", "spawn", "forkserver"], quick=2))
def test_runs_of_child_processes_are_delivered_before_these_end(ingest: Ingest, tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(FORKING)
    environment = {**os.environ, "TOWERLOG_URL": ingest.url, "TOWERLOG_API_KEY": KEY, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, str(program), method], env=environment, check=True)
    assert set(ingest.run_keys()) == FORKED
    for key in FORKED:
        assert [event["type"] for event in ingest.of(key)] == ["run.started", "model.call", "run.completed"], key


def test_a_fork_while_another_thread_reports_does_not_hang(ingest: Ingest, recorder: Recorder) -> None:
    stop = threading.Event()

    def chatter() -> None:
        with recorder.record_run(run_key="busy") as run:
            while not stop.is_set():
                run.message_delta("x" * 1000)

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                with recorder.record_run() as run:
                    run.step("x")
                os._exit(0 if recorder.flush(15) else 3)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("held", ["default", "questions"])
def test_a_lock_that_another_thread_holds_at_the_fork_does_not_bind_the_child(recorder: Recorder, held: str) -> None:
    default = DefaultRecorder()
    with recorder.record_run() as run:
        lock = default._lock if held == "default" else run._questions._lock
        with lock:
            child = os.fork()
            if child == 0:
                # Ends the child of a lock that is never released.
                signal.alarm(20)
                made = default.recorder if held == "default" else run._questions.key_of("who?")
                os._exit(0 if made else 3)
            assert os.waitpid(child, 0)[1] == 0


def test_runs_that_begin_and_end_meanwhile_do_not_disturb_the_sender(
    ingest: Ingest, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender looks at all runs for each batch, while other threads add to them."""
    kept = [recorder.record_run().open(Run) for _ in range(500)]
    stop = threading.Event()

    def begin() -> None:
        while not stop.is_set():
            with recorder.record_run():
                pass

    threads = [threading.Thread(target=begin) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        seen = len(ingest.requests)
        wait_until(lambda: len(ingest.requests) > seen + 8 or "delivery failed" in caplog.text, "some batches")
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    for run in kept:
        run.complete()
    assert recorder.flush(60)
    assert "delivery failed" not in caplog.text
    assert recorder.status().last_error is None


def test_eight_organisations_in_one_process_never_mix(recorder_of: Make) -> None:
    servers = [Ingest() for _ in range(2)]
    recorders = [recorder_of(servers[n % 2].url, f"key-{n}") for n in range(8)]
    try:

        def work(number: int) -> None:
            for _ in range(20):
                with recorders[number].record_run(agent=f"org-{number}") as run:
                    run.message_delta(f"org-{number}")
                    with recorders[(number + 1) % 8].record_run(agent=f"org-{(number + 1) % 8}"):
                        pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(recorder.flush(20) for recorder in recorders)
        for server in servers:
            for body in server.requests:
                number = body["key"].removeprefix("Bearer key-")
                assert {event["agent"] for event in body["events"]} <= {f"org-{number}"}
                assert not any("parent_run_key" in event["data"] for event in body["events"])
        assert sum(len(server.events) for server in servers) == 8 * 20 * 5
    finally:
        for server in servers:
            server.close()


def test_threads_and_tasks_number_without_a_gap(ingest: Ingest, recorder: Recorder) -> None:
    with recorder.record_run(run_key="r1") as run:
        threads = [threading.Thread(target=lambda: [run.message_delta("x") for _ in range(200)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorder.flush(20)
    assert by_run(ingest)["r1"] == list(range(1, 1603))


async def test_runs_nest_through_tasks(ingest: Ingest, recorder: Recorder) -> None:
    async def child(parent: str, number: int) -> None:
        async with recorder.record_run(run_key=f"{parent}.{number}"):
            await asyncio.sleep(0)

    async def family(name: str) -> None:
        async with recorder.record_run(run_key=name):
            await asyncio.gather(*(child(name, number) for number in range(3)))

    await asyncio.gather(*(family(f"f{number}") for number in range(5)))
    assert await asyncio.to_thread(recorder.flush, 10)
    parents = {e["run_key"]: e["data"].get("parent_run_key") for e in ingest.events if e["type"] == "run.started"}
    assert parents == {f"f{n}": None for n in range(5)} | {f"f{n}.{m}": f"f{n}" for n in range(5) for m in range(3)}


@pytest.mark.parametrize("overflow", ["oldest", "newest"])
def test_over_the_cap_what_is_dropped_is_counted_and_told_exactly(
    recorder_of: Make, held_port: HeldPort, overflow: str
) -> None:
    recorder = recorder_of(held_port.url, spool_bytes=80_000, memory_bytes=20_000, overflow=overflow)
    run = recorder.record_run(run_key="r1").open(Run)
    for number in range(1, 1000):
        run.message_delta("x" * 100)
        if number % 50 == 0:
            wait_until(lambda: recorder.status().queued == 0, "the spool")
    wait_until(lambda: recorder.status().queued == 0, "the spool")
    status = recorder.status()
    assert status.dropped > 0
    assert status.spooled + status.dropped == 1000
    ingest = Ingest(held_port.number)
    try:
        wait_until(lambda: recorder.flush(1) and not recorder.status().spooled, "the delivery")
        assert recorder.status().dropped == status.dropped
        arrived = {e["client_seq"] for e in ingest.of("r1") if e["type"] != "other"}
        lost = {seq for first, last in ingest.told_dropped() for seq in range(first, last + 1)}
        assert len(arrived) == 1000 - status.dropped
        assert arrived | lost == set(range(1, 1001))
        assert not arrived & lost
        # The others come and go: the very first may have been on their way, and a short one finds room where a long
        # group found none.
        assert arrived >= set(range(901, 1001) if overflow == "oldest" else range(1, 101))
        assert len(lost & set(range(401, 601))) > 100
    finally:
        ingest.close()


def test_without_a_key_events_are_kept_and_that_is_said_once(
    ingest: Ingest, recorder_of: Make, caplog: pytest.LogCaptureFixture
) -> None:
    keyless = recorder_of(ingest.url, "")
    with keyless.record_run(run_key="r1"):
        pass
    wait_until(lambda: keyless.status().spooled == 2, "the spool")
    assert "TOWERLOG_API_KEY" in (keyless.status().last_error or "")
    keyless.close(0.1)
    assert len([record for record in caplog.records if "TOWERLOG_API_KEY" in record.getMessage()]) == 1
    assert ingest.requests == []
    second = recorder_of(ingest.url, "")
    with second.record_run(run_key="r3"):
        pass
    wait_until(lambda: second.status().queued == 0 and second.status().spooled == 2, "its own events alone")
    second.close(0.1)
    keyed = recorder_of(ingest.url)
    with keyed.record_run(run_key="r2"):
        pass
    assert keyed.drain(10)
    # Whose the first run is, nobody has said.
    assert ingest.run_keys() == ["r2"]


@functools.cache
def deaf() -> Recorder:
    """One of this process's own. Nobody listens, and its disk takes nothing."""
    return Recorder("http://127.0.0.1:9", KEY, spool_dir="/dev/null/nowhere", memory_bytes=100_000)


NAMES = st.none() | st.text(st.characters(), max_size=300) | ANYTHING


@settings(max_examples=60)
@given(NAMES, NAMES, ANYTHING, ANYTHING)
def test_no_argument_makes_it_raise(agent: Any, name: Any, value: Any, other: Any) -> None:
    recorder = deaf()
    with recorder.record_run(agent, name, value, run_key=name, metadata=value, labels=other) as run:
        run.step(name, value)
        with run.tool_call(name, value) as call:
            call.result = other
            call.fail(value)
        run.message_delta(value)
        run.model_call(name, input_tokens=value, cost_usd=other)
        run.checkpoint(value, step_index=other, history_meta=value, state=other)
        run.tell(name, value)
        run.fail(value)
    assert recorder.flush(0) is False


def test_a_run_whose_first_event_is_not_delivered_has_no_id() -> None:
    with deaf().record_run(run_key="unheard") as run:
        assert (run.run_id, run.url) == (None, None)


def test_a_wrong_construction_says_so() -> None:
    with pytest.raises(ValueError, match="overflow"):
        Recorder(overflow="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="http"):
        Recorder("ftp://x", KEY)


def test_after_close_events_go_to_disk(ingest: Ingest, recorder: Recorder, recorder_of: Make) -> None:
    assert recorder.close(5)
    with recorder.record_run(run_key="late"):
        pass
    assert recorder.status().spooled == 2
    recorder.close(0)
    heir = recorder_of(ingest.url)
    with heir.record_run(run_key="heir"):
        pass
    wait_until(lambda: ingest.run_keys() == ["late", "heir"], "what came late")


def test_a_run_that_says_nothing_for_long_gives_signs_of_life(recorder: Recorder, ingest: Ingest, monkeypatch) -> None:
    monkeypatch.setattr("towerlog.sdk.record.delivery.POLL_EVERY_S", 0.1)
    with recorder.record_run(agent="a", run_key="quiet") as run:
        recorder._beat()
        assert recorder.flush(10)
        assert ingest.types("quiet") == ["run.started"], "it has just said something"
        monkeypatch.setattr("towerlog.sdk.record.recorder.BEAT_S", 0.2)
        wait_until(lambda: len(ingest.of("quiet")) >= 3, "two signs of life")
    assert recorder.flush(10)
    monkeypatch.setattr("towerlog.sdk.record.recorder.BEAT_S", 0.0)
    recorder._beat()
    assert recorder.flush(10)
    begin, *beats, end = ingest.of("quiet")
    assert (begin["type"], end["type"], run.ended) == ("run.started", "run.completed", True)
    assert {(beat["type"], beat["data"]["name"], beat["agent"]) for beat in beats} == {("other", "heartbeat", "a")}
    assert [event["client_seq"] for event in ingest.of("quiet")] == list(range(1, len(beats) + 3))
