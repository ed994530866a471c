"""Retry and fork over the native API: their replies, and what is wrong with a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.native.feeds import checkpoint, newest_run
from tests.support.tables import table

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"


async def cancelled(say: Any, **body: Any) -> str:
    """A run that has ended."""
    run_id = str((await say("POST", "/v1/threads/t/runs", value=body)).json["run_id"])
    assert (await say("POST", f"/v1/runs/{run_id}:cancel")).status == 200
    return run_id


async def test_a_retry_is_a_run_like_any_other(say: Any) -> None:
    source = await cancelled(say, input="go", agent="a")
    reply = await say("POST", f"/api/v1/runs/{source}:retry")
    assert reply.status == 201, reply.body
    shown = (await say("GET", f"/api/v1/runs/{reply.json['run_id']}")).json
    assert reply.json == shown
    assert (shown["retry_of"], shown["resumed_from"], shown["forked_from"]) == (source, source, None)
    assert (await say("GET", f"/v1/runs/{shown['run_id']}")).json["retry_of"] == source
    assert (await say("GET", f"/api/v1/runs/{source}")).json["retry_of"] is None


async def test_a_fork_is_a_run_like_any_other(say: Any) -> None:
    await checkpoint(say, "t", 1, [{"role": "user"}])
    source = await newest_run(say, "t")
    reply = await say("POST", f"/api/v1/runs/{source.upper()}:fork", value={"step_index": 1, "agent": "writer"})
    assert reply.status == 201, reply.body
    assert reply.json == (await say("GET", f"/api/v1/runs/{reply.json['run_id']}")).json
    assert reply.json["forked_from"] == {"run_id": source, "step_index": 1}


@pytest.mark.parametrize("asked", ["go north", {"go": "north"}])
async def test_another_input_is_what_the_new_run_is_asked(say: Any, asked: Any) -> None:
    await checkpoint(say, "t", 1, [{"role": "user"}])
    source = await newest_run(say, "t")
    fork = await say("POST", f"/api/v1/runs/{source}:fork", value={"step_index": 1, "input": asked})
    old = await cancelled(say, input="go", agent="a")
    retry = await say("POST", f"/api/v1/runs/{old}:retry", value={"input": asked})
    assert [(reply.status, reply.json["input"]) for reply in (fork, retry)] == [(201, asked)] * 2, retry.body
    same = await say("POST", f"/api/v1/runs/{old}:retry", value={"input": None})
    assert same.json["input"] == "go"
    for wrong in (7, [], True):
        reply = await say("POST", f"/api/v1/runs/{old}:retry", value={"input": wrong})
        assert (reply.status, list(reply.json["errors"])) == (422, ["input"])


async def test_a_run_whose_input_nobody_knows_is_run_again_with_one(say: Any) -> None:
    await checkpoint(say, "t", 1, [{"role": "user"}])
    source = await newest_run(say, "t")
    assert (await say("POST", f"/api/v1/runs/{source}:kill")).status == 200
    assert (await say("POST", f"/api/v1/runs/{source}:retry")).status == 409
    reply = await say("POST", f"/api/v1/runs/{source}:retry", value={"input": "go"})
    assert (reply.status, reply.json["input"], reply.json["retry_of"]) == (201, "go", source), reply.body


@pytest.mark.parametrize("action", ["retry", "fork"])
async def test_one_key_makes_one_run(say: Any, action: str) -> None:
    await checkpoint(say, "t", 1, [])
    source = await cancelled(say) if action == "retry" else await newest_run(say, "t")
    ask = {"value": {} if action == "retry" else {"step_index": 1}, "headers": {"Idempotency-Key": "k"}}
    replies = [await say("POST", f"/api/v1/runs/{source}:{action}", **ask) for _ in range(2)]
    assert [reply.status for reply in replies] == [201, 201]
    assert replies[0].body == replies[1].body
    assert len((await say("GET", "/api/v1/runs?status=queued")).json["data"]) == 1


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("step_index", {}),
        *[("step_index", {"step_index": value}) for value in [None, -1, 1.5, "1", True, [], 10**9]],
        *[("agent", {"step_index": 1, "agent": value}) for value in [7, [], "x" * 201, " "]],
    ],
)
async def test_a_wrong_field_of_a_fork_is_named(say: Any, field: str, body: Any) -> None:
    await checkpoint(say, "t", 1, [])
    source = await newest_run(say, "t")
    reply = await say("POST", f"/api/v1/runs/{source}:fork", value=body)
    assert reply.status == 422, reply.body
    assert list(reply.json["errors"]) == [field]


@table("action", ["retry", "fork"])
@table("run_id", [ABSENT, "nobody", "x:y"])
async def test_a_run_that_is_not_there_is_404(say: Any, action: str, run_id: str) -> None:
    assert (
        await say("POST", f"/api/v1/runs/{run_id}:{action}", value={} if action == "retry" else {"step_index": 1})
    ).status == 404


async def test_another_action_is_404_and_another_method_405(say: Any) -> None:
    source = await cancelled(say)
    assert (await say("POST", f"/api/v1/runs/{source}:rerun")).status == 404
    assert (await say("GET", f"/api/v1/runs/{source}:retry")).status == 405
