"""Where an event is published: to its run always, to its agent's feed if it has a place there."""

from __future__ import annotations

import pytest

from tests.support.factories import event
from towerlog.engine.follow.subjects import AGENT, CURSORS, DENSE, RUN, Subject, subjects
from towerlog.model.event import FEED_TYPES, FEED_TYPES_WHEN_SPENT, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.usage import Usage, UsageReport

SPENT = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=1), "delta")))


def of(kind: EventType, **fields: object) -> list[Subject]:
    """The subjects of an event of run 7."""
    return list(subjects(event(5, 2, type=kind, **fields)))


@pytest.mark.parametrize("kind", EventType)
def test_a_feed_has_what_has_a_place_there(kind: EventType) -> None:
    run, *feeds = of(kind, agent=3, facts=SPENT)
    assert run == (RUN, event(5, 2).run)
    assert feeds == ([(AGENT, 3)] if kind in FEED_TYPES else [])


@pytest.mark.parametrize("kind", sorted(FEED_TYPES_WHEN_SPENT))
def test_a_turn_or_an_end_that_spent_nothing_has_no_feed(kind: EventType) -> None:
    assert len(of(kind, agent=3)) == 1


def test_what_has_no_agent_has_no_feed() -> None:
    assert len(of(EventType.TOOL_CALL, agent=0)) == 1


def test_each_subject_has_its_cursor() -> None:
    found = {kind: cursor_of(event(5, 2)) for kind, cursor_of in CURSORS.items()}
    assert found == {RUN: 2, AGENT: 5}
    assert set(CURSORS) >= DENSE
