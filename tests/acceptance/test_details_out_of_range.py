"""A number that no decoder takes, and a member that is too much to be looked into, are details: they cost no event."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from towerlog.dialects.structure import MAX_MEMBERS

HEADERS = {"Content-Type": "application/json"}
NUMBERS = ["1e400", "-1e999", "9" * 5000]


def sent(client: httpx2.Client, path: str, body: Any, number: str) -> Any:
    """The reply to a body in which the number stands in the place of each `HERE`."""
    content = json.dumps(body).replace('"HERE"', number).encode()
    reply = client.post(path, content=content, headers=HEADERS)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_time_or_a_number_that_is_out_of_range(client: httpx2.Client, unique: Unique, number: str) -> None:
    thread = unique("thread")
    events = [{"type": "x", "data": {"thread_id": thread}, "sequence_num": "HERE", "occurred_at": "HERE"}] * 2
    reply = sent(client, "/v1/runners/events", {"events": events}, number)
    assert reply["saved"] == 2
    assert [(one["index"], one["field"]) for one in reply["warnings"]] == [(0, "occurred_at"), (1, "occurred_at")]

    run = unique("run")
    told = {"event_id": run, "client_seq": 1, "run_key": run, "type": "step", "time": "HERE", "data": {"name": "n"}}
    reply = sent(client, "/api/v1/events", {"client_id": "c", "events": [told]}, number)
    [result] = reply["results"]
    assert (result["status"], [one["field"] for one in reply["warnings"]]) == ("stored", ["time"])

    step = {"event_type": "step", "sdk_run_id": run, "occurred_at": "HERE", "payload": {}}
    assert [one["field"] for one in sent(client, "/api/ingest", step, number)["warnings"]] == ["occurred_at"]


def test_very_many_members_beside_what_cannot_be_used(client: httpx2.Client, unique: Unique) -> None:
    many = {f"k{number}": 0 for number in range(MAX_MEMBERS + 1)}
    around = {"run_key": unique("run")}
    start = {"type": "run.started", "data": {"labels": {"a": "b"}, "metadata": many}}
    step = {"type": "step", "time": "never", "data": {"name": "n", **many}}
    events = [{"event_id": str(n), "client_seq": n, **around, **one} for n, one in enumerate((start, step), 1)]
    reply = sent(client, "/api/v1/events", {"client_id": "c", "events": events}, "")
    assert [one["status"] for one in reply["results"]] == ["stored", "stored"]
    assert {one["field"] for one in reply["warnings"]} == {"data.metadata", "time"}
