"""The endpoints of the native API, of the `runs` dialect, and of approvals, as calls. Argument names are the wire's.

Each is `call("METHOD", "/path/{id}", …)` with the template of the server's own route table, which a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from towerlog.sdk.api import fleet_shapes as fleet
from towerlog.sdk.api import shapes
from towerlog.sdk.api.requests import Call, Listing, call, given, held_back, linked, listing
from towerlog.sdk.api.shapes import Json
from towerlog.sdk.wire.errors import BadAnswer

PAGE = 200
"""Rows that a list asks for at a time."""
EVENTS_PAGE = 1000


def _done(raw: Any) -> None:
    """A reply that says nothing but that it is done."""


def _many_in_data(shape: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, dict):
            raise BadAnswer("the server's answer is no list")
        return shapes.many(shape)(raw.get("data"))

    return read


# Runs


def list_runs(limit: int = PAGE, **filters: Any) -> Listing[shapes.Run]:
    """Runs, newest first. `filters` are the query's: status, agent, thread_id, model, since, until, q …"""
    return listing("/api/v1/runs", shapes.Run, {"limit": limit, **filters})


def list_run_rows(limit: int = PAGE, **filters: Any) -> Listing[shapes.RunRow]:
    """Rows of the `runs` dialect."""
    return linked("/v1/runs", shapes.RunRow, {"limit": limit, **filters})


def list_thread_runs(thread_id: str, limit: int) -> Call[tuple[shapes.ThreadRun, ...]]:
    """The newest runs of a thread."""
    query = {"limit": limit}
    return call("GET", "/v1/threads/{thread_id}/runs", shapes.many(shapes.ThreadRun), query=query, thread_id=thread_id)


def get_run(run_id: str, with_children: bool) -> Call[shapes.Run]:
    """A run; with its descendants, or alone."""
    if with_children:
        return call("GET", "/api/v1/runs/{run_id}", shapes.Run.read, run_id=run_id)
    return call("GET", "/v1/runs/{run_id}", shapes.Run.read, run_id=run_id)


def create_run(thread_id: str, **members: Any) -> Call[shapes.CreatedRun]:
    """A run in a thread's queue."""
    body = given(**members)
    return call("POST", "/v1/threads/{thread_id}/runs", shapes.CreatedRun.read, body, thread_id=thread_id)


def cancel_run(run_id: str, reason: str | None) -> Call[None]:
    """A run's end is asked for."""
    return call("POST", "/v1/runs/{run_id}:cancel", _done, given(reason=reason), run_id=run_id)


def give_input(run_id: str, content: str) -> Call[None]:
    """An answer."""
    return call("POST", "/v1/runs/{run_id}/input", _done, {"content": content}, run_id=run_id)


def pause_run(run_id: str, reason: str | None) -> Call[shapes.Run]:
    """A run is to wait."""
    return call("POST", "/api/v1/runs/{run_id}:pause", shapes.Run.read, given(reason=reason), run_id=run_id)


def resume_run(run_id: str, reason: str | None) -> Call[shapes.Run]:
    """A run is to go on."""
    return call("POST", "/api/v1/runs/{run_id}:resume", shapes.Run.read, given(reason=reason), run_id=run_id)


def kill_run(run_id: str, reason: str | None) -> Call[shapes.Run]:
    """A run's end, at once."""
    return call("POST", "/api/v1/runs/{run_id}:kill", shapes.Run.read, given(reason=reason), run_id=run_id)


def retry_run(run_id: str) -> Call[shapes.Run]:
    """The same again, as a new run."""
    return call("POST", "/api/v1/runs/{run_id}:retry", shapes.Run.read, {}, run_id=run_id)


def fork_run(run_id: str, step_index: int, agent: str | None) -> Call[shapes.Run]:
    """A new run from a checkpoint."""
    body = given(step_index=step_index, agent=agent)
    return call("POST", "/api/v1/runs/{run_id}:fork", shapes.Run.read, body, run_id=run_id)


def list_events(run_id: str, after_seq: int, types: Sequence[str] | None) -> Listing[shapes.Event]:
    """A run's log."""
    query = {"limit": EVENTS_PAGE, "after_seq": after_seq or None, "type": list(types) if types else None}
    return listing("/api/v1/runs/{run_id}/events", shapes.Event, query, run_id=run_id)


def list_quarantine(run_id: str) -> Listing[shapes.Event]:
    """What workers without the lease have sent."""
    return listing("/api/v1/runs/{run_id}/quarantine", shapes.Event, {"limit": EVENTS_PAGE}, run_id=run_id)


def list_checkpoints(run_id: str) -> Listing[shapes.Checkpoint]:
    """A run's checkpoints, without their histories."""
    return listing("/api/v1/runs/{run_id}/checkpoints", shapes.Checkpoint, {"limit": PAGE}, run_id=run_id)


def get_checkpoint(run_id: str, checkpoint_id: str) -> Call[shapes.Checkpoint]:
    """A checkpoint with its history."""
    template = "/api/v1/runs/{run_id}/checkpoints/{checkpoint_id}"
    return call("GET", template, shapes.Checkpoint.read, run_id=run_id, checkpoint_id=checkpoint_id)


# What is sent in


def send_events(
    client_id: str, events: Sequence[Json], runs: Sequence[str] | None, wait_seconds: int | None
) -> Call[shapes.Ingested]:
    """A batch of a client's events; each has an id, so that a repetition is known."""
    body = given(client_id=client_id, events=list(events), runs=runs and list(runs), wait_seconds=wait_seconds)
    return held_back(call("POST", "/api/v1/events", shapes.Ingested.read, body), wait_seconds or 0)


