"""Agents, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal


async def answer(source: QueryContext, principal: Principal, command: q.ListAgents | q.GetAgent) -> o.Outcome:
    """An agent, or a page of agents by name. Raises NotFound."""
    if isinstance(command, q.GetAgent):
        row = await source.store.agent(principal.org, command.agent_id)
        if row is None:
            raise NotFound("agent")
        return o.AgentView(row)
    rows = await source.store.agents(principal.org, command.limit + 1, command.after, command.name)
    page, more = page_of(rows, command.limit)
    return o.Page(page, page[-1].name if more else None)
