"""Every way in asks for the same work: one event of one size, spread over the same runs."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bench.corpus import record as as_record
from bench.corpus import records
from bench.ways import BATCH_WAYS, SINGLE_WAYS, CallsWay, FloorWay, SnapshotsWay, Target, Way, event_id
from bench.wire import Reply

TARGETS = [Target(n, f"run-{n}", epoch=3) for n in range(200)]
STORED = b'{"results":[' + b'{"status":"stored"},' * 99 + b'{"status":"%s"}],"commands":[]}'
EVERY_WAY: list[Way] = [FloorWay(), *SINGLE_WAYS, CallsWay()]
EVERY_BATCH_WAY: list[Way] = [FloorWay(), *BATCH_WAYS]


def named(way: Way) -> str:
    return way.name


def events_in(body: Any) -> list[Any]:
    if isinstance(body, list):
        return body
    if "resourceSpans" in body:
        return list(body["resourceSpans"][0]["scopeSpans"][0]["spans"])
    return body.get("events", [body])


def runs_named_in(requests: Sequence[bytes]) -> set[str]:
    """Runs named in a body (and then a quote follows) or in a path (and then a slash does)."""
    everything = b"".join(requests).decode()
    return {target.name for target in TARGETS if f'{target.name}"' in everything or f"/{target.name}/" in everything}


@pytest.mark.parametrize("way", EVERY_WAY, ids=named)
def test_a_single_event_is_a_body_of_exactly_1024_bytes(way: Way) -> None:
    for number in (0, 1, 199, 200, 12_345, 119_999):
        _, body = way.single(TARGETS, number, 1024, "2026-01-01T00:00:00.000Z")
        assert len(body) == 1024
        assert len(events_in(json.loads(body))) == 1


@pytest.mark.parametrize("way", EVERY_WAY, ids=named)
def test_single_events_are_spread_over_all_runs(way: Way) -> None:
    requests = list(way.singles(TARGETS, 400, 1024, "key"))
    assert len(runs_named_in(requests)) == len(TARGETS)


@pytest.mark.parametrize("way", EVERY_BATCH_WAY, ids=named)
def test_a_batch_holds_its_events_and_touches_its_runs(way: Way) -> None:
    runs = way.runs_per_batch
    for number in (0, 7, 4_399):
        path, body = way.batch(TARGETS, number, 100, runs, 1024, "2026-01-01T00:00:00.000Z")
        events = events_in(json.loads(body))
        assert len(events) == 100
        assert abs(len(body) - 100 * 1024) < 300
        assert len(runs_named_in([path.encode() + b'"' + body])) == runs


def test_an_sdks_events_are_numbered_within_their_runs_without_holes() -> None:
    way = BATCH_WAYS[3]
    numbers: dict[str, list[int]] = {}
    for number in range(60):
        _, body = way.batch(TARGETS, number, 100, way.runs_per_batch, 1024, "2026-01-01T00:00:00.000Z")
        for told in json.loads(body)["events"]:
            numbers.setdefault(told["run_key"], []).append(told["client_seq"])
    assert len(numbers) == len(TARGETS)
    # 1 was the run's beginning.
    assert all(found == list(range(2, 2 + len(found))) and len(found) == 30 for found in numbers.values())


@pytest.mark.parametrize("way", EVERY_BATCH_WAY, ids=named)
def test_a_batch_is_a_complete_request(way: Way) -> None:
    (request,) = records(as_record(next(iter(way.batches(TARGETS, 1, 100, way.runs_per_batch, 1024, "key")))))
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("way", SINGLE_WAYS, ids=named)
def test_no_two_requests_of_a_corpus_share_an_event_id(way: Way) -> None:
    ids = []
    for number in range(1_000):
        (event,) = events_in(json.loads(way.single(TARGETS, number, 1024, "2026-01-01T00:00:00.000Z")[1]))
        ids.append(event.get("event_id") or event["id"])
    assert len(set(ids)) == 1_000
    assert ids[5] == event_id(5)


def test_steps_of_a_run_rise_by_one_from_one_snapshot_to_the_next() -> None:
    way = SnapshotsWay()
    turns = []
    for number in (3, 203, 403):
        (event,) = json.loads(way.single(TARGETS, number, 1024, "2026-01-01T00:00:00.000Z")[1])["events"]
        assert event["data"]["thread_id"] == "run-3"
        assert len(event["data"]["history"]) == len(event["data"]["history_meta"])
        turns.append(event["data"]["step_index"])
    assert turns == [1, 2, 3]


@pytest.mark.parametrize(
    ("way", "good", "bad"),
    [
        (FloorWay(), b'{"ok":true,"n":100}', b'{"ok":true,"n":99}'),
        (BATCH_WAYS[0], b'{"saved":100}', b'{"saved":99,"rejected":[{}]}'),
        (BATCH_WAYS[1], b'{"accepted":100,"rejected":[]}', b'{"accepted":1,"rejected":[{}]}'),
        (BATCH_WAYS[2], b'{"ok":true,"run":{}}', b'{"ok":false}'),
        (BATCH_WAYS[3], STORED % b"stored", STORED % b"duplicate"),
    ],
    ids=["floor", "checkpoints", "activity", "lanes", "sdk"],
)
def test_a_reply_that_does_not_say_all_is_stored_is_not_taken_for_one(way: Way, good: bytes, bad: bytes) -> None:
    assert way.confirms(Reply(200, good, 1.0, None), 100)
    assert not way.confirms(Reply(200, bad, 1.0, None), 100)
