"""When a rule would have fired over stored history: the same conditions, held against the events of the runs.

Nothing is written, and nobody is told. Of much history the newest runs are looked at, and the answer says so.
"""

from __future__ import annotations

import asyncio
import heapq

from towerlog.dialects.reading.event_members import arguments_of
from towerlog.engine.alerts.commands import check_figures
from towerlog.engine.alerts.scope import covers, has_label
from towerlog.engine.queries.context import QueryContext
from towerlog.errors import Invalid
from towerlog.model.alert import ABOUT_NO_RUN, MAX_CALLS, AlertTrigger, CreateRule, run_subject
from towerlog.model.alert_preview import (
    DEFAULT_PREVIEW_MS,
    MAX_PREVIEW_EVENTS,
    MAX_PREVIEW_FIRINGS,
    MAX_PREVIEW_RUNS,
    Firing,
    PreviewRule,
    RulePreview,
)
from towerlog.model.budget import MAX_BUDGETS, BudgetRow
from towerlog.model.event import Event
from towerlog.model.outline import Moment
from towerlog.model.principal import Principal
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.projections.alerts.firing import call_digest
from towerlog.projections.alerts.history import Happened, happened, of_budget, of_run, of_window
from towerlog.store.values import MAX_DESCENDANTS

RUNS_AT_ONCE = 200
PAGE_MOMENTS = 2000


class _Read:
    """What was read of the history."""

    def __init__(self) -> None:
        self.runs: list[tuple[RunRow, list[Moment], list[bytes]]] = []
        self.events = 0
        self.whole = True


async def answer_preview(source: QueryContext, principal: Principal, command: PreviewRule) -> RulePreview:
    """The firings of a rule. Raises Invalid for a rule that could not work, or a time that ends before it begins."""
    rule, now_ms = command.rule, source.clock.now_ms()
    check_figures(rule.trigger, rule.config, rule.act)
    until = now_ms if command.until is None else min(command.until, now_ms)
    since = until - DEFAULT_PREVIEW_MS if command.since is None else command.since
    if since >= until:
        raise Invalid("since: must be before until", field="since", details={"since": "must be before until"})
    read = await _read(source, principal.org, rule, since, until)
    budgets: list[BudgetRow] = []
    if rule.trigger is AlertTrigger.BUDGET:
        budgets = [
            one for one in await source.store.budgets(principal.org, MAX_BUDGETS, None) if one.scope.run_id is None
        ]
    fired = await asyncio.to_thread(_fired, rule, read, budgets, until)
    fired = [one for one in fired if since <= one.at <= until]
    told, suppressed = _without_cooled_down(rule, fired)
    whole = read.whole and len(told) <= MAX_PREVIEW_FIRINGS
    return RulePreview(told[-MAX_PREVIEW_FIRINGS:], suppressed, len(read.runs), read.events, whole)


async def _read(source: QueryContext, org: int, rule: CreateRule, since: int, until: int) -> _Read:
    """The runs that began in the time, newest first, each with its events."""
    found, before = _Read(), None
    tree = None if rule.scope.run_id is None else await _tree(source, org, rule.scope.run_id)
    wanted = RunFilter(agent=rule.scope.agent, thread_id=rule.scope.thread_id, since=since, until=until)
    while True:
        page = await source.store.runs(org, wanted, RUNS_AT_ONCE, before)
        for row in page:
            if not await _is_in(source, rule, row, tree):
                continue
            if len(found.runs) == MAX_PREVIEW_RUNS or found.events >= MAX_PREVIEW_EVENTS:
                found.whole = False
                return found
            moments = await _moments(source, row, MAX_PREVIEW_EVENTS - found.events)
            found.whole = found.whole and (not moments or moments[-1].seq >= row.last_seq)
            found.events += len(moments)
            calls = await _calls(source, row) if rule.trigger is AlertTrigger.LOOP else []
            found.runs.append((row, moments, calls))
        if len(page) < RUNS_AT_ONCE and not page.cut:
            return found
        before = page[-1].run


async def _tree(source: QueryContext, org: int, run_id: str) -> set[str]:
    top = await source.store.run(org, run_id)
    below = [] if top is None else await source.store.run_descendants(org, top, MAX_DESCENDANTS)
    return {run_id, *(row.run_id for row in below)}


async def _is_in(source: QueryContext, rule: CreateRule, row: RunRow, tree: set[str] | None) -> bool:
    if not covers(rule.scope, row) or (tree is not None and row.run_id not in tree):
        return False
    if rule.scope.label is None:
        return True
    return has_label(row, await source.store.lane(row.org, row.run) if row.has_lane else None, rule.scope.label)


async def _moments(source: QueryContext, row: RunRow, most: int) -> list[Moment]:
    found: list[Moment] = []
    while len(found) < most:
        limit = min(PAGE_MOMENTS, most - len(found))
        page = await source.store.moments(row.org, row.run, found[-1].seq if found else 0, limit)
        found += page
        if len(page) < limit:
            break
    return found


async def _calls(source: QueryContext, row: RunRow) -> list[bytes]:
    """Digests of its last tool calls, oldest first."""
    found: list[bytes] = []
    after = 0
    while page := await source.store.events(row.org, row.run, after, RUNS_AT_ONCE, ("tool.call",)):
        made = [one for one in page if isinstance(one, Event)]
        found += [call_digest(one.facts.tool, arguments_of(one.data)) for one in made]
        after = page[-1].seq
    return found[-MAX_CALLS:]


def _fired(rule: CreateRule, read: _Read, budgets: list[BudgetRow], until: int) -> list[Firing]:
    """All of them, by time."""
    if rule.trigger in ABOUT_NO_RUN:
        return list(of_window(rule.trigger, rule.config, _in_order(read)))
    if rule.trigger is AlertTrigger.BUDGET:
        of_each = (of_budget(one, rule.config.fraction, _in_order(read, one)) for one in budgets)
        return sorted((firing for found in of_each for firing in found), key=lambda firing: firing.at)
    found = []
    for row, moments, calls in read.runs:
        whose = row.agent or "default"
        for at, words in of_run(rule.trigger, rule.config, moments, until, calls):
            message = f"A run of agent '{whose}' {words}"
            found.append(Firing(at, run_subject(row.run_id), message, whose, row.run_id))
    return sorted(found, key=lambda firing: firing.at)


def _in_order(read: _Read, budget: BudgetRow | None = None) -> list[Happened]:
    """What was spent and what has ended, by time; `budget`: of that which this one counts."""
    scope = None if budget is None else budget.scope
    counted = [
        list(happened(moments))
        for row, moments, _ in read.runs
        if scope is None or scope.covers(row.agent, row.thread_id)
    ]
    return list(heapq.merge(*counted, key=lambda one: one.at))


def _without_cooled_down(rule: CreateRule, fired: list[Firing]) -> tuple[list[Firing], int]:
    """Those that the cool-down lets through, and how many it keeps quiet."""
    told: list[Firing] = []
    last: dict[str, int] = {}
    for one in fired:
        agent = one.agent or ""
        if rule.cooldown_ms and one.at < last.get(agent, -rule.cooldown_ms) + rule.cooldown_ms:
            continue
        last[agent] = one.at
        told.append(one)
    return told, len(fired) - len(told)
