"""Runs that come into a rule's scope after something has happened: `standing` says what a rule makes of them.

A run comes into a scope by an event of its own, which tells its thread, its parent, its labels or its agent; and by an
event of a run above it, which tells where that stands. What is in scope as before costs nothing here.
"""

from __future__ import annotations

from functools import partial

from towerlog.engine.alerts.firing import NOBODY, NewAlert, fire_all
from towerlog.engine.alerts.reactions import MAX_FIRED_OF_EVENT, calls_before
from towerlog.engine.alerts.scope import RunPlace
from towerlog.engine.alerts.standing import as_it_stands, counted_of_end, is_of_event
from towerlog.engine.load.misses import Unloaded
from towerlog.engine.load.own_runs import run_ids_above
from towerlog.engine.load.rows import parent_of
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import AlertRule, AlertTrigger, budget_subject, run_subject
from towerlog.model.budget import warn_nanos
from towerlog.model.event import Event, NamedRun
from towerlog.model.facts import Moved
from towerlog.model.run import RunRow
from towerlog.projections.budgets import current
from towerlog.projections.scopes.rules import RuleSet
from towerlog.store.lookup_keys import Family
from towerlog.store.values import Kind

JUDGED = (
    AlertTrigger.COST_THRESHOLD,
    AlertTrigger.ERROR,
    AlertTrigger.LOST,
    AlertTrigger.LOOP,
    AlertTrigger.FAILURE_RATE,
    AlertTrigger.BUDGET,
)
"""What is told by events. What goes by time looks at runs as they are in any case. What a run has spent in a window is
in its log alone, so `burn_rate` counts what is spent in scope."""


def on_parent(plan: Plan, _before: RunRow | None, after: RunRow, _event: Event) -> None:
    """A run has got its parent, which may come after it in this group."""
    if plan.alerts.rules(after.org):
        plan.alerts.note_child(after)


def on_place(plan: Plan, before: RunRow | None, after: RunRow, moved: list[Moved]) -> None:
    """A run stands elsewhere: it is judged by the rules that are about it by now, and so are those below it."""
    rules = plan.alerts.rules(after.org)
    watched = [trigger for trigger in JUDGED if rules.in_places(trigger)] if rules else []
    if not watched:
        return
    missing = Unloaded()
    pieces = [] if before is None else [partial(_judge_itself, plan, watched, before, after, moved)]
    for piece in (*pieces, partial(_judge_below, plan, rules, watched, before, after)):
        try:
            piece()
        except Exception as error:
            if not missing.pass_over(error):
                raise
    if missing:
        raise missing.as_one()


def _judge_itself(plan: Plan, watched: list[AlertTrigger], before: RunRow, after: RunRow, moved: list[Moved]) -> None:
    was, now = RunPlace(plan, before), RunPlace(plan, after)
    entered = [rule for trigger in watched for rule in now.rules(trigger) if not was.is_in(rule.scope)]
    _judge(plan, [rule for rule in entered if not is_of_event(rule, before, after, moved)], after)


def _judge_below(plan: Plan, rules: RuleSet, watched: list[AlertTrigger], before: RunRow | None, after: RunRow) -> None:
    """Runs that were told of before the run above them has got its parent come into the trees that it is in now."""
    is_moved = before is None or (before.parent_key, before.thread_id) != (after.parent_key, after.thread_id)
    if not is_moved or not any(rules.in_trees(trigger) for trigger in watched):
        return
    joined = RunPlace(plan, after).above - {after.run_id}
    if before is not None:
        joined -= RunPlace(plan, before).above
    of_trees = rules.of_trees(watched, joined)
    if not of_trees:
        return
    missing = Unloaded()
    for row in _below(plan, after):
        try:
            place = RunPlace(plan, row)
            _judge(plan, [rule for rule in of_trees if place.is_in(rule.scope)], row)
        except Exception as error:
            if not missing.pass_over(error):
                raise
    if missing:
        raise missing.as_one()


def _below(plan: Plan, top: RunRow) -> list[RunRow]:
    """The runs below one, in the order in which they have begun: those of the store, up to MAX_FAMILY below each that
    this group has brought there, and this group's. Raises NotLoaded."""

    def find(ref: NamedRun) -> RunRow | None:
        return plan.run(top.org, ref)

    found: dict[int, RunRow] = {}
    ahead, asked = [top], {top.run}
    while ahead:
        one = ahead.pop()
        linked = plan.alerts.children_of(one)
        stored = [] if one.run not in asked else plan.loaded(Kind.FAMILY, Family(parent_of(one), True, True)) or []
        asked.update(linked)
        for row in (*stored, *[plan.run_by_number(number) for number in linked]):
            if row is not None and row.run != top.run and row.run not in found:
                found[row.run] = plan.now_of(row)
                ahead.append(found[row.run])
    return [row for _, row in sorted(found.items()) if top.run_id in run_ids_above(row, find)]


def _judge(plan: Plan, entered: list[AlertRule], row: RunRow) -> None:
    """By the rules whose scope it has come into."""
    subject, is_new = run_subject(row.run_id), plan.is_new(row.run)
    firings: list[NewAlert] = []
    for rule in entered:
        if rule.trigger is AlertTrigger.FAILURE_RATE:
            counted = counted_of_end(rule, row, plan.now_ms)
            if counted is not None:
                plan.alerts.count(rule, *counted)
        elif rule.trigger is AlertTrigger.BUDGET:
            firings += _of_budgets(plan, rule, row)
        else:
            message = as_it_stands(rule, row, partial(calls_before, plan, row.run, is_new=is_new))
            if message is not None:
                firings.append(NewAlert(rule, subject, message))
    if firings:
        fire_all(plan, firings[:MAX_FIRED_OF_EVENT], plan.now_of(row))


def _of_budgets(plan: Plan, rule: AlertRule, row: RunRow) -> list[NewAlert]:
    """Alerts about budgets of which a run has spent something before the rule was about it."""
    if not row.usage.cost_nanos or rule.is_quiet(row.agent or NOBODY, plan.serving_ms):
        return []
    fraction = 1.0 if rule.config.fraction is None else rule.config.fraction
    budgets = plan.budgets.of(row.org)
    about = budgets.about(row.agent, row.thread_id, RunPlace(plan, row).above if budgets.counts_trees else ())
    return [
        NewAlert(rule, budget_subject(one.budget_id), one.told_now(), one.period_start)
        for one in (current(stored, plan.now_ms) for stored in about)
        if one.spent_nanos >= warn_nanos(one.amount_nanos, fraction)
    ]
