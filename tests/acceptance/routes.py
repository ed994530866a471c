"""What every route needs and answers, read from the wire pages: the expectation that the tenancy matrix holds against.

A route that the server's OpenAPI document names and this table does not fails the matrix, until somebody has said here
who may call it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import httpx2


class Kind(Enum):
    """What the path of a route names."""

    OPEN = "needs no key"
    SELF = "whom the key speaks for, which any key may ask"
    LIST = "what the caller's own organisation has"
    NAME = "a name in the caller's own organisation, taken or made there"
    OBJECT = "one thing, which is not there for anybody else"


@dataclass(frozen=True)
class Route:
    """One method on one path."""

    kind: Kind
    scopes: frozenset[str] = frozenset()
    body: Any = None


def _route(kind: Kind, scopes: str = "", body: Any = None) -> Route:
    return Route(kind, frozenset(scopes.split()), body)


_RUNNER_BATCH = {"events": [{"type": "thread_started", "data": {"thread_id": "shared-thread", "trace_id": "shared"}}]}
_SDK_EVENT = {"event_type": "step", "sdk_run_id": "shared-sdk-run", "payload": {"node_name": "n"}}
_SPAN = {"traceId": "5ba2ed" + "0" * 26, "spanId": "5ba2ed0000000000", "name": "shared"}
_SPANS = {"resourceSpans": [{"scopeSpans": [{"spans": [_SPAN]}]}]}
_CLIENT_STEP = {"event_id": "shared-event", "client_seq": 1, "type": "step", "data": {"name": "n"}}
_CLIENT_BATCH = {"client_id": "shared-client", "events": [{**_CLIENT_STEP, "run_key": "shared-key"}], "runs": ["other"]}
_RUN_REPORT = {"worker_id": "shared-worker", "lease_epoch": 1, "client_id": "shared-client", "events": [_CLIENT_STEP]}
_PERSONA = {"persona_key": "shared-persona", "version": "1", "agent": "a"}
_PROVIDER_ROUTE = {"route_id": "shared-route", "provider": "p", "model": "m"}
_BUDGET = {"name": "shared-budget", "scope": {"agent": "a"}, "amount_usd": 10}
_PRICE = {"model": "shared-model", "usd_per_million": {"input": 1}}
_RULE = {"name": "shared-rule", "trigger": "error", "scope": {"agent": "a"}}
_RESERVATION = {"run_id": "shared-key", "amount_usd": 0.01}
_WORKER = {"worker_id": "shared-worker"}
_CONTAINER_EVENT = {
    "timestamp": "2026-01-02T03:04:05.678Z",
    "type": "command_complete",
    "tool": "shell",
    "input_summary": "ls",
    "output_summary": "exit 0",
    "duration_ms": 1,
    "success": True,
    "metadata": {},
}

ROUTES: dict[tuple[str, str], Route] = {
    **{
        ("GET", path): _route(Kind.OPEN)
        for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/llms.txt", "/llms-full.txt"]
    },
    **{
        ("GET", path): _route(Kind.OPEN)
        for path in ["/docs", "/docs/guides/{}", "/docs/guide.css", "/docs/docs.css", "/docs/docs.js"]
    },
    **{("GET", path): _route(Kind.OPEN) for path in ["/docs/guides", "/docs/guides/{}/{}", "/docs/{}"]},
    # checkpoints
    ("POST", "/v1/runners/events"): _route(Kind.NAME, "ingest", _RUNNER_BATCH),
    ("POST", "/internal/v1/runners/events"): _route(Kind.NAME, "ingest", _RUNNER_BATCH),
    ("GET", "/v1/runners/threads/{}/latest"): _route(Kind.OBJECT, "read ingest"),
    ("GET", "/internal/v1/runners/threads/{}/latest"): _route(Kind.OBJECT, "read ingest"),
    ("GET", "/approvals"): _route(Kind.LIST, "control"),
    ("POST", "/approvals/{}/{}/approve"): _route(Kind.OBJECT, "control"),
    ("POST", "/approvals/{}/{}/reject"): _route(Kind.OBJECT, "control"),
    # steps
    ("POST", "/api/ingest"): _route(Kind.NAME, "ingest", _SDK_EVENT),
    # otlp
    ("POST", "/v1/traces"): _route(Kind.NAME, "ingest", _SPANS),
    ("POST", "/v1/logs"): _route(Kind.NAME, "ingest", {"resourceLogs": []}),
    ("POST", "/v1/metrics"): _route(Kind.NAME, "ingest", {"resourceMetrics": []}),
    # activity
    ("GET", "/agents/{}/events"): _route(Kind.OBJECT, "read"),
    ("POST", "/agents/{}/events"): _route(Kind.OBJECT, "ingest", _CONTAINER_EVENT),
    # runs
    ("POST", "/v1/threads/{}/runs"): _route(Kind.NAME, "control", {}),
    ("GET", "/v1/threads/{}/runs"): _route(Kind.OBJECT, "read"),
    ("GET", "/v1/runs"): _route(Kind.LIST, "read"),
    ("GET", "/v1/runs/{}"): _route(Kind.OBJECT, "read"),
    ("POST", "/v1/runs/{}:cancel"): _route(Kind.OBJECT, "control"),
    ("POST", "/v1/runs/{}:{}"): _route(Kind.OBJECT, "control"),
    ("POST", "/v1/runs/{}/input"): _route(Kind.OBJECT, "control", {"content": "yes"}),
    ("GET", "/v1/runs/{}/events"): _route(Kind.OBJECT, "read"),
    ("GET", "/v1/runs/{}/agui"): _route(Kind.OBJECT, "read"),
    ("POST", "/v1/threads"): _route(Kind.NAME, "control", {"thread_id": "shared-thread"}),
    ("GET", "/v1/threads"): _route(Kind.LIST, "read"),
    ("GET", "/v1/threads/{}"): _route(Kind.OBJECT, "read"),
    # lanes
    ("POST", "/api/agents/runs/claim"): _route(Kind.LIST, "worker", _WORKER),
    **{
        ("POST", f"/api/agents/runs/{{}}/{act}"): _route(Kind.OBJECT, "worker", _WORKER)
        for act in ["events", "claim", "release", "complete", "fail"]
    },
    ("GET", "/api/agents/runs"): _route(Kind.LIST, "worker read control"),
    ("GET", "/api/agents/workers"): _route(Kind.LIST, "worker read control"),
    # native
    **{
        ("GET", f"/api/v1/{noun}"): _route(Kind.LIST, "read")
        for noun in [
            "agents",
            "runs",
            "run-ids",
            "threads",
            "workers",
            "lanes",
            "usage",
            "live",
            "run-facets",
            "run-durations",
            "run-sums",
        ]
    },
    **{("GET", f"/api/v1/{noun}/{{}}"): _route(Kind.OBJECT, "read") for noun in ["agents", "runs", "threads"]},
    ("GET", "/api/v1/organisations"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/organisations"): _route(Kind.LIST, "admin", {"name": "shared-organisation"}),
    ("PATCH", "/api/v1/organisations/{}"): _route(Kind.OBJECT, "admin", {"name": "changed"}),
    ("DELETE", "/api/v1/organisations/{}"): _route(Kind.OBJECT, "admin", {"name": "changed"}),
    ("GET", "/api/v1/whoami"): _route(Kind.SELF, "ingest read control worker admin"),
    ("POST", "/api/v1/stream-tickets"): _route(Kind.SELF, "read", {}),
    ("GET", "/api/v1/push"): _route(Kind.LIST, "read"),
    ("POST", "/broadcasting/auth"): _route(Kind.LIST, "read"),
    ("POST", "/api/v1/agents"): _route(Kind.NAME, "ingest control admin", {"name": "shared-agent"}),
    ("POST", "/api/v1/events"): _route(Kind.NAME, "ingest", _CLIENT_BATCH),
    ("POST", "/api/v1/runs/{}:report"): _route(Kind.OBJECT, "worker", _RUN_REPORT),
    ("GET", "/api/v1/runs/{}/quarantine"): _route(Kind.OBJECT, "read"),
    **{
        ("POST", f"/api/v1/runs/{{}}:{act}"): _route(Kind.OBJECT, "control", {})
        for act in ["pause", "resume", "cancel", "kill"]
    },
    ("GET", "/api/v1/runs/{}/events"): _route(Kind.OBJECT, "read"),
    ("GET", "/api/v1/runs/{}/outline"): _route(Kind.OBJECT, "read"),
    ("GET", "/api/v1/runs/{}/otlp"): _route(Kind.OBJECT, "read"),
    ("GET", "/api/v1/runs/{}/checkpoints"): _route(Kind.OBJECT, "read"),
    ("GET", "/api/v1/runs/{}/checkpoints/{}"): _route(Kind.OBJECT, "read"),
    ("POST", "/api/v1/runs/{}:retry"): _route(Kind.OBJECT, "control"),
    ("POST", "/api/v1/runs/{}:fork"): _route(Kind.OBJECT, "control", {"step_index": 1}),
    **{("GET", f"/api/v1/{noun}"): _route(Kind.LIST, "read") for noun in ["personas", "routes"]},
    **{("GET", f"/api/v1/{noun}/{{}}"): _route(Kind.OBJECT, "read") for noun in ["personas", "routes"]},
    ("POST", "/api/v1/personas"): _route(Kind.NAME, "admin", _PERSONA),
    ("POST", "/api/v1/routes"): _route(Kind.NAME, "admin", _PROVIDER_ROUTE),
    ("GET", "/api/v1/prices"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/prices"): _route(Kind.NAME, "admin", _PRICE),
    ("POST", "/api/v1/prices/reprice"): _route(Kind.LIST, "admin", {"since": "2026-01-01T00:00:00Z", "dry_run": True}),
    ("GET", "/api/v1/prices/listed"): _route(Kind.LIST, "read"),
    ("GET", "/api/v1/prices/{}"): _route(Kind.OBJECT, "admin"),
    ("DELETE", "/api/v1/prices/{}"): _route(Kind.OBJECT, "admin"),
    ("GET", "/api/v1/budgets"): _route(Kind.LIST, "read"),
    ("POST", "/api/v1/budgets"): _route(Kind.NAME, "control", _BUDGET),
    ("POST", "/api/v1/budgets/reserve"): _route(Kind.OBJECT, "ingest worker control", _RESERVATION),
    ("GET", "/api/v1/budgets/reservations"): _route(Kind.LIST, "read"),
    ("DELETE", "/api/v1/budgets/reservations/{}"): _route(Kind.OBJECT, "ingest worker control"),
    ("GET", "/api/v1/budgets/{}"): _route(Kind.OBJECT, "read"),
    ("PATCH", "/api/v1/budgets/{}"): _route(Kind.OBJECT, "control", {"name": "changed"}),
    ("DELETE", "/api/v1/budgets/{}"): _route(Kind.OBJECT, "control"),
    ("GET", "/api/v1/approvals"): _route(Kind.LIST, "read"),
    ("GET", "/api/v1/approvals/{}"): _route(Kind.OBJECT, "read"),
    ("POST", "/api/v1/approvals/{}"): _route(Kind.OBJECT, "control", {"decision": "deny"}),
    ("POST", "/api/v1/approvals/{}/links"): _route(Kind.OBJECT, "control", {"sent_to": "x"}),
    ("GET", "/a/{}"): _route(Kind.OPEN),
    ("POST", "/a/{}"): _route(Kind.OPEN),
    **{("GET", path): _route(Kind.LIST, "read") for path in ["/api/v1/alert-rules", "/alerts"]},
    **{("POST", path): _route(Kind.NAME, "control", _RULE) for path in ["/api/v1/alert-rules", "/alerts"]},
    **{("GET", f"{path}/{{}}"): _route(Kind.OBJECT, "read") for path in ["/api/v1/alert-rules", "/alerts"]},
    **{
        ("PATCH", f"{path}/{{}}"): _route(Kind.OBJECT, "control", {"name": "changed"})
        for path in ["/api/v1/alert-rules", "/alerts"]
    },
    **{("DELETE", f"{path}/{{}}"): _route(Kind.OBJECT, "control") for path in ["/api/v1/alert-rules", "/alerts"]},
    ("PATCH", "/alerts/{}/toggle"): _route(Kind.OBJECT, "control"),
    **{("GET", f"/api/v1/{noun}"): _route(Kind.LIST, "read") for noun in ["alerts", "deliveries"]},
    **{("GET", f"/api/v1/{noun}/{{}}"): _route(Kind.OBJECT, "read") for noun in ["alerts", "deliveries"]},
    ("POST", "/api/v1/alerts/{}:acknowledge"): _route(Kind.OBJECT, "control"),
    ("POST", "/api/v1/alerts/{}:mute"): _route(Kind.OBJECT, "control", {"minutes": 1}),
    ("POST", "/api/v1/deliveries/{}:redeliver"): _route(Kind.OBJECT, "control"),
    ("POST", "/api/v1/alert-rules:preview"): _route(Kind.LIST, "read", {"trigger": "error"}),
    ("POST", "/api/v1/deliveries:redeliver"): _route(Kind.LIST, "control", {}),
    ("GET", "/api/v1/retention"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/retention/run"): _route(Kind.LIST, "admin", {"dry_run": True}),
    ("GET", "/api/v1/retention/{}"): _route(Kind.OBJECT, "admin"),
    ("PUT", "/api/v1/retention/{}"): _route(Kind.NAME, "admin", {"max_age_seconds": 2_592_000}),
    ("DELETE", "/api/v1/retention/{}"): _route(Kind.OBJECT, "admin"),
    **{("DELETE", f"/api/v1/{noun}/{{}}"): _route(Kind.OBJECT, "admin") for noun in ["runs", "threads"]},
    ("GET", "/api/v1/keys"): _route(Kind.LIST, "admin"),
    ("GET", "/api/v1/audit"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/keys"): _route(Kind.NAME, "admin", {"name": "shared-key", "scopes": ["read"]}),
    ("DELETE", "/api/v1/keys/{}"): _route(Kind.OBJECT, "admin"),
    ("GET", "/api/v1/members"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/members"): _route(Kind.NAME, "admin", {"name": "shared-member", "role": "viewer"}),
    ("PATCH", "/api/v1/members/{}"): _route(Kind.OBJECT, "admin", {"role": "operator"}),
    ("DELETE", "/api/v1/members/{}"): _route(Kind.OBJECT, "admin"),
    ("POST", "/api/v1/members/{}:sign-out"): _route(Kind.OBJECT, "admin"),
    ("GET", "/api/v1/sign-in-links"): _route(Kind.LIST, "admin"),
    ("POST", "/api/v1/sign-in-links"): _route(Kind.NAME, "admin", {}),
    ("DELETE", "/api/v1/sign-in-links/{}"): _route(Kind.OBJECT, "admin"),
    ("GET", "/api/v1/sessions"): _route(Kind.LIST, "admin"),
    ("DELETE", "/api/v1/sessions/{}"): _route(Kind.OBJECT, "admin"),
    ("GET", "/api/v1/sign-in"): _route(Kind.OPEN),
    ("POST", "/api/v1/sign-in"): _route(Kind.OPEN, body={"token": "nothing"}),
    ("POST", "/api/v1/sign-in/link"): _route(Kind.OPEN, body={"token": "nothing"}),
    **{
        (method, path): _route(Kind.SELF, "ingest read control worker admin")
        for method, path in [
            ("GET", "/api/v1/session"),
            ("PATCH", "/api/v1/session"),
            ("POST", "/api/v1/sign-out"),
        ]
    },
}
"""Method and path, with `{}` for every parameter."""
POSTS = sorted(
    {path for method, path in ROUTES if method == "POST"}
    - {"/v1/runs/{}:{}", "/broadcasting/auth", "/a/{}", "/api/v1/sign-in", "/api/v1/sign-in/link", "/api/v1/sign-out"}
    - {"/api/v1/organisations"}
)
"""Paths that take a JSON body and know a repeat by its `Idempotency-Key`. Some of those left out take a form; a sign-in
and a sign-out are a browser's. Those alone who manage all organisations make one (`test_organisations.py`)."""


def shape_of(path: str) -> str:
    """A path of the OpenAPI document with its parameters' names taken out."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def form_problem(path: str, reply: httpx2.Response) -> str | None:
    """What is wrong with the form of a refusal, or None: each dialect has its own."""
    body = reply.json()
    if path.startswith("/api/v1"):
        good = (
            reply.headers["Content-Type"].startswith("application/problem+json") and body["status"] == reply.status_code
        )
    elif path.startswith(("/v1/runners", "/internal", "/approvals")):
        good = set(body) == {"detail"}
    elif path.startswith(("/api/ingest", "/alerts", "/broadcasting")):
        good = "message" in body and set(body) <= {"message", "errors"}
    elif path.startswith(("/v1/traces", "/v1/logs", "/v1/metrics")):
        good = set(body) == {"code", "message"}
    elif path.startswith("/agents"):
        good = "error" in body and set(body) <= {"error", "detail"}
    elif path.startswith("/api/agents"):
        good = {"error", "code"} <= set(body) and (reply.status_code != 401 or body.get("relinkGithub") is False)
    else:
        good = {"code", "message", "trace_id"} <= set(body) <= {"code", "message", "trace_id", "details"}
    return None if good else f"not the dialect's form: {reply.text}"
