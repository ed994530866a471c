"""Problem documents (RFC 9457): the form of errors of the native API, the pages and unknown paths."""

from __future__ import annotations

import http

import msgspec

from towerlog.dialects.base import PROBLEM, Reply, error_headers, status_of
from towerlog.errors import TowerlogError


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong."""

    type: str
    """A URN that ends in the code."""
    title: str
    """The phrase of the HTTP status."""
    status: int
    detail: str
    """What was wrong with this request, for people."""
    code: str
    """What was wrong, for programs: one of the stable error codes."""
    trace_id: str
    errors: dict[str, str] | None = None
    """Field → what is wrong with it."""


def explain(error: TowerlogError, trace_id: str) -> Reply:
    """The problem document of an error."""
    status = status_of(error)
    problem = Problem(
        type=f"urn:towerlog:error:{error.code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        trace_id=trace_id,
        errors=error.details or None,
    )
    return Reply(status, msgspec.json.encode(problem), PROBLEM, error_headers(error, status))
