"""State that the SDK reports is whole on the server or is not offered, and large histories travel by what is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.record import delivery
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.wire.event_batch import send_batch

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS).start()
    yield made
    made.close()


@pytest.fixture
def recorder(server: Server, tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool", longest_pause_seconds=0.5)
    yield made
    made.close(0.0)


@pytest.fixture
def sent_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each batch that was sent, in bytes of its events."""
    sizes: list[int] = []

    def counted(transport: Any, client_id: str, lines: Any, *more: Any) -> Any:
        sizes.append(sum(map(len, lines)))
        return send_batch(transport, client_id, lines, *more)

    monkeypatch.setattr(delivery, "send_batch", counted)
    return sizes


def latest(server: Server, thread: str) -> Any:
    return server.client().get(f"/v1/runners/threads/{thread}/latest").raise_for_status().json()


def run_in(server: Server, thread: str) -> Any:
    (row,) = server.client().get("/api/v1/runs", params={"thread_id": thread}).raise_for_status().json()["data"]
    return server.client().get(f"/api/v1/runs/{row['run_id']}").raise_for_status().json()


@pytest.mark.parametrize(
    "history",
    [
        [{"role": "user", "content": [{"image": "A" * (5 * MIB)}]}],
        [{"role": "user", "content": f"message {n}" + "." * 80} for n in range(49_000)],
    ],
    ids=["one large message", "many messages"],
)
def test_a_checkpoint_over_the_limit_of_an_event_is_stored_whole(
    server: Server, recorder: Recorder, history: list[Any], request: pytest.FixtureRequest
) -> None:
    thread = f"whole-{len(history)}"
    with recorder.record_run(agent="a", thread=thread) as run:
        run.checkpoint([{"role": "user", "content": "good"}])
        run.checkpoint(history)
    assert recorder.flush(60)
    found = latest(server, thread)
    assert (found["step_index"], found["history"]) == (2, history)
    assert recorder.status().dropped == 0


def test_a_checkpoint_that_cannot_be_sent_whole_leaves_the_older_one(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="a", thread="lost", input="x" * (5 * MIB), metadata={"m": 1}) as run:
        run.checkpoint(["good"])
        run.checkpoint(["x" * (17 * MIB)])
    recorder.flush(60)
    assert (latest(server, "lost")["step_index"], latest(server, "lost")["history"]) == (1, ["good"])
    assert recorder.status().dropped == 2
    found = run_in(server, "lost")
    assert (found["status"], found["metadata"]) == ("completed", {"m": 1})
    (client,) = found["delivery"]["clients"]
    assert (client["dropped"], client["missing"]) == (2, [])


@pytest.mark.parametrize("megabytes", [9, pytest.param(51, marks=pytest.mark.slow)])
def test_a_large_conversation_is_a_small_request_each_turn(
    server: Server, recorder: Recorder, sent_bytes: list[int], megabytes: int
) -> None:
    history: list[Any] = []
    with recorder.record_run(agent="a", thread="large") as run:
        for turn in range(megabytes // 3):
            history.append({"role": "user", "content": f"{turn}" + "p" * (3 * MIB)})
            run.checkpoint(history)
            assert recorder.flush(60)
        sent_bytes.clear()
        history.append("one more turn")
        run.checkpoint(history)
        assert recorder.flush(60)
        assert sum(sent_bytes) < 1000
    assert latest(server, "large")["history"] == history
    assert recorder.status().dropped == 0


def test_what_the_server_does_not_know_is_sent_again_whole(server: Server, recorder: Recorder) -> None:
    large = "x" * 100_000
    with recorder.record_run(agent="a", thread="unknown", run_key="unknown") as run:
        # As after the server was set back to a backup that is older than the history.
        recorder.sink_of("unknown", None).resumes([large])
        run.checkpoint([large, "new"])
        assert recorder.flush(60)
        assert latest(server, "unknown")["history"] == [large, "new"]
    assert recorder.status().dropped == 0


def test_a_lost_turn_of_a_large_conversation_costs_no_other(
    server: Server, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    history: list[Any] = []
    with recorder.record_run(agent="a", thread="gap", run_key="gap") as run:
        for turn in range(7):
            history.append(f"{turn}" + "g" * (3 * MIB))
            run.checkpoint(history)
            assert recorder.flush(60)
        with monkeypatch.context() as lossy:
            # As when there is no room: this turn is never sent.
            lossy.setattr(recorder.state.backlog, "put", lambda *_: None)
            run.checkpoint([*history, "lost"])
        run.checkpoint([*history, "lost", "new"])
        assert recorder.flush(60)
    assert latest(server, "gap")["history"] == [*history, "lost", "new"]
    assert recorder.status().dropped == 0


def test_a_thread_with_a_slash_costs_nothing_of_the_start(server: Server, recorder: Recorder) -> None:
    with (
        recorder.record_run(agent="a", thread="root", run_key="root"),
        recorder.record_run(
            thread="feature/x", input="task", metadata={"n": 1}, labels={"l": 2}, run_key="slash"
        ) as run,
    ):
        run.message_delta("x")
    assert recorder.flush(30)
    assert recorder.status().refused == 0
    assert run.thread is not None
    found = run_in(server, run.thread)
    assert found["metadata"] == {"n": 1, "labels": {"l": "2"}}
    assert found["parent_run_id"] == run_in(server, "root")["run_id"]
