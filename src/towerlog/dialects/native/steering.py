"""Native endpoints that steer a run: pause, resume, cancel, kill, retry, fork. The dialect `runs` creates, answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import NULL, bounded_text, decode, path_uuid
from towerlog.dialects.native import shapes
from towerlog.dialects.run_json import RunDetail
from towerlog.dialects.steering_json import TextOrObject, input_text
from towerlog.model.command import CancelRun, ForkRun, KillRun, RetryRun, SteerRun
from towerlog.model.outcome import RunView
from towerlog.model.principal import Scope

CONTROL = scopes(Scope.CONTROL)
MAX_STEP = 999_999_999


class SteerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An optional reason."""

    reason: v.Reason | None = None


_BODY = msgspec.json.Decoder(SteerBody)


def _read(call: Call) -> tuple[str, str | None]:
    """The run's id and the reason."""
    body = decode(_BODY, call.body) if call.has_body else SteerBody()
    return path_uuid(call.path["run_id"], "run"), bounded_text(body.reason, "reason")


def _steers(action: str) -> Callable[[Call], SteerRun]:
    def read(call: Call) -> SteerRun:
        run_id, reason = _read(call)
        return SteerRun(run_id, action, reason)

    return read


def _decode_cancel(call: Call) -> CancelRun:
    run_id, reason = _read(call)
    return CancelRun(run_id, reason)


def _decode_kill(call: Call) -> KillRun:
    run_id, reason = _read(call)
    return KillRun(run_id, reason)


def _encode_run(outcome: RunView, command: object, call: Call) -> Reply:
    return reply_json(shapes.detail_of(outcome, call.settings.credits_per_dollar))


OtherInput = Annotated[
    TextOrObject,
    v.said("What the new run is asked instead: a text or an object; null: the same.", "Which towers are listed now?"),
]


def _null() -> msgspec.Raw:
    return NULL


class ForkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The checkpoint to begin with; `agent`: whose, if several have that step."""

    step_index: Annotated[int, msgspec.Meta(ge=0, le=MAX_STEP), v.said("The step to begin after.", 1)]
    agent: Annotated[str, v.said("Whose checkpoint, where several agents have that step.", "researcher")] | None = None
    input: OtherInput = msgspec.field(default_factory=_null)


_FORK_BODY = msgspec.json.Decoder(ForkBody)


class RetryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; the body may be empty: the new run gets everything from the old one."""

    input: OtherInput = msgspec.field(default_factory=_null)


_RETRY_BODY = msgspec.json.Decoder(RetryBody)


def _decode_retry(call: Call) -> RetryRun:
    body = decode(_RETRY_BODY, call.body) if call.has_body else RetryBody()
    return RetryRun(path_uuid(call.path["run_id"], "run"), input_text(body.input, call.settings))


def _decode_fork(call: Call) -> ForkRun:
    run_id = path_uuid(call.path["run_id"], "run")
    body = decode(_FORK_BODY, call.body)
    return ForkRun(run_id, body.step_index, agent_asked(body.agent, "agent"), input_text(body.input, call.settings))


def _encode_new_run(outcome: RunView, command: object, call: Call) -> Reply:
    return reply_json(shapes.tree_of(outcome, call.settings.credits_per_dollar), 201)


ENDPOINTS = (
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:pause", "pause_run", "Ask a run's agent to pause.", CONTROL,
        _steers("pause"), _encode_run, request=SteerBody, reply=RunDetail,
        refuses=(errors.RunNotActive,),
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:resume", "resume_run", "Ask the agent of a paused run to go on.", CONTROL,
        _steers("resume"), _encode_run, request=SteerBody, reply=RunDetail,
        refuses=(errors.RunNotActive,),
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:cancel", "cancel_run", "Ask a run's agent, and its children's, to end.",
        CONTROL, _decode_cancel, _encode_run, request=SteerBody, reply=RunDetail,
        refuses=(errors.RunNotActive,),
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:kill", "kill_run", "End a run and its children now, forced.", CONTROL,
        _decode_kill, _encode_run, request=SteerBody, reply=RunDetail,
        refuses=(errors.RunNotActive,),
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:retry", "retry_run",
        "Queue a new run with the input of one that has ended, or another one.",
        CONTROL, _decode_retry, _encode_new_run, request=RetryBody, reply=shapes.RunTree, reply_status=201,
        refuses=(errors.Conflict, errors.BudgetExceeded),
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:fork", "fork_run", "Queue a new run that begins with a checkpoint of this one.",
        CONTROL, _decode_fork, _encode_new_run, request=ForkBody, reply=shapes.RunTree, reply_status=201,
        refuses=(errors.Conflict, errors.BudgetExceeded),
    ),
)  # fmt: skip
"""The endpoints that steer a run."""
