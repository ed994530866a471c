"""A run whose start was overtaken stands in the thread that the start names, whichever dialect tells it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.feeds import ok
from tests.support.senders import sdk_event


def of_thread(client: httpx2.Client, thread: str) -> list[str]:
    """Ids of the runs in a thread, which every list agrees on."""
    ids = [row["run_id"] for row in ok(client.get("/v1/runs", params={"thread_id": thread}))]
    page = ok(client.get("/api/v1/runs", params={"thread_id": thread}))
    assert [row["run_id"] for row in page["data"]] == ids
    reply = client.get(f"/v1/threads/{thread}")
    assert (reply.status_code == 200) == bool(ids), reply.text
    return ids


def native(run: str, seq: int, kind: str, thread: str | None, **data: Any) -> dict[str, Any]:
    """An event of a client that numbers its events."""
    event = {"client_seq": seq, "event_id": f"{run}-{seq}", "run_key": run, "type": kind, "data": data}
    return event if thread is None else {**event, "thread": thread}


@pytest.mark.parametrize("field", ["session_id", "thread_id"])
@pytest.mark.parametrize("ended", [False, True])
def test_of_steps(client: httpx2.Client, unique: Unique, field: str, ended: bool) -> None:
    run, thread = unique("run"), unique("conv")
    told = [sdk_event("step", run, {"node_name": "n"}), sdk_event("run_start", run, {"input": "q", field: thread})]
    for event in [sdk_event("run_end", run, {}), *told] if ended else told:
        assert "warnings" not in ok(client.post("/api/ingest", json=event))
    [run_id] = of_thread(client, thread)
    assert of_thread(client, run) == []
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["thread_id"] == thread


def test_of_steps_whose_thread_was_named_before(client: httpx2.Client, unique: Unique) -> None:
    run, thread = unique("run"), unique("conv")
    ok(client.post("/api/ingest", json=sdk_event("run_start", run, {"session_id": thread})))
    reply = ok(client.post("/api/ingest", json=sdk_event("step", run, {"session_id": unique("conv")})))
    [warning] = reply["warnings"]
    assert (warning["field"], f"the run stands in thread '{thread}'" in warning["message"]) == (
        "payload.session_id",
        True,
    )
    assert len(of_thread(client, thread)) == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_of_the_native_api(client: httpx2.Client, unique: Unique, at_once: bool) -> None:
    run, thread = unique("run"), unique("conv")
    checkpoint = {"step_index": 1, "history": [{"role": "user", "content": "hi"}]}
    events = [
        native(run, 2, "step", None, name="x"),
        native(run, 3, "checkpoint", None, **checkpoint),
        native(run, 1, "run.started", thread, input="q"),
    ]
    for group in [events] if at_once else [[event] for event in events]:
        body = {"client_id": f"client-{run}", "events": group}
        assert not ok(client.post("/api/v1/events", json=body)).get("warnings")
    assert len(of_thread(client, thread)) == 1
    assert of_thread(client, run) == []
    latest = ok(client.get(f"/v1/runners/threads/{thread}/latest"))
    assert (latest["step_index"], latest["history"]) == (1, checkpoint["history"])
    assert client.get(f"/v1/runners/threads/{run}/latest").status_code == 404


def test_of_spans(client: httpx2.Client, unique: Unique) -> None:
    trace, thread = unique("trace").encode().hex()[:32].ljust(32, "0"), unique("conv")

    def span(name: str, number: int, parent: str | None, attributes: list[Any]) -> dict[str, Any]:
        found = {
            "traceId": trace,
            "spanId": f"{number:016x}",
            "name": name,
            "startTimeUnixNano": "1790000000000000000",
            "endTimeUnixNano": "1790000001000000000",
            "attributes": attributes,
        }
        return found if parent is None else {**found, "parentSpanId": parent}

    session = [{"key": "session.id", "value": {"stringValue": thread}}]
    for one in (span("tool", 2, f"{1:016x}", []), span("root", 1, None, session)):
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}
        ok(client.post("/v1/traces", json=body))
    assert len(of_thread(client, thread)) == 1
    assert of_thread(client, trace) == []
