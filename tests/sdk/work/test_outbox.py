"""The outbox numbers without gaps, keeps the order, is bounded, and tells what it turned away."""

from __future__ import annotations

import json
import threading
from typing import Any

from towerlog.sdk.work import outbox as module
from towerlog.sdk.work.outbox import BATCH_EVENTS, Outbox, OutboxEvent


def filled(count: int, kind: str = "message.delta") -> Outbox:
    box = Outbox(lambda: None)
    for number in range(count):
        box.put({"type": kind, "data": {"content": str(number)}})
    return box


def event_of(letter: OutboxEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(letter.line)
    return found


def test_threads_get_numbers_without_gaps_in_the_order_of_the_letters() -> None:
    box = Outbox(lambda: None)

    def talk() -> None:
        for _ in range(200):
            box.put({"type": "message.delta", "data": {"content": "x"}})

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    letters = box.close()
    assert [letter.client_seq for letter in letters] == list(range(1, 1601))
    assert [event_of(letter)["client_seq"] for letter in letters] == list(range(1, 1601))
    assert len({event_of(letter)["event_id"] for letter in letters}) == 1600


def test_a_batch_is_the_first_events_and_stays_until_settled() -> None:
    box = filled(BATCH_EVENTS + 5)
    first = box.batch()
    assert [letter.client_seq for letter in first] == list(range(1, BATCH_EVENTS + 1))
    assert box.batch() == first
    box.settle(first)
    assert [letter.client_seq for letter in box.batch()] == list(range(BATCH_EVENTS + 1, BATCH_EVENTS + 6))


def test_a_batch_is_bounded_by_bytes_but_never_empty() -> None:
    box = Outbox(lambda: None)
    for size in (300_000, 200_000, 10):
        box.put({"type": "message.delta", "data": {"content": "x" * size}})
    assert len(box.batch()) == 1
    box.settle(box.batch())
    assert len(box.batch()) == 2


def test_letters_in_the_middle_can_be_settled() -> None:
    box = filled(5)
    box.settle(box.batch()[1:3])
    assert [letter.client_seq for letter in box.batch()] == [1, 4, 5]
    box.settle(box.batch())
    assert len(box) == 0


def test_what_finds_no_room_is_counted_and_told(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTBOX_EVENTS", 3)
    box = filled(7)
    assert len(box) == 3
    box.settle(box.batch())
    box.put({"type": "message.delta", "data": {"content": "after"}})
    told = [event_of(letter) for letter in box.batch()]
    assert [event["client_seq"] for event in told] == [9, 8]
    assert told[0]["data"]["name"] == "client.dropped"
    assert told[0]["data"]["payload"]["from_seq"] == 4
    assert told[0]["data"]["payload"]["to_seq"] == 7


def test_an_end_always_finds_room(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTBOX_EVENTS", 3)
    box = filled(7)
    box.put({"type": "run.completed", "data": {}})
    told = [event_of(letter) for letter in box.close()]
    assert [event["type"] for event in told] == ["message.delta"] * 3 + ["other", "run.completed"]


def test_what_was_refused_is_told_before_the_end() -> None:
    box = filled(1)
    [letter] = box.batch()
    box.put({"type": "run.completed", "data": {}})
    box.drop(letter, "refused: id_reused")
    box.settle([letter])
    assert [event_of(each)["type"] for each in box.batch()] == ["other", "run.completed"]


def test_a_closed_outbox_takes_nothing() -> None:
    box = filled(2)
    assert len(box.close()) == 2
    box.put({"type": "message.delta", "data": {"content": "late"}})
    box.drop(OutboxEvent(1, "step", b"{}"), "x")
    assert box.batch() == []


def test_what_somebody_waits_for_is_urgent() -> None:
    assert not filled(3).urgent
    assert filled(1, "run.waiting_for_input").urgent
    assert filled(1, "run.completed").urgent


def test_any_value_can_be_put() -> None:
    box = Outbox(lambda: None)
    box.put({"type": "run.completed", "data": {"result": {1: object(), "nan": float("nan")}}})
    assert event_of(box.batch()[0])["data"]["result"]["nan"] is None


def test_a_checkpoint_that_cannot_be_whole_is_told_as_dropped() -> None:
    box = Outbox(lambda: None)
    box.put({"type": "checkpoint", "data": {"history": ["x" * (17 << 20)]}})
    box.put({"type": "step", "data": {"name": "next"}})
    notice, step = map(event_of, box.batch())
    payload = notice["data"]["payload"]
    assert (notice["data"]["name"], payload["from_seq"], payload["to_seq"]) == ("client.dropped", 1, 1)
    assert step["client_seq"] == 3


def test_a_claimed_history_is_gone_on_from_until_the_server_does_not_know_it() -> None:
    large = "x" * 100_000
    box = Outbox(lambda: None)
    box.resumes([large])
    box.put({"type": "checkpoint", "data": {"history": [large, "new"]}})
    (sent,) = box.batch()
    assert event_of(sent)["data"]["history"] == ["new"]
    whole = box.with_older_base(sent)
    assert whole is not None
    assert (event_of(whole)["data"]["history"], whole.client_seq) == ([large, "new"], sent.client_seq)
    assert box.with_older_base(whole) is None
