"""Whether a run is in the scope of a rule."""

from __future__ import annotations

import msgspec

from towerlog.engine.load.known import Needs
from towerlog.engine.load.own_runs import run_ids_above
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import AlertRule, AlertScope, AlertTrigger, run_subject
from towerlog.model.budget import BudgetScope
from towerlog.model.event import NamedRun
from towerlog.model.lane import Lane
from towerlog.model.persona import split_persona_id
from towerlog.model.run import RunRow
from towerlog.store.values import Kind

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def in_scope(plan: Plan, rule: AlertRule, row: RunRow, agent: str | None = None) -> bool:
    """Whether a rule is about this run; `agent`: about what this agent does in it, and not the run's own."""
    scope = rule.scope
    if not covers(scope, row, agent):
        return False
    if scope.label is not None:
        lane = plan.lane(row.run) if row.has_lane else None
        if not has_label(row, lane, scope.label):
            return False
    if scope.run_id is None:
        return True

    def find(ref: NamedRun) -> RunRow | None:
        return plan.run(row.org, ref)

    return scope.run_id in run_ids_above(row, find)


def holds_budget(scope: AlertScope, budget: BudgetScope) -> bool:
    """Whether a budget is about nothing that lies outside of a scope."""
    if scope.label is not None or scope.persona is not None:
        return False
    pairs = ((scope.agent, budget.agent), (scope.thread_id, budget.thread_id), (scope.run_id, budget.run_id))
    return all(mine is None or mine == its for mine, its in pairs)


def covers(scope: AlertScope, row: RunRow, agent: str | None = None) -> bool:
    """What the run's row alone can tell of it."""
    if scope.agent is not None and scope.agent != (agent or row.agent or "default"):
        return False
    if scope.thread_id is not None and scope.thread_id != row.thread_id:
        return False
    return scope.persona is None or _is_of_persona(row, scope.persona)


def _is_of_persona(row: RunRow, persona: str) -> bool:
    if row.persona_id is None:
        return False
    return persona in (row.persona_id, split_persona_id(row.persona_id)[0])


def has_label(row: RunRow, lane: Lane | None, label: str) -> bool:
    """Whether a run has a label, `name=value`, or a name with any value: one for its workers, one that its recorder
    gave it (`labels` in its metadata), or a member of its metadata. The filter of lists means the same."""
    name, has_value, value = label.partition("=")
    if lane is not None and name in lane.labels and (not has_value or lane.labels[name] == value):
        return True
    metadata = _MEMBERS.decode(row.metadata)
    return any(_has(one, name, value if has_value else None) for one in (_labels_in(metadata), metadata))


def _labels_in(metadata: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    told = metadata.get("labels")
    return _MEMBERS.decode(told) if told is not None and bytes(told).startswith(b"{") else {}


def _has(members: dict[str, msgspec.Raw], name: str, value: str | None) -> bool:
    told = members.get(name)
    if told is None or value is None:
        return told is not None
    decoded = msgspec.json.decode(told)
    return value == (decoded if isinstance(decoded, str) else bytes(told).decode())


def needs_of_end(needs: Needs, row: RunRow, trigger: AlertTrigger) -> None:
    """The last alert about a run, of each rule that its next status may concern."""
    for rule in needs.cache.alert_rules.get(row.org, ()):
        if rule.watches(trigger) and covers(rule.scope, row):
            key = (row.org, rule.rule_id, run_subject(row.run_id))
            if key not in needs.cache.alerts:
                needs.want(Kind.ALERT, key)
