"""What the `lanes` dialect is asked: reports and claims, field by field, and everything wrong named at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.calls import RUN, call
from tests.support.tables import table
from towerlog import errors
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.fields import facts_named
from towerlog.dialects.lanes import requests
from towerlog.model.command import Claim, ClaimRun, Finish, Release, Report
from towerlog.model.event import Draft, EventType, Refusal, RunById
from towerlog.model.question import ListLanes, ListWorkers
from towerlog.model.run import Status

SEED_REPORT = {
    "worker_id": "example",
    "lease_seconds": 1,
    "phase": "example",
    "log_line": "example",
    "events": [{"type": "heartbeat", "payload": {}}],
}
SHORT = DialectSettings(min_lease_seconds=1)


def report(settings: DialectSettings | None = None, headers: dict[bytes, bytes] | None = None, **fields: Any) -> Report:
    body = {"worker_id": "w", **fields}
    return requests.decode_report(
        call(body, path={"id": RUN}, settings=settings or DialectSettings(), headers=headers or {})
    )


def details(decode: Any, body: Any, **path: str) -> dict[str, str]:
    """What is said of the wrong fields of a refused body."""
    with pytest.raises(errors.Invalid) as found:
        decode(call(body, path=path or {"id": RUN}))
    return found.value.details


def test_the_seeds_example() -> None:
    heartbeat = Draft(EventType.LANE_REPORT, RunById(RUN), b"{}", facts_named("heartbeat"))
    assert requests.decode_report(call(SEED_REPORT, path={"id": RUN.upper()}, settings=SHORT)) == Report(
        RUN,
        "example",
        [heartbeat],
        lease_ms=1000,
        phase="example",
        log_line="example",
        dialect="lanes",
        data_field="payload",
    )


def test_the_seeds_lease_is_too_short_by_default() -> None:
    for lease in [1, 59, 3601, 0, -1, 10**30]:
        said = details(requests.decode_report, {"worker_id": "w", "lease_seconds": lease})["lease_seconds"]
        assert "60" in said
        assert "3600" in said
    assert report(lease_seconds=60).lease_ms == 60_000
    assert report(lease_seconds=3600).lease_ms == 3_600_000


def test_absent_null_and_empty_mean_the_same() -> None:
    nothing = Report(RUN, "w", [], dialect="lanes", data_field="payload")
    assert report() == nothing
    names = ["lease_seconds", "phase", "log_line", "events", "lease_epoch", "wait_seconds"]
    assert report(**dict.fromkeys(names)) == nothing
    assert report(phase="", log_line="", events=[]) == nothing


def test_the_epoch_comes_from_the_body_or_from_the_header() -> None:
    assert report(lease_epoch=3).lease_epoch == 3
    assert report(headers={b"x-lease-epoch": b"4"}).lease_epoch == 4
    assert report(headers={b"x-lease-epoch": b"4"}, lease_epoch=3).lease_epoch == 3
    for value in [b"x", b"-1", b"1.5", b"9" * 16, "²".encode("latin-1")]:
        with pytest.raises(errors.Invalid) as found:
            report(headers={b"x-lease-epoch": value})
        assert found.value.field == "x-lease-epoch"


WRONG = [
    *(("worker_id", value) for value in [None, "", 7, 1.5, True, ["w"], {}, "w" * 201, "w\x00", "w\n", "w\x7f"]),
    *(("lease_seconds", value) for value in [1.5, "x", True, [60], {}]),
    *(("events", value) for value in [7, "heartbeat", True, {}, [{"type": "heartbeat"}] * 101, [1] * 600_000]),
    *(("lease_epoch", value) for value in ["x", 1.5, True, [1], {}, -1, 10**30]),
    *(("wait_seconds", value) for value in ["x", 1.5, True, -1, 61]),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_a_wrong_field_is_named(field, value) -> None:
    assert set(details(requests.decode_report, {"worker_id": "w", field: value})) == {field}


@pytest.mark.parametrize(("phase", "log_line"), [(7, "l"), ("p" * 201, "l"), ("p", ["l"]), ({}, "l" * 2001), (True, 7)])
def test_a_phase_or_log_line_that_cannot_be_used_costs_no_report(phase, log_line) -> None:
    found = report(phase=phase, log_line=log_line, lease_seconds=60, events=[{"type": "heartbeat"}])
    is_phase, is_line = phase == "p", log_line == "l"
    assert (found.phase, found.log_line, found.lease_ms) == (
        phase if is_phase else None,
        "l" if is_line else None,
        60_000,
    )
    wrong = ["phase"] * (not is_phase) + ["log_line"] * (not is_line)
    assert [(warning.index, warning.field) for warning in found.warnings] == [(None, name) for name in wrong]
    _heartbeat, kept = found.items
    assert isinstance(kept, Draft)
    assert kept.type is EventType.LANE_REPORT
    sent = {"phase": phase, "log_line": log_line}
    assert json.loads(kept.data) == {"towerlog_invalid": {name: sent[name] for name in wrong}}


def test_whole_numbers_may_be_written_otherwise() -> None:
    found = report(lease_seconds="60", lease_epoch=3.0, wait_seconds="1")
    assert (found.lease_ms, found.lease_epoch, found.wait_ms, found.warnings) == (60_000, 3, 1000, ())


def test_everything_wrong_is_named_at_once() -> None:
    body = {"phase": 7, "lease_seconds": "x", "wait_seconds": 99}
    found = details(requests.decode_report, body)
    assert set(found) == {"worker_id", "lease_seconds", "wait_seconds"}
    assert found["worker_id"] == "is required"
    assert all(found.values())


@pytest.mark.parametrize(
    ("event", "where"),
    [
        (7, "events.1"),
        (None, "events.1"),
        ([], "events.1"),
        ({}, "events.1.type"),
        ({"type": None}, "events.1.type"),
    ],
)
def test_what_is_no_event_refuses_the_report(event, where) -> None:
    body = {"worker_id": "w", "events": [{"type": "heartbeat"}, event]}
    assert set(details(requests.decode_report, body)) == {where}


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"type": "heartbeat", "id": 7}, "events.1.id"),
        ({"type": "heartbeat", "id": "a/b"}, "events.1.id"),
        ({"type": "heartbeat", "id": ".."}, "events.1.id"),
        ({"type": "x" * 201}, "events.1.type"),
        ({"type": ""}, "events.1.type"),
        ({"type": "checkpoint", "payload": {"step_index": "one"}}, "events.1.payload.step_index"),
    ],
)
def test_one_wrong_event_is_refused_alone(event, field) -> None:
    found = report(lease_seconds=60, events=[{"type": "heartbeat"}, event, {"type": "step"}])
    good, bad, another = found.items
    assert isinstance(good, Draft)
    assert isinstance(bad, Refusal)
    assert isinstance(another, Draft)
    assert bad.field == field
    assert (found.lease_ms, found.warnings) == (60_000, ())


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"type": "heartbeat", "payload": 7}, "payload"),
        ({"type": "message.delta", "payload": {}}, "payload.content"),
        ({"type": "model.call", "payload": {"duration_ms": -1}}, "payload.duration_ms"),
        ({"type": "tool.result", "payload": {"success": "yes"}}, "payload.success"),
        ({"type": "error", "payload": {"fatal": True, "error": ["e"]}}, "payload.error"),
    ],
)
def test_a_detail_costs_no_event_and_is_named_by_index(event, field) -> None:
    found = report(events=[{"type": "heartbeat"}, event])
    assert all(isinstance(item, Draft) for item in found.items)
    assert [(warning.index, warning.field) for warning in found.warnings] == [(1, field)]
    assert field in found.warnings[0].message


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null"])
def test_a_body_that_is_no_object_is_refused(body) -> None:
    assert set(details(requests.decode_report, body)) == {"body"}


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b'{"worker_id":"\\ud800"}'])
def test_a_body_that_is_no_json_is_malformed(body) -> None:
    with pytest.raises(errors.Malformed):
        requests.decode_report(call(body, path={"id": RUN}))


def test_a_hundred_events_keep_their_order() -> None:
    events = [{"type": "message.delta", "payload": {"content": str(n)}, "id": f"e{n}"} for n in range(100)]
    items = report(events=events, wait_seconds=60).items
    assert [item.event_id for item in items if isinstance(item, Draft)] == [f"e{n}" for n in range(100)]


def test_a_claim() -> None:
    decode = requests.decode_claim
    assert decode(call({"worker_id": "w"})) == Claim("w", 300_000)
    body = {"worker_id": "w", "lease_seconds": 60, "agents": ["a"], "labels": {"gpu": "yes"}, "wait_seconds": 20}
    assert decode(call(body)) == Claim("w", 60_000, ("a",), {"gpu": "yes"}, 20_000)
    assert decode(call({"worker_id": "w", "agents": None, "labels": None})) == Claim("w", 300_000)


@pytest.mark.parametrize("worker_id", ["namespace/pod", ".."])
def test_a_workers_id_stands_in_no_path_and_may_be_what_no_path_can_hold(worker_id) -> None:
    holder, path = {"worker_id": worker_id}, {"id": RUN}
    assert requests.decode_claim(call(holder)) == Claim(worker_id, 300_000)
    for decode in [requests.decode_claim_run, requests.decode_report, requests.decode_release]:
        assert decode(call(holder, path=path)).worker_id == worker_id
    for decode in [requests.decode_complete, requests.decode_fail]:
        assert decode(call(holder, path=path)).worker_id == worker_id
    assert requests.decode_workers(call(query=holder)).worker_id == worker_id


WRONG_CLAIMS = [
    *(("worker_id", value) for value in [None, "", 7, "w" * 201, "w\x00"]),
    *(("lease_seconds", value) for value in [0, 59, 3601, 1.5, "59", "1m", True]),
    *(("wait_seconds", value) for value in [-1, 61, "61", True, [1]]),
    *(("agents", value) for value in ["a", 7, {}, True]),
    *(("labels", value) for value in ["a", 7, [], True, {f"l{n}": "" for n in range(65)}]),
]


@pytest.mark.parametrize(("field", "value"), WRONG_CLAIMS, ids=[f"{f}-{n}" for n, (f, _) in enumerate(WRONG_CLAIMS)])
def test_a_wrong_field_of_a_claim_is_named(field, value) -> None:
    assert set(details(requests.decode_claim, {"worker_id": "w", field: value})) == {field}


@pytest.mark.parametrize("decode", [requests.decode_claim, requests.decode_claim_run, requests.decode_release])
def test_an_unknown_member_is_named_with_those_that_there_are(decode) -> None:
    [(field, why)] = details(decode, {"worker_id": "w", "agnets": ["a"]}).items()
    assert field == "agnets"
    assert why.startswith("is not a member of this body; it takes ")
    assert "worker_id" in why
    also = details(decode, {"agnets": ["a"]})
    assert also == {"agnets": why, "worker_id": "is required"}, "each wrong field has its line"


def test_a_claim_of_one_run_and_its_release() -> None:
    asked = call({"worker_id": "w", "lease_epoch": 2}, path={"id": RUN})
    assert requests.decode_claim_run(call({"worker_id": "w"}, path={"id": RUN})) == ClaimRun(RUN, "w", 300_000)
    assert requests.decode_release(asked) == Release(RUN, "w", 2)


@pytest.mark.parametrize("epoch", [2, "2", 2.0, "2.0"], ids=repr)
def test_a_whole_number_is_one_however_it_is_written(epoch) -> None:
    asked = call({"worker_id": "w", "lease_epoch": epoch}, path={"id": RUN})
    assert requests.decode_release(asked).lease_epoch == 2
    assert requests.decode_complete(asked).lease_epoch == requests.decode_fail(asked).lease_epoch == 2


def finish(decode: Any, **fields: Any) -> Finish:
    found = decode(call({"worker_id": "w", "lease_epoch": 2, **fields}, path={"id": RUN}))
    assert isinstance(found, Finish)
    assert (found.run_id, found.worker_id, found.lease_epoch) == (RUN, "w", 2)
    return found


@pytest.mark.parametrize("result", [None, "text", 7, [1], {"answer": "forty\ntwo"}, True])
def test_a_run_may_come_to_anything(result) -> None:
    draft = finish(requests.decode_complete, result=result).draft
    assert draft.type is EventType.RUN_COMPLETED
    assert json.loads(draft.data) == {"result": result}
    assert b"\n" not in draft.data


def test_a_result_laid_out_over_lines_is_put_on_one() -> None:
    body = b'{"worker_id":"w","result":{\n"a":\n1}}'
    draft = requests.decode_complete(call(body, path={"id": RUN})).draft
    assert draft.data == b'{"result":{"a":1}}'


@pytest.mark.parametrize(
    ("error", "why"), [("boom", "boom"), ({"message": "boom"}, "boom"), (None, "failed"), ("", "failed")]
)
def test_a_run_may_fail_for_a_reason(error, why) -> None:
    draft = finish(requests.decode_fail, error=error).draft
    assert draft.type is EventType.RUN_FAILED
    assert draft.facts.error == why
    assert json.loads(draft.data) == {"error": error}


@pytest.mark.parametrize("error", [7, [], True])
def test_a_reason_that_cannot_be_used_costs_no_end(error) -> None:
    found = finish(requests.decode_fail, error=error)
    assert found.draft.facts.error == "failed"
    assert json.loads(found.draft.data) == {"error": error}
    assert [warning.field for warning in found.warnings] == ["error"]


def test_an_end_keeps_what_nobody_knows() -> None:
    assert json.loads(finish(requests.decode_fail, error="e", traceback=["l1"]).draft.data) == {
        "traceback": ["l1"],
        "error": "e",
    }
    assert json.loads(finish(requests.decode_complete, cost=1).draft.data) == {"cost": 1, "result": None}


@table("run_id", ["not-a-uuid", "\x00", ""])
@table("name", ["report", "claim_run", "release", "complete", "fail"])
def test_a_run_id_is_a_uuid(name, run_id) -> None:
    with pytest.raises(errors.NotFound):
        getattr(requests, f"decode_{name}")(call({"worker_id": "w"}, path={"id": run_id}))


STATUSES = {
    "queued": (Status.QUEUED,),
    "claimed": (Status.RUNNING,),
    "running": (Status.RUNNING, Status.CANCELLING),
    "paused": (Status.PAUSED, Status.WAITING),
    "shipping": (Status.RUNNING,),
    "shipped": (Status.COMPLETED,),
    "failed": (Status.FAILED, Status.BUDGET_EXCEEDED, Status.LOST),
    "released": (Status.CANCELLED,),
}


def test_the_lists() -> None:
    assert requests.decode_lanes(call()) == ListLanes(50)
    for state in requests.STATUS_OF:
        assert requests.decode_lanes(call(query={"state": state, "limit": "3"})) == ListLanes(3, STATUSES[state])
    assert requests.decode_workers(call(query={"limit": "200"})) == ListWorkers(200)
    assert requests.decode_workers(call(query={"worker_id": "w"})) == ListWorkers(50, "w")
    for query in [{"state": "sleeping"}, {"limit": "0"}]:
        with pytest.raises(errors.Invalid) as found:
            requests.decode_lanes(call(query=query))
        assert found.value.field in query


def test_a_report_waits_whatever_its_size() -> None:
    events = [{"type": "message.delta", "payload": {"content": "x" * 100_000}}]
    assert report(wait_seconds=60, events=events).wait_ms == 60_000
    assert report(events=events).wait_ms == 0
