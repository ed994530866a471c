"""What another node has committed, as it is read back: its events, and the rows that have changed with them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from towerlog.engine.nodes.news import News, changes_of
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, Logged
from towerlog.model.run import RunRow
from towerlog.store.base import NodeStore, Store
from towerlog.store.values import Found
from towerlog.wake.base import Commit

PAGE_EVENTS = 500


class ReadBack(NamedTuple):
    """A part of what was committed."""

    commit: Commit
    reached: int
    """The position up to which it has everything."""


class LogReader:
    """Reads the log of others."""

    def __init__(self, store: Store, nodes: NodeStore) -> None:
        """`nodes` has the log, `store` the rows."""
        self._store = store
        self._nodes = nodes

    async def page(self, org: int, after: int, until: int, news: News | None) -> ReadBack:
        """The events after one position, up to another, or some of them, with what `news` tells beside them.

        Raises StorageFailed, Overloaded.
        """
        limit = min(PAGE_EVENTS, until - after)
        found = Found[Logged]() if limit <= 0 else await self._nodes.logged(org, after, limit)
        inside = [one for one in found if one.position <= until]
        is_whole = len(inside) < len(found) or (len(found) < limit and not found.cut)
        reached = until if is_whole or not inside else inside[-1].position
        events = [one for one in inside if isinstance(one, Event)]
        # What cannot be shown as it was written is found by each reader, in its place.
        is_short = len(events) < len(inside)
        return ReadBack(await self._commit(org, events, news or News(org, 0, 0), is_short), reached)

    async def _commit(self, org: int, events: list[Event], news: News, is_short: bool) -> Commit:
        runs = {event.run for event in events} | news.runs | set(news.moved)
        agents = {event.agent for event in events if event.agent} | news.agents
        rows, named = await asyncio.gather(self._runs(org, runs), self._agents(org, agents))
        with_lane = {run for run, row in rows.items() if row.has_lane} | news.lanes
        lanes = await self._store.lanes_of(org, sorted(with_lane)) if with_lane else []
        shown = [event for event in events if event.run in rows]
        is_short = is_short or news.is_short or len(shown) < len(events)
        return Commit(
            shown,
            changes_of(rows, news.moved),
            {lane.run: lane for lane in lanes},
            {row.agent: row for row in named},
            {(org, budget_id): None for budget_id in news.budgets},
            dict.fromkeys(news.approvals),
            {(org, alert_id): None for alert_id in news.alerts},
            unknown=frozenset((org,)) if is_short else frozenset(),
        )

    async def _runs(self, org: int, numbers: set[int]) -> dict[int, RunRow]:
        return await self._store.runs_by_number(org, sorted(numbers)) if numbers else {}

    async def _agents(self, org: int, numbers: set[int]) -> list[AgentRow]:
        return await self._store.agents_by_number(org, sorted(numbers)) if numbers else []
