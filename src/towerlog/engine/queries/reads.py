"""Reading commands: straight from the store, never through the writer; one room for each kind of row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from towerlog.engine.queries import agents, checkpoints, events, keys, lanes, personas, runs, threads, usage
from towerlog.engine.queries.context import QueryContext
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes
from towerlog.model.principal import Principal

ANSWERS: dict[type[q.Read], Callable[[QueryContext, Principal, Any], Awaitable[o.Outcome]]] = {
    q.ListRuns: runs.answer,
    q.GetRun: runs.answer,
    q.ListThreadRuns: runs.answer,
    q.FindRuns: runs.answer,
    q.ListThreads: threads.answer,
    q.GetThread: threads.answer,
    q.LatestCheckpoint: checkpoints.answer,
    q.ListCheckpoints: checkpoints.answer,
    q.GetCheckpoint: checkpoints.answer,
    q.ListApprovals: checkpoints.answer,
    q.ListEvents: events.answer,
    q.Tail: events.tail,
    q.ListAgents: agents.answer,
    q.GetAgent: agents.answer,
    q.ListLanes: lanes.answer,
    q.ListWorkers: lanes.answer,
    q.ListKeys: keys.answer,
    ListPersonas: personas.answer,
    GetPersona: personas.answer,
    ListRoutes: personas.answer,
    GetRoute: personas.answer,
    q.GetUsage: usage.answer,
}
"""Every reading command."""


class Reads(QueryContext):
    """Answers reading commands."""

    async def answer(self, principal: Principal, command: q.Read) -> o.Outcome:
        """The outcome of any reading command. Raises NotFound, Invalid."""
        return await ANSWERS[type(command)](self, principal, command)
