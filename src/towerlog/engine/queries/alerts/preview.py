"""When a rule would have fired over stored history: the log is read, and gone through again (`replay`).

What is read is bounded in events, bytes and time, and one key has one trial under way; the answer says which time was
looked at. Reading is the readers' work, and going through it that of a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from towerlog.engine.alerts.checks import check_channels, check_figures, no_such_run
from towerlog.engine.queries.alerts.places import PlacesOfRuns
from towerlog.engine.queries.alerts.replay import RuleReplay
from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.views import add_names
from towerlog.errors import Invalid
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.alert import BY_TIME, AlertRule, AlertTrigger, CreateRule
from towerlog.model.alert_preview import (
    DEFAULT_PREVIEW_MS,
    MAX_PREVIEW_BYTES,
    MAX_PREVIEW_EVENTS,
    MAX_PREVIEW_FIRINGS,
    MAX_PREVIEW_MS,
    MAX_PREVIEW_RUNS,
    PreviewRule,
    RulePreview,
)
from towerlog.model.budget import MAX_BUDGETS, BudgetRow, Period, period_start
from towerlog.model.event import Event
from towerlog.model.facts import Moved
from towerlog.model.lane import ASKED_LATELY_MS, Lane
from towerlog.model.principal import Principal
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status, place_of
from towerlog.model.usage import summed
from towerlog.projections import runs as run_fold
from towerlog.store.values import MAX_DESCENDANTS

PAGE_EVENTS = 200
_LASTS = {
    AlertTrigger.WAITING_TOO_LONG: Status.WAITING,
    AlertTrigger.STALLED: Status.RUNNING,
    AlertTrigger.QUEUE_WAIT: Status.QUEUED,
    AlertTrigger.UNSERVED: Status.QUEUED,
}


async def answer_preview(source: QueryContext, principal: Principal, command: PreviewRule) -> RulePreview:
    """The firings of a rule. Raises Invalid for a rule that could not be made, or a time that ends before it begins,
    Overloaded."""
    asked, now_ms = command.rule, source.clock.now_ms()
    check_figures(asked.trigger, asked.config, asked.act)
    check_channels(asked.channels)
    until = now_ms if command.until is None else min(command.until, now_ms)
    since = until - DEFAULT_PREVIEW_MS if command.since is None else command.since
    if since >= until:
        raise Invalid("since: must be before until", field="since", details={"since": "must be before until"})
    async with source.trials.turn(principal):
        return await _Trial(source, principal.org, asked, since, until).answer()


class _Spent(NamedTuple):
    """What a run has spent, and whether the rule was about it then; None: it has come into the rule's scope."""

    at: int
    moved: list[Moved] | None
    run: RunRow
    is_in_scope: bool


