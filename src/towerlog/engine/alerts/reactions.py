"""Alerts that hang on an event: an end, money that was spent, a tool that was called. Placed with that very event.

An event that comes again is not placed again, and so fires nothing again.
"""

from __future__ import annotations

from bisect import bisect
from functools import partial
from operator import attrgetter

from towerlog.dialects.views.event_members import arguments_of
from towerlog.engine.alerts.firing import NOBODY, NewAlert, fire_all
from towerlog.engine.alerts.scope import RunPlace
from towerlog.engine.alerts.words import ENDS, told_of_cost, told_of_end, told_of_loop, window_ms_of
from towerlog.engine.load.misses import NotLoaded, Unloaded
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.alert import (
    MAX_CALLS,
    MINUTE_MS,
    AlertRule,
    AlertTrigger,
    WindowCount,
    budget_subject,
    run_subject,
)
from towerlog.model.budget import BudgetRow, warn_nanos
from towerlog.model.event import Event
from towerlog.model.facts import Moved
from towerlog.model.run import RunRow
from towerlog.model.usage import MAX_SUM, summed
from towerlog.projections.alerts.conditions import CALL_BYTES, begins_loop, call_digest, crosses, split_calls

# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_BURN_RATE, _COST_THRESHOLD = AlertTrigger.BURN_RATE, AlertTrigger.COST_THRESHOLD
MAX_FIRED_OF_EVENT = 256
"""Alerts about budgets that one event opens. Others of the same budgets are opened by the next event that spends, or by
the timer."""


