"""What placing lacks: gathered over its pieces, so that all of it is loaded in one turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from towerlog.engine.load import misses as gathering
from towerlog.engine.load.misses import NotLoaded, all_of, together
from towerlog.engine.load.steps import Steps
from towerlog.store.values import Kind


def outcome(steps: Steps[Any]) -> Any:
    """What they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def lacks(key: int) -> int:
    raise NotLoaded(Kind.RUN, key)


def breaks() -> int:
    raise ZeroDivisionError


def in_a_step(ask: Callable[[], int]) -> Steps[int]:
    yield
    return ask()


WAYS: dict[str, Callable[[list[Callable[[], int]]], Steps[list[int]]]] = {
    "look-ups": together,
    "pieces": lambda asked: all_of([in_a_step(one) for one in asked]),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_nothing_lacks_is_given_in_its_order(way: str) -> None:
    assert outcome(WAYS[way]([partial(abs, number) for number in range(200)])) == list(range(200))


@pytest.mark.parametrize("way", WAYS)
def test_all_that_is_missing_is_said_at_once(way: str) -> None:
    """What breaks after something was missing may break for that alone."""
    asked = [partial(abs, 1), partial(lacks, 1), breaks, partial(lacks, 2)]
    with pytest.raises(NotLoaded) as missing:
        outcome(WAYS[way](asked))
    assert [one.key for one in missing.value.all] == [1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_what_breaks_by_itself_is_not_hidden(way: str) -> None:
    with pytest.raises(ZeroDivisionError):
        outcome(WAYS[way]([breaks, partial(lacks, 1)]))


def test_what_is_missing_below_is_said_above() -> None:
    with pytest.raises(NotLoaded) as missing:
        outcome(all_of([together([partial(lacks, 1), partial(lacks, 2)]), together([partial(lacks, 3)])]))
    assert [one.key for one in missing.value.all] == [1, 2, 3]


def test_enough_that_is_missing_is_loaded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_MISSING", 3)
    with pytest.raises(NotLoaded) as found:
        outcome(together([partial(lacks, number) for number in range(10)]))
    assert len(found.value.all) == 3
