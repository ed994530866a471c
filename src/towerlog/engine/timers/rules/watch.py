"""Alerts by time: what opens although nothing happens, what is over, and of what people are told again.

Once a second each rule of this kind is looked at, by the readers: so many of its open alerts, so many runs that it may
be about. Of an organisation with much to look at, the next second goes on with the rules that are left. Only what is
found is committed, and held once more against the rows of that commit.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from towerlog.ambient import ServingTime
from towerlog.engine.alerts.answer_links import asked_by, needs_of_asking
from towerlog.engine.alerts.busy import Busy
from towerlog.engine.alerts.conditions import Holds, Look, is_over, of_budget, of_run
from towerlog.engine.alerts.firing import NOBODY, fire, recover, tell
from towerlog.engine.alerts.scope import covers, has_label, holds_budget, in_scope
from towerlog.engine.alerts.words import told_of_window, window_ms_of, window_state
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep, one_by_one
from towerlog.engine.timers.rules.kept_quiet import KeptQuiet, QuietSubject
from towerlog.engine.timers.rules.turns import RuleTurns
from towerlog.engine.timers.rules.workers import Workers
from towerlog.errors import Overloaded, StorageFailed
from towerlog.model.alert import (
    ABOUT_NO_RUN,
    BY_TIME,
    MINUTE_MS,
    RULE_SUBJECT,
    AlertRow,
    AlertRule,
    AlertState,
    AlertTrigger,
    WindowCount,
    budget_subject,
    run_subject,
)
from towerlog.model.budget import MAX_BUDGETS
from towerlog.model.delivery import NoticeKind
from towerlog.model.lane import Lane
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.projections.budgets import current
from towerlog.store.base import Store, Unit
from towerlog.store.values import Kind

ROWS_AT_ONCE = 200
"""Runs, and open alerts, of a rule that one look takes; the next one goes on after them."""
TREE_ROWS = 500
"""Runs of a tree that are read to tell which others are in it; of a larger one the writer tells."""
HELD_ROWS = 1000
"""Lanes that workers hold, the oldest, that are looked at for a worker that serves a lane which waits."""
_STATUS = {AlertTrigger.WAITING_TOO_LONG: Status.WAITING, AlertTrigger.STALLED: Status.RUNNING}
_replace = msgspec.structs.replace

log = structlog.get_logger("towerlog.alerts")


class _What(enum.Enum):
    FIRES = "fires"
    IS_OVER = "is over"
    REMINDS = "reminds"


class _Verdict(NamedTuple):
    """What a look has found of a subject."""

    what: _What
    run: int | None
    alert: AlertRow | None = None
    budget_id: str | None = None
    """Of a budget that is used up."""
    taken: QuietSubject | None = None
    """Of a run that it fires about, or is kept quiet about."""


class WatchedRules:
    """Looks at every rule that goes by time."""

    def __init__(
        self, store: Store, serving: ServingTime, upkeep: Upkeep, workers: Workers, *, has_links: bool = False
    ) -> None:
        """`upkeep` commits between two groups. `has_links`: messages about what waits for a person carry a link that
        answers it."""
        self._has_links = has_links
        self._store = store
        self._serving = serving
        self._upkeep = upkeep
        self._workers = workers
        self._turns = RuleTurns(store, serving.clock.steady_ms)
        self._busy = Busy((), 0)  # in the organisation that is looked at
        self._kept_quiet = KeptQuiet(serving)
        self._places: dict[tuple[int, str, str], int | None] = {}
        """(org, rule id, what is looked at) → number of the last row that was; those of rules that are there."""

    async def sweep(self) -> None:
        """One turn of each organisation that has some."""
        known = await self._turns.round(self._guarded)
        self._places = {
            (org, rule_id, what): place
            for (org, rule_id, what), place in self._places.items()
            if place is not None and rule_id in known.get(org, ())
        }
        self._kept_quiet.keep(known)

    async def _guarded(self, rule: AlertRule) -> None:
        """What fails for one rule keeps no other from being looked at."""
        try:
            await self._look(rule)
        except (StorageFailed, Overloaded):
            raise
        except Exception:
            log.exception("rule_failed", rule_id=rule.rule_id)

    def _look_now(self) -> Look:
        now = self._serving.now()
        return Look(self._serving, self._workers, now.wall_ms, now.serving_ms, self._busy)

    async def _look(self, rule: AlertRule) -> None:
        opened = await self._opened(rule)
        if rule.trigger in ABOUT_NO_RUN:
            await self._look_at_window(rule, is_open=bool(opened))
        if rule.trigger is AlertTrigger.UNSERVED:
            self._busy = Busy(await self._store.lanes_held(rule.org, HELD_ROWS), self._serving.now().serving_ms)
        found = await self._judged_all(rule, opened)
        if rule.enabled and rule.trigger in BY_TIME:
            found += await self._due(rule)
        elif rule.enabled and rule.trigger is AlertTrigger.BUDGET:
            found += await self._due_budgets(rule)
        if not found:
            return

        async def find(_unit: Unit, _heard_ms: int) -> list[_Verdict]:
            return found

        def place(plan: Plan, verdicts: list[_Verdict]) -> Steps[None]:
            yield from one_by_one(plan, verdicts, lambda plan, one: self._act(plan, rule, one))

        await self._upkeep(find, lambda needs, verdicts: _needs(needs, rule, verdicts), place)
        self._kept_quiet.note(rule, [one.taken for one in found if one.taken is not None])

    async def _opened(self, rule: AlertRule) -> list[AlertRow]:
        """Some of its open alerts, in turn."""
        key = (rule.org, rule.rule_id, "open")
        page = await self._store.alerts_open_of(rule.org, rule.rule_id, self._places.get(key), ROWS_AT_ONCE)
        self._places[key] = page[-1].number if len(page) == ROWS_AT_ONCE else None
        return page

    async def _judged_all(self, rule: AlertRule, opened: list[AlertRow]) -> list[_Verdict]:
        """What is to be done about open alerts, as the readers see it. All of their runs are read at once."""
        runs = [alert.run for alert in opened if alert.run is not None] if rule.trigger in BY_TIME else []
        rows = await self._store.runs_by_number(rule.org, runs) if runs else {}
        lanes = await self._lanes_of(rule.org, rows.values())
        judged = [await self._judged(rule, alert, rows, lanes) for alert in opened]
        return [one for one in judged if one is not None]

    async def _lanes_of(self, org: int, rows: Iterable[RunRow]) -> dict[int, Lane]:
        """Run number → its lane, of those that have one."""
        with_lane = [row.run for row in rows if row.has_lane]
        return {one.run: one for one in await self._store.lanes_of(org, with_lane)} if with_lane else {}

    async def _judged(
        self, rule: AlertRule, alert: AlertRow, rows: Mapping[int, RunRow], lanes: Mapping[int, Lane]
    ) -> _Verdict | None:
        look = self._look_now()
        if rule.trigger in BY_TIME:
            row = rows.get(alert.run or 0)
            if is_over(rule, alert, row, lanes.get(alert.run or 0), look):
                return _Verdict(_What.IS_OVER, alert.run, alert)
        elif rule.trigger is AlertTrigger.BUDGET:
            budget = await self._store.budget(alert.org, alert.subject.partition(":")[2])
            if not of_budget(rule, budget, look.wall_ms):
                return _Verdict(_What.IS_OVER, None, alert)
        return (
            _Verdict(_What.REMINDS, alert.run if rule.trigger in BY_TIME else None, alert)
            if self._reminds(rule, alert, look.wall_ms)
            else None
        )

    async def _due(self, rule: AlertRule) -> list[_Verdict]:
        """Runs that it is to open an alert about, as the readers see them; and those that its cool-down keeps quiet,
        which are counted once."""
        look = self._look_now()
        self._kept_quiet.look_at(rule, look.serving_ms)
        held: dict[str, tuple[RunRow, Holds]] = {}
        for row, lane in await self._in_scope(rule, await self._candidates(rule, look)):
            holds = of_run(rule, row, lane, look)
            if holds is None:
                continue
            one = QuietSubject(row.agent or NOBODY, run_subject(row.run_id), holds.mark)
            is_quiet = rule.is_quiet(one.agent, look.serving_ms)
            if not is_quiet or not self._kept_quiet.is_counted(rule, one, holds):
                held[one.subject] = (row, holds)
        if not held:
            return []
        known = await self._store.alerts_newest(rule.org, rule.rule_id, list(held))
        return [
            _Verdict(_What.FIRES, row.run, taken=QuietSubject(row.agent or NOBODY, subject, holds.mark))
            for subject, (row, holds) in held.items()
            if (last := known.get(subject)) is None or not last.is_open or not last.is_of(holds.mark)
        ]

    async def _in_scope(
        self, rule: AlertRule, found: Sequence[tuple[RunRow, Lane | None]]
    ) -> list[tuple[RunRow, Lane | None]]:
        """Those that the rule is about: what a reader can tell is no work for the writer."""
        scope = rule.scope
        left = [(row, lane) for row, lane in found if covers(scope, row)]
        if scope.label is not None and left:
            lanes = await self._lanes_of(rule.org, [row for row, _ in left])
            left = [(row, lane) for row, lane in left if has_label(row, lane or lanes.get(row.run), scope.label)]
        if scope.run_id is not None and left:
            top = await self._store.run(rule.org, scope.run_id)
            below = [] if top is None else await self._store.run_descendants(rule.org, top, TREE_ROWS)
            # Of a tree that is too large to be read whole, the writer tells.
            if len(below) < TREE_ROWS:
                tree = {scope.run_id, *(row.run_id for row in below)}
                left = [(row, lane) for row, lane in left if row.run_id in tree]
        return left

    async def _due_budgets(self, rule: AlertRule) -> list[_Verdict]:
        """Budgets that it is to open an alert about although nothing was spent just now: one that was used up while the
        rule kept quiet, or before the rule was there, and one that was made smaller."""
        now_ms, serving_ms = self._serving.now()
        if rule.keeps_quiet(serving_ms):
            return []
        budgets = await self._store.budgets(rule.org, MAX_BUDGETS, None)
        held = {
            budget_subject(one.budget_id): current(one, now_ms)
            for one in budgets
            if holds_budget(rule.scope, one.scope) and of_budget(rule, one, now_ms)
        }
        known = await self._store.alerts_newest(rule.org, rule.rule_id, list(held)) if held else {}
        return [
            _Verdict(_What.FIRES, None, budget_id=row.budget_id)
            for subject, row in held.items()
            if (last := known.get(subject)) is None or not last.is_open or last.mark != row.period_start
        ]

    async def _candidates(self, rule: AlertRule, look: Look) -> Sequence[tuple[RunRow, Lane | None]]:
        """Some of the runs that it may be about, in turn."""
        key = (rule.org, rule.rule_id, "runs")
        status = _STATUS.get(rule.trigger)
        if status is not None:
            wanted = RunFilter(statuses=(status,), agent=rule.scope.agent, thread_id=rule.scope.thread_id)
            rows = await self._store.runs(rule.org, wanted, ROWS_AT_ONCE, self._places.get(key))
            self._places[key] = rows[-1].run if len(rows) == ROWS_AT_ONCE or rows.cut else None
            return [(row, None) for row in rows]
        lanes = await self._store.lanes_queued(rule.org, self._places.get(key) or 0, ROWS_AT_ONCE)
        self._places[key] = lanes[-1].queue_position if len(lanes) == ROWS_AT_ONCE else None
        wait_ms = rule.config.wait_ms or 0
        late = {lane.run: lane for lane in lanes if look.serving_ms - lane.queued_at >= wait_ms}
        found = await self._store.runs_by_number(rule.org, list(late)) if late else {}
        return [(row, late[run]) for run, row in found.items()]

    def _act(self, plan: Plan, rule: AlertRule, verdict: _Verdict) -> Steps[None]:
        """The same once more, by the rows of this commit."""
        now = plan.alerts.rule(rule.org, rule.rule_id)
        if now is not None:
            if verdict.budget_id is not None:
                _fire_budget(plan, now, verdict.budget_id)
            elif verdict.what is _What.FIRES:
                self._fire(plan, now, verdict.run or 0)
            elif verdict.alert is not None:
                alert = plan.alerts.by_id(rule.org, verdict.alert.alert_id)
                if alert is not None and alert.is_open:
                    self._end_or_remind(plan, now, alert)
        yield

    def _fire(self, plan: Plan, rule: AlertRule, run: int) -> None:
        row = plan.run_by_number(run)
        holds = None if row is None else self._holds(plan, rule, row)
        if row is not None and holds is not None and rule.enabled and in_scope(plan, rule, row):
            asks = asked_by(plan, rule, row)
            subject, with_link = run_subject(row.run_id), self._has_links
            fire(plan, rule, subject, holds.message, run=row, mark=holds.mark, asks=asks, with_link=with_link)

    def _holds(self, plan: Plan, rule: AlertRule, row: RunRow) -> Holds | None:
        lane = plan.lane(row.run) if row.has_lane else None
        return of_run(rule, row, lane, self._look_now())

    def _end_or_remind(self, plan: Plan, rule: AlertRule, alert: AlertRow) -> None:
        row = plan.run_by_number(alert.run) if rule.trigger in BY_TIME and alert.run is not None else None
        if rule.trigger in BY_TIME:
            lane = plan.lane(row.run) if row is not None and row.has_lane else None
            has_passed = is_over(rule, alert, row, lane, self._look_now())
        elif rule.trigger is AlertTrigger.BUDGET:
            has_passed = not of_budget(rule, plan.budgets.get(rule.org, alert.subject.partition(":")[2]), plan.now_ms)
        else:
            has_passed = False
        if has_passed:
            recover(plan, alert)
        elif self._reminds(rule, alert, plan.now_ms):
            asks = None if row is None else asked_by(plan, rule, row)
            alert = _replace(alert, told_at=plan.now_ms, approval_id=None if asks is None else asks.approval_id)
            plan.alerts.put(alert)
            tell(plan, rule, alert, NoticeKind.REPEATED, with_link=self._has_links)

    def _reminds(self, rule: AlertRule, alert: AlertRow, now_ms: int) -> bool:
        """Whether people are to be told again of an open alert now (wall ms)."""
        is_seen = alert.acknowledged_at is not None or alert.is_muted(now_ms)
        if not rule.renotify_ms or not rule.enabled or is_seen:
            return False
        return self._serving.since_ms(alert.told_at) >= rule.renotify_ms

    # Rules that add up

    async def _look_at_window(self, rule: AlertRule, *, is_open: bool) -> None:
        now_ms, serving_ms = self._serving.now()
        since = (now_ms - window_ms_of(rule)) // MINUTE_MS
        counted = await self._store.alert_window(rule.org, rule.rule_id, since)
        state = window_state(rule, counted)
        # It was quiet when the alert was to begin, and the cool-down is over: it is to begin now.
        is_due = state is AlertState.ALERT and not is_open and not rule.is_quiet(rule.scope.agent or NOBODY, serving_ms)
        if not rule.enabled or (state is rule.window_state and not is_due):
            return

        async def find(unit: Unit, _heard_ms: int) -> WindowCount:
            return await unit.alert_window(rule.org, rule.rule_id, since)

        await self._upkeep(
            find, lambda needs, _: _needs_of_window(needs, rule), lambda plan, counted: _settle(plan, rule, counted)
        )


def _needs(needs: Needs, rule: AlertRule, verdicts: list[_Verdict]) -> Steps[None]:
    needs.counters(rule.org)
    needs.want(Kind.OUTBOX_COUNTS, rule.org)
    for one in verdicts:
        row = None if one.run is None else needs.run_by_number(one.run)
        if row is not None:
            needs.moves(row)
            needs_of_asking(needs, rule, row)
            needs.want(Kind.ALERT, (rule.org, rule.rule_id, run_subject(row.run_id)))
        if one.budget_id is not None:
            needs.want(Kind.ALERT, (rule.org, rule.rule_id, budget_subject(one.budget_id)))
        if one.alert is not None:
            needs.want(Kind.ALERT_ID, (rule.org, one.alert.alert_id))
        yield


def _needs_of_window(needs: Needs, rule: AlertRule) -> None:
    needs.counters(rule.org)
    needs.want(Kind.OUTBOX_COUNTS, rule.org)
    needs.want(Kind.ALERT, (rule.org, rule.rule_id, RULE_SUBJECT))


def _settle(plan: Plan, rule: AlertRule, counted: WindowCount) -> Steps[None]:
    """The rule in its new state, with the alert that begins or ends by it."""
    now = plan.alerts.rule(rule.org, rule.rule_id)
    state = window_state(rule, counted)
    yield
    if now is None or not now.enabled:
        return
    is_new = state is not now.window_state
    if is_new:
        now = _replace(now, window_state=state)
        plan.alerts.put_rule(now)
    last = plan.alerts.newest(rule.org, rule.rule_id, RULE_SUBJECT)
    if state is AlertState.ALERT:
        # What its cool-down keeps quiet is counted once, and not at each look.
        if is_new or not now.is_quiet(now.scope.agent or NOBODY, plan.serving_ms):
            fire(plan, now, RULE_SUBJECT, told_of_window(now, counted), agent=now.scope.agent)
    elif last is not None and last.is_open:
        recover(plan, last)


def _fire_budget(plan: Plan, rule: AlertRule, budget_id: str) -> None:
    row = plan.budgets.get(rule.org, budget_id)
    if row is None or not of_budget(rule, row, plan.now_ms) or not rule.enabled or rule.keeps_quiet(plan.serving_ms):
        return
    row = current(row, plan.now_ms)
    fire(plan, rule, budget_subject(budget_id), row.told_now(), agent=row.scope.agent, mark=row.period_start)
