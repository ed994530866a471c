"""Refusals of every dialect, and of what is no Towerlog, are read by one reader."""

from __future__ import annotations

import json

import pytest

from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer
from towerlog.sdk.wire.refusals import accepted, object_of, refusal


@pytest.mark.parametrize(
    ("said", "code", "message", "details"),
    [
        ({"code": "runs.not_found", "message": "No.", "trace_id": "t"}, "runs.not_found", "No.", {}),
        ({"code": "invalid", "detail": "No.", "errors": {"a": "b"}, "trace_id": "t"}, "invalid", "No.", {"a": "b"}),
        ({"error": "NO", "code": "BAD", "fieldErrors": {"a": "b"}, "trace_id": "t"}, "bad", "NO", {"a": "b"}),
        ({"error": "not_found", "detail": "No.", "trace_id": "t"}, "not_found", "No.", {}),
        ({"error": {"code": "busy", "message": "No."}, "trace_id": "t"}, "busy", "No.", {}),
    ],
    ids=["runs", "native", "lanes", "activity", "a gateway"],
)
def test_a_refusal_of_any_dialect_is_understood(said, code, message, details) -> None:
    error = refusal(Response(422, {"retry-after": "3"}, json.dumps(said).encode()))
    assert (error.status, error.code, error.message, error.details) == (422, code, message, details)
    assert (error.trace_id, error.retry_after) == ("t", 3.0)


@pytest.mark.parametrize("body", [b"<html>Bad\n gateway</html>", b"", b"[]", b"\xff"])
def test_a_refusal_that_is_not_ours_is_one_all_the_same(body) -> None:
    error = refusal(Response(502, {"x-trace-id": "t"}, body))
    assert (error.status, error.code, error.trace_id) == (502, "http", "t")
    assert error.message
    assert "\n" not in error.message


def test_a_good_reply_is_an_object_where_one_is_wanted() -> None:
    assert object_of(Response(201, {}, b'{"a": 1}')) == {"a": 1}
    for body in (b"[]", b"", b"<html>"):
        with pytest.raises(BadAnswer):
            object_of(Response(200, {}, body))


@pytest.mark.parametrize(("status", "refused"), [(200, False), (204, False), (299, False), (300, True), (409, True)])
def test_a_status_from_300_on_is_a_refusal(status, refused) -> None:
    response = Response(status, {}, b"{}")
    if not refused:
        assert accepted(response) is response
        return
    with pytest.raises(ApiError) as caught:
        accepted(response)
    assert caught.value.status == status
