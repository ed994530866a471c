"""Native endpoints of running again: retry what has ended, fork from a checkpoint."""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog.asgi.native import shapes
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.reading import decode, optional_id, path_uuid
from towerlog.model.command import ForkRun, RetryRun
from towerlog.model.identity import Scope
from towerlog.model.outcome import RunView

CONTROL = scopes(Scope.CONTROL)
FARTHEST_STEP = 999_999_999


class ForkBody(msgspec.Struct, frozen=True):
    """Which checkpoint; `agent` says whose, where several have that step."""

    step_index: Annotated[int, msgspec.Meta(ge=0, le=FARTHEST_STEP)]
    agent: str | None = None


_FORK_BODY = msgspec.json.Decoder(ForkBody)


class RetryBody(msgspec.Struct, frozen=True):
    """Nothing: the new run has all from the old one."""


_RETRY_BODY = msgspec.json.Decoder(RetryBody)


def _decode_retry(call: Call) -> RetryRun:
    if call.body.strip():
        decode(_RETRY_BODY, call.body)
    return RetryRun(path_uuid(call.path["run_id"], "run"))


def _decode_fork(call: Call) -> ForkRun:
    run_id = path_uuid(call.path["run_id"], "run")
    body = decode(_FORK_BODY, call.body)
    return ForkRun(run_id, body.step_index, optional_id(body.agent, "agent"))


def _encode_run(outcome: RunView, call: Call) -> Reply:
    return reply_json(shapes.tree_of(outcome, call.settings.credits_per_dollar), 201)


ENDPOINTS = (
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:retry", "retry_run", "Queue a new run with the input of one that has ended.",
        CONTROL, _decode_retry, _encode_run, reply=shapes.RunTree, reply_status=201,
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:fork", "fork_run", "Queue a new run that begins with a checkpoint of this one.",
        CONTROL, _decode_fork, _encode_run, request=ForkBody, reply=shapes.RunTree, reply_status=201,
    ),
)  # fmt: skip
"""Everything about running again."""
