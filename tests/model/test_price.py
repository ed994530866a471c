"""Prices: what a call costs, worked out by hand; and what cannot be told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.prices import card
from towerlog.model.price import FEMTOS_PER_NANO, PriceCard, Rates, femtos_of
from towerlog.model.usage import Usage

counts = st.integers(0, 10**9)


def test_each_bucket_has_its_price() -> None:
    """1000 × 3 + 500 × 1 + 20 × 4 + 300 × 7 + 40 × 9 nano-dollars."""
    assert card(3, 1, 4, 7, 9).cost_nanos(Usage(1000, 500, 20, 300, 40)) == 3000 + 500 + 80 + 2100 + 360


def test_a_call_is_rounded_once_half_to_even() -> None:
    """A thousandth of a nano-dollar a token: 500 of them are half a nano-dollar, 1500 one and a half."""
    rates = PriceCard(Rates(input=FEMTOS_PER_NANO // 1000, output=FEMTOS_PER_NANO // 1000), "v")
    told = {tokens: rates.cost_nanos(Usage(tokens)) for tokens in (0, 499, 500, 501, 1499, 1500, 1501, 2500)}
    assert told == {0: 0, 499: 0, 500: 0, 501: 1, 1499: 1, 1500: 2, 1501: 2, 2500: 2}
    assert rates.cost_nanos(Usage(400, output_tokens=400)) == 1


def test_a_tier_is_of_all_input_of_one_call() -> None:
    tiered = PriceCard(card(2).rates, "v", ((200_000, card(3).rates), (400_000, card(5).rates)))
    assert tiered.cost_nanos(Usage(150_000, 50_000, output_tokens=1)) == 200_001 * 2
    assert tiered.cost_nanos(Usage(150_000, 50_001, output_tokens=1)) == 200_002 * 3
    assert tiered.cost_nanos(Usage(400_001)) == 400_001 * 5
    assert tiered.cost_nanos(Usage(400_001), is_call=False) == 400_001 * 2


def test_a_price_of_the_request_is_of_a_call_alone() -> None:
    asked = PriceCard(Rates(input=FEMTOS_PER_NANO, request=5 * FEMTOS_PER_NANO), "v")
    assert asked.cost_nanos(Usage(3)) == 8
    assert asked.cost_nanos(Usage(3), is_call=False) == 3


@pytest.mark.parametrize(
    "usage",
    [
        Usage(total_tokens=10),
        Usage(output_tokens=10),
        Usage(10, output_tokens=5, total_tokens=16),
    ],
    ids=["a bare total", "output alone", "more than the split"],
)
def test_what_cannot_be_told_is_none_and_not_0(usage: Usage) -> None:
    assert card(3).cost_nanos(usage) is None


def test_a_bucket_without_a_price_prices_nothing_of_the_call() -> None:
    embedding = PriceCard(Rates(input=FEMTOS_PER_NANO), "v")
    assert embedding.cost_nanos(Usage(10, output_tokens=0)) == 10
    assert embedding.cost_nanos(Usage(10, output_tokens=1)) is None
    assert PriceCard(Rates(input=0, output=0), "free").cost_nanos(Usage(10, output_tokens=1)) == 0


@given(st.lists(counts, min_size=5, max_size=5))
def test_a_cost_is_the_sum_of_its_buckets(tokens: list[int]) -> None:
    cost = card(3, 1, 4, 7, 9).cost_nanos(Usage(*tokens))
    assert cost == sum(count * rate for count, rate in zip(tokens, (3, 1, 4, 7, 9), strict=True))


def test_dollars_a_million_are_kept_exactly() -> None:
    assert femtos_of(Decimal("0.0375")) == 37_500_000
    assert femtos_of(Decimal("15")) == 15 * 10**9
