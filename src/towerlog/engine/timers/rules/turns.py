"""Whose rules are looked at next: the organisations in turn, each for so long, and each where it was left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from towerlog.model.alert import MAX_RULES, AlertRule
from towerlog.store.base import AlertStore

TURN_MS = 100
"""How long the rules of one organisation are looked at before the next one has its turn; a look that has begun ends."""
_BEHIND_ALL = "\U0010ffff"
"""Comes after every rule id."""


class RuleTurns:
    """Goes through the rules of all organisations that go by time."""

    def __init__(self, store: AlertStore, steady_ms: Callable[[], int]) -> None:
        """Begins with the first rule of each."""
        self._store = store
        self._steady_ms = steady_ms
        self._left_at: dict[int, str] = {}
        """Organisation → the rule that it was left at, of those that have not been gone through."""

    async def round(self, look: Callable[[AlertRule], Awaitable[None]]) -> dict[int, frozenset[str]]:
        """One turn of each organisation. Gives the ids of all of their rules."""
        found: dict[int, frozenset[str]] = {}
        after = (-1, "")
        while first := await self._store.alert_rules_timed(after, 1):
            org = first[0].org
            rules = [one for one in await self._store.alert_rules_timed((org, ""), MAX_RULES) if one.org == org]
            found[org] = frozenset(one.rule_id for one in rules)
            await self._turn(org, rules, look)
            after = (org, _BEHIND_ALL)
        self._left_at = {org: place for org, place in self._left_at.items() if org in found}
        return found

    async def _turn(self, org: int, rules: list[AlertRule], look: Callable[[AlertRule], Awaitable[None]]) -> None:
        """Looks at them, beginning with the one behind that which the last turn ended at."""
        left_at, until = self._left_at.pop(org, ""), self._steady_ms() + TURN_MS
        # The ids are in order.
        behind = [one for one in rules if one.rule_id > left_at]
        for rule in behind + rules[: len(rules) - len(behind)]:
            await look(rule)
            if self._steady_ms() >= until:
                self._left_at[org] = rule.rule_id
                return
