"""The encoder: state is sent whole or counted as lost, and a large history by what is new in it."""

import json
from typing import Any

import pytest

from towerlog.sdk.record import encoder as module
from towerlog.sdk.record.encoder import MAX_CHECKPOINT_BYTES, MAX_RESENT_BYTES, EventEncoder
from towerlog.sdk.record.values.encoding import MAX_EVENT_BYTES

LARGE = "x" * (MAX_RESENT_BYTES + 1)


def told(encoder: EventEncoder, kind: str, **data: Any) -> Any:
    line = encoder.encode({"type": kind, "data": data})
    return None if line is None else json.loads(line)


def state(encoder: EventEncoder, *messages: Any, **more: Any) -> Any:
    return told(encoder, "checkpoint", step_index=1, history=list(messages), **more)


@pytest.mark.parametrize("size", [MAX_EVENT_BYTES, 3 * MAX_EVENT_BYTES], ids=["over an event", "far over an event"])
def test_a_large_checkpoint_is_sent_whole(size: int) -> None:
    found = state(EventEncoder("k"), {"image": "y" * size}, state={"a": "z" * 10})
    assert found["data"] == {"step_index": 1, "state": {"a": "z" * 10}, "history": [{"image": "y" * size}]}
    assert (found["run_key"], found["client_seq"]) == ("k", 1)


def test_a_checkpoint_at_the_limit_is_sent_and_one_above_it_is_lost() -> None:
    encoder = EventEncoder()
    spare = MAX_CHECKPOINT_BYTES - len(encoder.encode({"type": "checkpoint", "data": {"history": [""]}}) or b"")
    assert state_bytes(encoder, spare) == MAX_CHECKPOINT_BYTES
    assert state_bytes(encoder, spare + 1) is None
    ((seq, reason),) = encoder.lost
    assert seq == 3
    assert "too large" in reason


def state_bytes(encoder: EventEncoder, size: int) -> int | None:
    line = encoder.encode({"type": "checkpoint", "data": {"history": ["y" * size]}})
    return None if line is None else len(line)


def test_a_checkpoint_that_json_cannot_express_is_lost_and_the_next_number_is_used() -> None:
    encoder = EventEncoder()
    circle: list[Any] = []
    circle.append(circle)
    assert state(encoder, circle) is None
    assert encoder.lost[0][0] == 1
    assert told(encoder, "step", name="n")["client_seq"] == 2


@pytest.mark.parametrize(("kind", "member"), [("run.started", "input"), ("run.completed", "result")])
def test_input_and_result_are_sent_whole_or_reported_as_lost(kind: str, member: str) -> None:
    encoder = EventEncoder()
    empty = told(encoder, kind, **{member: "", "other": 1})
    assert empty["data"] == {"other": 1, member: ""}
    whole = "x" * (MAX_EVENT_BYTES - 1000)
    assert told(encoder, kind, **{member: whole})["data"] == {member: whole}
    found = told(encoder, kind, **{member: "x" * MAX_EVENT_BYTES, "other": 1})
    assert found["data"]["other"] == 1
    assert member not in found["data"]
    assert list(found["data"]["towerlog_dropped"]) == [member]
    assert (encoder.lost[0][0], found["client_seq"]) == (3, 4)


def test_a_small_history_is_sent_whole_each_time() -> None:
    encoder = EventEncoder()
    state(encoder, "a")
    assert state(encoder, "a", "b")["data"]["history"] == ["a", "b"]


def test_a_large_history_is_sent_by_what_is_new() -> None:
    encoder = EventEncoder()
    state(encoder, LARGE, "a")
    found = state(encoder, LARGE, "a", "b")["data"]
    assert (found["base"]["length"], found["history"]) == (2, ["b"])
    edited = state(encoder, LARGE, "z", "b")["data"]
    assert (edited["base"]["length"], edited["history"]) == (1, ["z", "b"])
    again = state(encoder, LARGE, "z", "b")["data"]
    assert (again["base"]["length"], again["history"]) == (3, [])


def test_a_resumed_history_is_known_to_the_server() -> None:
    encoder = EventEncoder()
    encoder.resumes([LARGE, {"b": 1}])
    assert state(encoder, LARGE, {"b": 1}, "c")["data"]["history"] == ["c"]
    encoder.resumes(None)
    assert state(encoder, LARGE)["data"]["history"] == [LARGE]


def test_a_line_gets_older_bases_until_it_is_whole() -> None:
    encoder = EventEncoder("k")
    state(encoder, LARGE, "a")
    state(encoder, LARGE, "a", "b")
    line = encoder.encode({"type": "checkpoint", "data": {"step_index": 3, "history": [LARGE, "a", "b", "c"], "s": 7}})
    state(encoder, LARGE, "a", "b", "c", "d")
    sent = json.loads(line or b"")
    found = []
    while line is not None:
        event = json.loads(line)
        found.append((event["data"].get("base", {}).get("length", 0), event["data"]["history"]))
        assert {n: event[n] for n in event if n != "data"} == {n: sent[n] for n in sent if n != "data"}
        assert (event["data"]["step_index"], event["data"]["s"]) == (3, 7)
        line = encoder.with_older_base(line)
    assert found == [(3, ["c"]), (2, ["b", "c"]), (0, [LARGE, "a", "b", "c"])]


def test_a_line_of_a_history_that_is_no_longer_held_cannot_be_made_again() -> None:
    encoder = EventEncoder("k")
    state(encoder, LARGE)
    line = encoder.encode({"type": "checkpoint", "data": {"history": [LARGE, "b"]}})
    state(encoder, "another")
    assert line is not None
    assert encoder.with_older_base(line) is None


def test_what_changes_while_it_is_encoded_is_lost_and_nothing_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = EventEncoder()
    monkeypatch.setattr(module, "encode_event", lambda event: 1 / 0)
    assert told(encoder, "step", name="n") is None
    assert encoder.lost[0][0] == 1


def test_state_that_json_cannot_express_names_what_was_converted() -> None:
    found = state(EventEncoder("k"), {"role": "tool", "content": {1, 2}}, {"at": 1j}, state={"seed": 2j})
    assert found["data"]["history"] == [{"role": "tool", "content": [1, 2]}, {"at": "1j"}]
    assert found["data"]["towerlog_converted"] == {"history.1.at": "complex", "state.seed": "complex"}


@pytest.mark.parametrize(("kind", "member"), [("run.started", "input"), ("run.completed", "result")])
def test_input_and_result_name_what_was_converted(kind: str, member: str) -> None:
    found = told(EventEncoder(), kind, **{member: {"price": 1j}, "other": 2j})
    assert found["data"] == {
        member: {"price": "1j"},
        "other": "2j",
        "towerlog_converted": {f"{member}.price": "complex", "other": "complex"},
    }
