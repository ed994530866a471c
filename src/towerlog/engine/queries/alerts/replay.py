"""What a rule makes of a log that is gone through again, event by event: by the conditions of the live rule, without a
plan, a store or a clock. Nothing is written, and nobody is told.

The timer's looks are at the moments at which something may begin or end for it, so an alert by time begins here up to a
second before that of the live rule. Time in which the server could not hear is not in the log.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from towerlog.dialects.views.event_members import arguments_of
from towerlog.engine.alerts.busy import Kind, kind_of
from towerlog.engine.alerts.conditions import Holds, Look, of_budget, of_run
from towerlog.engine.alerts.scope import holds_budget
from towerlog.engine.alerts.standing import as_it_stands, counted_of_end, is_of_event
from towerlog.engine.alerts.words import (
    ENDS,
    told_of_cost,
    told_of_end,
    told_of_loop,
    told_of_window,
    window_ms_of,
    window_state,
)
from towerlog.engine.queries.alerts.log_serving import LogServing
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.alert import (
    BY_TIME,
    MAX_CALLS,
    MINUTE_MS,
    RULE_SUBJECT,
    AlertRule,
    AlertState,
    AlertTrigger,
    WindowCount,
    budget_subject,
    run_subject,
)
from towerlog.model.alert_preview import Firing
from towerlog.model.budget import BudgetRow, warn_nanos
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Moved
from towerlog.model.lane import ASKED_LATELY_MS, Lane, QueueState
from towerlog.model.liveness import standstill_ms
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import summed
from towerlog.projections import budgets as budget_fold
from towerlog.projections.alerts.conditions import CALL_BYTES, begins_loop, call_digest, crosses, split_calls

_replace = msgspec.structs.replace
InScope = Callable[[RunRow, str | None], bool]
"""Whether the rule is about a run; or about what an agent does in it."""
_QUEUED = frozenset({EventType.RUN_QUEUED, EventType.LANE_RELEASED, EventType.LANE_LOST})


class _Alert(NamedTuple):
    """The last alert about a subject."""

    is_open: bool
    mark: int


class RuleReplay:
    """One rule, and the log as far as it has been gone through."""

    def __init__(self, rule: AlertRule, since: int, in_scope: InScope) -> None:
        """As if the rule were made at `since` (wall ms): what was before is known to it, and opens no alert."""
        self.rule = rule
        self.since = since
        self.fired: list[Firing] = []
        self.suppressed = 0
        self._in_scope = in_scope
        self._alerts: dict[str, _Alert] = {}
        self._wakes: list[tuple[int, int]] = []
        """(when to look again, the run with the sign of its order, or 0 for all that is no run)."""
        self._log = LogServing()
        self._runs: dict[int, RunRow] = {}
        """Runs that last and may be of interest."""
        self._lanes: dict[int, Lane] = {}
        self._calls: dict[int, bytes] = {}
        self._counted: dict[int, WindowCount] = {}
        """By minute."""
        self._state = AlertState.NO_DATA
        self._budgets: dict[str, BudgetRow] = {}
        self._in_tree: dict[str, frozenset[str]] = {}
        self._taken: set[tuple[str, int, int]] = set()
        """(subject, mark, when a cool-down began) of runs that have fired with that, or were kept quiet by it."""
        heapq.heappush(self._wakes, (since, 0))

    def watch(self, row: RunRow, lane: Lane | None = None) -> None:
        """A run as it is at the beginning, which may do nothing in the time that is gone through."""
        if self.rule.trigger in BY_TIME and not row.is_terminal():
            if lane is not None:
                self._lanes[row.run] = lane
            if self._in_scope(row, None):
                self._runs[row.run] = row
                self._wake(self.since, row.run)

    def hold(self, lane: Lane) -> None:
        """A lane that a worker has held since before the beginning; times are by the wall clock."""
        self._lanes.setdefault(lane.run, lane)
        self._log.holds(lane)

    def learn(self, event: Event, after: RunRow) -> None:
        """An event of before the beginning, of a run that is watched later."""
        if self.rule.trigger is AlertTrigger.LOOP:
            self._call(event)
        elif self.rule.trigger in BY_TIME:
            self._lane_after(event, after)

    def count(self, budget: BudgetRow, in_tree: frozenset[str]) -> None:
        """A budget as it was at the beginning; `in_tree`: the runs of the one of a tree."""
        self._budgets[budget.budget_id] = budget
        self._in_tree[budget.budget_id] = in_tree
        self._wake_at_end(budget)

    def take(
        self, event: Event, agent: str, before: RunRow | None, after: RunRow, entered: Sequence[RunRow] = ()
    ) -> None:
        """The next event of an agent; its run before it, and after it. What time has brought meanwhile comes first.
        `entered`: the runs that have come into the rule's scope by it."""
        self.pass_to(event.recorded_at - 1)
        now = self._log.now = event.recorded_at
        trigger, moved = self.rule.trigger, event.facts.moved(agent)
        if trigger in BY_TIME:
            self._take_run(event, after, now)
        elif trigger is not AlertTrigger.LOOP and (before is None or before.status is not after.status):
            self._take_status(before, after, now)
        if moved:
            self._take_spent(moved, after, now)
        for row in entered:
            if before is None or row.run != after.run or not is_of_event(self.rule, before, after, moved):
                self._enter(row, now)
        if trigger is AlertTrigger.LOOP:
            self._take_call(event, after, now)

    def spend(self, now: int, moved: list[Moved], after: RunRow, *, is_in_scope: bool) -> None:
        """The same of an event of which only what it has spent is of interest, by a run that was in scope then or not.
        One that has come into the scope may have spent nothing with that."""
        self.pass_to(now - 1)
        self._log.now = now
        self._spend(moved, after, now, is_in_scope=is_in_scope)

    def enter(self, now: int, row: RunRow) -> None:
        """A run that has spent something comes into the scope of a rule about budgets."""
        self.pass_to(now - 1)
        self._log.now = now
        if not row.usage.cost_nanos or self.rule.is_quiet(row.agent or "", now):
            return
        for stored in tuple(self._budgets.values()):
            budget = budget_fold.current(stored, now)
            if self._counts(budget, row.agent or DEFAULT_AGENT, row) and budget.spent_nanos >= self._threshold(budget):
                subject = budget_subject(budget.budget_id)
                self._fire(now, subject, budget.told_now(), row.agent, row.run_id, budget.period_start)

    def pass_to(self, now: int) -> None:
        """Time passes: the timer looks at what it looks at."""
        while self._wakes and self._wakes[0][0] <= now:
            at, order = heapq.heappop(self._wakes)
            at, run = max(at, self.since), abs(order)
            self._log.now = max(self._log.now, at)
            if run:
                self._look_at_run(run, at)
            else:
                self._look_at_sums(at)

    def _wake(self, at: int, run: int = 0) -> None:
        # Of one moment in the order in which the timer finds them: the newest runs first, of queues the oldest.
        is_queue = self.rule.trigger in (AlertTrigger.QUEUE_WAIT, AlertTrigger.UNSERVED)
        heapq.heappush(self._wakes, (at, run if is_queue else -run))

    def _fire(
        self, now: int, subject: str, message: str, agent: str | None, run_id: str | None = None, mark: int = 0
    ) -> None:
        """As `firing.fire`."""
        last = self._alerts.get(subject)
        if now < self.since or (last is not None and last.is_open and last.mark == mark):
            return
        if self.rule.is_quiet(agent or "", now):
            self.suppressed += 1
            return
        self.rule = self.rule.told_of(agent or "", now)
        if self.rule.cooldown_ms:
            self._wake(now + self.rule.cooldown_ms)
        self._alerts[subject] = _Alert(True, mark)
        self.fired.append(Firing(now, subject, message, agent, run_id))

    def _recover(self, subject: str) -> None:
        last = self._alerts.get(subject)
        if last is not None and last.is_open:
            self._alerts[subject] = last._replace(is_open=False)

    # What hangs on an event

    def _enter(self, row: RunRow, now: int) -> None:
        """A run comes into the scope after something has happened (`entries` of the live rule)."""
        if self.rule.trigger in BY_TIME and not row.is_terminal():
            self._runs[row.run] = row
            self._wake(now, row.run)
        elif self.rule.trigger is AlertTrigger.FAILURE_RATE:
            counted = counted_of_end(self.rule, row, now)
            if counted is not None:
                self._add(now, *counted)
        else:
            message = as_it_stands(self.rule, row, lambda: self._calls.get(row.run, b""))
            if message is not None:
                self._fire(now, run_subject(row.run_id), message, row.agent, row.run_id)

    def _take_status(self, before: RunRow | None, after: RunRow, now: int) -> None:
        if not after.is_terminal() or not self._in_scope(after, None):
            return
        if self.rule.trigger is AlertTrigger.FAILURE_RATE:
            if before is None or not before.is_terminal():
                self._add(now, now // MINUTE_MS, WindowCount(1, int(after.status in ENDS)))
        elif ENDS.get(after.status) is self.rule.trigger:
            self._fire(now, run_subject(after.run_id), told_of_end(after), after.agent, after.run_id)

    def _take_spent(self, moved: list[Moved], after: RunRow, now: int) -> None:
        trigger, config = self.rule.trigger, self.rule.config
        if trigger is AlertTrigger.COST_THRESHOLD:
            cost = after.usage.cost_nanos or 0
            spent = summed(*[one.nanos for one in moved])
            if crosses(cost - spent, cost, config.amount_nanos or 0) and self._in_scope(after, None):
                self._fire(now, run_subject(after.run_id), told_of_cost(after), after.agent, after.run_id)
        elif trigger is AlertTrigger.BURN_RATE:
            for one in moved:
                if one.is_in(now - window_ms_of(self.rule)) and self._in_scope(after, one.agent):
                    at = now if one.counted_at is None else one.counted_at
                    self._add(now, at // MINUTE_MS, WindowCount(spent_nanos=one.nanos))

    def _take_call(self, event: Event, after: RunRow, now: int) -> None:
        times, is_call = self.rule.config.times, self._call(event)
        if is_call and begins_loop(split_calls(self._calls[event.run]), times) and self._in_scope(after, None):
            told = told_of_loop(after, event.facts.tool, times)
            self._fire(now, run_subject(after.run_id), told, after.agent, after.run_id)

    def _call(self, event: Event) -> bool:
        """Notes a tool call; whether it is one."""
        if event.type is not EventType.TOOL_CALL or event.late or event.facts.by_other:
            return False
        digest = call_digest(event.facts.tool, arguments_of(event.data))
        self._calls[event.run] = (self._calls.get(event.run, b"") + digest)[-MAX_CALLS * CALL_BYTES :]
        return True

    def _take_run(self, event: Event, after: RunRow, now: int) -> None:
        before = self._log.served(after.run)
        lane = self._lane_after(event, after)
        if after.is_terminal():
            self._log.leaves(after.run, now)
            self._runs.pop(after.run, None)
            self._lanes.pop(after.run, None)
            self._recover(run_subject(after.run_id))
        elif self._in_scope(after, None):
            self._runs[after.run] = after
            self._wake(now, after.run)  # once all that has come in this moment is known, as the timer finds it
        if lane is not None and self.rule.trigger is AlertTrigger.UNSERVED:
            # Who takes one comes back for the next; who gives one back may not.
            served = {lane.agent, *before, *self._log.served(after.run)}
            for run, other in self._lanes.items():
                if other.state is QueueState.QUEUED and other.agent in served:
                    self._wake(now, run)

    def _lane_after(self, event: Event, after: RunRow) -> Lane | None:
        """The lane of an event's run where the event moves it."""
        if event.type in _QUEUED:
            state = QueueState.QUEUED
            self._log.leaves(after.run)
        elif event.type is EventType.LANE_CLAIMED:
            state = QueueState.HELD
            self._log.takes(event, after.agent or DEFAULT_AGENT)
        else:
            return self._lanes.get(after.run) if after.is_terminal() else None
        run, agent = after.run, after.agent or DEFAULT_AGENT
        lane = self._lanes[run] = Lane(run, after.org, state, agent, event.recorded_at, queue_position=event.position)
        return lane

    def _busy(self) -> frozenset[Kind]:
        if self.rule.trigger is not AlertTrigger.UNSERVED:
            return frozenset()
        return frozenset(kind_of(lane) for lane in self._lanes.values() if lane.state is QueueState.HELD)

    def _look_at_run(self, run: int, now: int) -> None:
        row = self._runs.get(run)
        if row is None or now < self.since:
            if row is not None:
                self._wake(self.since, run)
            return
        lane, subject = self._lanes.get(run), run_subject(row.run_id)
        holds = of_run(self.rule, row, lane, Look(self._log, self._log, now, now, self._busy()))
        last = self._alerts.get(subject)
        if holds is None:
            self._recover(subject)
            due = self._due(row, lane, now)
            if due is not None and due > now:
                self._wake(due, run)
        elif last is None or not last.is_open or last.mark != holds.mark:
            self._begin(row, holds, now)

    def _begin(self, row: RunRow, holds: Holds, now: int) -> None:
        """Opens an alert about a run that waits, once no cool-down keeps quiet; in each of them it counts once."""
        whose, subject = row.agent or "", run_subject(row.run_id)
        if self.rule.is_quiet(whose, now):
            self._wake(self.rule.quiet[whose] + self.rule.cooldown_ms, row.run)
            self.suppressed += (subject, holds.mark, self.rule.quiet[whose]) not in self._taken
        else:
            self._fire(now, subject, holds.message, row.agent, row.run_id, holds.mark)
        if self.rule.cooldown_ms:
            self._taken.add((subject, holds.mark, self.rule.quiet[whose]))

    def _due(self, row: RunRow, lane: Lane | None, now: int) -> int | None:
        """When a condition may hold that does not hold now, if nothing happens meanwhile."""
        wait_ms = self.rule.config.wait_ms or 0
        if self.rule.trigger is AlertTrigger.WAITING_TOO_LONG:
            question = row.awaited()
            since = (row.progress_at or row.last_event_at) if question is None else question.asked_at
            return since + wait_ms if row.status is Status.WAITING else None
        if self.rule.trigger is AlertTrigger.STALLED:
            lasted = standstill_ms(row, self._log.elapsed_ms)
            return now + wait_ms - lasted if row.status is Status.RUNNING and not row.idle else None
        if lane is None or lane.state is not QueueState.QUEUED:
            return None
        due = lane.queued_at + wait_ms
        if self.rule.trigger is AlertTrigger.UNSERVED and lane.agent in self._log.heard:
            due = max(due, self._log.heard[lane.agent] + ASKED_LATELY_MS + 1)
        return due

    def _add(self, now: int, minute: int, more: WindowCount) -> None:
        if now < self.since:
            return
        self._counted[minute] = self._counted.get(minute, WindowCount()).plus(more)
        self._wake((minute + 1) * MINUTE_MS + window_ms_of(self.rule))
        self._wake(now)

    def _look_at_sums(self, now: int) -> None:
        if self.rule.trigger is AlertTrigger.BUDGET:
            self._look_at_budgets(now)
        elif self.rule.trigger in (AlertTrigger.BURN_RATE, AlertTrigger.FAILURE_RATE):
            self._look_at_window(now)

    def _look_at_window(self, now: int) -> None:
        """As the timer settles it."""
        first = (now - window_ms_of(self.rule)) // MINUTE_MS
        for minute in [one for one in self._counted if one < first]:
            del self._counted[minute]
        counted = WindowCount()
        for one in self._counted.values():
            counted = counted.plus(one)
        state, agent = window_state(self.rule, counted), self.rule.scope.agent
        last = self._alerts.get(RULE_SUBJECT)
        is_open, is_quiet = last is not None and last.is_open, self.rule.is_quiet(agent or "", now)
        is_new, self._state = state is not self._state, state
        if state is not AlertState.ALERT:
            self._recover(RULE_SUBJECT)
        elif is_new or (not is_open and not is_quiet):
            self._fire(now, RULE_SUBJECT, told_of_window(self.rule, counted), agent)

    def _spend(self, moved: list[Moved], after: RunRow, now: int, *, is_in_scope: bool) -> None:
        """As budgets count it, and rules then look at them."""
        for stored in tuple(self._budgets.values()):
            row = budget_fold.current(stored, now)
            mine = [one.nanos for one in moved if one.is_in(row.period_start) and self._counts(row, one.agent, after)]
            if not mine or not summed(*mine):
                continue
            counted = self._budgets[row.budget_id] = budget_fold.spent(row, summed(*mine), now).row
            if counted.period_start != stored.period_start:
                self._wake_at_end(counted)
            threshold = self._threshold(counted)
            is_late = counted.spent_nanos >= threshold and not self.rule.is_quiet(after.agent or "", now)
            if (crosses(row.spent_nanos, counted.spent_nanos, threshold) or is_late) and is_in_scope:
                subject, mark = budget_subject(row.budget_id), counted.period_start
                self._fire(now, subject, counted.told_now(), after.agent, after.run_id, mark)
        self._wake(now)

    def _counts(self, row: BudgetRow, agent: str, run: RunRow) -> bool:
        if row.scope.run_id:
            return run.run_id in self._in_tree[row.budget_id]
        return row.scope.covers(agent, run.thread_id)

    def _threshold(self, row: BudgetRow) -> int:
        fraction = self.rule.config.fraction
        return warn_nanos(row.amount_nanos, 1.0 if fraction is None else fraction)

    def _look_at_budgets(self, now: int) -> None:
        """As the timer does: what is over, and what is used up although nothing was spent just now."""
        for row in reversed(self._budgets.values()):
            subject, row = budget_subject(row.budget_id), budget_fold.current(row, now)
            if not of_budget(self.rule, row, now):
                self._recover(subject)
            elif holds_budget(self.rule.scope, row.scope) and not self.rule.keeps_quiet(now):
                self._fire(now, subject, row.told_now(), row.scope.agent, mark=row.period_start)

    def _wake_at_end(self, row: BudgetRow) -> None:
        ends_at = row.resets_at()
        if ends_at is not None:
            self._wake(ends_at)
