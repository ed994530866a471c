"""Native endpoints that steer a run: pause, resume, kill. To create, cancel and answer runs is the dialect `runs`'s."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.reading import decode, label, path_uuid
from towerlog.dialects.views import RunDetail, run_detail
from towerlog.model.command import KillRun, SteerRun
from towerlog.model.identity import Scope
from towerlog.model.outcome import RunView

CONTROL = scopes(Scope.CONTROL)


class SteerBody(msgspec.Struct, frozen=True):
    """Why; nobody has to say."""

    reason: str | None = None


_BODY = msgspec.json.Decoder(SteerBody)


def _read(call: Call) -> tuple[str, str | None]:
    """The run's id and the reason."""
    body = decode(_BODY, call.body) if call.body.strip() else SteerBody()
    return path_uuid(call.path["run_id"], "run"), label(body.reason, "reason")


def _steers(wish: str) -> Callable[[Call], SteerRun]:
    def read(call: Call) -> SteerRun:
        run_id, reason = _read(call)
        return SteerRun(run_id, wish, reason)

    return read


def _decode_kill(call: Call) -> KillRun:
    run_id, reason = _read(call)
    return KillRun(run_id, reason)


def _encode_run(outcome: RunView, call: Call) -> Reply:
    return reply_json(run_detail(outcome, call.settings.credits_per_dollar))


ENDPOINTS = (
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:pause", "pause_run", "Ask a run's agent to pause.", CONTROL,
        _steers("pause"), _encode_run, request=SteerBody, reply=RunDetail,
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:resume", "resume_run", "Ask the agent of a paused run to go on.", CONTROL,
        _steers("resume"), _encode_run, request=SteerBody, reply=RunDetail,
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:kill", "kill_run", "End a run and its children now, forced.", CONTROL,
        _decode_kill, _encode_run, request=SteerBody, reply=RunDetail,
    ),
)  # fmt: skip
"""Everything that steers a run."""
