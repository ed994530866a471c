"""The `lanes` dialect: its refusals, its limit, and which of its endpoints count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from towerlog import errors
from towerlog.dialects.base import Limit
from towerlog.dialects.lanes.dialect import DIALECT, STATUS_OF, STATUS_WORDS
from towerlog.errors import TowerlogError
from towerlog.model.principal import Scope


def told(error: TowerlogError, status: int) -> dict[str, Any]:
    """The body of a refusal, after its status was looked at."""
    reply = DIALECT.explain(error, "trace-1")
    assert reply.status == status
    return dict(json.loads(reply.body))


def test_a_wrong_field_is_named_twice() -> None:
    details = {
        "phase": "Expected `string`, got `integer`",
        "events.3.type": "is required",
        "lease_seconds": "must be less",
    }
    body = told(errors.Invalid("phase: Expected `string`, got `integer`", field="phase", details=details), 400)
    assert (body["code"], body["error"]) == ("VALIDATION_FAILED", "phase: Expected `string`, got `integer`")
    assert body["fieldErrors"] == details
    assert body["issues"] == [
        {"path": ["phase"], "code": "invalid_type", "message": "Expected `string`, got `integer`"},
        {"path": ["events", 3, "type"], "code": "required", "message": "is required"},
        {"path": ["lease_seconds"], "code": "invalid_value", "message": "must be less"},
    ]


def test_a_body_that_cannot_be_read_is_a_wrong_body() -> None:
    body = told(errors.Malformed("The body is not valid JSON: x"), 400)
    assert body["code"] == "VALIDATION_FAILED"
    assert body["fieldErrors"] == {"body": "The body is not valid JSON: x"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Unauthenticated(), 401, "UNAUTHENTICATED"),
        (errors.Forbidden(), 403, "FORBIDDEN"),
        (errors.NotFound("run"), 404, "RUN_NOT_FOUND"),
        (errors.NotFound("route"), 404, "NOT_FOUND"),
        (errors.LeaseLost(), 409, "LEASE_LOST"),
        (errors.AlreadyClaimed(), 409, "ALREADY_CLAIMED"),
        (errors.RunEnded(), 409, "RUN_ENDED"),
        (errors.InProgress(), 409, "IN_PROGRESS"),
        (errors.IdempotencyMismatch(), 422, "IDEMPOTENCY_MISMATCH"),
        (errors.TooLarge(), 413, "TOO_LARGE"),
        (errors.RateLimited(retry_after=17), 429, "RATE_LIMITED"),
        (errors.Internal(), 500, "INTERNAL"),
        (errors.Overloaded(), 503, "UNAVAILABLE"),
        (errors.StorageFailed(), 503, "UNAVAILABLE"),
    ],
)
def test_codes_are_stable(error, status, code) -> None:
    body = told(error, status)
    assert (body["code"], body["error"]) == (code, error.message)
    assert "fieldErrors" not in body
    assert "issues" not in body
    assert ("relinkGithub" in body) is (status == 401)
    assert ("retryAfter" in body) is error.retryable


def test_when_to_come_again_is_said_twice() -> None:
    reply = DIALECT.explain(errors.RateLimited(retry_after=17), "t")
    assert json.loads(reply.body)["retryAfter"] == 17
    assert {name.lower(): value for name, value in reply.headers}[b"retry-after"] == b"17"
    assert told(errors.Unauthenticated(), 401)["relinkGithub"] is False


def test_a_held_run_says_until_when() -> None:
    until = "2026-04-02T10:00:00.123Z"
    body = told(errors.AlreadyClaimed(details={"lease_expires_at": until}), 409)
    assert body == {
        "error": "Another worker holds the run's lease.",
        "code": "ALREADY_CLAIMED",
        "lease_expires_at": until,
    }


def test_reports_and_claims_are_limited_by_address() -> None:
    assert DIALECT.limit == Limit("lanes_rate_per_minute", "ip")
    assert {one.name for one in DIALECT.endpoints if one.limited} == {"lanes.report", "lanes.claim", "lanes.claim_run"}


def test_workers_need_their_scope_and_watchers_may_look() -> None:
    for one in DIALECT.endpoints:
        expected = {Scope.WORKER, Scope.ADMIN} | ({Scope.READ} if one.method == "GET" else set())
        assert one.scopes == expected, one.name


def test_every_word_is_a_state_that_can_be_asked_for() -> None:
    assert set(STATUS_WORDS.values()) | {"claimed", "shipping"} == set(STATUS_OF)
