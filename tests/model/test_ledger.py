"""The gap ledger: it agrees with a plain set while it can, and says so when it cannot any more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model import ledger as ledgers
from towerlog.model.ledger import FEW_RANGES, MAX_ALL_RANGES, MAX_RANGES, Ledger, Ranges, within_all

NUMBERS = st.integers(1, 40)
SPANS = st.tuples(NUMBERS, st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
NEWS = st.lists(NUMBERS | SPANS, max_size=40)


def told(*news: int | tuple[int, int]) -> Ledger:
    """A ledger after these: a number that came, or a range that was dropped."""
    found = Ledger()
    for one in news:
        found = found.with_received(one) if isinstance(one, int) else found.with_dropped(*one)
    return found


def members(ranges: Ranges) -> set[int]:
    """The numbers in some ranges."""
    return {number for first, last in ranges for number in range(first, last + 1)}


def as_sets(news: list[int | tuple[int, int]]) -> tuple[set[int], set[int]]:
    """(received, dropped), kept the simple way."""
    received = {one for one in news if isinstance(one, int)}
    dropped = members(tuple(one for one in news if not isinstance(one, int)))
    return received, dropped - received


def is_tidy(ranges: Ranges) -> bool:
    """Rising, none empty, none touching the next."""
    apart = all(left[1] + 1 < right[0] for left, right in pairwise(ranges))
    return apart and all(first <= last for first, last in ranges)


@given(NEWS)
def test_it_agrees_with_plain_sets_in_any_order(news: list[int | tuple[int, int]]) -> None:
    found = told(*news)
    received, dropped = as_sets(news)
    assert (members(found.received), members(found.dropped)) == (received, dropped)
    assert is_tidy(found.received)
    assert is_tidy(found.dropped)
    assert found.highest == max(received | dropped, default=0)
    assert members(found.missing()) == set(range(1, found.highest + 1)) - received - dropped
    assert (found.received_count(), found.dropped_count()) == (len(received), len(dropped))
    assert found.is_complete() == (received == set(range(1, found.highest + 1)))
    assert not found.is_truncated()


@given(NEWS, st.integers(1, 3))
def test_past_its_bound_it_never_says_what_it_does_not_know(news: list[int | tuple[int, int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledgers, "MAX_RANGES", most)
        found = told(*news)
        received, dropped = as_sets(news)
        horizon = found.highest if found.horizon is None else found.horizon
        assert len(found.received) <= most
        assert len(found.dropped) <= most
        assert found.highest == max(received | dropped, default=0)
        known = set(range(1, min(horizon, found.highest) + 1))
        assert members(found.missing()) == known - received - dropped, "no number is called missing that came"
        assert members(found.received) == received & known
        if found.is_truncated():
            assert not found.is_complete()
            assert found.received_count() >= len(received), "above the horizon every event counts"
        else:
            assert found.received_count() == len(received)


def test_what_comes_in_order_is_one_range() -> None:
    found = told(*range(1, 1001))
    assert (found.received, found.missing(), found.is_complete()) == (((1, 1000),), (), True)


def test_a_late_number_fills_its_hole() -> None:
    found = told(1, 2, 5)
    assert (found.missing(), found.is_complete()) == (((3, 4),), False)
    assert found.with_received(4).with_received(3).is_complete()


def test_a_dropped_number_is_not_missing_and_not_there() -> None:
    found = told(1, 4, (2, 3))
    assert (found.missing(), found.dropped_count(), found.is_complete()) == ((), 2, False)
    assert found.with_received(2).with_received(3).is_complete(), "it came all the same"


def test_dropping_what_has_arrived_takes_nothing_back() -> None:
    assert told(1, 2, 3, (1, 3)) == told(1, 2, 3)


def test_a_huge_range_costs_nothing() -> None:
    found = told(1, (2, 2**53))
    assert (found.dropped_count(), found.missing()) == (2**53 - 1, ())


def test_the_real_bound() -> None:
    holes = range(1, 2 * MAX_RANGES + 1, 2)
    full = told(*holes)
    assert (len(full.received), full.is_truncated()) == (MAX_RANGES, False)
    over = full.with_received(2 * MAX_RANGES + 1)
    assert (len(over.received), over.horizon) == (MAX_RANGES, 2 * MAX_RANGES)
    assert over.received_count() == MAX_RANGES + 1
    healed = over
    for number in range(2, 2 * MAX_RANGES + 1, 2):
        healed = healed.with_received(number)
    assert (healed.missing(), healed.is_complete(), healed.is_truncated()) == ((), False, True)


def test_all_clients_of_a_run_share_one_bound() -> None:
    full = told(*range(1, 2 * MAX_RANGES, 2))
    others = {f"c{number}": full for number in range(MAX_ALL_RANGES // MAX_RANGES)}
    small = told(*range(1, 2 * FEW_RANGES, 2))
    assert within_all({**others, "small": small}, "small") is small
    one_more = told(*range(1, 2 * FEW_RANGES + 2, 2))
    assert within_all({"alone": one_more}, "alone") is one_more
    cut = within_all({**others, "late": one_more}, "late")
    assert (len(cut.received), cut.is_truncated()) == (FEW_RANGES, True)
    assert cut.received_count() == one_more.received_count()
