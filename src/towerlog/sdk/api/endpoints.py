"""The endpoints of the native API, of the `runs` dialect, and of approvals, as calls. Argument names are the wire's.

Each is `api_request("METHOD", "/path/{id}", …)` with the template of the server's own route table; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from towerlog.sdk.api import fleet_shapes as fleet
from towerlog.sdk.api import shapes
from towerlog.sdk.api.requests import ApiRequest, Listing, api_request, given, held_back, linked, listing, with_history
from towerlog.sdk.api.shapes import Json
from towerlog.sdk.wire.errors import BadAnswer

PAGE = 200
"""Rows of a page, unless the caller says otherwise."""
EVENTS_PAGE = 1000


def _done(raw: Any) -> None:
    """Reads a reply without content."""


def _many_in_data(shape: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, dict):
            raise BadAnswer("the server's reply is not a list")
        return shapes.many(shape)(raw.get("data"))

    return read


def _ids_in_data(raw: Any) -> tuple[str, ...]:
    found = raw.get("data") if isinstance(raw, dict) else None
    if not isinstance(found, list):
        raise BadAnswer("the server's reply is not a list of ids")
    return tuple(map(str, found))


# Runs


def list_runs(limit: int = PAGE, **filters: Any) -> Listing[shapes.RunInfo]:
    """Runs, newest first. `filters` are the query's: status, agent, thread_id, model, since, until, q …"""
    return listing("/api/v1/runs", shapes.RunInfo, {"limit": limit, **filters})


def list_run_rows(limit: int = PAGE, **filters: Any) -> Listing[shapes.RunRow]:
    """Rows of the `runs` dialect."""
    return linked("/v1/runs", shapes.RunRow, {"limit": limit, **filters})


def list_thread_runs(thread_id: str, limit: int) -> ApiRequest[tuple[shapes.ThreadRun, ...]]:
    """The newest runs of a thread."""
    query = {"limit": limit}
    return api_request(
        "GET", "/v1/threads/{thread_id}/runs", shapes.many(shapes.ThreadRun), query=query, thread_id=thread_id
    )


KEY_PREFIX = "sdk:"
"""Stands before the `run_key` in the `foreign_id` of a run that a client of the native API has begun."""


def get_run(run_id: str, with_children: bool) -> ApiRequest[shapes.RunInfo]:
    """A run; with its descendants, or alone."""
    if with_children:
        return api_request("GET", "/api/v1/runs/{run_id}", shapes.RunInfo.read, run_id=run_id)
    return api_request("GET", "/v1/runs/{run_id}", shapes.RunInfo.read, run_id=run_id)


def find_runs(prefix: str) -> ApiRequest[tuple[str, ...]]:
    """The ids of runs that begin with a prefix."""
    return api_request("GET", "/api/v1/run-ids", _ids_in_data, query={"prefix": prefix})


def create_run(thread_id: str, **members: Any) -> ApiRequest[shapes.CreatedRun]:
    """A run in a thread's queue."""
    body = given(**members)
    return api_request("POST", "/v1/threads/{thread_id}/runs", shapes.CreatedRun.read, body, thread_id=thread_id)


def cancel_run(run_id: str, reason: str | None) -> ApiRequest[None]:
    """Requests cancellation of a run."""
    return api_request("POST", "/v1/runs/{run_id}:cancel", _done, given(reason=reason), run_id=run_id)


def give_input(run_id: str, content: str, question_id: int | None, kind: str | None) -> ApiRequest[None]:
    """An answer, or a message."""
    body = given(content=content, question_id=question_id, type=kind)
    return api_request("POST", "/v1/runs/{run_id}/input", _done, body, run_id=run_id)


