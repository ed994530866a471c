"""What rules that go by time have fired about in cool-downs, or have kept quiet about: that is counted once in each.

Which runs those were, a process knows of itself alone. What a process before it has counted is told by when it did that
last: whatever had lasted long enough by then was counted, and whatever came to it later was not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from towerlog.ambient import ServingTime
from towerlog.engine.alerts.conditions import Holds
from towerlog.model.alert import AlertRule

MAX_TAKEN = 10_000
"""Of a rule that are known in its cool-downs: what is kept quiet beyond them is not counted."""


class QuietSubject(NamedTuple):
    """What a rule has fired about, or has kept quiet about; `mark`: see `AlertRow`."""

    agent: str
    subject: str
    mark: int


class _Counted(NamedTuple):
    """What is known of a rule, in cool-downs that last."""

    taken: set[QuietSubject]
    before: int
    """When something was counted last before this process looked at it, wall ms; 0: never."""
    since: int
    """When this process looked at it first, serving ms."""


class KeptQuiet:
    """All rules of all organisations."""

    def __init__(self, serving: ServingTime) -> None:
        """Nothing has been looked at yet."""
        self._serving = serving
        self._rules: dict[tuple[int, str], _Counted] = {}

    def keep(self, known: Mapping[int, Collection[str]]) -> None:
        """Forgets rules that are not there any more; `known`: the ids by organisation."""
        self._rules = {key: one for key, one in self._rules.items() if key[1] in known.get(key[0], ())}

    def look_at(self, rule: AlertRule, serving_ms: int) -> None:
        """A look at a rule begins: what was counted in cool-downs that are over is forgotten."""
        counted = self._rules.setdefault((rule.org, rule.rule_id), _Counted(set(), rule.suppressed_at, serving_ms))
        over = {agent for agent in {one.agent for one in counted.taken} if not rule.is_quiet(agent, serving_ms)}
        counted.taken.difference_update([one for one in counted.taken if one.agent in over])

    def is_counted(self, rule: AlertRule, one: QuietSubject, holds: Holds) -> bool:
        """Whether something that a rule keeps quiet about was counted in this cool-down, or cannot be."""
        counted = self._rules[rule.org, rule.rule_id]
        if one in counted.taken or len(counted.taken) >= MAX_TAKEN:
            return True
        if rule.quiet.get(one.agent, 0) >= counted.since:
            return False  # this cool-down has begun in this process
        lasted_ms = holds.lasted_ms - self._serving.since_ms(counted.before)
        return lasted_ms >= (rule.config.wait_ms or 0)

    def note(self, rule: AlertRule, taken: Iterable[QuietSubject]) -> None:
        """These were fired about, or counted, just now."""
        if rule.cooldown_ms:
            counted = self._rules.get((rule.org, rule.rule_id))
            if counted is not None:
                counted.taken.update(taken)
