"""Native endpoints of agents: list, read, register."""

from __future__ import annotations

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked, agent_needed
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import decode, path_uuid
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.model.command import RegisterAgent
from towerlog.model.outcome import AgentView, Page
from towerlog.model.principal import Scope
from towerlog.model.question import GetAgent, ListAgents

READ = scopes(Scope.READ)
INGEST = scopes(Scope.INGEST)


class AgentsQuery(CursorQuery, frozen=True):
    """A page of agents; `name`: only that one."""

    name: v.AgentName | None = None


class AgentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent to register; it may exist already."""

    name: v.AgentName


_AGENT_BODY = msgspec.json.Decoder(AgentBody)


def _decode_agents(call: Call) -> ListAgents:
    name = agent_asked(call.query.get("name"), "name")
    return ListAgents(limit_of(call), read_cursor("agents", call.query.get("cursor")), name)


def _encode_agents(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("agents", outcome, shapes.agent_of)


def _decode_agent(call: Call) -> GetAgent:
    return GetAgent(path_uuid(call.path["agent_id"], "agent"))


def _decode_register(call: Call) -> RegisterAgent:
    return RegisterAgent(agent_needed(decode(_AGENT_BODY, call.body).name, "name"))


def _encode_agent(outcome: AgentView, command: object, call: Call) -> Reply:
    return reply_json(shapes.agent_of(outcome.row), 201 if outcome.created else 200)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/agents", "list_agents", "Agents by name.", READ, _decode_agents, _encode_agents,
        query=AgentsQuery, reply=Listing[shapes.Agent],
    ),
    Endpoint(
        "POST", "/api/v1/agents", "register_agent", "Register an agent by name, or return the existing one.",
        INGEST, _decode_register, _encode_agent, request=AgentBody, reply=shapes.Agent, reply_status=201,
    ),
    Endpoint(
        "GET", "/api/v1/agents/{agent_id}", "get_agent", "An agent.", READ, _decode_agent, _encode_agent,
        reply=shapes.Agent,
    ),
)  # fmt: skip
"""Everything about agents."""
