"""Native endpoints of agents, lanes, workers and usage: who works, on what, and what it costs."""

from __future__ import annotations

from typing import Literal

import msgspec

from towerlog.asgi.native import shapes
from towerlog.asgi.native.cursors import read_cursor
from towerlog.asgi.native.lists import WHOLE_LIST, Listing, PageQuery, limit_of, page_reply
from towerlog.dialects.base import MAX_LABEL, Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.reading import decode, label, optional_id, path_uuid, query_int, refuse, text_id, when
from towerlog.model.command import RegisterAgent
from towerlog.model.identity import Scope
from towerlog.model.outcome import AgentView, LaneCounts, LaneView, Page
from towerlog.model.question import GetAgent, GetUsage, ListAgents, ListLanes, ListWorkers
from towerlog.model.times import format_optional_ms

READ = scopes(Scope.READ)
INGEST = scopes(Scope.INGEST)
LANE_STATES = ("queued", "held")


class AgentsQuery(PageQuery, frozen=True):
    """`name` asks for that one alone."""

    name: str | None = None


class AgentBody(msgspec.Struct, frozen=True):
    """A new agent, or one that is there already."""

    name: str


class LanesQuery(msgspec.Struct, frozen=True):
    """Which lanes."""

    state: Literal["queued", "held"] | None = None
    limit: int = WHOLE_LIST


class WorkersQuery(msgspec.Struct, frozen=True):
    """How many; `worker_id` asks for that one alone."""

    limit: int = WHOLE_LIST
    worker_id: str | None = None


class UsageQuery(PageQuery, frozen=True):
    """What to group by, and which cells."""

    by: Literal["hour", "agent", "model"] = "hour"
    since: str | None = None
    until: str | None = None
    agent: str | None = None
    model: str | None = None


class Lanes(msgspec.Struct, frozen=True):
    """The queue: how deep it is, how long the oldest has waited, and its lanes, oldest first."""

    data: list[shapes.LaneState]
    next: str | None
    queued: int
    held: int
    oldest_queued_at: str | None


_AGENT_BODY = msgspec.json.Decoder(AgentBody)


def _decode_agents(call: Call) -> ListAgents:
    name = label(call.query.get("name"), "name")
    return ListAgents(limit_of(call), read_cursor("agents", call.query.get("cursor")), name)


def _encode_agents(outcome: Page, call: Call) -> Reply:
    return page_reply("agents", outcome, shapes.agent_of)


def _decode_agent(call: Call) -> GetAgent:
    return GetAgent(path_uuid(call.path["agent_id"], "agent"))


def _decode_register(call: Call) -> RegisterAgent:
    return RegisterAgent(text_id(decode(_AGENT_BODY, call.body).name, "name", MAX_LABEL))


def _encode_agent(outcome: AgentView, call: Call) -> Reply:
    return reply_json(shapes.agent_of(outcome.row), 201 if outcome.created else 200)


def _decode_lanes(call: Call) -> ListLanes:
    state = call.query.get("state") or None
    if state is not None and state not in LANE_STATES:
        raise refuse("state", "must be of " + ", ".join(LANE_STATES))
    return ListLanes(_whole_limit(call))


def _whole_limit(call: Call) -> int:
    return query_int(call.query, "limit", WHOLE_LIST, 1, WHOLE_LIST)


def _encode_lanes(outcome: LaneCounts, call: Call) -> Reply:
    state = call.query.get("state") or None
    lanes = [view for view in outcome.page.rows if isinstance(view, LaneView)]
    wanted = [view for view in lanes if state is None or view.lane.state.value == state]
    return reply_json(
        Lanes(
            data=[shapes.lane_of(view) for view in wanted[: _whole_limit(call)]],
            next=None,
            queued=outcome.queued,
            held=outcome.held,
            oldest_queued_at=format_optional_ms(outcome.oldest_queued_at),
        )
    )


def _decode_workers(call: Call) -> ListWorkers:
    return ListWorkers(_whole_limit(call), optional_id(call.query.get("worker_id"), "worker_id"))


def _encode_workers(outcome: Page, call: Call) -> Reply:
    return page_reply("workers", outcome, shapes.worker_of)


def _decode_usage(call: Call) -> GetUsage:
    by = call.query.get("by") or "hour"
    if by not in ("hour", "agent", "model"):
        raise refuse("by", "must be of hour, agent, model")
    return GetUsage(
        by=by,
        limit=limit_of(call),
        since=when(call.query.get("since"), "since"),
        until=when(call.query.get("until"), "until"),
        agent=label(call.query.get("agent"), "agent"),
        model=label(call.query.get("model"), "model"),
        after=read_cursor(f"usage-{by}", call.query.get("cursor")),
    )


def _encode_usage(outcome: Page, call: Call) -> Reply:
    by = call.query.get("by") or "hour"
    return page_reply(f"usage-{by}", outcome, lambda row: shapes.usage_of(row, by))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/agents", "list_agents", "Agents by name.", READ, _decode_agents, _encode_agents,
        query=AgentsQuery, reply=Listing[shapes.Agent],
    ),
    Endpoint(
        "POST", "/api/v1/agents", "register_agent", "Make an agent by name; one that is there is answered as it is.",
        INGEST, _decode_register, _encode_agent, request=AgentBody, reply=shapes.Agent, reply_status=201,
    ),
    Endpoint(
        "GET", "/api/v1/agents/{agent_id}", "get_agent", "An agent.", READ, _decode_agent, _encode_agent,
        reply=shapes.Agent,
    ),
    Endpoint(
        "GET", "/api/v1/lanes", "list_lanes", "Runs that wait for a worker or are held by one, oldest first.", READ,
        _decode_lanes, _encode_lanes, query=LanesQuery, reply=Lanes,
    ),
    Endpoint(
        "GET", "/api/v1/workers", "list_workers", "Who holds what.", READ, _decode_workers, _encode_workers,
        query=WorkersQuery, reply=Listing[shapes.Worker],
    ),
    Endpoint(
        "GET", "/api/v1/usage", "get_usage", "Tokens, money and counts by hour, agent or model.", READ,
        _decode_usage, _encode_usage, query=UsageQuery, reply=Listing[shapes.UsageTotal],
    ),
)  # fmt: skip
"""Everything about who works."""