def on_status(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run that has failed, or was lost; and each that has ended, for those who count them."""
    if not plan.alerts.rules(after.org) or not after.is_terminal():
        return
    place = RunPlace(plan, after)
    if before is None or not before.is_terminal():
        for rule in place.rules(AlertTrigger.FAILURE_RATE):
            plan.alerts.count(rule, plan.now_ms // MINUTE_MS, WindowCount(1, int(after.status in ENDS)))
    trigger = ENDS.get(after.status)
    if trigger is not None:
        subject, message = run_subject(after.run_id), told_of_end(after)
        fire_all(plan, [NewAlert(rule, subject, message) for rule in place.rules(trigger)], plan.now_of(after))


def on_spent(plan: Plan, moved: list[Moved], after: RunRow, _event: Event) -> None:
    """A run that has come to cost as much as a rule allows; and what was spent, for those who add it up."""
    moved = [one for one in moved if one.nanos]
    if not moved or not plan.alerts.rules(after.org):
        return
    place = RunPlace(plan, after)
    for one in moved:
        of_agent = place if one.agent == place.agent else RunPlace(plan, after, one.agent)
        for rule in of_agent.rules(_BURN_RATE):
            _count_spent(plan, rule, one)
    cost_nanos = after.usage.cost_nanos or 0
    spent_nanos = moved[0].nanos if len(moved) == 1 else summed(*[one.nanos for one in moved])
    dear = [
        rule
        for rule in place.rules(_COST_THRESHOLD)
        if crosses(cost_nanos - spent_nanos, cost_nanos, rule.config.amount_nanos or 0)
    ]
    if dear:
        subject, message = run_subject(after.run_id), told_of_cost(after)
        fire_all(plan, [NewAlert(rule, subject, message) for rule in dear], plan.now_of(after))


def _count_spent(plan: Plan, rule: AlertRule, one: Moved) -> None:
    """In the minute in which it is counted: in a later one a correction would hide as much that is spent then."""
    if one.is_in(plan.now_ms - window_ms_of(rule)):
        at_ms = plan.now_ms if one.counted_at is None else one.counted_at
        plan.alerts.count_spent(rule, at_ms // MINUTE_MS, one.nanos)


def on_budget(plan: Plan, moves: list[tuple[BudgetRow, BudgetRow]], run: RunRow) -> None:
    """Budgets of which a rule's fraction is spent now, also if that was so before and the rule kept quiet about it."""
    if not moves or not plan.alerts.rules(run.org):
        return
    of_run = BudgetRules(plan, run)
    if not of_run.fractions:
        return
    wanted = Wanted(plan, run.agent or NOBODY)
    for before, after in moves:
        count = of_run.reached(after)
        if count and not plan.alerts.has_told(after, of_run.some(count)[1]):
            wanted.take(before, after, *of_run.some(count))
    if wanted.missing:
        raise wanted.missing.as_one()
    fire_all(plan, wanted.firings, plan.now_of(run))


def limits_of_budgets(plan: Plan, rows: list[BudgetRow], run: RunRow) -> list[int]:
    """Of each of these budgets, below which sum `on_budget` has nothing to do: all rules whose fraction is reached have
    told of it, and no other's is."""
    of_run = BudgetRules(plan, run) if plan.alerts.rules(run.org) else None
    if of_run is None or not of_run.fractions:
        return [MAX_SUM] * len(rows)
    limits: list[int] = []
    for row in rows:
        count = of_run.reached(row)
        if count and not plan.alerts.has_told(row, of_run.some(count)[1]):
            limits.append(-MAX_SUM)
        elif count < len(of_run.fractions):
            limits.append(warn_nanos(row.amount_nanos, of_run.fractions[count]))
        else:
            limits.append(MAX_SUM)
    return limits


class BudgetRules:
    """The rules about budgets that are about a run."""

    def __init__(self, plan: Plan, run: RunRow) -> None:
        """By their fractions, the least first."""
        self._rules = sorted(RunPlace(plan, run).rules(AlertTrigger.BUDGET), key=_fraction)
        self._some: dict[int, tuple[tuple[AlertRule, ...], int]] = {}
        self.fractions = [_fraction(rule) for rule in self._rules]

    def reached(self, row: BudgetRow) -> int:
        """Of how many of them a budget has reached the fraction: of the first ones."""
        if row.spent_nanos < warn_nanos(row.amount_nanos, self.fractions[0]):
            return 0
        return bisect(self.fractions, row.spent_nanos, key=partial(warn_nanos, row.amount_nanos))

    def some(self, count: int) -> tuple[tuple[AlertRule, ...], int]:
        """So many of the first of them, the oldest first; and what stands for their ids."""
        if count not in self._some:
            rules = tuple(sorted(self._rules[:count], key=attrgetter("number")))
            self._some[count] = rules, hash(tuple([rule.rule_id for rule in rules]))
        return self._some[count]


class Wanted:
    """Alerts about budgets that an event is to open."""

    def __init__(self, plan: Plan, agent: str) -> None:
        """Starts empty; `agent` reported the event."""
        self._plan = plan
        self._agent = agent
        self.firings: list[NewAlert] = []
        self.missing = Unloaded()

    def take(self, before: BudgetRow, after: BudgetRow, reached: tuple[AlertRule, ...], name: int) -> None:
        """Those of a budget; `reached`: the rules whose fraction it has reached, `name` stands for them. If all have
        told of it, that is noted: nothing is looked up with the next event."""
        is_told = True
        for rule in reached:
            if len(self.firings) + len(self.missing) >= MAX_FIRED_OF_EVENT:
                return
            try:
                is_told = self._is_open(rule, before, after) and is_told
            except NotLoaded as lacking:
                self.missing.pass_over(lacking)
                is_told = False
        if is_told:
            self._plan.alerts.note_told(after, name)

    def _is_open(self, rule: AlertRule, before: BudgetRow, after: BudgetRow) -> bool:
        """Whether its alert lasts. Else it is to be opened, unless the rule kept quiet before and does so now."""
        threshold, plan = warn_nanos(after.amount_nanos, _fraction(rule)), self._plan
        is_new = crosses(before.spent_nanos, after.spent_nanos, threshold)
        if not is_new and rule.is_quiet(self._agent, plan.serving_ms):
            return False
        subject, mark = budget_subject(after.budget_id), after.period_start
        last = plan.alerts.newest(after.org, rule.rule_id, subject)
        if last is not None and last.is_open and last.mark == mark:
            return True
        self.firings.append(NewAlert(rule, subject, after.told_now(), mark))
        return False


def _fraction(rule: AlertRule) -> float:
    """Of a budget's amount that is spent when the rule tells."""
    return 1.0 if rule.config.fraction is None else rule.config.fraction


def on_call(plan: Plan, run_state: RunState, event: Event) -> None:
    """A tool call, of which the run may have made too many of the same kind."""
    rules = plan.alerts.rules(event.org)
    if rules.index(AlertTrigger.LOOP) is None or event.late or event.facts.by_other:
        return
    run = event.run
    calls = (calls_before(plan, run, is_new=run_state.before is None) + _digest(event))[-MAX_CALLS * CALL_BYTES :]
    plan.alerts.calls[run] = calls
    row = plan.run_by_number(run)
    if row is None:
        return
    made, begins = split_calls(calls), dict[int | None, bool]()
    firings: list[NewAlert] = []
    for rule in RunPlace(plan, row).rules(AlertTrigger.LOOP):
        times = rule.config.times
        if times not in begins:
            begins[times] = begins_loop(made, times)
        if begins[times]:
            firings.append(NewAlert(rule, run_subject(row.run_id), told_of_loop(row, event.facts.tool, times)))
    fire_all(plan, firings, row)


def calls_before(plan: Plan, run: int, *, is_new: bool) -> bytes:
    """The digests of what a run has called last. Raises NotLoaded."""
    calls = plan.alerts.calls_of(run, is_new=is_new)
    return b"".join(map(_digest, plan.alerts.stored_calls(run))) if calls is None else calls


def _digest(call: Event) -> bytes:
    return call_digest(call.facts.tool, arguments_of(call.data))
