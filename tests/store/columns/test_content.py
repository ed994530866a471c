"""Histories from the rows that they are kept in: nothing that was changed, moved or left out passes."""

from __future__ import annotations

import pytest

from towerlog.model.names import message_name, prefix_names
from towerlog.store.columns.content import Changed, history_of

TEXTS = [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def rows() -> list[tuple[object, ...]]:
    """The last message first, as a walk finds them."""
    names = list(map(message_name, TEXTS))
    prefixes = [b"", *prefix_names(names)]
    return [(prefixes[n], names[n], None, n + 1, TEXTS[n], False) for n in (2, 1, 0)]


def last() -> bytes:
    return prefix_names(list(map(message_name, TEXTS)))[-1]


def test_a_history_is_what_was_kept() -> None:
    assert history_of(rows(), last(), 3) == TEXTS
    assert history_of(rows()[:2], last(), 2) == TEXTS[1:], "no deeper than was asked"


@pytest.mark.parametrize("column", range(5))
def test_what_was_changed_is_refused(column: int) -> None:
    changed = rows()
    worse = list(changed[1])
    worse[column] = {0: b"x" * 16, 1: b"y" * 16, 2: b"z", 3: 7, 4: b"{}"}[column]
    changed[1] = tuple(worse)
    with pytest.raises(ValueError, match=r".") as caught:
        history_of(changed, last(), 3)
    assert isinstance(caught.value, Changed) or column == 2


def test_what_is_not_there_is_missed() -> None:
    with pytest.raises(Changed, match="2 of 3"):
        history_of(rows()[:2], last(), 3)
