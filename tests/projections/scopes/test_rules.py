"""Rules by what they watch and of whom: none that an event may concern is left out, and no other is looked at."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.alert import AlertRule, AlertScope, AlertTrigger
from towerlog.projections.scopes.row_sets import ALL, MAX_KNOWN_PLACES
from towerlog.projections.scopes.rules import RuleSet

NAMES = ("a", "b")
SCOPES = ("agent", "thread_id", "run_id", "label", "persona")
TRIGGERS = (AlertTrigger.ERROR, AlertTrigger.LOOP)

scopes = st.builds(AlertScope, **{name: st.sampled_from([None, *NAMES]) for name in SCOPES})
made = st.lists(st.tuples(st.sampled_from(TRIGGERS), scopes, st.booleans()), max_size=30)
places = st.fixed_dictionaries({name: st.sampled_from([*NAMES, "c"]) for name in SCOPES})


def rules_of(told: list[tuple[AlertTrigger, AlertScope, bool]]) -> list[AlertRule]:
    return [
        AlertRule(1, f"r{n}", n, "ours", trigger, 0, scope, enabled=enabled)
        for n, (trigger, scope, enabled) in enumerate(told)
    ]


def found(rules: RuleSet, trigger: AlertTrigger, place: dict[str, str]) -> list[AlertRule]:
    """As the engine asks: by what something is, and then by all of the scope."""
    kinds = {"agent": "agent", "thread_id": "thread", "run_id": "run", "label": "label", "persona": "persona"}
    keys = [ALL, *[(kinds[name], value) for name, value in place.items()]]
    return [one for one in rules.about(trigger, lambda _: keys) if covers(one.scope, place)]


def covers(scope: AlertScope, place: dict[str, Any]) -> bool:
    return all(getattr(scope, name) in (None, value) for name, value in place.items())


@given(made, st.sampled_from(TRIGGERS), places)
def test_an_event_meets_each_rule_that_it_may_concern_once(told, trigger, place) -> None:
    rules = rules_of(told)
    expected = [one for one in rules if one.enabled and one.trigger is trigger and covers(one.scope, place)]
    assert found(RuleSet(rules), trigger, place) == expected


@given(made, made, st.lists(st.integers(0, 29), max_size=10), st.sampled_from(TRIGGERS), places)
def test_a_set_that_has_changed_is_like_one_that_is_made_of_what_it_is_now(told, later, gone, trigger, place) -> None:
    rules = RuleSet(rules_of(told))
    before = found(rules, trigger, place)
    after = rules.copy()
    for one in rules_of(later):
        after.put(one.rule_id, one)
    for number in gone:
        after.put(f"r{number}", None)
    assert found(after, trigger, place) == found(RuleSet(after.all()), trigger, place)
    assert after.held_bytes == RuleSet(after.all()).held_bytes
    assert found(rules, trigger, place) == before


def test_what_is_about_others_is_not_looked_at() -> None:
    others = [AlertRule(1, f"r{n}", n, "ours", AlertTrigger.ERROR, 0, AlertScope(agent=f"a{n}")) for n in range(200)]
    assert [one.number for one in RuleSet(others).about(AlertTrigger.ERROR, lambda _: [ALL, ("agent", "a7")])] == [7]


@given(made, st.lists(places, max_size=8))
def test_a_place_stands_for_all_that_the_same_rules_are_about(told, some) -> None:
    """What is kept for a place holds for whatever else is in it; where labels or trees tell, there is no place."""
    rules = RuleSet(rules_of(told))
    index = rules.index(AlertTrigger.ERROR)
    if index is None:
        return
    seen: dict[Any, list[AlertRule]] = {}
    by_more = any(
        one.enabled and one.trigger is AlertTrigger.ERROR and (one.scope.run_id or one.scope.label)
        for one in rules.values()
    )
    for place in some:
        name = index.place(place["agent"], place["thread_id"], place["persona"])
        assert (name is None) is by_more
        if name is not None:
            about = found(rules, AlertTrigger.ERROR, place)
            assert seen.setdefault(name, about) == about


def test_what_is_kept_for_a_place_is_forgotten_with_what_rules_are_about() -> None:
    rules = RuleSet([AlertRule(1, "r0", 0, "ours", AlertTrigger.ERROR, 0, AlertScope(agent="a"))])
    index = rules.index(AlertTrigger.ERROR)
    assert index is not None
    place = index.place("a", "t", None)
    assert index.known(place) is None
    index.keep(place, ["r0"])
    told = rules.copy()
    told.put("r0", AlertRule(1, "r0", 0, "other words", AlertTrigger.ERROR, 0, AlertScope(agent="a")))
    assert told.index(AlertTrigger.ERROR) is index, "what it is about is as it was"
    told.put("r1", AlertRule(1, "r1", 1, "ours", AlertTrigger.ERROR, 0, AlertScope()))
    after = told.index(AlertTrigger.ERROR)
    assert after is not None
    assert after.known(after.place("a", "t", None)) is None
    for number in range(2 * MAX_KNOWN_PLACES):
        index.keep((str(number), None, None), [])
    assert len(index._known) <= MAX_KNOWN_PLACES
