"""What one group of commands changes of rules, alerts and deliveries: a part of its plan, which answers as it does.

Of what it is asked for it knows what was loaded and what it has changed itself; for the rest it raises `NotLoaded`.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog

from towerlog.engine.load.cache import OrgRows
from towerlog.engine.load.rows import Known
from towerlog.model.alert import AlertRow, AlertRule, AlertTrigger, WindowCount
from towerlog.model.budget import BudgetRow
from towerlog.model.delivery import Attempt, Delivery, DeliveryBody, DeliveryState, OutboxCounts
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.model.usage import summed
from towerlog.projections.scopes.rules import RuleSet
from towerlog.store.columns.questions.parents import names_of
from towerlog.store.values import Changes, Kind

MAX_PENDING_DELIVERIES = 50_000
"""Of an organisation: of more messages each is given up at once, and can be sent anew by hand. While some wait to be
written as well, further ones are not kept at all; their alert says how many those are."""
MAX_PLAN_NOTICES = 128
"""Alerts and deliveries of a commit, but for those of the event that goes beyond them: the rest is for a later one."""
MAX_MESSAGES_OF_COMMIT = 256
"""Deliveries that one commit writes for an organisation: each event has room for half as many at least. Whoever waits
to write waits for all of them. Those beyond are written by later commits, see `fan_out`."""
_NOTHING_COUNTED = WindowCount()
GIVEN_UP = f"more than {MAX_PENDING_DELIVERIES} messages wait"

log = structlog.get_logger("towerlog.alerts")


class AlertChanges:
    """The changes of one group, growing."""

    def __init__(self, known: Known, changes: Changes) -> None:
        """`changes`: the plan's, in which they are written."""
        self._known = known
        self._cache = known.cache
        self._changes = changes
        self._rules: OrgRows[RuleSet] = OrgRows(known, Kind.ALERT_RULES, self._cache.alert_rules)
        self._newest: dict[tuple[int, str, str], AlertRow] = {}
        self._waiting: dict[int, OutboxCounts] = {}
        """Organisation → messages that wait, with this group's."""
        self._put: Counter[int] = Counter()
        """Organisation → deliveries that this group writes for it,"""
        self._fired: Counter[int] = Counter()
        """its alerts that this group opens or changes,"""
        self._not_sent: Counter[int] = Counter()
        """and messages that are not kept, since too many wait."""
        self._told: dict[tuple[int, str], tuple[int, int] | None] = {}
        self._moves_loops = False
        """Some rule that watches for loops has changed."""
        self.version = 0
        """Rises with each change of rules, and of what they have told of budgets."""
        self._children: dict[tuple[int, str], list[int]] = {}
        self.calls: dict[int, bytes] = {}
        """Run → the digests of what it has called last, with this group's calls."""

    def rules(self, org: int) -> RuleSet:
        """The organisation's rules, as this group has left them; most have none."""
        return self._rules.of(org)

    def rule(self, org: int, rule_id: str) -> AlertRule | None:
        """Rule with this id, or None."""
        return self.rules(org).get(rule_id)

    def put_rule(self, rule: AlertRule) -> None:
        """Changes a rule, or adds it at the end."""
        self._keep_rule(rule, rule)

    def drop_rule(self, rule: AlertRule) -> None:
        """Deletes a rule."""
        self._keep_rule(rule, None)

    def _keep_rule(self, of: AlertRule, rule: AlertRule | None) -> None:
        self._moves_loops = self._moves_loops or of.trigger is AlertTrigger.LOOP
        self.version += 1
        self._rules.put(of.org, of.rule_id, rule)
        self._changes.alert_rules[of.org, of.rule_id] = rule

    def newest(self, org: int, rule_id: str, subject: str, *, is_new: bool = False) -> AlertRow | None:
        """The last alert of a rule about a subject; `is_new`: the subject has begun in this group."""
        key = (org, rule_id, subject)
        found = self._newest.get(key) or self._cache.alerts.get(key)
        if found is not None or is_new:
            return found
        stored: AlertRow | None = self._known.get(Kind.ALERT, key)
        if stored is not None:  # the next group need not look it up again
            self._newest[key] = stored
        return stored

    def by_id(self, org: int, alert_id: str) -> AlertRow | None:
        """An alert, with this group's changes."""
        found = self._changes.alerts.get((org, alert_id))
        if found is not None:
            return found
        stored: AlertRow | None = self._known.get(Kind.ALERT_ID, (org, alert_id))
        return stored

    def put(self, alert: AlertRow) -> None:
        """Adds an alert, or changes one. It notes how far the log is: whoever comes back has to be told of it."""
        org = alert.org
        counters = self._changes.counters.get(org) or self._cache.counters.get(org)
        counters = counters or self._known.get(Kind.COUNTERS, org)
        alert = msgspec.structs.replace(alert, position=counters.position)
        key = (alert.org, alert.rule_id, alert.subject)
        before = self._newest.get(key)
        if before is None or before.episode <= alert.episode:
            self._newest[key] = alert
        self._fired[org] += (org, alert.alert_id) not in self._changes.alerts
        self._changes.alerts[org, alert.alert_id] = alert
        if alert.trigger is AlertTrigger.BUDGET:
            self._told[org, alert.subject.partition(":")[2]] = None
            self.version += 1

    def has_told(self, budget: BudgetRow, rules: int) -> bool:
        """Whether some rules have told of a budget's present period, and all that still lasts. `rules`: what stands for
        their ids."""
        key = (budget.org, budget.budget_id)
        known = self._told[key] if key in self._told else self._cache.budgets_told.get(key)
        return known == (budget.period_start, rules)

    def note_told(self, budget: BudgetRow, rules: int) -> None:
        """They have."""
        self._told[budget.org, budget.budget_id] = budget.period_start, rules

    def delivery(self, org: int, delivery_id: str) -> Delivery | None:
        """A delivery, with this group's changes."""
        found = self._changes.deliveries.get((org, delivery_id))
        if found is not None:
            return found
        stored: Delivery | None = self._known.get(Kind.DELIVERY, (org, delivery_id))
        return stored

    def room(self, org: int, wanted: int) -> int:
        """How many of so many deliveries this group may still write for the organisation; they are taken."""
        found = max(0, min(wanted, MAX_MESSAGES_OF_COMMIT - self._put[org]))
        self._put[org] += found
        return found

    def unwritten(self, org: int) -> int:
        """How many messages wait to be written as deliveries: what is told now comes behind them."""
        return self._counts(org).unwritten

    def refuses(self, org: int, messages: int) -> bool:
        """Whether so many messages are not kept, since too many wait; they are counted."""
        counts = self._counts(org)
        is_full = bool(counts.unwritten) and sum(counts) >= MAX_PENDING_DELIVERIES
        self._not_sent[org] += messages if is_full else 0
        return is_full

    def put_body(self, body: DeliveryBody, before: DeliveryBody | None = None) -> None:
        """What messages tell: kept once, with what is still to be written of them. `before`: as it was stored."""
        more = len(body.unwritten) - (0 if before is None else len(before.unwritten))
        if more:
            counts = self._counts(body.org)
            self._waiting[body.org] = counts._replace(unwritten=counts.unwritten + more)
        self._changes.delivery_bodies[body.org, body.body_id] = body

    def add_delivery(self, delivery: Delivery, now_ms: int) -> None:
        """Puts a message into the outbox, for which there was `room`; where too many wait it is given up."""
        counts = self._counts(delivery.org)
        if delivery.state is DeliveryState.PENDING and counts.pending >= MAX_PENDING_DELIVERIES:
            given_up = (Attempt(now_ms, 0, words=GIVEN_UP),)
            delivery = msgspec.structs.replace(
                delivery, state=DeliveryState.FAILED, due_at=None, ended_at=now_ms, attempts=given_up
            )
        if delivery.state is DeliveryState.PENDING:
            self._waiting[delivery.org] = counts._replace(pending=counts.pending + 1)
        self._changes.deliveries[delivery.org, delivery.delivery_id] = delivery

    def current(self, stored: Delivery) -> Delivery:
        """A delivery that was loaded for this group, as the group has left it so far."""
        return self._changes.deliveries.get((stored.org, stored.delivery_id), stored)

    def put_delivery(self, stored: Delivery, after: Delivery) -> None:
        """Changes a delivery. Several commands of a group may: what waits is counted from what the last has left."""
        before = self.current(stored)
        waits = (after.state is DeliveryState.PENDING) - (before.state is DeliveryState.PENDING)
        if waits:
            counts = self._counts(after.org)
            self._waiting[after.org] = counts._replace(pending=counts.pending + waits)
        self._changes.deliveries[after.org, after.delivery_id] = after

    def _counts(self, org: int) -> OutboxCounts:
        found = self._waiting.get(org) or self._cache.outbox_counts.get(org)
        if found is None:  # the next group need not count them again
            found = self._waiting[org] = self._known.get(Kind.OUTBOX_COUNTS, org) or OutboxCounts()
        return found

    def calls_of(self, run: int, *, is_new: bool) -> bytes | None:
        """The digests of what a run has called last; None where only its events tell (`stored_calls`)."""
        found = self.calls.get(run)
        if found is None:
            found = self._cache.calls.get(run)
        return b"" if found is None and is_new else found

    def note_child(self, row: RunRow) -> None:
        """A run has got its parent in this group."""
        self._children.setdefault((row.org, row.parent_key or ""), []).append(row.run)

    def children_of(self, row: RunRow) -> list[int]:
        """Numbers of the runs that have got it as their parent in this group, by whichever name."""
        return [run for name in names_of(row) for run in self._children.get((row.org, name), ())]

    def stored_calls(self, run: int) -> list[Event]:
        """The last tool calls of a run that are stored, oldest first."""
        found: list[Event] = self._known.get(Kind.TOOL_CALLS, run) or []
        return found

    def count(self, rule: AlertRule, minute: int, more: WindowCount) -> None:
        """Counts something in a rule's window, in a minute since the epoch."""
        key = (rule.org, rule.rule_id, minute)
        counted = self._changes.alert_windows.get(key)
        self._changes.alert_windows[key] = more if counted is None else counted.plus(more)

    def count_spent(self, rule: AlertRule, minute: int, nanos: int) -> None:
        """The same of money, which is counted with each call."""
        windows, key = self._changes.alert_windows, (rule.org, rule.rule_id, minute)
        runs, failed, spent_nanos = windows.get(key, _NOTHING_COUNTED)
        windows[key] = WindowCount(runs, failed, summed(spent_nanos, nanos))

    def work(self) -> dict[int, int]:
        """Organisation → how many rows this group writes of its alerts and messages."""
        return dict(self._put + self._fired + Counter(org for org, _ in self._changes.delivery_bodies))

    def is_full(self) -> bool:
        """Whether one commit has enough to write of them."""
        return len(self._changes.deliveries) + len(self._changes.alerts) >= MAX_PLAN_NOTICES

    def keep(self) -> None:
        """The changes are on disk: the cache may know them."""
        cache = self._cache
        self._rules.keep()
        for org, count in self._not_sent.items():
            if count:
                log.warning("messages_not_sent", org=org, messages=count, bound=MAX_PENDING_DELIVERIES)
        cache.alerts.put_all(self._newest.items())
        cache.outbox_counts.update(self._waiting)
        cache.budgets_told.update(self._told)
        if self._moves_loops:
            # What was called while no rule watched is in the events alone.
            cache.calls.clear()
        else:
            cache.calls.put_all(self.calls.items())
