"""Delivery: through every fault each event arrives once, in its order; what cannot arrive is counted and told."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.support.ingest_server import Ingest
from tests.support.wait import wait_until
from towerlog.sdk.record import delivery
from towerlog.sdk.record.backlog import keeper
from towerlog.sdk.record.backlog.spool import SET_ASIDE
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.record.values.question_keys import QuestionKeys
from towerlog.sdk.wire.event_batch import STRANGE_TRIES, strange_status

Make = Callable[..., Recorder]


def numbers(ingest: Ingest, run_key: str) -> list[int]:
    return [event["client_seq"] for event in ingest.of(run_key)]


def told(recorder: Recorder, count: int, run_key: str = "r1") -> None:
    """A run with so many events in all, its start and its end among them."""
    with recorder.record_run(agent="a", run_key=run_key) as run:
        for number in range(count - 2):
            run.message_delta(f"{number}")


FAULTS = ["503", "500", "429:0", "408", "drop", "lost", "garbage", "503:0"]


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_each_event_is_there_once_in_its_order(recorder: Recorder, ingest: Ingest, fault: str) -> None:
    ingest.faults.extend([fault, fault])
    told(recorder, 250)
    assert recorder.flush(20)
    assert numbers(ingest, "r1") == list(range(1, 251))
    assert recorder.status().dropped == 0
    assert recorder.status().acknowledged == 250
    assert recorder.status().duplicates == (100 if fault == "lost" else 0)
    assert (ingest.repeats > 0) == (fault == "lost")


def test_events_go_together_in_batches(recorder: Recorder, ingest: Ingest) -> None:
    # Nothing is answered before all is told, so that it makes no difference how fast that goes.
    ingest.held.clear()
    told(recorder, 450)
    ingest.held.set()
    assert recorder.flush(10)
    assert max(len(body["events"]) for body in ingest.requests) == delivery.BATCH_EVENTS
    assert len(ingest.requests) <= 10


def test_one_event_goes_without_a_flush(recorder: Recorder, ingest: Ingest) -> None:
    run = recorder.record_run(run_key="r1").open(Run)
    wait_until(lambda: ingest.types("r1") == ["run.started"], "the event")
    assert not run.ended


@pytest.mark.parametrize("how", ["seconds", "date"])
def test_the_server_is_given_the_time_that_it_asks_for(recorder: Recorder, ingest: Ingest, how: str) -> None:
    due = int(time.time()) + 2
    ingest.faults.append("429:1" if how == "seconds" else f"503:{email.utils.formatdate(due, usegmt=True)}")
    told(recorder, 3)
    assert recorder.flush(60)
    first, second = (body["at"] for body in ingest.requests if body["events"])
    if how == "seconds":
        assert second - first >= 0.99
    else:
        # Its own time of coming, on the clock that the date is of.
        assert time.time() - (time.monotonic() - second) >= due - 0.01


def test_one_poisoned_event_is_found_dropped_and_told_and_the_rest_arrives(recorder: Recorder, ingest: Ingest) -> None:
    ingest.poison = lambda event: event["data"].get("content") == "40"
    told(recorder, 150)
    assert not recorder.flush(20)
    wait_until(lambda: recorder.flush(5), "the rest")
    # 1 is the start, so that "40" is 42. The notice has the lost number, or one of its own if the run was still here.
    assert sorted(numbers(ingest, "r1")) in (list(range(1, 151)), [*range(1, 42), *range(43, 152)])
    assert ingest.told_dropped() == [(42, 42)]
    assert (recorder.status().dropped, recorder.status().refused) == (1, 1)


def test_of_a_run_that_is_still_here_the_notice_has_a_number_of_its_own(recorder: Recorder, ingest: Ingest) -> None:
    ingest.poison = lambda event: event["data"].get("content") == "x"
    with recorder.record_run(run_key="r1") as run:
        run.message_delta("x")
        run.message_delta("y")
        assert not recorder.flush(10)
        wait_until(lambda: ingest.told_dropped() == [(2, 2)], "the notice")
    assert recorder.flush(10)
    assert sorted(numbers(ingest, "r1")) == [1, 3, 4, 5]


def test_an_event_that_is_refused_alone_is_counted_and_told(recorder: Recorder, ingest: Ingest) -> None:
    ingest.refuses = lambda event: event["data"].get("content") in ("3", "4")
    told(recorder, 10)
    assert not recorder.flush(10)
    assert recorder.flush(10)
    assert ingest.told_dropped() == [(5, 6)]
    assert recorder.status().refused == 2
    assert "rejected" in (recorder.status().last_error or "")


def test_a_notice_that_is_refused_is_not_told_for_ever(recorder: Recorder, ingest: Ingest) -> None:
    ingest.refuses = lambda event: event["data"].get("content") == "3" or event["type"] == "other"
    told(recorder, 10)
    recorder.flush(10)
    assert recorder.flush(10)
    assert recorder.status().dropped == 1


STRANGE = ["queued", "", "Stored", None, 7, ["stored"], {"stored": True}]


@pytest.mark.parametrize("status", ["queued", None, ["stored"]])
def test_an_unknown_status_is_no_acknowledgement(
    recorder: Recorder, ingest: Ingest, tmp_path: Path, status: object
) -> None:
    """It is sent again a few times, and then kept for people and told as dropped: nobody knows what became of it."""
    ingest.strange = lambda event: status if event["data"].get("content") == "3" else ""
    told(recorder, 10)
    assert not recorder.flush(20)
    assert recorder.flush(20)
    found = recorder.status()
    assert (found.acknowledged, found.refused, found.dropped) == (9, 0, 1)
    sent = [event for body in ingest.requests for event in body["events"] if event["data"].get("content") == "3"]
    assert len(sent) == STRANGE_TRIES
    assert ingest.told_dropped() == [(5, 5)]
    [kept] = [path.read_bytes().splitlines() for path in tmp_path.rglob(SET_ASIDE)]
    assert [json.loads(line)["data"]["content"] for line in kept] == ["3"]
    assert f"the server answered {str(status)!r} for an event" in (found.last_error or "")


def test_a_status_that_is_unknown_for_a_moment_costs_nothing(
    recorder: Recorder, ingest: Ingest, tmp_path: Path
) -> None:
    left = ["busy"] * (STRANGE_TRIES - 1)
    ingest.strange = lambda event: left.pop() if left and event["data"].get("content") == "3" else ""
    told(recorder, 10)
    assert recorder.flush(20)
    assert numbers(ingest, "r1") == list(range(1, 11))
    assert (recorder.status().acknowledged, recorder.status().dropped) == (10, 0)
    assert not list(tmp_path.rglob(SET_ASIDE))


def test_a_notice_that_meets_an_outage_is_told_after_it(recorder: Recorder, ingest: Ingest) -> None:
    """Though the program has nothing else to send that would show that the server is back."""

    def refuses(event: dict[str, Any]) -> bool:
        if event["data"].get("content") == "3":
            ingest.faults.extend(["503:0", "drop"])
            return True
        return False

    ingest.refuses = refuses
    told(recorder, 10)
    recorder.flush(20)
    assert recorder.flush(20)
    assert ingest.told_dropped() == [(5, 5)]


def test_a_notice_that_nobody_understands_is_not_told_for_ever(recorder: Recorder, ingest: Ingest) -> None:
    ingest.refuses = lambda event: event["data"].get("content") == "3"
    ingest.strange = lambda event: "queued" if event["type"] == "other" else ""
    told(recorder, 10)
    recorder.flush(20)
    assert recorder.flush(20)
    assert recorder.status().dropped == 1
    notices = [event for body in ingest.requests for event in body["events"] if event["type"] == "other"]
    assert len(notices) == STRANGE_TRIES


@pytest.mark.parametrize("status", STRANGE)
def test_what_says_neither_is_told_from_what_does(status: object) -> None:
    assert strange_status({"status": status}) is not None
    assert strange_status({}) is not None
    assert [strange_status({"status": word}) for word in ("stored", "duplicate", "refused")] == [None] * 3


def test_too_large_a_batch_is_halved(recorder: Recorder, ingest: Ingest) -> None:
    ingest.most_events = 7
    told(recorder, 100)
    assert recorder.flush(20)
    assert numbers(ingest, "r1") == list(range(1, 101))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_loses_nothing_and_is_logged_once(
    recorder: Recorder, ingest: Ingest, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ingest.status = status
    told(recorder, 10)
    wait_until(lambda: len(ingest.requests) >= 3, "three tries")
    assert not recorder.flush(0.1)
    wait_until(lambda: recorder.status().spooled == 10, "the spool")
    assert len([r for r in caplog.records if str(status) in r.getMessage()]) == 1
    ingest.status = 200
    wait_until(lambda: recorder.flush(1), "the delivery")
    assert numbers(ingest, "r1") == list(range(1, 11))


def test_flush_is_true_only_when_all_is_acknowledged(recorder: Recorder, ingest: Ingest) -> None:
    ingest.held.clear()
    told(recorder, 10)
    began = time.monotonic()
    assert not recorder.flush(0.3)
    assert time.monotonic() - began >= 0.3
    ingest.held.set()
    assert recorder.flush(10)
    assert numbers(ingest, "r1") == list(range(1, 11))


def test_what_a_kill_may_cost_is_less_than_half_a_second() -> None:
    # What is older than the one is written at the latest after the other.
    assert keeper.SPILL_AFTER_NS / 1e9 + keeper.SPILL_TICK_S < 0.5


def test_what_a_slow_server_has_not_acknowledged_is_on_disk_while_it_is_waited_for(
    recorder: Recorder, ingest: Ingest, tmp_path: Path
) -> None:
    ingest.held.clear()
    told(recorder, 10)
    wait_until(lambda: lines_in(tmp_path) == 10, "the spool")
    told(recorder, 5, "r2")
    wait_until(lambda: lines_in(tmp_path) == 15, "the spool, with a request under way")
    ingest.held.set()
    assert recorder.flush(10)
    assert lines_in(tmp_path) == 0
    assert [e["run_key"] for e in ingest.events] == ["r1"] * 10 + ["r2"] * 5


def test_a_healthy_server_sees_no_disk(recorder: Recorder, ingest: Ingest, tmp_path: Path) -> None:
    told(recorder, 500)
    assert recorder.flush(10)
    assert lines_in(tmp_path) == 0
    assert recorder.status().spooled == 0


def lines_in(folder: Path) -> int:
    """Events that are on disk below a folder."""
    found = 0
    for path in folder.glob("spool/*/*/*.ndjson"):
        try:
            found += path.read_bytes().count(b"\n")
        except FileNotFoundError:
            continue
    return found


def listenings(ingest: Ingest) -> int:
    """Requests that only waited for commands."""
    return sum(bool(body.get("wait_seconds")) for body in ingest.requests)


def test_the_answer_of_a_question_comes_at_once(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run(run_key="r1") as run:
        wait_until(lambda: recorder.flush(1), "the start")
        ingest.command("other", "cancel")
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(run.ask("Publish?")))
        asking.start()
        wait_until(lambda: any(body.get("wait_seconds") for body in ingest.requests), "the listening")
        listened = listenings(ingest)
        ingest.command("r1", "input", "yes", QuestionKeys().key_of("Publish?"))
        asking.join(60)
        # The request that was waiting brought it (the next one, if that had just run out), and no later report.
        assert listenings(ingest) <= listened + 1
    assert answers == ["yes"]
    assert recorder.flush(10)
    assert "command.acknowledged" in ingest.types("r1")
    assert [wish["run_key"] for wish in ingest.pending] == ["other"]


def test_a_long_poll_that_is_answered_at_once_is_not_asked_in_a_hurry(recorder: Recorder, ingest: Ingest) -> None:
    """As by a server that repeats what nobody takes, or that does not wait."""
    with recorder.record_run(run_key="r1") as run:
        ingest.command("r1", "input", "yes", "what nobody asks")
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(run.ask("Publish?")))
        asking.start()
        wait_until(lambda: listenings(ingest) > 0, "the listening")
        until = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > until, "a while to pass")
        assert listenings(ingest) <= 8
        ingest.command("r1", "input", "yes", QuestionKeys().key_of("Publish?"))
        asking.join(60)
    assert answers == ["yes"]


def test_a_cancel_comes_with_the_reply_to_any_report(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run(run_key="r1") as run:
        ingest.command("r1", "cancel")
        run.message_delta("x")
        wait_until(lambda: run.cancelled, "the cancel")
    assert recorder.flush(10)
    assert ingest.pending == []


def test_a_cancel_that_the_program_never_looks_for_is_not_acknowledged(recorder: Recorder, ingest: Ingest) -> None:
    with recorder.record_run(run_key="r1") as run:
        ingest.command("r1", "cancel")
        run.message_delta("x")
        wait_until(lambda: run._inbox.cancelled, "the cancel")
    assert recorder.flush(10)
    assert run.cancelled
    assert recorder.flush(10)
    assert ingest.types("r1") == ["run.started", "message.delta", "run.completed"]


def test_a_run_that_says_nothing_learns_of_its_cancel_too(
    recorder: Recorder, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "POLL_EVERY_S", 0.2)
    with recorder.record_run(run_key="r1") as run:
        assert recorder.flush(10)
        ingest.command("r1", "cancel")
        wait_until(lambda: run.cancelled, "the cancel")
