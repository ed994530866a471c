"""Which rules are about a run."""

from __future__ import annotations

import msgspec

from towerlog.engine.load.own_runs import run_ids_above
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.alert import AlertRule, AlertScope, AlertTrigger, run_subject
from towerlog.model.budget import BudgetScope
from towerlog.model.event import NamedRun
from towerlog.model.lane import Lane
from towerlog.model.persona import split_persona_id
from towerlog.model.run import RunRow
from towerlog.projections.scopes.row_sets import ALL, ScopeKey
from towerlog.store.values import Kind

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RunPlace:
    """Where in its organisation something happens: what of a run tells which rules are about it, looked up once."""

    def __init__(self, plan: Plan, row: RunRow, agent: str | None = None) -> None:
        """`agent`: what this agent does in the run, and not the run's own."""
        self._plan = plan
        self._row = row
        self.agent = agent or row.agent or DEFAULT_AGENT
        self._rules = plan.alerts.rules(row.org)
        self._above: set[str] | None = None
        self._labels: set[str] | None = None

    @property
    def above(self) -> set[str]:
        """Ids of the run and of those above it. Raises NotLoaded."""
        if self._above is None:
            self._above = run_ids_above(self._row, self._find)
        return self._above

    def _find(self, ref: NamedRun) -> RunRow | None:
        return self._plan.run(self._row.org, ref)

    @property
    def labels(self) -> set[str]:
        """The run's labels. Raises NotLoaded."""
        if self._labels is None:
            row = self._row
            self._labels = labels_of(row, self._plan.lane(row.run) if row.has_lane else None)
        return self._labels

    def keys(self, kinds: frozenset[str]) -> list[ScopeKey]:
        """What it is, of these kinds."""
        row = self._row
        found = [ALL, ("agent", self.agent), ("thread", row.thread_id)]
        if "persona" in kinds and row.persona_id is not None:
            found += [("persona", row.persona_id), ("persona", split_persona_id(row.persona_id)[0])]
        if "run" in kinds:
            found += [("run", run_id) for run_id in self.above]
        if "label" in kinds:
            found += [("label", label) for label in self.labels]
        return found

    def is_in(self, scope: AlertScope) -> bool:
        """Whether it is inside of a scope."""
        if not covers(scope, self._row, self.agent) or (scope.label is not None and scope.label not in self.labels):
            return False
        return scope.run_id is None or scope.run_id in self.above

    def rules(self, trigger: AlertTrigger) -> list[AlertRule]:
        """The rules that watch for this here, the oldest first."""
        rules, row = self._rules, self._row
        index = rules.index(trigger)
        if index is None:
            return []
        place = index.place(self.agent, row.thread_id, row.persona_id)
        ids = index.known(place)
        if ids is None:
            about = rules.about(trigger, self.keys)
            ids = index.keep(place, [rule.rule_id for rule in about if self.is_in(rule.scope)])
        return [rules[rule_id] for rule_id in ids]


def in_scope(plan: Plan, rule: AlertRule, row: RunRow) -> bool:
    """Whether a rule is about this run."""
    return RunPlace(plan, row).is_in(rule.scope)


def holds_budget(scope: AlertScope, budget: BudgetScope) -> bool:
    """Whether a budget is about nothing that lies outside of a scope."""
    if scope.label is not None or scope.persona is not None:
        return False
    pairs = ((scope.agent, budget.agent), (scope.thread_id, budget.thread_id), (scope.run_id, budget.run_id))
    return all(mine is None or mine == its for mine, its in pairs)


def covers(scope: AlertScope, row: RunRow, agent: str | None = None) -> bool:
    """What the run's row alone can tell of it."""
    if scope.agent is not None and scope.agent != (agent or row.agent or DEFAULT_AGENT):
        return False
    if scope.thread_id is not None and scope.thread_id != row.thread_id:
        return False
    return scope.persona is None or _is_of_persona(row, scope.persona)


def _is_of_persona(row: RunRow, persona: str) -> bool:
    if row.persona_id is None:
        return False
    return persona in (row.persona_id, split_persona_id(row.persona_id)[0])


def has_label(row: RunRow, lane: Lane | None, label: str) -> bool:
    """Whether a run has a label."""
    return label in labels_of(row, lane)


def labels_of(row: RunRow, lane: Lane | None) -> set[str]:
    """The labels of a run, each as `name=value` and as a name with any value: those for its workers, those that its
    recorder gave it (`labels` in its metadata), and the members of its metadata. The filter of lists means the same."""
    metadata = _MEMBERS.decode(row.metadata)
    told = metadata.get("labels")
    parts = [metadata, _MEMBERS.decode(told) if told is not None and bytes(told).startswith(b"{") else {}]
    values = [(name, _text_of(value)) for part in parts for name, value in part.items()]
    values += [] if lane is None else lane.labels.items()
    return {name for name, _ in values} | {f"{name}={value}" for name, value in values}


def _text_of(value: msgspec.Raw) -> str:
    decoded = msgspec.json.decode(value) if bytes(value).startswith(b'"') else None
    return decoded if isinstance(decoded, str) else bytes(value).decode()


def needs_of_end(needs: Needs, row: RunRow, trigger: AlertTrigger) -> None:
    """The last alert about a run, of rules that its next status may concern, as far as its row alone tells."""
    rules = needs.cache.alert_rules.get(row.org)
    if not rules:
        return
    keys = [ALL, ("agent", row.agent or DEFAULT_AGENT), ("thread", row.thread_id)]
    for rule in rules.about(trigger, lambda _: keys):
        key = (row.org, rule.rule_id, run_subject(row.run_id))
        if key not in needs.cache.alerts and covers(rule.scope, row):
            needs.want(Kind.ALERT, key)
    if row.org not in needs.cache.outbox_counts:
        needs.want(Kind.OUTBOX_COUNTS, row.org)
