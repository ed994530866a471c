"""The alert rules of an organisation by what they watch and of whom. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from towerlog.model.alert import AlertRule, AlertScope, AlertTrigger
from towerlog.projections.scopes.row_sets import RowSet, ScopeIndex, ScopeKey

_ALL_KINDS = frozenset(("",))
_QUIET_AGENT_BYTES = 300
"""What an agent of a rule's cool-down takes, about."""


class RuleSet(RowSet[AlertRule]):
    """All of them; those that are switched off watch nothing."""

    ROW_BYTES = 2048

    def __init__(self, rows: Iterable[AlertRule] = ()) -> None:
        """Of all rows, the oldest first."""
        super().__init__(rows)
        self._indexes: dict[AlertTrigger, ScopeIndex] | None = None

    def id_of(self, row: AlertRule) -> str:
        return row.rule_id

    def bytes_of(self, row: AlertRule) -> int:
        return _QUIET_AGENT_BYTES * len(row.quiet) + sum([512 + len(one.target) for one in row.channels])

    def copy(self) -> RuleSet:
        other = super().copy()
        other._indexes = self._indexes
        return other

    def put(self, row_id: str, row: AlertRule | None) -> None:
        super().put(row_id, row)
        self._bytes = None

    def is_alike(self, before: AlertRule, after: AlertRule) -> bool:
        mine, its = (before.trigger, before.enabled, before.scope), (after.trigger, after.enabled, after.scope)
        return mine == its

    def forget(self) -> None:
        self._indexes = None

    def index(self, trigger: AlertTrigger) -> ScopeIndex | None:
        """Those that watch for this by what they are about; None where none does."""
        if self._indexes is None:
            by_trigger: dict[AlertTrigger, list[tuple[str, AlertScope]]] = {}
            for row in self.values():
                if row.enabled:
                    by_trigger.setdefault(row.trigger, []).append((row.rule_id, row.scope))
            self._indexes = {one: ScopeIndex(scopes) for one, scopes in by_trigger.items()}
        return self._indexes.get(trigger)

    def in_places(self, trigger: AlertTrigger) -> bool:
        """Whether some rule that watches for this is about less than the whole organisation."""
        index = self.index(trigger)
        return index is not None and index.kinds != _ALL_KINDS

    def in_trees(self, trigger: AlertTrigger) -> bool:
        """Whether some rule that watches for this is about a tree of runs."""
        index = self.index(trigger)
        return index is not None and "run" in index.kinds

    def of_trees(self, triggers: Iterable[AlertTrigger], run_ids: Iterable[str]) -> list[AlertRule]:
        """Those that watch for one of these and are about the trees of some of these runs."""
        keys: list[ScopeKey] = [("run", run_id) for run_id in run_ids]
        return [rule for trigger in triggers for rule in self.about(trigger, lambda _: keys)]

    def about(self, trigger: AlertTrigger, keys_of: Callable[[frozenset[str]], Iterable[ScopeKey]]) -> list[AlertRule]:
        """Those that watch for this and may be about something, the oldest first. `keys_of`: what it is, of those kinds
        that some rule is about."""
        index = self.index(trigger)
        return [] if index is None else [self[rule_id] for rule_id in index.ids(keys_of(index.kinds))]