def report_run(run_id: str, worker_id: str, lease_epoch: int, **members: Any) -> Call[shapes.Reported]:
    """A batch of a worker's events, under its lease."""
    body = given(worker_id=worker_id, lease_epoch=lease_epoch, **{"events": [], **members})
    wait_s = members.get("wait_seconds") or 0
    return held_back(call("POST", "/api/v1/runs/{run_id}:report", shapes.Reported.read, body, run_id=run_id), wait_s)


# Threads


def create_thread(**members: Any) -> Call[shapes.Thread]:
    """A thread."""
    return call("POST", "/v1/threads", shapes.Thread.read, given(**members))


def list_threads(limit: int = PAGE) -> Listing[shapes.Thread]:
    """Threads, newest first."""
    return listing("/api/v1/threads", shapes.Thread, {"limit": limit})


def get_thread(thread_id: str) -> Call[shapes.Thread]:
    """A thread."""
    return call("GET", "/api/v1/threads/{thread_id}", shapes.Thread.read, thread_id=thread_id)


# Who works


def list_agents(name: str | None, limit: int = PAGE) -> Listing[fleet.Agent]:
    """Agents by name."""
    return listing("/api/v1/agents", fleet.Agent, {"name": name, "limit": limit})


def get_agent(agent_id: str) -> Call[fleet.Agent]:
    """An agent."""
    return call("GET", "/api/v1/agents/{agent_id}", fleet.Agent.read, agent_id=agent_id)


def register_agent(name: str) -> Call[fleet.Agent]:
    """An agent by its name."""
    return call("POST", "/api/v1/agents", fleet.Agent.read, {"name": name})


def agent_events(agent_id: str, tail: int | None) -> Call[tuple[fleet.AgentEvent, ...]]:
    """The newest of an agent's feed."""
    return call("GET", "/agents/{id}/events", shapes.many(fleet.AgentEvent), query={"tail": tail}, id=agent_id)


def get_queue(state: str | None, limit: int | None) -> Call[fleet.Queue]:
    """Who waits and who is held."""
    return call("GET", "/api/v1/lanes", fleet.Queue.read, query={"state": state, "limit": limit})


def list_workers(limit: int | None, worker_id: str | None) -> Call[tuple[fleet.Worker, ...]]:
    """Who holds what."""
    query = {"limit": limit, "worker_id": worker_id}
    return call("GET", "/api/v1/workers", _many_in_data(fleet.Worker), query=query)


def list_usage(by: str, limit: int = PAGE, **filters: Any) -> Listing[fleet.UsageTotal]:
    """Totals."""
    return listing("/api/v1/usage", fleet.UsageTotal, {"by": by, "limit": limit, **filters})


# Registries and keys


def list_personas(limit: int = PAGE) -> Listing[fleet.Persona]:
    """Personas."""
    return listing("/api/v1/personas", fleet.Persona, {"limit": limit})


def get_persona(persona_id: str) -> Call[fleet.Persona]:
    """A version of a persona, or its newest."""
    return call("GET", "/api/v1/personas/{persona_id}", fleet.Persona.read, persona_id=persona_id)


def create_persona(members: Mapping[str, Any]) -> Call[fleet.Persona]:
    """A version of a persona."""
    return call("POST", "/api/v1/personas", fleet.Persona.read, given(**members))


def list_routes(limit: int = PAGE) -> Listing[fleet.Route]:
    """Routes."""
    return listing("/api/v1/routes", fleet.Route, {"limit": limit})


def get_route(route_id: str) -> Call[fleet.Route]:
    """A route, its newest version."""
    return call("GET", "/api/v1/routes/{route_id}", fleet.Route.read, route_id=route_id)


def create_route(members: Mapping[str, Any]) -> Call[fleet.Route]:
    """A route."""
    return call("POST", "/api/v1/routes", fleet.Route.read, given(**members))


def list_keys(limit: int = PAGE) -> Listing[fleet.ApiKey]:
    """Keys, newest first."""
    return listing("/api/v1/keys", fleet.ApiKey, {"limit": limit})


def create_key(name: str, scopes: Sequence[str]) -> Call[fleet.ApiKey]:
    """A key."""
    return call("POST", "/api/v1/keys", fleet.ApiKey.read, {"name": name, "scopes": list(scopes)})


def revoke_key(key_id: str) -> Call[fleet.ApiKey]:
    """A key is good no more."""
    return call("DELETE", "/api/v1/keys/{key_id}", fleet.ApiKey.read, key_id=key_id)


def whoami() -> Call[fleet.WhoAmI]:
    """Whom the key speaks for."""
    return call("GET", "/api/v1/whoami", fleet.WhoAmI.read)


# Approvals


def list_approvals() -> Call[tuple[fleet.Approval, ...]]:
    """What waits for a person, oldest first."""
    return call("GET", "/approvals", shapes.many(fleet.Approval))


def approve(trace_id: str, step_index: int, **members: Any) -> Call[fleet.Decision]:
    """A person's yes."""
    return _decide("/approvals/{trace_id}/{step_index}/approve", trace_id, step_index, members)


def reject(trace_id: str, step_index: int, **members: Any) -> Call[fleet.Decision]:
    """A person's no."""
    return _decide("/approvals/{trace_id}/{step_index}/reject", trace_id, step_index, members)


def _decide(template: str, trace_id: str, step_index: int, members: Mapping[str, Any]) -> Call[fleet.Decision]:
    body = given(**members)
    return call("POST", template, fleet.Decision.read, body, trace_id=trace_id, step_index=str(step_index))
