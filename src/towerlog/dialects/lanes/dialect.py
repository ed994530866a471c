"""Dialect `lanes`: workers claim runs, report on them under a lease, and end them.

Only the holder may report, release and end. Any other worker is told that the lease is lost, and not who holds it.
"""

from __future__ import annotations

import msgspec

from towerlog import errors
from towerlog.dialects.base import Dialect, Endpoint, Limit, Reply, error_headers, reply_json, scopes, status_of
from towerlog.dialects.lanes import bodies, replies, requests
from towerlog.dialects.lanes.replies import STATUS_WORDS
from towerlog.dialects.lanes.requests import STATUS_OF
from towerlog.errors import TowerlogError
from towerlog.model.principal import Scope

__all__ = ["DIALECT", "STATUS_OF", "STATUS_WORDS"]


class Issue(msgspec.Struct):
    """One wrong field."""

    path: list[str | int]
    code: str
    message: str


class LanesRefusal(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Why a request was refused: a text for people, a code for programs."""

    error: str
    code: str
    field_errors: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    issues: list[Issue] | msgspec.UnsetType = msgspec.UNSET
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    relink_github: bool | msgspec.UnsetType = msgspec.UNSET
    lease_expires_at: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="lease_expires_at")


_CODES: dict[type[TowerlogError], str] = {
    errors.Malformed: "VALIDATION_FAILED",
    errors.NotFound: "NOT_FOUND",
    errors.Overloaded: "UNAVAILABLE",
    errors.StorageFailed: "UNAVAILABLE",
    errors.DiskFull: "DISK_FULL",
    errors.BudgetExceeded: "BUDGET_EXCEEDED",
}
"""The dialect's codes of errors; an error that is not in it has its own code in capitals."""


def explain(error: TowerlogError, trace_id: str) -> Reply:
    """The error in this dialect's form."""
    status = 400 if _is_validation(error) else status_of(error)
    headers = error_headers(error, status)
    body = LanesRefusal(error.message, _code(error))
    if _is_validation(error):
        body.field_errors = error.details or {"body": error.message}
        body.issues = [_issue(path, message) for path, message in body.field_errors.items()]
    if status == 401:
        body.relink_github = False
    for name, value in headers:
        if name.lower() == b"retry-after":
            body.retry_after = int(value)
    if "lease_expires_at" in error.details:
        body.lease_expires_at = error.details["lease_expires_at"]
    return reply_json(body, status, headers)


def _is_validation(error: TowerlogError) -> bool:
    return isinstance(error, errors.Malformed | errors.Invalid) and not isinstance(error, errors.IdReused)


def _code(error: TowerlogError) -> str:
    if isinstance(error, errors.NotFound) and error.kind == "run":
        return "RUN_NOT_FOUND"
    return _CODES.get(type(error), error.code.upper())


def _issue(path: str, message: str) -> Issue:
    steps: list[str | int] = [int(step) if step.isdecimal() else step for step in path.split(".")]
    if message == "is required":
        return Issue(steps, "required", message)
    return Issue(steps, "invalid_type" if message.startswith("Expected") else "invalid_value", message)


_WORKER = scopes(Scope.WORKER)
_WATCHER = scopes(Scope.WORKER, Scope.READ)

DIALECT = Dialect(
    name=requests.NAME,
    title="Lanes: workers, claims and leases",
    endpoints=(
        Endpoint(
            method="POST",
            path="/api/agents/runs/{id}/events",
            name="lanes.report",
            summary="Report progress: renews the lease, stores events, returns pending commands",
            scopes=_WORKER,
            decode=requests.decode_report,
            encode=replies.encode_reported,
            ingests=True,
            limited=True,
            request=bodies.ReportBody,
            reply=replies.ReportReply,
            refuses=(
                errors.LeaseLost,
                errors.RunEnded,
            ),
        ),
        Endpoint(
            method="POST",
            path="/api/agents/runs/claim",
            name="lanes.claim",
            summary="Claim the oldest queued run that matches; may wait for one",
            scopes=_WORKER,
            decode=requests.decode_claim,
            encode=replies.encode_claimed,
            limited=True,
            request=bodies.ClaimBody,
            reply=replies.ClaimReply,
        ),
        Endpoint(
            method="POST",
            path="/api/agents/runs/{id}/claim",
            name="lanes.claim_run",
            summary="Claim this run, or renew its lease",
            scopes=_WORKER,
            decode=requests.decode_claim_run,
            encode=replies.encode_claimed,
            limited=True,
            request=bodies.ClaimRunBody,
            reply=replies.ClaimReply,
            refuses=(
                errors.AlreadyClaimed,
                errors.RunEnded,
            ),
        ),
        Endpoint(
            method="POST",
            path="/api/agents/runs/{id}/release",
            name="lanes.release",
            summary="Give a run back to the queue",
            scopes=_WORKER,
            decode=requests.decode_release,
            encode=replies.encode_reported,
            request=bodies.HolderBody,
            reply=replies.ReportReply,
            refuses=(
                errors.LeaseLost,
                errors.RunEnded,
            ),
        ),
        Endpoint(
            method="POST",
            path="/api/agents/runs/{id}/complete",
            name="lanes.complete",
            summary="Complete a run, with its result",
            scopes=_WORKER,
            decode=requests.decode_complete,
            encode=replies.encode_reported,
            request=bodies.CompleteBody,
            reply=replies.ReportReply,
            refuses=(
                errors.LeaseLost,
                errors.RunEnded,
            ),
        ),
        Endpoint(
            method="POST",
            path="/api/agents/runs/{id}/fail",
            name="lanes.fail",
            summary="Fail a run, with its error",
            scopes=_WORKER,
            decode=requests.decode_fail,
            encode=replies.encode_reported,
            request=bodies.FailBody,
            reply=replies.ReportReply,
            refuses=(
                errors.LeaseLost,
                errors.RunEnded,
            ),
        ),
        Endpoint(
            method="GET",
            path="/api/agents/runs",
            name="lanes.list",
            summary="Lanes by state, the queue's depth and its oldest wait",
            scopes=_WATCHER,
            decode=requests.decode_lanes,
            encode=replies.encode_lanes,
            reply=replies.LanesReply,
            query=bodies.LanesQuery,
        ),
        Endpoint(
            method="GET",
            path="/api/agents/workers",
            name="lanes.workers",
            summary="Workers and the runs they hold",
            scopes=_WATCHER,
            decode=requests.decode_workers,
            encode=replies.encode_workers,
            reply=replies.WorkersReply,
            query=bodies.WorkersQuery,
        ),
    ),
    explain=explain,
    limit=Limit("lanes_rate_per_minute", "ip"),
)
