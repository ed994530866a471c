"""The endpoints of the native API and of the `runs` dialect, as calls. Argument names are the wire's.

Each is `api_request("METHOD", "/path/{id}", …)` with the template of the server's own route table; a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from towerlog.sdk.api import fleet_shapes as fleet
from towerlog.sdk.api import shapes
from towerlog.sdk.api.requests import (
    ApiRequest,
    Listing,
    api_request,
    given,
    held_back,
    ids_in_data,
    known,
    linked,
    listing,
    many_in_data,
    resumed_by,
    with_history,
)
from towerlog.sdk.api.shapes import Json

PAGE = 200  # rows of a page, unless the caller says otherwise
EVENTS_PAGE = 1000


# Runs


def list_runs(limit: int = PAGE, /, **filters: Any) -> Listing[shapes.RunInfo]:
    """Runs, newest first. `filters` are the query's: status, agent, thread_id, model, since, until, q …"""
    return listing("/api/v1/runs", shapes.RunInfo, {"limit": limit, **known(filters, "runs")})


def count_runs(**filters: Any) -> ApiRequest[fleet.RunFacets]:
    """How many runs the filters find, by what they have in common."""
    return api_request("GET", "/api/v1/run-facets", fleet.RunFacets.read, query=known(filters, "runs"))


def run_durations(by: str, /, **filters: Any) -> ApiRequest[tuple[fleet.RunDurations, ...]]:
    """How long ended runs took."""
    query = {"by": by, **known(filters, "runs")}
    return api_request("GET", "/api/v1/run-durations", many_in_data(fleet.RunDurations), query=query)


def run_sums(by: str, /, **filters: Any) -> ApiRequest[tuple[fleet.RunSum, ...]]:
    """What runs have used."""
    query = {"by": by, **known(filters, "runs")}
    return api_request("GET", "/api/v1/run-sums", many_in_data(fleet.RunSum), query=query)


def list_run_rows(limit: int = PAGE, /, **filters: Any) -> Listing[shapes.RunRow]:
    """Rows of the `runs` dialect."""
    return linked("/v1/runs", shapes.RunRow, {"limit": limit, **known(filters, "rows")})


def list_thread_runs(thread_id: str, limit: int) -> ApiRequest[tuple[shapes.ThreadRun, ...]]:
    """The newest runs of a thread."""
    read, query = shapes.many(shapes.ThreadRun), {"limit": limit}
    return api_request("GET", "/v1/threads/{thread_id}/runs", read, query=query, thread_id=thread_id)


KEY_PREFIX = "sdk:"
"""Stands before the `run_key` in the `foreign_id` of a run that a client of the native API has begun."""


def get_run(run_id: str, with_children: bool) -> ApiRequest[shapes.RunInfo]:
    """A run; with its descendants, or alone."""
    if with_children:
        return api_request("GET", "/api/v1/runs/{run_id}", shapes.RunInfo.read, run_id=run_id)
    return api_request("GET", "/v1/runs/{run_id}", shapes.RunInfo.read, run_id=run_id)


def get_outline(run_id: str, **query: Any) -> ApiRequest[fleet.RunOutline]:
    """What a run spent its time on."""
    return api_request("GET", "/api/v1/runs/{run_id}/outline", fleet.RunOutline.read, query=query, run_id=run_id)


def get_trace(run_id: str, after_seq: int) -> ApiRequest[shapes.Json]:
    """A run as spans of OpenTelemetry."""
    return api_request("GET", "/api/v1/runs/{run_id}/otlp", dict, query={"after_seq": after_seq}, run_id=run_id)


def find_runs(prefix: str) -> ApiRequest[tuple[str, ...]]:
    """The ids of runs that begin with a prefix."""
    return api_request("GET", "/api/v1/run-ids", ids_in_data, query={"prefix": prefix})


