"""Problem documents (RFC 9457): how the native API, the pages and paths that nobody owns say no."""

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
    """The status in words."""
    status: int
    detail: str
    """What happened this time, for people."""
    code: str
    """What happened, for programs: one of the stable error codes."""
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
