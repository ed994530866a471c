"""Rules by what they watch: nothing that an event may concern is left out, and nothing else is looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.alert import AlertRule, AlertScope, AlertTrigger
from towerlog.projections.alerts.watched import RuleIndex

AGENTS = ("a", "b", "default")


@st.composite
def rules(draw: st.DrawFn) -> tuple[AlertRule, ...]:
    """Rules of a few triggers and agents, some of them switched off."""
    told = draw(
        st.lists(st.tuples(st.sampled_from(AlertTrigger), st.sampled_from([None, *AGENTS]), st.booleans()), max_size=40)
    )
    return tuple(
        AlertRule(1, f"r{n}", n, f"rule {n}", trigger, 0, AlertScope(agent=agent), enabled=enabled)
        for n, (trigger, agent, enabled) in enumerate(told)
    )


@given(rules(), st.sampled_from(AlertTrigger), st.sampled_from([*AGENTS, "c"]))
def test_an_event_meets_each_rule_that_it_may_concern_once(made, trigger, agent) -> None:
    found = RuleIndex(made).about(trigger, agent)
    expected = [one for one in made if one.watches(trigger) and one.scope.agent in (None, agent)]
    assert sorted(one.number for one in found) == [one.number for one in expected]
    assert RuleIndex(made).has(trigger) is any(one.watches(trigger) for one in made)