class _Trial:
    """One rule, and how far the log has been read for it."""

    def __init__(self, source: QueryContext, org: int, asked: CreateRule, since: int, until: int) -> None:
        self._source = source
        self._org = org
        self._asked = asked
        self._since = since
        self._until = until
        self._ends_at = source.clock.steady_ms() + MAX_PREVIEW_MS
        self._rows: dict[int, RunRow | None] = {}
        """None: a run of which too much would have to be read."""
        self._agents: dict[int, str] = {}
        self._lanes: dict[int, Lane | None] = {}
        self._places = PlacesOfRuns(asked.scope, self._lanes)
        self._moves: list[_Spent] = []
        """For rules about budgets."""
        self._events = self._bytes = 0
        self._is_whole = True

    async def answer(self) -> RulePreview:
        """Reads, and goes through it."""
        store, scope = self._source.store, self._asked.scope
        if scope.run_id is not None and await store.run(self._org, scope.run_id) is None:
            raise no_such_run()
        last = (await store.counters(self._org)).position
        first = await self._first_position(last)
        replay = RuleReplay(self._rule(), self._since, self._places.is_in)
        if scope.run_id is not None:
            await self._know_tree(replay, scope.run_id, first)
        if self._asked.trigger in BY_TIME:
            await self._watch_lasting(replay, first)
        await self._go_through(replay, first, last)
        if self._asked.trigger is AlertTrigger.BUDGET:
            await self._count_budgets(replay)
        await asyncio.to_thread(replay.pass_to, self._until)
        found = [one for one in replay.fired if one.at <= self._until]
        whole = self._is_whole and len(found) <= MAX_PREVIEW_FIRINGS
        runs = sum(row is not None and self._places.is_in(row, None) for row in self._rows.values())
        told = found[-MAX_PREVIEW_FIRINGS:]
        return RulePreview(told, replay.suppressed, runs, self._events, self._since, self._until, whole)

    def _rule(self) -> AlertRule:
        asked = self._asked
        return AlertRule(
            org=self._org,
            rule_id="",
            number=0,
            name=asked.name,
            trigger=asked.trigger,
            created_at=self._since,
            scope=asked.scope,
            config=asked.config,
            cooldown_ms=asked.cooldown_ms,
        )

    async def _tree(self, run_id: str) -> list[RunRow]:
        """A run and those below it, as they are now."""
        store = self._source.store
        top = await store.run(self._org, run_id)
        return [] if top is None else [top, *await store.run_descendants(self._org, top, MAX_DESCENDANTS)]

    async def _know_tree(self, replay: RuleReplay, run_id: str, first: int) -> None:
        """The runs of the rule's tree as they were at the beginning: how they came into it is seen later."""
        is_loop, is_labelled = self._asked.trigger is AlertTrigger.LOOP, self._asked.scope.label is not None
        found: list[RunRow] = []
        for row in await self._tree(run_id):
            if is_labelled:
                self._lanes[row.run] = await self._source.store.lane(self._org, row.run)
            is_silent = row.last_position <= first
            before = row if is_silent and not is_loop else await self._row_before(replay, row.run, first)
            if not is_silent:
                self._rows[row.run] = before
            if before is not None:
                self._places.put(before)
                found.append(before)
        for row in found:
            replay.watch(row)

    async def _first_position(self, last: int) -> int:
        """The position before the first event that is read; the time begins later where that would be too many."""
        since = self._since
        if self._asked.trigger is AlertTrigger.BUDGET:
            # What a period has spent is counted from its beginning.
            periods = {one.period for one in await self._budgets()} - {Period.TOTAL}
            since = min([since, *(period_start(one, since) for one in periods)])
        elif self._asked.trigger is AlertTrigger.UNSERVED:
            # Who has taken work lately serves it at the beginning.
            since -= max(self._asked.config.wait_ms or 0, ASKED_LATELY_MS)
        first = await self._place_of(since, last)
        if last - first > MAX_PREVIEW_EVENTS:
            first, self._is_whole = last - MAX_PREVIEW_EVENTS, False
            at = await self._source.store.log(self._org, first, 1)
            self._since = max(self._since, at[0].recorded_at if at else self._since)
        return first

    async def _place_of(self, at: int, last: int) -> int:
        """The position before the first event that was recorded then or later."""
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            found = await self._source.store.log(self._org, middle, 1)
            low, high = (middle + 1, high) if found and found[0].recorded_at < at else (low, middle)
        return low

    async def _watch_lasting(self, replay: RuleReplay, first: int) -> None:
        """Runs that have done nothing since the beginning, and last."""
        store, scope = self._source.store, self._asked.scope
        wanted = RunFilter(statuses=(_LASTS[self._asked.trigger],), agent=scope.agent, thread_id=scope.thread_id)
        found = await store.runs(self._org, wanted, MAX_PREVIEW_RUNS, None)
        self._is_whole = self._is_whole and len(found) < MAX_PREVIEW_RUNS and not found.cut
        silent = [row for row in found if row.last_position <= first]
        lanes = {one.run: one for one in await store.lanes_of(self._org, [row.run for row in silent if row.has_lane])}
        walls = self._source.serving.walls()
        for row in silent:
            lane = lanes.get(row.run)
            self._rows[row.run], self._lanes[row.run] = row, lane
            replay.watch(row, None if lane is None else lane.on_wall(walls))
        if self._asked.trigger is AlertTrigger.UNSERVED:
            for lane in await store.lanes_held(self._org, MAX_PREVIEW_RUNS):
                held = lane.on_wall(walls)
                if (held.claimed_at or 0) < self._since:
                    replay.hold(held)

    async def _go_through(self, replay: RuleReplay, first: int, last: int) -> None:
        """All events from there on, in their order, until there are no more, or it takes too long."""
        # What a budget for ever had spent is known from what it has by now: of those all are read.
        is_budget, after = self._asked.trigger is AlertTrigger.BUDGET, first
        # What waits is found at the beginning, whatever it does later: of those all is read before.
        waiting: list[list[Event]] = []
        while after < last:
            page = await self._source.store.log(self._org, after, PAGE_EVENTS)
            if not page or (page[0].recorded_at > self._until and not is_budget):
                break
            if self._is_enough(page):
                self._is_whole, self._until = False, min(self._until, page[0].recorded_at - 1)
                break
            await self._know_runs(replay, page)
            if self._asked.trigger in BY_TIME:
                waiting.append(page)
            else:
                await asyncio.to_thread(self._take_all, replay, page)
            after = page[-1].position
        for events in waiting:
            await asyncio.to_thread(self._take_all, replay, events)

    def _is_enough(self, page: list[Event]) -> bool:
        self._events += len(page)
        self._bytes += sum(len(event.data) + len(event.facts_json) for event in page)
        is_late = self._source.clock.steady_ms() >= self._ends_at
        return is_late or self._bytes > MAX_PREVIEW_BYTES or self._events > 2 * MAX_PREVIEW_EVENTS

    async def _know_runs(self, replay: RuleReplay, page: list[Event]) -> None:
        """Reads what is wanted of the runs of these events: their agents, their lanes, and what they did before."""
        await add_names(self._source.store, self._org, self._agents, page)
        begun = {event.run: event for event in reversed(page) if event.run not in self._rows}
        for run, event in begun.items():
            if self._asked.scope.label is not None:
                self._lanes[run] = await self._source.store.lane(self._org, run)
            if event.seq > 1:
                row = self._rows[run] = await self._row_before(replay, run, event.position - 1)
                if row is not None:
                    self._places.put(row)
                    replay.watch(row)

    async def _row_before(self, replay: RuleReplay, run: int, last: int) -> RunRow | None:
        """A run as it was at a position of the log; None where it was not there, or where that takes too much."""
        row: RunRow | None = None
        while True:
            after = 0 if row is None else row.last_seq
            found = await self._source.store.events(self._org, run, after, PAGE_EVENTS)
            page = [one for one in found if isinstance(one, Event) and one.position <= last]
            if any(not isinstance(one, Event) for one in found) or self._is_enough(page):
                self._is_whole = False
                return None
            if page:
                await add_names(self._source.store, self._org, self._agents, page)
                row = await asyncio.to_thread(self._folded, replay, row, page)
            if len(page) < PAGE_EVENTS:
                return row

    def _folded(self, replay: RuleReplay, row: RunRow | None, page: list[Event]) -> RunRow | None:
        for event in page:
            row = run_fold.fold(run_fold.begin(event) if row is None else row, event, self._agents.get(event.agent))
            replay.learn(event, row)
        return row

    def _take_all(self, replay: RuleReplay, page: list[Event]) -> None:
        """In a thread of its own: some hundred folds."""
        for event in page:
            before = self._rows.get(event.run)
            if before is None and event.seq > 1:
                continue
            agent = self._agents.get(event.agent)
            base = run_fold.begin(event) if before is None else before
            after = self._rows[event.run] = run_fold.fold(base, event, agent)
            entered: list[RunRow] = []
            if after.parent_key is not None if before is None else place_of(before) != place_of(after):
                entered = self._places.move(before, after)
            else:
                self._places.put(after)
            if self._asked.trigger is AlertTrigger.BUDGET:
                moved = event.facts.moved(agent or DEFAULT_AGENT)
                if moved:
                    self._moves.append(_Spent(event.recorded_at, moved, after, self._places.is_in(after, None)))
                self._moves += [_Spent(event.recorded_at, None, row, True) for row in entered]
            elif event.recorded_at <= self._until:
                replay.take(event, agent or DEFAULT_AGENT, before, after, entered)

    async def _budgets(self) -> list[BudgetRow]:
        """Oldest first."""
        return (await self._source.store.budgets(self._org, MAX_BUDGETS, None))[::-1]

    async def _count_budgets(self, replay: RuleReplay) -> None:
        """Goes through what was spent, with the budgets as they are now, and what they had spent at the beginning."""
        for row in await self._budgets():
            tree: frozenset[str] = frozenset()
            if row.scope.run_id is not None:
                tree = frozenset(one.run_id for one in await self._tree(row.scope.run_id))
            spent = 0
            if row.period is Period.TOTAL:
                spent = row.spent_nanos - _spent_in(row, tree, self._moves)
            replay.count(_begun(row, spent), tree)
        await asyncio.to_thread(self._spend_all, replay)

    def _spend_all(self, replay: RuleReplay) -> None:
        for at, moved, row, is_in_scope in self._moves:
            if at > self._until:
                continue
            if moved is None:
                replay.enter(at, row)
            else:
                replay.spend(at, moved, row, is_in_scope=is_in_scope)


def _begun(row: BudgetRow, spent_nanos: int) -> BudgetRow:
    """A budget as it was at the beginning."""
    return msgspec.structs.replace(
        row, spent_nanos=spent_nanos, period_start=0, warning_told=False, exceeded_told=False, step=None
    )


def _spent_in(budget: BudgetRow, in_tree: frozenset[str], moves: Iterable[_Spent]) -> int:
    """What of this a budget counts that is for ever: nano-dollars."""
    return summed(
        *[
            one.nanos
            for _, moved, run, _ in moves
            for one in moved or ()
            if (run.run_id in in_tree if budget.scope.run_id else budget.scope.covers(one.agent, run.thread_id))
        ]
    )
