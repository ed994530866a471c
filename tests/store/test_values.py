"""What goes into a store: nothing is shared between two units, and a unit that says nothing is empty."""

from __future__ import annotations

import pytest

from tests.support.factories import event, run_row
from towerlog.model.principal import Counters
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.values import NO_CHANGES, Changes, RunChange

SAYS_SOMETHING = {
    "events": [event(1, 1)],
    "runs": {1: RunChange(None, run_row())},
    "messages": [Message(1, b"k", b"{}")],
    "nodes": [HistoryNode(1, b"k", b"", b"m", 1)],
    "metas": [MetaList(1, b"k", b"", b"[]")],
    "counters": {1: Counters(1, 1, 1)},
    "replaces": 1,
}


def test_changes_that_say_nothing_are_empty() -> None:
    assert Changes() == NO_CHANGES


@pytest.mark.parametrize("field", SAYS_SOMETHING)
def test_changes_that_say_anything_are_not(field: str) -> None:
    assert Changes(**{field: SAYS_SOMETHING[field]}) != NO_CHANGES


def test_two_changes_share_nothing() -> None:
    one, two = Changes(), Changes()
    for name in Changes.__struct_fields__:
        held = getattr(one, name)
        assert held is None or held is not getattr(two, name), name


def test_a_later_change_of_a_row_takes_the_place_of_the_earlier() -> None:
    first, second = run_row(), run_row(status="failed")
    changes = Changes(runs={first.run: RunChange(None, first)})
    changes.runs[second.run] = RunChange(None, second)
    assert [change.after for change in changes.runs.values()] == [second]
