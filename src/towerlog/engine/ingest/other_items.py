"""Items of a request that are no drafts; and the agent that a request as a whole is about."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.plan.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.agent import AgentRow
from towerlog.model.event import AgentHeartbeat, Draft, Item, Refusal
from towerlog.model.outcome import Stored
from towerlog.model.principal import Principal


def place_other(plan: Plan, principal: Principal, item: Item) -> Stored | Refusal:
    """A refusal as it is; a heartbeat is noted."""
    match item:
        case Refusal():
            return item
        case AgentHeartbeat():
            row = plan.agent(principal.org, item.agent)
            plan.tallies.beat(row)
            return Stored(0, 0, "", row.name)
        case Draft():
            raise TypeError("a draft has a place of its own")
        case _:
            assert_never(item)


def agent_by_id(plan: Plan, org: int, agent_id: str) -> AgentRow:
    """An agent by UUID. Raises NotFound."""
    name = plan.known.agent_name(org, agent_id)
    if name is None:
        raise NotFound("agent")
    return plan.agent(org, name)
