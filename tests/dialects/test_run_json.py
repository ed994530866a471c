"""A run as JSON: the seed's fields in the seed's order, and what is unknown as null."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import AGENT, NOW, OTHER_RUN, RUN, view, with_view
from towerlog.dialects.run_json import full_row, run_detail
from towerlog.dialects.usage_json import credits_of
from towerlog.model.lane import Lane, QueueState
from towerlog.model.ledger import Ledger
from towerlog.model.run import Status
from towerlog.model.usage import Usage

SEED_ROW = [
    "run_id", "org_id", "thread_id", "status", "model", "persona_id", "total_input_tokens", "total_output_tokens",
    "total_cost_usd", "duration_ms", "cache_hit_rate", "credits_used", "created_at", "completed_at", "failed_at",
    "created_by_user_id", "created_by_user_name", "created_by_email",
]  # fmt: skip
SEED_DETAIL = ["run_id", "org_id", "thread_id", "created_by_user_id", "status", "created_at", "trace_id"]


def written(value: Any) -> dict[str, Any]:
    """A value as its reader gets it."""
    return dict(json.loads(msgspec.json.encode(value)))


def test_the_row_of_the_seed() -> None:
    usage = Usage(input_tokens=600, cached_input_tokens=400, output_tokens=500, cost_nanos=5_000_000)
    done = view(status=Status.COMPLETED, model="claude-3-5-sonnet", usage=usage, started_at=NOW, ended_at=NOW + 3200)
    row = written(full_row(done, 1000))
    assert list(row) == [*SEED_ROW, "unpriced_calls"], "what the seed does not have comes behind it"
    assert (row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]) == (1000, 500, 0.005)
    assert (row["duration_ms"], row["cache_hit_rate"], row["credits_used"]) == (3200, 0.4, 5)
    assert row["completed_at"] == "2026-04-02T10:00:03.323Z"
    assert row["failed_at"] is None
    assert (row["created_by_user_name"], row["created_by_email"]) == ("alice", "alice@example.com")


def test_unknown_is_null() -> None:
    row = written(full_row(view(status=Status.QUEUED), 1000))
    unknown = {name for name, value in row.items() if value is None}
    assert unknown == set(SEED_ROW[4:12]) | {"completed_at", "failed_at"}


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.BUDGET_EXCEEDED, Status.LOST])
def test_every_other_end_is_a_failure_of_the_clock(status) -> None:
    row = full_row(view(status=status, ended_at=NOW), 1000)
    assert row.completed_at is None
    assert row.failed_at == "2026-04-02T10:00:00.123Z"


@pytest.mark.parametrize(
    ("cost_nanos", "credit"),
    [(None, None), (0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2), (2_300_000, 3), (1_000_000_000, 1000)],
)
def test_credits_are_rounded_up(cost_nanos, credit) -> None:
    assert credits_of(cost_nanos, 1000) == credit


def test_the_detail_begins_with_the_seed_and_goes_on() -> None:
    lane = Lane(
        7, 1, QueueState.HELD, "a", NOW, worker_id="w", epoch=2, attempt=1, expires_at=NOW + 60_000, last_heartbeat=NOW
    )
    whole = with_view(
        view(foreign_id="steps:abc", error="boom", metadata=msgspec.Raw(b'{"ticket":"T-1"}')),
        lane=lane,
        parent_run_id=OTHER_RUN,
        result=b'{"answer":42}',
        input=b'{"input":"hi"}',
    )
    found = written(run_detail(whole, 1000))
    assert list(found)[:7] == SEED_DETAIL
    assert set(SEED_ROW) <= set(found)
    assert (found["run_id"], found["agent_id"], found["parent_run_id"]) == (RUN, AGENT, OTHER_RUN)
    assert (found["foreign_id"], found["error"]) == ("steps:abc", "boom")
    assert (found["metadata"], found["result"], found["input"]) == ({"ticket": "T-1"}, {"answer": 42}, {"input": "hi"})
    assert found["lane"] == {
        "state": "held",
        "worker_id": "w",
        "lease_epoch": 2,
        "lease_expires_at": "2026-04-02T10:01:00.123Z",
        "last_heartbeat": "2026-04-02T10:00:00.123Z",
    }


def test_a_lane_that_is_done_has_no_deadline() -> None:
    lane = Lane(7, 1, QueueState.DONE, "a", NOW, worker_id="w", epoch=2, expires_at=NOW)
    found = run_detail(with_view(view(status=Status.COMPLETED, ended_at=NOW), lane=lane), 1000).lane
    assert found is not None
    assert found.lease_expires_at is None


def test_a_run_whose_clients_give_no_numbers_is_neither_complete_nor_not() -> None:
    assert written(run_detail(view(), 1000))["delivery"] == {"complete": None, "truncated": False, "clients": []}


@pytest.mark.parametrize(
    ("ledger", "shown"),
    [
        (Ledger(((1, 3),), (), 3), (True, False, 3, 3, [], 0)),
        (Ledger(((1, 1), (4, 5)), (), 5), (False, False, 3, 5, [[2, 3]], 0)),
        (Ledger(((1, 1),), ((2, 5),), 5), (False, False, 1, 5, [], 4)),
        (Ledger(((1, 4),), (), 9, horizon=4, beyond=2), (False, True, 6, 9, [], 0)),
    ],
    ids=["whole", "with a hole", "with a loss", "past its bound"],
)
def test_the_ledger_of_a_client(ledger, shown) -> None:
    whole = Ledger(((1, 1),), (), 1)
    delivery = written(run_detail(view(clients={"c": ledger, "d": whole}), 1000))["delivery"]
    client, other = delivery["clients"]
    figures = [client[name] for name in ("received", "highest", "missing", "dropped")]
    assert (delivery["complete"], delivery["truncated"], *figures) == shown
    assert (client["client_id"], client["truncated"], other["client_id"]) == ("c", delivery["truncated"], "d")


def test_more_clients_than_are_counted_make_nothing_complete() -> None:
    delivery = run_detail(view(clients={"c": Ledger(((1, 1),), (), 1)}, uncounted_clients=True), 1000).delivery
    assert (delivery.complete, delivery.truncated) == (False, True)


def test_a_list_does_not_name_the_clients() -> None:
    clients = {"c": Ledger(((1, 1), (3, 3)), (), 3)}
    delivery = run_detail(view(clients=clients), 1000, in_list=True).delivery
    assert (delivery.complete, delivery.clients) == (False, None)