def create_run(thread_id: str, **members: Any) -> ApiRequest[shapes.CreatedRun]:
    """A run in a thread's queue."""
    body = given(**members)
    return api_request("POST", "/v1/threads/{thread_id}/runs", shapes.CreatedRun.read, body, thread_id=thread_id)


def cancel_run(run_id: str, reason: str | None) -> ApiRequest[str | None]:
    """Requests cancellation of a run."""
    return api_request("POST", "/v1/runs/{run_id}:cancel", resumed_by, given(reason=reason), run_id=run_id)


def give_input(
    run_id: str, content: str, question_id: int | None, asked_seq: int | None, kind: str | None
) -> ApiRequest[str | None]:
    """An answer, or a message."""
    body = given(content=content, question_id=question_id, asked_seq=asked_seq, type=kind)
    return api_request("POST", "/v1/runs/{run_id}/input", resumed_by, body, run_id=run_id)


def pause_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Requests a pause."""
    return api_request("POST", "/api/v1/runs/{run_id}:pause", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def resume_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Requests that a run continues."""
    return api_request("POST", "/api/v1/runs/{run_id}:resume", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def kill_run(run_id: str, reason: str | None) -> ApiRequest[shapes.RunInfo]:
    """Ends a run at once."""
    return api_request("POST", "/api/v1/runs/{run_id}:kill", shapes.RunInfo.read, given(reason=reason), run_id=run_id)


def retry_run(run_id: str, **members: Any) -> ApiRequest[shapes.RunInfo]:
    """A new run with the input of another."""
    return api_request("POST", "/api/v1/runs/{run_id}:retry", shapes.RunInfo.read, given(**members), run_id=run_id)


def fork_run(run_id: str, **members: Any) -> ApiRequest[shapes.RunInfo]:
    """A new run from a checkpoint."""
    return api_request("POST", "/api/v1/runs/{run_id}:fork", shapes.RunInfo.read, given(**members), run_id=run_id)


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
    asked = api_request("POST", "/api/v1/runs/{run_id}:report", shapes.Reported.read, body, run_id=run_id)
    return held_back(asked, members.get("wait_seconds") or 0)


# Threads


def create_thread(**members: Any) -> ApiRequest[shapes.Thread]:
    """A thread."""
    return api_request("POST", "/v1/threads", shapes.Thread.read, given(**members))


def list_threads(q: str | None = None, limit: int = PAGE) -> Listing[shapes.Thread]:
    """Threads, newest first; `q`: only those that have these words in the id or the title."""
    return listing("/api/v1/threads", shapes.Thread, {"q": q, "limit": limit})


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
    return api_request("GET", "/api/v1/workers", many_in_data(fleet.WorkerInfo), query=query)


def list_usage(by: str, limit: int = PAGE, /, **filters: Any) -> Listing[fleet.UsageTotal]:
    """Usage totals."""
    return listing("/api/v1/usage", fleet.UsageTotal, {"by": by, "limit": limit, **known(filters, "usage")})


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


def list_audit(limit: int = PAGE, /, **filters: Any) -> Listing[fleet.AuditEntry]:
    """Who has changed what."""
    return listing("/api/v1/audit", fleet.AuditEntry, {"limit": limit, **known(filters, "audit")})


def whoami() -> ApiRequest[fleet.WhoAmI]:
    """The owner and the scopes of the key."""
    return api_request("GET", "/api/v1/whoami", fleet.WhoAmI.read)


# Budgets


def list_budgets(limit: int = PAGE) -> Listing[fleet.Budget]:
    """Budgets, newest first."""
    return listing("/api/v1/budgets", fleet.Budget, {"limit": limit})


def get_budget(budget_id: str) -> ApiRequest[fleet.Budget]:
    """A budget."""
    return api_request("GET", "/api/v1/budgets/{budget_id}", fleet.Budget.read, budget_id=budget_id)


def create_budget(members: Mapping[str, Any]) -> ApiRequest[fleet.Budget]:
    """A budget."""
    return api_request("POST", "/api/v1/budgets", fleet.Budget.read, given(**members))


def change_budget(budget_id: str, members: Mapping[str, Any]) -> ApiRequest[fleet.Budget]:
    """Changes a budget."""
    return api_request("PATCH", "/api/v1/budgets/{budget_id}", fleet.Budget.read, given(**members), budget_id=budget_id)


def delete_budget(budget_id: str) -> ApiRequest[fleet.Budget]:
    """Deletes a budget."""
    return api_request("DELETE", "/api/v1/budgets/{budget_id}", fleet.Budget.read, budget_id=budget_id)


def reserve_budget(
    run_id: str, amount_usd: float, ttl_seconds: int | None = None, agent: str | None = None
) -> ApiRequest[fleet.Reserved]:
    """Holds money for a run, of which this agent will spend it; None: its own."""
    body = given(run_id=run_id, amount_usd=amount_usd, ttl_seconds=ttl_seconds, agent=agent)
    return api_request("POST", "/api/v1/budgets/reserve", fleet.Reserved.read, body)


def list_reservations(limit: int = PAGE, /, **filters: Any) -> Listing[fleet.Reservation]:
    """Open reservations, newest first."""
    return listing("/api/v1/budgets/reservations", fleet.Reservation, {"limit": limit, **known(filters, "holds")})


def release_reservation(reservation_id: str) -> ApiRequest[fleet.Reservation]:
    """Holds nothing any more."""
    read = fleet.Reservation.read
    return api_request("DELETE", "/api/v1/budgets/reservations/{reservation_id}", read, reservation_id=reservation_id)


# Prices


def list_prices(limit: int = PAGE) -> Listing[fleet.Price]:
    """Prices of the organisation's own, newest first."""
    return listing("/api/v1/prices", fleet.Price, {"limit": limit})


def list_listed_prices(query: str | None, limit: int = PAGE) -> Listing[fleet.ListedPrice]:
    """Prices of the list that comes with the server."""
    return listing("/api/v1/prices/listed", fleet.ListedPrice, {"q": query, "limit": limit})


def get_price(price_id: str) -> ApiRequest[fleet.Price]:
    """A price."""
    return api_request("GET", "/api/v1/prices/{price_id}", fleet.Price.read, price_id=price_id)


def create_price(members: Mapping[str, Any]) -> ApiRequest[fleet.Price]:
    """A price."""
    return api_request("POST", "/api/v1/prices", fleet.Price.read, given(**members))


def delete_price(price_id: str) -> ApiRequest[fleet.Price]:
    """Deletes a price."""
    return api_request("DELETE", "/api/v1/prices/{price_id}", fleet.Price.read, price_id=price_id)


def reprice(members: Mapping[str, Any]) -> ApiRequest[fleet.Repriced]:
    """Computes costs anew."""
    return api_request("POST", "/api/v1/prices/reprice", fleet.Repriced.read, given(**members))


# Approvals


def list_approvals(kind: str | None, run_id: str | None, limit: int = PAGE) -> Listing[fleet.Approval]:
    """What is open, oldest first."""
    return listing("/api/v1/approvals", fleet.Approval, {"kind": kind, "run_id": run_id, "limit": limit})


def get_approval(approval_id: str) -> ApiRequest[fleet.Approval]:
    """An approval."""
    return api_request("GET", "/api/v1/approvals/{approval_id}", fleet.Approval.read, approval_id=approval_id)


def answer_approval(approval_id: str, members: Mapping[str, Any]) -> ApiRequest[fleet.Answered]:
    """Answers or decides."""
    body = given(**members)
    return api_request("POST", "/api/v1/approvals/{approval_id}", fleet.Answered.read, body, approval_id=approval_id)


def create_answer_link(approval_id: str, members: Mapping[str, Any]) -> ApiRequest[fleet.AnswerLink]:
    """A link to answer by."""
    body, read = given(**members), fleet.AnswerLink.read
    return api_request("POST", "/api/v1/approvals/{approval_id}/links", read, body, approval_id=approval_id)