def pause_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Requests a pause."""
    return api_request("POST", "/api/v1/runs/{run_id}:pause", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def resume_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Requests that a run continues."""
    return api_request("POST", "/api/v1/runs/{run_id}:resume", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def kill_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Ends a run at once."""
    return api_request("POST", "/api/v1/runs/{run_id}:kill", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def retry_run(run_id: str) -> ApiRequest[shapes.RunInfo]:
    """A new run with the input of another."""
    return api_request("POST", "/api/v1/runs/{run_id}:retry", shapes.RunInfo.read, {}, run_id=run_id)


def fork_run(run_id: str, step_index: int, agent: str | None) -> ApiRequest[shapes.RunInfo]:
    """A new run from a checkpoint."""
    body = given(step_index=step_index, agent=agent)
    return api_request("POST", "/api/v1/runs/{run_id}:fork", shapes.RunInfo.read, body, run_id=run_id)


def list_events(run_id: str, after_seq: int, types: Sequence[str] | None) -> Listing[shapes.Event]:
    """A run's log."""
    query = {"limit": EVENTS_PAGE, "after_seq": after_seq or None, "type": list(types) if types else None}
    return listing("/api/v1/runs/{run_id}/events", shapes.Event, query, run_id=run_id)


def list_quarantine(run_id: str) -> Listing[shapes.Event]:
    """Events from workers without the lease."""
    return listing("/api/v1/runs/{run_id}/quarantine", shapes.Event, {"limit": EVENTS_PAGE}, run_id=run_id)


def list_checkpoints(run_id: str) -> Listing[shapes.Checkpoint]:
    """A run's checkpoints, without their histories."""
    return listing("/api/v1/runs/{run_id}/checkpoints", shapes.Checkpoint, {"limit": PAGE}, run_id=run_id)


def get_checkpoint(run_id: str, checkpoint_id: str) -> ApiRequest[shapes.Checkpoint]:
    """A checkpoint with its history."""
    template = "/api/v1/runs/{run_id}/checkpoints/{checkpoint_id}"
    made = api_request("GET", template, shapes.Checkpoint.read, run_id=run_id, checkpoint_id=checkpoint_id)
    return with_history(made)


# Events


def send_events(
    client_id: str, events: Sequence[Json], runs: Sequence[str] | None, wait_seconds: int | None
) -> ApiRequest[shapes.Ingested]:
    """A batch of a client's events; each has an id, so that a repetition is recognised."""
    body = given(client_id=client_id, events=list(events), runs=runs and list(runs), wait_seconds=wait_seconds)
    return held_back(api_request("POST", "/api/v1/events", shapes.Ingested.read, body), wait_seconds or 0)


def report_run(run_id: str, worker_id: str, lease_epoch: int, **members: Any) -> ApiRequest[shapes.Reported]:
    """A batch of a worker's events, under its lease."""
    body = given(worker_id=worker_id, lease_epoch=lease_epoch, **{"events": [], **members})
    wait_s = members.get("wait_seconds") or 0
    return held_back(
        api_request("POST", "/api/v1/runs/{run_id}:report", shapes.Reported.read, body, run_id=run_id), wait_s
    )


# Threads


def create_thread(**members: Any) -> ApiRequest[shapes.Thread]:
    """A thread."""
    return api_request("POST", "/v1/threads", shapes.Thread.read, given(**members))


def list_threads(limit: int = PAGE) -> Listing[shapes.Thread]:
    """Threads, newest first."""
    return listing("/api/v1/threads", shapes.Thread, {"limit": limit})


def get_thread(thread_id: str) -> ApiRequest[shapes.Thread]:
    """A thread."""
    return api_request("GET", "/api/v1/threads/{thread_id}", shapes.Thread.read, thread_id=thread_id)


# Agents and workers


def list_agents(name: str | None, limit: int = PAGE) -> Listing[fleet.AgentInfo]:
    """Agents by name."""
    return listing("/api/v1/agents", fleet.AgentInfo, {"name": name, "limit": limit})


def get_agent(agent_id: str) -> ApiRequest[fleet.AgentInfo]:
    """An agent."""
    return api_request("GET", "/api/v1/agents/{agent_id}", fleet.AgentInfo.read, agent_id=agent_id)


def register_agent(name: str) -> ApiRequest[fleet.AgentInfo]:
    """An agent by its name."""
    return api_request("POST", "/api/v1/agents", fleet.AgentInfo.read, {"name": name})


def agent_events(agent_id: str, tail: int | None) -> ApiRequest[tuple[fleet.AgentEvent, ...]]:
    """The newest of an agent's feed."""
    return api_request("GET", "/agents/{id}/events", shapes.many(fleet.AgentEvent), query={"tail": tail}, id=agent_id)


def get_queue(state: str | None, limit: int | None) -> ApiRequest[fleet.Queue]:
    """Queued and held runs."""
    return api_request("GET", "/api/v1/lanes", fleet.Queue.read, query={"state": state, "limit": limit})


def list_workers(limit: int | None, worker_id: str | None) -> ApiRequest[tuple[fleet.WorkerInfo, ...]]:
    """Workers and the runs that they hold."""
    query = {"limit": limit, "worker_id": worker_id}
    return api_request("GET", "/api/v1/workers", _many_in_data(fleet.WorkerInfo), query=query)


def list_usage(by: str, limit: int = PAGE, **filters: Any) -> Listing[fleet.UsageTotal]:
    """Usage totals."""
    return listing("/api/v1/usage", fleet.UsageTotal, {"by": by, "limit": limit, **filters})


# Personas, routes and keys


def list_personas(limit: int = PAGE) -> Listing[fleet.Persona]:
    """Personas."""
    return listing("/api/v1/personas", fleet.Persona, {"limit": limit})


def get_persona(persona_id: str) -> ApiRequest[fleet.Persona]:
    """A version of a persona, or its newest."""
    return api_request("GET", "/api/v1/personas/{persona_id}", fleet.Persona.read, persona_id=persona_id)


def create_persona(members: Mapping[str, Any]) -> ApiRequest[fleet.Persona]:
    """A version of a persona."""
    return api_request("POST", "/api/v1/personas", fleet.Persona.read, given(**members))


def list_routes(limit: int = PAGE) -> Listing[fleet.Route]:
    """Routes."""
    return listing("/api/v1/routes", fleet.Route, {"limit": limit})


def get_route(route_id: str) -> ApiRequest[fleet.Route]:
    """A route, its newest version."""
    return api_request("GET", "/api/v1/routes/{route_id}", fleet.Route.read, route_id=route_id)


def create_route(members: Mapping[str, Any]) -> ApiRequest[fleet.Route]:
    """A route."""
    return api_request("POST", "/api/v1/routes", fleet.Route.read, given(**members))


def list_keys(limit: int = PAGE) -> Listing[fleet.ApiKey]:
    """Keys, newest first."""
    return listing("/api/v1/keys", fleet.ApiKey, {"limit": limit})


def create_key(name: str, scopes: Sequence[str]) -> ApiRequest[fleet.ApiKey]:
    """A key."""
    return api_request("POST", "/api/v1/keys", fleet.ApiKey.read, {"name": name, "scopes": list(scopes)})


def revoke_key(key_id: str) -> ApiRequest[fleet.ApiKey]:
    """Revokes a key."""
    return api_request("DELETE", "/api/v1/keys/{key_id}", fleet.ApiKey.read, key_id=key_id)


def whoami() -> ApiRequest[fleet.WhoAmI]:
    """The owner and the scopes of the key."""
    return api_request("GET", "/api/v1/whoami", fleet.WhoAmI.read)


# Approvals


def list_approvals() -> ApiRequest[tuple[fleet.Approval, ...]]:
    """Checkpoints that wait for approval, oldest first."""
    return api_request("GET", "/approvals", shapes.many(fleet.Approval))


def approve(trace_id: str, step_index: int, **members: Any) -> ApiRequest[fleet.Decision]:
    """Approves tool calls."""
    return _decide("/approvals/{trace_id}/{step_index}/approve", trace_id, step_index, members)


def reject(trace_id: str, step_index: int, **members: Any) -> ApiRequest[fleet.Decision]:
    """Rejects tool calls."""
    return _decide("/approvals/{trace_id}/{step_index}/reject", trace_id, step_index, members)


def _decide(template: str, trace_id: str, step_index: int, members: Mapping[str, Any]) -> ApiRequest[fleet.Decision]:
    body = given(**members)
    return api_request("POST", template, fleet.Decision.read, body, trace_id=trace_id, step_index=str(step_index))
