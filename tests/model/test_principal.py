"""Who asks: scopes, principals, and the shard keys by which rows of one organisation stand together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.principal import Counters, Scope, shard_bounds, shard_key

ORGS = st.integers(1, 2**22)
NUMBERS = st.integers(1, 2**40 - 1)


@given(ORGS, NUMBERS, ORGS, NUMBERS)
def test_a_shard_key_is_unique_and_sorts_by_organisation_first(a: int, one: int, b: int, other: int) -> None:
    assert (shard_key(a, one) < shard_key(b, other)) == ((a, one) < (b, other))
    assert (shard_key(a, one) == shard_key(b, other)) == ((a, one) == (b, other))


@given(ORGS, NUMBERS)
def test_every_key_lies_within_its_organisation_alone(org: int, number: int) -> None:
    lowest, highest = shard_bounds(org)
    assert lowest <= shard_key(org, number) <= highest
    assert highest + 1 == shard_bounds(org + 1)[0]


def test_a_shard_key_fits_a_signed_64_bit_column() -> None:
    assert shard_key(2**22, 2**40 - 1) < 2**63


def test_the_scopes_are_the_five_of_the_wire() -> None:
    assert {scope.value for scope in Scope} == {"ingest", "read", "control", "worker", "admin"}


def test_counting_begins_before_the_first() -> None:
    assert Counters() == Counters(position=0, runs=0, agents=0)
