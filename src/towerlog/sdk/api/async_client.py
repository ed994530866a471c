"""`AsyncClient`: every endpoint of a server for asyncio. `Client` is generated from this module.

Lists are iterators over all pages. Requests are retried: reads as they are, changes with an `Idempotency-Key`, by which
the server recognises a repetition. A refusal is an `ApiError`; no usable reply is `Unreachable`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from towerlog.sdk.api import endpoints, shapes
from towerlog.sdk.api import fleet_shapes as fleet
from towerlog.sdk.api.alerts.async_calls import AsyncAlerts
from towerlog.sdk.api.approvals.async_calls import AsyncApprovals
from towerlog.sdk.api.async_follow import async_follow
from towerlog.sdk.api.cursors import PATIENCE_S, AgentCursor, LiveCursor, RunCursor
from towerlog.sdk.api.members.async_calls import AsyncMembers
from towerlog.sdk.api.retention.async_calls import AsyncRetention
from towerlog.sdk.wire.errors import ApiError


class AsyncClient(AsyncAlerts, AsyncApprovals, AsyncMembers, AsyncRetention):
    """A client of one server with one key, for one event loop; use it in an `async with`, or `close` it."""

    # Runs

    def list_runs(self, page_size: int = endpoints.PAGE, **filters: Any) -> AsyncIterator[shapes.RunInfo]:
        """Runs, newest first. Filters: status (one or several), agent, thread_id, model, persona_id,
        parent_run_id, since, until, q, label and metadata (`name:value`), min_cost_usd, max_cost_usd, has_errors,
        silent. `page_size`: how many a request brings; the list goes on to its end.
        """
        return self._all(endpoints.list_runs(page_size, **filters))

    def list_run_rows(self, page_size: int = endpoints.PAGE, **filters: Any) -> AsyncIterator[shapes.RunRow]:
        """Rows of `GET /v1/runs`, newest first. Filters as for `list_runs`, with one status."""
        return self._all(endpoints.list_run_rows(page_size, **filters))

    async def list_thread_runs(self, thread_id: str, limit: int = endpoints.PAGE) -> tuple[shapes.ThreadRun, ...]:
        """The newest runs of a thread."""
        return await self._send(endpoints.list_thread_runs(thread_id, limit))

    async def get_run(self, run_id: str, *, with_children: bool = True) -> shapes.RunInfo:
        """A run by its id or its `run_key`, by default with its descendants."""
        ends_at = time.monotonic() + self._timeout_s
        try:
            return await self._send(endpoints.get_run(run_id, with_children), ends_at=ends_at)
        except ApiError as error:
            # A key may have a slash, which no path can.
            if error.status not in (400, 404):
                raise
            foreign_id = f"{endpoints.KEY_PREFIX}{run_id}"
            async for found in self._all(endpoints.list_runs(q=foreign_id), ends_at):
                if found.foreign_id == foreign_id:
                    return await self._send(endpoints.get_run(found.run_id, with_children), ends_at=ends_at)
            raise

    async def get_outline(self, run_id: str, **query: Any) -> fleet.RunOutline:
        """What a run spent its time on, for a drawing: `width` in pixels, `since`, `until`."""
        return await self._send(endpoints.get_outline(run_id, **query))

    async def get_trace(self, run_id: str, after_seq: int = 0) -> shapes.Json:
        """A run as spans of OpenTelemetry; of a long one those of the 1,000 events after `after_seq`."""
        return await self._send(endpoints.get_trace(run_id, after_seq))

    async def count_runs(self, **filters: Any) -> fleet.RunFacets:
        """How many runs there are, by status, agent, model and persona. `filters` as of `list_runs`."""
        return await self._send(endpoints.count_runs(**filters))

    async def run_durations(self, by: str = "hour", **filters: Any) -> tuple[fleet.RunDurations, ...]:
        """How long ended runs took, by hour, day, agent, model, status or thread. `filters` as of `list_runs`."""
        return await self._send(endpoints.run_durations(by, **filters))

    async def run_sums(self, by: str = "thread", **filters: Any) -> tuple[fleet.RunSum, ...]:
        """What runs have used, by hour, day, agent, model, status or thread, the dearest first."""
        return await self._send(endpoints.run_sums(by, **filters))

    async def find_runs(self, prefix: str) -> tuple[str, ...]:
        """The ids of runs that begin with `prefix`, at most 20."""
        return await self._send(endpoints.find_runs(prefix))

    async def create_run(
        self,
        thread_id: str,
        *,
        input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        agent: str | None = None,
        persona_id: str | None = None,
        route_id: str | None = None,
        parent_run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> shapes.CreatedRun:
        """Queues a run in a thread, which is created if needed. The same `idempotency_key` gives the same run."""
        made = endpoints.create_run(
            thread_id,
            input=input,
            agent=agent,
            persona_id=persona_id,
            route_id=route_id,
            parent_run_id=parent_run_id,
            metadata=metadata,
            labels=labels,
        )
        return await self._send(made, idempotency_key)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> str | None:
        """Requests cancellation of a run and its children. `get_run(…).cancel` has the progress.

        Where its runner began anew, it is asked of the run that goes on from it as well, whose id is returned."""
        return await self._send(endpoints.cancel_run(run_id, reason))

    async def give_input(
        self,
        run_id: str,
        content: str,
        *,
        question_id: int | None = None,
        asked_seq: int | None = None,
        kind: Literal["input", "message"] | None = None,
        idempotency_key: str | None = None,
    ) -> str | None:
        """Answers a question of the run, by default the oldest that it waits for; a running run that asks nothing gets
        a message. `kind`: only the one or only the other. `asked_seq`: of the question as it was read; one
        that is asked in other words by now is not answered. That, and a question that is answered already, is an
        ApiError 409, which says who was first. Where the run's runner began anew, a message is for the run that goes
        on from it, whose id is returned."""
        return await self._send(endpoints.give_input(run_id, content, question_id, asked_seq, kind), idempotency_key)

    async def pause_run(self, run_id: str, reason: str | None = None) -> shapes.RunInfo:
        """Requests a pause; the run is paused once its agent confirms it."""
        return await self._send(endpoints.pause_run(run_id, reason))

    async def resume_run(self, run_id: str, reason: str | None = None) -> shapes.RunInfo:
        """Requests that a paused run continues."""
        return await self._send(endpoints.resume_run(run_id, reason))

    async def kill_run(self, run_id: str, reason: str | None = None) -> shapes.RunInfo:
        """Ends a run at once, without waiting for its agent."""
        return await self._send(endpoints.kill_run(run_id, reason))

    async def retry_run(
        self,
        run_id: str,
        *,
        input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        idempotency_key: str | None = None,
    ) -> shapes.RunInfo:
        """Queues a new run with the same input, or another one, linked to this one, which must have ended."""
        return await self._send(endpoints.retry_run(run_id, input=input), idempotency_key)

    async def fork_run(
        self,
        run_id: str,
        step_index: int,
        agent: str | None = None,
        *,
        input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        idempotency_key: str | None = None,
    ) -> shapes.RunInfo:
        """Queues a new run that starts from a checkpoint's state, with the same input or another one."""
        return await self._send(
            endpoints.fork_run(run_id, step_index=step_index, agent=agent, input=input), idempotency_key
        )

    def list_events(
        self, run_id: str, after_seq: int = 0, *, types: Sequence[str] | None = None
    ) -> AsyncIterator[shapes.Event]:
        """A run's events so far, in order."""
        return self._all(endpoints.list_events(run_id, after_seq, types))

    def list_quarantine(self, run_id: str) -> AsyncIterator[shapes.Event]:
        """Events from workers without the lease."""
        return self._all(endpoints.list_quarantine(run_id))

    def follow(
        self, run_id: str, after_seq: int = 0, *, patience_s: float = PATIENCE_S
    ) -> AsyncIterator[shapes.RunEvent | shapes.Gap]:
        """A run's events as they come, to its end; each seq once, over restarts of the server and lost connections.

        A `Gap` stands for events that cannot be had. Raises Unreachable if the server is away for `patience_s`.
        """
        return async_follow(self.http, RunCursor(run_id, after_seq), patience_s, self._closed)

    def list_checkpoints(self, run_id: str) -> AsyncIterator[shapes.Checkpoint]:
        """A run's checkpoints by step, without their histories."""
        return self._all(endpoints.list_checkpoints(run_id))

    async def get_checkpoint(self, run_id: str, checkpoint_id: str | int) -> shapes.Checkpoint:
        """A checkpoint with its history; its id is the step, or `step:agent`."""
        return await self._send(endpoints.get_checkpoint(run_id, str(checkpoint_id)))

    # Events

    async def send_events(
        self,
        client_id: str,
        events: Sequence[Mapping[str, Any]],
        runs: Sequence[str] | None = None,
        wait_seconds: int | None = None,
    ) -> shapes.Ingested:
        """Sends a batch of numbered events and returns their runs' pending commands. `record_run` does this for you."""
        return await self._send(endpoints.send_events(client_id, events, runs, wait_seconds))

    async def report_run(self, run_id: str, worker_id: str, lease_epoch: int, **members: Any) -> shapes.Reported:
        """Sends a batch of events under a lease, and renews it. `towerlog worker` does this for you."""
        return await self._send(endpoints.report_run(run_id, worker_id, lease_epoch, **members))

    # Threads

    async def create_thread(
        self, thread_id: str | None = None, title: str | None = None, policy: str | None = None
    ) -> shapes.Thread:
        """Creates a thread, or returns the existing one. `policy`: enqueue, reject or cancel_previous."""
        return await self._send(endpoints.create_thread(thread_id=thread_id, title=title, policy=policy))

    def list_threads(self, q: str | None = None) -> AsyncIterator[shapes.Thread]:
        """Threads, newest first; `q`: only those that have these words in the id or the title."""
        return self._all(endpoints.list_threads(q))

    async def get_thread(self, thread_id: str) -> shapes.Thread:
        """A thread."""
        return await self._send(endpoints.get_thread(thread_id))

    # Agents and workers

    def list_agents(self, name: str | None = None) -> AsyncIterator[fleet.AgentInfo]:
        """Agents by name; with `name`, only that one."""
        return self._all(endpoints.list_agents(name))

    async def get_agent(self, agent_id: str) -> fleet.AgentInfo:
        """An agent."""
        return await self._send(endpoints.get_agent(agent_id))

    async def register_agent(self, name: str) -> fleet.AgentInfo:
        """Creates an agent, or returns the existing one."""
        return await self._send(endpoints.register_agent(name))

    async def agent_events(self, agent_id: str, tail: int | None = None) -> tuple[fleet.AgentEvent, ...]:
        """The newest events of an agent, oldest first, without content."""
        return await self._send(endpoints.agent_events(agent_id, tail))

    def follow_agent(
        self, agent_id: str, tail: int = 0, after: str | None = None, *, patience_s: float = PATIENCE_S
    ) -> AsyncIterator[fleet.AgentEvent | shapes.Gap]:
        """An agent's events as they come, after its newest `tail`; without end."""
        return async_follow(self.http, AgentCursor(agent_id, tail, after), patience_s, self._closed)

    def watch(
        self, after: str | None = None, *, patience_s: float = PATIENCE_S, **filters: Any
    ) -> AsyncIterator[fleet.Change | shapes.Gap]:
        """Rows as they change, each at most four times a second and always in its last state; without end.

        `filters` are the query's: kind, agent, status, thread_id, run_id. `after`: `x-live-cursor` of a list.
        """
        return async_follow(self.http, LiveCursor(filters, after), patience_s, self._closed)

    async def get_queue(self, state: str | None = None, limit: int | None = None) -> fleet.Queue:
        """Runs that wait for a worker (`state="queued"`) or are held by one (`"held"`), oldest first."""
        return await self._send(endpoints.get_queue(state, limit))

    async def list_workers(
        self, limit: int | None = None, worker_id: str | None = None
    ) -> tuple[fleet.WorkerInfo, ...]:
        """Workers and the runs that they hold; with `worker_id`, only that one."""
        return await self._send(endpoints.list_workers(limit, worker_id))

    def list_usage(self, by: str = "hour", **filters: Any) -> AsyncIterator[fleet.UsageTotal]:
        """Tokens, cost and counts by hour, agent or model. Filters: since, until, agent, model."""
        return self._all(endpoints.list_usage(by, **filters))

    # Personas, routes and keys

    def list_personas(self) -> AsyncIterator[fleet.Persona]:
        """All versions of all personas."""
        return self._all(endpoints.list_personas())

    async def get_persona(self, persona_id: str) -> fleet.Persona:
        """A version (`key@version`), or the newest one of a `key`."""
        return await self._send(endpoints.get_persona(persona_id))

    async def create_persona(self, persona_key: str, version: str, agent: str, **members: Any) -> fleet.Persona:
        """Creates a version: instructions, model_settings, tools, budget. It cannot be changed later."""
        given = {"persona_key": persona_key, "version": version, "agent": agent, **members}
        return await self._send(endpoints.create_persona(given))

    def list_routes(self) -> AsyncIterator[fleet.Route]:
        """Provider routes."""
        return self._all(endpoints.list_routes())

    async def get_route(self, route_id: str) -> fleet.Route:
        """The newest version of a route."""
        return await self._send(endpoints.get_route(route_id))

    async def create_route(self, route_id: str, provider: str, model: str, **members: Any) -> fleet.Route:
        """Creates a route, or its next version: base_url, and key_env, the *name* of the variable with the key."""
        given = {"route_id": route_id, "provider": provider, "model": model, **members}
        return await self._send(endpoints.create_route(given))

    def list_keys(self) -> AsyncIterator[fleet.ApiKey]:
        """Keys, newest first."""
        return self._all(endpoints.list_keys())

    async def create_key(self, name: str, scopes: Sequence[str]) -> fleet.ApiKey:
        """Creates a key. Its `key` is None if the first reply was lost: then revoke it and create another."""
        return await self._send(endpoints.create_key(name, scopes))

    async def revoke_key(self, key_id: str) -> fleet.ApiKey:
        """Revokes a key."""
        return await self._send(endpoints.revoke_key(key_id))

    def list_audit(self, **filters: Any) -> AsyncIterator[fleet.AuditEntry]:
        """Who has changed what, newest first. Filters: actor, action, object (an id), since. Needs the scope admin."""
        return self._all(endpoints.list_audit(**filters))

    async def whoami(self) -> fleet.WhoAmI:
        """The owner and the scopes of this key."""
        return await self._send(endpoints.whoami())

    # Budgets

    def list_budgets(self) -> AsyncIterator[fleet.Budget]:
        """Budgets, newest first, each in its present period."""
        return self._all(endpoints.list_budgets())

    async def get_budget(self, budget_id: str) -> fleet.Budget:
        """A budget, how fast it is spent, and when it ends at this pace."""
        return await self._send(endpoints.get_budget(budget_id))

    async def create_budget(
        self, name: str, scope: Mapping[str, Any], amount_usd: float, **members: Any
    ) -> fleet.Budget:
        """Makes a budget: period, action, warn_at. `scope` has one of organisation, agent, thread_id, run_id."""
        given = {"name": name, "scope": dict(scope), "amount_usd": amount_usd, **members}
        return await self._send(endpoints.create_budget(given))

    async def change_budget(self, budget_id: str, **members: Any) -> fleet.Budget:
        """Changes name, amount_usd, period, action or warn_at; runs that it paused go on once it has money again."""
        return await self._send(endpoints.change_budget(budget_id, members))

    async def delete_budget(self, budget_id: str) -> fleet.Budget:
        """Deletes a budget; runs that it paused go on."""
        return await self._send(endpoints.delete_budget(budget_id))

    async def reserve_budget(
        self, run_id: str, amount_usd: float, ttl_seconds: int | None = None, agent: str | None = None
    ) -> fleet.Reserved:
        """Holds money for a run, if all its budgets have so much left. `run_id` is the run's id or its run key."""
        return await self._send(endpoints.reserve_budget(run_id, amount_usd, ttl_seconds, agent))

    def list_reservations(self, **filters: Any) -> AsyncIterator[fleet.Reservation]:
        """Open reservations, newest first. Filters: budget_id, run_id, key_id."""
        return self._all(endpoints.list_reservations(**filters))

    async def release_reservation(self, reservation_id: str) -> fleet.Reservation:
        """Holds nothing any more by a reservation; what it was is returned."""
        return await self._send(endpoints.release_reservation(reservation_id))

    # Prices

    def list_prices(self) -> AsyncIterator[fleet.Price]:
        """The organisation's own prices, newest first."""
        return self._all(endpoints.list_prices())

    def list_listed_prices(self, query: str | None = None) -> AsyncIterator[fleet.ListedPrice]:
        """Prices of the list that comes with the server, by provider and model; `query`: words that they must have."""
        return self._all(endpoints.list_listed_prices(query))

    async def get_price(self, price_id: str) -> fleet.Price:
        """A price of the organisation's own."""
        return await self._send(endpoints.get_price(price_id))

    async def create_price(self, model: str, usd_per_million: Mapping[str, float], **members: Any) -> fleet.Price:
        """Makes a price: provider, valid_from. Rates: input, cached_input, output, and others of the API."""
        given = {"model": model, "usd_per_million": dict(usd_per_million), **members}
        return await self._send(endpoints.create_price(given))

    async def delete_price(self, price_id: str) -> fleet.Price:
        """Deletes a price; what was computed with it stays."""
        return await self._send(endpoints.delete_price(price_id))

    async def reprice(self, since: str, *, dry_run: bool = True, **members: Any) -> fleet.Repriced:
        """Computes costs anew, some runs at a time: until, model, cursor. A dry run only tells what changes."""
        return await self._send(endpoints.reprice({"since": since, "dry_run": dry_run, **members}))
