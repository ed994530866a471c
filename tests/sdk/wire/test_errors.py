"""Which refusals may pass, and what they say."""

from __future__ import annotations

import pytest

from towerlog.errors import TowerlogError
from towerlog.sdk.wire.errors import ApiError, BadAnswer, SdkError, Unreachable


@pytest.mark.parametrize(
    ("status", "code", "temporary"),
    [
        (429, "rate_limited", True),
        (503, "overloaded", True),
        (502, "http", True),
        (409, "in_progress", True),
        (409, "thread_busy", False),
        (500, "internal", False),
        (404, "not_found", False),
        (401, "unauthenticated", False),
    ],
)
def test_which_refusals_may_pass(status, code, temporary) -> None:
    assert ApiError(status, code, "m").is_temporary is temporary


def test_a_refusal_says_what_and_why() -> None:
    error = ApiError(422, "validation_failed", "name: is missing", {"name": "is missing"}, "t1", 2.0)
    assert str(error) == "name: is missing (422 validation_failed)"
    assert (error.details, error.trace_id, error.retry_after) == ({"name": "is missing"}, "t1", 2.0)


def test_the_family_is_not_the_servers() -> None:
    # The server's pages list every TowerlogError there is: a client's would turn up among them.
    assert issubclass(BadAnswer, Unreachable)
    assert not any(issubclass(kind, TowerlogError) for kind in (SdkError, Unreachable, BadAnswer, ApiError))
