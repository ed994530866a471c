"""Rules by what they watch and of whom: an event is held against those alone that it may concern. Pure."""

from __future__ import annotations

from towerlog.model.alert import AlertRule, AlertTrigger

Rules = tuple[AlertRule, ...]


class RuleIndex:
    """An organisation's rules that are switched on. Of each kind the oldest comes first."""

    def __init__(self, rules: Rules) -> None:
        """Of all its rules."""
        self.rules = rules
        self._of_all: dict[AlertTrigger, Rules] = {}
        self._of_agent: dict[tuple[AlertTrigger, str], Rules] = {}
        for rule in rules:
            trigger, agent = rule.trigger, rule.scope.agent
            if not rule.watches(trigger):
                continue
            if agent is None:
                self._of_all[trigger] = (*self._of_all.get(trigger, ()), rule)
            else:
                self._of_agent[trigger, agent] = (*self._of_agent.get((trigger, agent), ()), rule)
        self._triggers = frozenset([*self._of_all, *(trigger for trigger, _ in self._of_agent)])

    def has(self, trigger: AlertTrigger) -> bool:
        """Whether any rule watches for this."""
        return trigger in self._triggers

    def about(self, trigger: AlertTrigger, agent: str) -> Rules:
        """Those that watch for this whoever does it, and those of this agent."""
        return self._of_all.get(trigger, ()) + self._of_agent.get((trigger, agent), ())
