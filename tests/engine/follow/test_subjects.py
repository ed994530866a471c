"""Where an event is published: to its run always, to its agent's feed if it has a place there."""

from __future__ import annotations

import pytest

from tests.support.factories import event, run_row
from towerlog.engine.follow.subjects import AGENT, AGENT_LOG, CURSORS, DENSE, RUN, USER, Subject, subjects
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.feed import FEED_TYPES, FEED_TYPES_SOMETIMES
from towerlog.model.usage import Usage, UsageReport

SPENT = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=1), "delta"), rate_limited=True))


def of(kind: EventType, **fields: object) -> list[Subject]:
    """The subjects of an event of a run that nobody is known to have begun."""
    return list(subjects(event(5, 2, type=kind, **fields), run_row()))


@pytest.mark.parametrize("kind", EventType)
def test_a_feed_has_what_has_a_place_there(kind: EventType) -> None:
    run, log, *feeds = of(kind, agent=3, facts=SPENT)
    assert run == (RUN, event(5, 2).run)
    assert log == (AGENT_LOG, 3)
    assert feeds == ([(AGENT, 3)] if kind in FEED_TYPES else [])


@pytest.mark.parametrize("kind", sorted(FEED_TYPES_SOMETIMES))
def test_what_says_nothing_of_calls_or_spending_has_no_feed(kind: EventType) -> None:
    assert of(kind, agent=3)[1:] == [(AGENT_LOG, 3)]


def test_what_has_no_agent_has_no_feed() -> None:
    assert len(of(EventType.TOOL_CALL, agent=0)) == 1


def test_an_event_is_for_the_user_who_began_its_run() -> None:
    found = subjects(event(5, 2, agent=0), run_row(created_by="a-user"))
    assert list(found) == [(RUN, event(5, 2).run), (USER, "a-user")]


def test_each_subject_has_its_cursor() -> None:
    found = {kind: cursor_of(event(5, 2)) for kind, cursor_of in CURSORS.items()}
    assert found == {RUN: 2, AGENT: 5, AGENT_LOG: 5, USER: 5}
    assert set(CURSORS) >= DENSE
