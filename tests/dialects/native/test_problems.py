"""Problem documents: every error has one, and it says the same in its head and in its body."""

from __future__ import annotations

import json

import pytest

from towerlog import errors
from towerlog.asgi.pages.refusals import error_samples
from towerlog.dialects.native.problems import explain


@pytest.mark.parametrize("error", list(error_samples()), ids=lambda error: type(error).__name__)
def test_every_error_is_a_problem(error: errors.TowerlogError) -> None:
    reply = explain(error, "t" * 32)
    problem = json.loads(reply.body)
    assert reply.content_type == "application/problem+json"
    assert problem["status"] == reply.status
    assert problem["code"] == error.code
    assert problem["type"] == f"urn:towerlog:error:{error.code}"
    assert problem["detail"] == error.message
    assert problem["trace_id"] == "t" * 32
    assert problem["title"]


def test_fields_are_named_where_there_are_any() -> None:
    named = json.loads(explain(errors.Invalid("x", details={"a.0.b": "is wrong"}), "t").body)
    assert named["errors"] == {"a.0.b": "is wrong"}
    assert "errors" not in json.loads(explain(errors.Conflict(), "t").body)
