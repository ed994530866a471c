"""The endpoints of retention and erasure as calls, as `endpoints` has the others."""

from __future__ import annotations

from towerlog.sdk.api.requests import ApiRequest, Listing, api_request, given, listing
from towerlog.sdk.api.retention import shapes


def list_retention() -> Listing[shapes.Retention]:
    """Policies, by kind."""
    return listing("/api/v1/retention", shapes.Retention, {})


def get_retention(kind: str) -> ApiRequest[shapes.Retention]:
    """One policy."""
    return api_request("GET", "/api/v1/retention/{kind}", shapes.Retention.read, kind=kind)


def set_retention(kind: str, max_age_seconds: int | None, max_bytes: int | None) -> ApiRequest[shapes.Retention]:
    """Sets one."""
    body = given(max_age_seconds=max_age_seconds, max_bytes=max_bytes)
    return api_request("PUT", "/api/v1/retention/{kind}", shapes.Retention.read, body, kind=kind)


def clear_retention(kind: str) -> ApiRequest[shapes.Retention]:
    """Takes one away."""
    return api_request("DELETE", "/api/v1/retention/{kind}", shapes.Retention.read, kind=kind)


def run_retention(dry_run: bool) -> ApiRequest[shapes.RetentionPass]:
    """What is due."""
    return api_request("POST", "/api/v1/retention/run", shapes.RetentionPass.read, {"dry_run": dry_run})


def erase_run(run_id: str, children: bool) -> ApiRequest[shapes.Erasure]:
    """Erases a run."""
    query = _with(children)
    return api_request("DELETE", "/api/v1/runs/{run_id}", shapes.Erasure.read, query=query, run_id=run_id)


def erase_thread(thread_id: str, children: bool) -> ApiRequest[shapes.Erasure]:
    """Erases a thread."""
    query = _with(children)
    return api_request("DELETE", "/api/v1/threads/{thread_id}", shapes.Erasure.read, query=query, thread_id=thread_id)


def _with(children: bool) -> dict[str, str]:
    return {"children": "true"} if children else {}
