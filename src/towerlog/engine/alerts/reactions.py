"""Alerts that hang on an event: an end, money that was spent, a tool that was called. Placed with that very event.

An event that comes again is not placed again, and so fires nothing again.
"""

from __future__ import annotations

from towerlog.dialects.reading.event_members import arguments_of
from towerlog.engine.alerts.firing import NOBODY, fire
from towerlog.engine.alerts.scope import in_scope
from towerlog.engine.alerts.words import ENDS, told_of_cost, told_of_end, told_of_loop, window_ms_of
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
from towerlog.model.usage import summed
from towerlog.projections.alerts.firing import CALL_BYTES, begins_loop, call_digest, crosses, split_calls


def on_status(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run that has failed, or was lost; and each that has ended, for those who count them."""
    if not plan.alerts.rules(after.org) or not after.is_terminal():
        return
    watched, agent = plan.alerts.watched(after.org), after.agent or "default"
    if before is None or not before.is_terminal():
        for rule in watched.about(AlertTrigger.FAILURE_RATE, agent):
            if in_scope(plan, rule, after):
                plan.alerts.count(rule, plan.now // MINUTE_MS, WindowCount(1, int(after.status in ENDS)))
    trigger = ENDS.get(after.status)
    for rule in () if trigger is None else watched.about(trigger, agent):
        if in_scope(plan, rule, after):
            fire(plan, rule, run_subject(after.run_id), told_of_end(after), run=plan.now_of(after))


def on_spent(plan: Plan, moved: list[Moved], after: RunRow, _event: Event) -> None:
    """A run that has come to cost as much as a rule allows; and what was spent, for those who add it up."""
    if not moved or not plan.alerts.rules(after.org):
        return
    watched, whose = plan.alerts.watched(after.org), after.agent or "default"
    for one in moved:
        for rule in watched.about(AlertTrigger.BURN_RATE, one.agent or whose):
            _count_spent(plan, rule, one, after)
    cost_nanos = after.usage.cost_nanos or 0
    spent_nanos = summed(*[one.nanos for one in moved])
    for rule in watched.about(AlertTrigger.COST_THRESHOLD, whose):
        amount = rule.config.amount_nanos or 0
        if crosses(cost_nanos - spent_nanos, cost_nanos, amount) and in_scope(plan, rule, after):
            fire(plan, rule, run_subject(after.run_id), told_of_cost(after), run=plan.now_of(after))


def _count_spent(plan: Plan, rule: AlertRule, one: Moved, after: RunRow) -> None:
    """In the minute in which it is counted: in a later one a correction would hide as much that is spent then."""
    since = plan.now - window_ms_of(rule)
    if one.is_in(since) and in_scope(plan, rule, after, one.agent):
        at_ms = plan.now if one.counted_at is None else one.counted_at
        plan.alerts.count(rule, at_ms // MINUTE_MS, WindowCount(spent_nanos=one.nanos))


def on_budget(plan: Plan, moves: list[tuple[BudgetRow, BudgetRow]], run: RunRow) -> None:
    """Budgets of which a rule's fraction is spent now, also if that was so before and the rule kept quiet about it."""
    if not moves or not plan.alerts.rules(run.org):
        return
    rules = plan.alerts.watched(run.org).about(AlertTrigger.BUDGET, run.agent or "default")
    for before, after in moves if rules else ():
        for rule in rules:
            fraction = 1.0 if rule.config.fraction is None else rule.config.fraction
            threshold = warn_nanos(after.amount_nanos, fraction)
            is_new = crosses(before.spent_nanos, after.spent_nanos, threshold)
            is_late = after.spent_nanos >= threshold and not rule.is_quiet(run.agent or NOBODY, plan.now)
            if (is_new or is_late) and in_scope(plan, rule, run):
                subject, mark = budget_subject(after.budget_id), after.period_start
                fire(plan, rule, subject, after.told_now(), run=plan.now_of(run), mark=mark)


def on_call(plan: Plan, run_state: RunState, event: Event) -> None:
    """A tool call, of which the run may have made too many of the same kind."""
    watched = plan.alerts.watched(event.org)
    if not watched.has(AlertTrigger.LOOP) or event.late or event.facts.by_other:
        return
    run, calls = event.run, plan.alerts.calls_of(event.run, is_new=run_state.before is None)
    if calls is None:
        calls = b"".join(map(_digest, plan.alerts.stored_calls(run)))
    calls = (calls + _digest(event))[-MAX_CALLS * CALL_BYTES :]
    plan.alerts.calls[run] = calls
    made = split_calls(calls)
    begins: dict[int | None, bool] = {}
    for rule in watched.about(AlertTrigger.LOOP, run_state.row.agent or "default"):
        times = rule.config.times
        if times not in begins:
            begins[times] = begins_loop(made, times)
        row = plan.run_by_number(run) if begins[times] else None
        if row is not None and in_scope(plan, rule, row):
            fire(plan, rule, run_subject(row.run_id), told_of_loop(row, event, times), run=row)


def _digest(call: Event) -> bytes:
    return call_digest(call.facts.tool, arguments_of(call.data))
