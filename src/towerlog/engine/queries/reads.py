"""Reading commands: straight from the store, never through the writer; one room for each kind of row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from towerlog.engine.queries import agents, checkpoints, events, lanes, runs, threads, usage
from towerlog.engine.queries.admin import audit, keys, personas, retention
from towerlog.engine.queries.admin.prices import answer_listed_prices, answer_prices
from towerlog.engine.queries.alerts import alerts
from towerlog.engine.queries.alerts.preview import answer_preview
from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.inbox import approvals
from towerlog.engine.queries.screens import outlines
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.alert import GetAlert, GetRule, ListAlerts, ListRules
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.approval import GetApproval
from towerlog.model.audit import ListAudit
from towerlog.model.budget import GetBudget, ListBudgets, ListReservations
from towerlog.model.delivery import GetDelivery, ListDeliveries
from towerlog.model.member import ListMembers, ListSessions, ListSignInLinks
from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes
from towerlog.model.price import FindListedPrices, GetPrice, ListPrices
from towerlog.model.principal import Principal
from towerlog.model.retention import GetRetention, ListRetention

ANSWERS: dict[type[q.Read], Callable[[QueryContext, Principal, Any], Awaitable[o.Outcome]]] = {
    q.ListRuns: runs.answer,
    q.CountRuns: runs.figures,
    q.GetDurations: runs.figures,
    q.SumRuns: runs.figures,
    q.GetOutline: outlines.answer,
    q.GetRun: runs.answer,
    q.ListThreadRuns: runs.answer,
    q.FindRuns: runs.answer,
    q.ListThreads: threads.answer,
    q.GetThread: threads.answer,
    q.LatestCheckpoint: checkpoints.answer,
    q.ListCheckpoints: checkpoints.answer,
    q.GetCheckpoint: checkpoints.answer,
    q.ListApprovals: approvals.answer,
    GetApproval: approvals.answer,
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
    ListBudgets: usage.answer_budgets,
    GetBudget: usage.answer_budgets,
    ListReservations: usage.answer_reservations,
    ListPrices: answer_prices,
    FindListedPrices: answer_listed_prices,
    GetPrice: answer_prices,
    ListRetention: retention.answer,
    GetRetention: retention.answer,
    ListRules: alerts.answer_rules,
    GetRule: alerts.answer_rules,
    ListAlerts: alerts.answer_alerts,
    GetAlert: alerts.answer_alerts,
    ListDeliveries: alerts.answer_deliveries,
    GetDelivery: alerts.answer_deliveries,
    PreviewRule: answer_preview,
    ListAudit: audit.answer,
    ListMembers: keys.answer_members,
    ListSignInLinks: keys.answer_links,
    ListSessions: keys.answer_sessions,
}
"""Every reading command."""
WATCHABLE = (q.ListRuns, q.ListAgents, q.ListLanes, ListBudgets, q.ListApprovals, ListAlerts)
"""Lists whose rows can be watched from there on."""
replace = msgspec.structs.replace


class Reads(QueryContext):
    """Answers reading commands."""

    async def answer(self, principal: Principal, command: q.Read) -> o.Outcome:
        """The outcome of any reading command. Raises NotFound, Invalid."""
        if not isinstance(command, WATCHABLE):
            return await ANSWERS[type(command)](self, principal, command)
        # Before the rows are read: whoever watches from there on is told once more what has changed meanwhile.
        place = (await self.store.counters(principal.org)).position
        outcome = await ANSWERS[type(command)](self, principal, command)
        return _with_cursor(outcome, f"{self.store.epoch}-{place}")


def _with_cursor(outcome: o.Outcome, cursor: str) -> o.Outcome:
    if isinstance(outcome, o.LaneCounts):
        return replace(outcome, page=replace(outcome.page, live_cursor=cursor))
    assert isinstance(outcome, o.Page)
    return replace(outcome, live_cursor=cursor)
