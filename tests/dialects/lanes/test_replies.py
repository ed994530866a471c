"""What the `lanes` dialect answers: the run as its worker sees it, its state, and what a claim brings along."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import AGENT, NOW, RUN, call, view
from towerlog.dialects.lanes import replies
from towerlog.dialects.lanes.replies import STATUS_WORDS, state_of
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.event import Refusal
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Claimed, LaneCounts, LaneView, NothingToClaim, Page, Reported, Stored, WorkerView
from towerlog.model.pending import Pending
from towerlog.model.question import ListLanes
from towerlog.model.run import Status

RUN_FIELDS = [
    "id", "thread_id", "agent_id", "lane_key", "title", "role", "state", "phase", "worker_id", "claimed_at",
    "lease_expires_at", "last_heartbeat", "lease_epoch", "attempt", "commands",
]  # fmt: skip


def lane(**fields: Any) -> Lane:
    """A lane that a worker holds and has reported on."""
    given = {
        "worker_id": "w", "epoch": 2, "attempt": 1, "claimed_at": NOW, "expires_at": NOW + 60_000,
        "last_heartbeat": NOW + 1, "reported": True, "phase": "building", **fields,
    }  # fmt: skip
    state = given.pop("state", QueueState.HELD)
    return Lane(7, 1, state, "builder", NOW, **given)


def told(outcome: Reported) -> dict[str, Any]:
    reply = replies.encode_reported(outcome, None, call())
    assert reply.status == 200
    return dict(json.loads(reply.body))


def test_the_run_as_its_worker_sees_it() -> None:
    row = view(agent="builder", metadata=msgspec.Raw(b'{"title":"Ship it","n":1}'))
    found = told(Reported(row, lane()))
    assert list(found) == ["ok", "run"]
    assert found["ok"] is True
    assert list(found["run"]) == RUN_FIELDS
    assert found["run"] == {
        "id": RUN,
        "thread_id": "thread-1",
        "agent_id": AGENT,
        "lane_key": "thread-1",
        "title": "Ship it",
        "role": "builder",
        "state": "running",
        "phase": "building",
        "worker_id": "w",
        "claimed_at": "2026-04-02T10:00:00.123Z",
        "lease_expires_at": "2026-04-02T10:01:00.123Z",
        "last_heartbeat": "2026-04-02T10:00:00.124Z",
        "lease_epoch": 2,
        "attempt": 1,
        "commands": [],
    }


@pytest.mark.parametrize("metadata", [b"{}", b'{"title":7}', b'{"title":null}', b'{"other":"x"}'])
def test_a_run_without_a_title_has_none(metadata) -> None:
    assert told(Reported(view(metadata=msgspec.Raw(metadata)), lane()))["run"]["title"] is None


def test_commands_are_told_with_what_they_bring() -> None:
    row = view(pending=(Pending(5, "input", "yes"), Pending(6, "cancel")))
    assert told(Reported(row, lane()))["run"]["commands"] == [
        {"type": "input", "command_id": 5, "content": "yes"},
        {"type": "cancel", "command_id": 6},
    ]


def test_events_that_were_not_stored_are_named_by_index() -> None:
    results = [Stored(1, 1, RUN), Refusal("id_reused", "This event id was used before.", "id")]
    found = told(Reported(view(), lane(), results))
    assert found["rejected"] == [{"index": 1, "code": "id_reused", "message": "This event id was used before."}]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.QUEUED, "queued"),
        (Status.RUNNING, "running"),
        (Status.WAITING, "paused"),
        (Status.PAUSED, "paused"),
        (Status.CANCELLING, "running"),
        (Status.COMPLETED, "shipped"),
        (Status.FAILED, "failed"),
        (Status.CANCELLED, "released"),
        (Status.BUDGET_EXCEEDED, "failed"),
        (Status.LOST, "failed"),
    ],
)
def test_every_status_is_a_state(status, state) -> None:
    assert state_of(status, lane()) == STATUS_WORDS[status] == state


def test_claimed_until_the_first_report_and_shipping_by_its_phase() -> None:
    assert state_of(Status.RUNNING, lane(reported=False)) == "claimed"
    assert state_of(Status.RUNNING, lane(reported=False, phase="shipping")) == "claimed"
    assert state_of(Status.RUNNING, lane(phase="shipping")) == "shipping"
    assert state_of(Status.COMPLETED, lane(reported=False, phase="shipping")) == "shipped"


@pytest.mark.parametrize("state", [QueueState.QUEUED, QueueState.DONE])
def test_a_lane_that_nobody_holds_has_no_deadline(state) -> None:
    assert told(Reported(view(), lane(state=state)))["run"]["lease_expires_at"] is None


def test_a_claim_brings_what_its_worker_needs() -> None:
    reply = replies.encode_claimed(Claimed(view(), lane(reported=False), b'"count"'), None, call())
    found = json.loads(reply.body)
    assert list(found) == ["ok", "run", "input", "persona", "route", "checkpoint"]
    assert found["run"]["state"] == "claimed"
    assert (found["input"], found["persona"], found["route"], found["checkpoint"]) == ("count", None, None, None)


def test_a_claim_brings_what_the_thread_has_said_before() -> None:
    claimed = Claimed(view(), lane(), thread_history=[b'{"role": "user"}'])
    assert json.loads(replies.encode_claimed(claimed, None, call()).body)["thread_history"] == [{"role": "user"}]


def test_nothing_to_claim_is_204() -> None:
    reply = replies.encode_claimed(NothingToClaim(), None, call())
    assert (reply.status, reply.body) == (204, b"")


def checkpoint(meta: list[bytes] | None) -> CheckpointView:
    row = CheckpointRow(1, 7, "a", 2, "thread-1", "approved", 4, 9, "ff", 1, meta is not None, "d", NOW, NOW)
    figures = b'{"step_index":2,"status":"waiting_for_approval","turn_start_history_len":1,"pending_tool_calls":[]}'
    return CheckpointView(row, RUN, "trace-1", figures, [b'{"role": "user"}'], meta)


def test_a_claim_brings_the_state_that_was_left() -> None:
    reply = replies.encode_claimed(Claimed(view(), lane(), None, checkpoint([b'{"ts":1}'])), None, call())
    assert json.loads(reply.body)["checkpoint"] == {
        "step_index": 2,
        "status": "approved",
        "turn_start_history_len": 1,
        "pending_tool_calls": [],
        "history": [{"role": "user"}],
        "history_meta": [{"ts": 1}],
    }
    reply = replies.encode_claimed(Claimed(view(), lane(), None, checkpoint(None)), None, call())
    assert json.loads(reply.body)["checkpoint"]["history_meta"] is None


def test_the_queue_at_a_glance() -> None:
    page = Page([LaneView(view(), lane())])
    found = json.loads(replies.encode_lanes(LaneCounts(page, 3, 1, NOW - 1500, NOW), ListLanes(50), call()).body)
    assert [row["id"] for row in found["data"]] == [RUN]
    assert (found["queued"], found["held"], found["oldest_wait_seconds"]) == (3, 1, 1.5)
    empty = json.loads(replies.encode_lanes(LaneCounts(Page([]), 0, 0, None, NOW), ListLanes(50), call()).body)
    assert empty == {"data": [], "queued": 0, "held": 0, "oldest_wait_seconds": None}


def test_a_list_of_one_state_holds_no_other() -> None:
    lanes = [LaneView(view(), lane(reported=reported)) for reported in (True, False, True)]
    counts = LaneCounts(Page(lanes), 0, 3, None, NOW)

    def shown(query: dict[str, str]) -> list[str]:
        reply = replies.encode_lanes(counts, ListLanes(50), call(query=query))
        return [row["state"] for row in json.loads(reply.body)["data"]]

    assert shown({}) == shown({"state": ""}) == ["running", "claimed", "running"]
    assert shown({"state": "claimed"}) == ["claimed"]
    assert shown({"state": "running"}) == ["running", "running"]
    assert shown({"state": "queued"}) == []


def test_who_holds_what() -> None:
    page = Page([WorkerView("w", NOW, (RUN,)), WorkerView("v", None, ())])
    assert json.loads(replies.encode_workers(page, None, call()).body)["data"] == [
        {"worker_id": "w", "last_heartbeat": "2026-04-02T10:00:00.123Z", "runs": [RUN]},
    ], "who holds nothing only asks for work"
