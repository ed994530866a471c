"""An organisation's own prices: which of them counts for a call, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import facts_of
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.engine.commit.writer import STEP_MS
from towerlog.engine.pricing import own_prices
from towerlog.engine.pricing.own_prices import KnownPrices, OwnPrices
from towerlog.errors import Conflict, NotFound
from towerlog.model import price as price_model
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.name_pattern import NamePattern, is_pattern
from towerlog.model.price import FEMTOS_PER_NANO, CreatePrice, DeletePrice, PriceRow, Rates
from towerlog.model.usage import Usage, UsageReport

ONE = Usage(input_tokens=1)


def priced_at(nanos: int, model: str, number: int = 1, **more: Any) -> PriceRow:
    """A price of so many nano-dollars a token of input."""
    return PriceRow(1, f"p{number}", number, model, Rates(input=nanos * FEMTOS_PER_NANO), 0, **more)


def chosen(rows: tuple[PriceRow, ...], model: str, at: int = 100, provider: str | None = None) -> int | None:
    """What a token of input costs then."""
    found = OwnPrices(rows).card(provider, model, at)
    return None if found is None else found.cost_nanos(ONE)


def test_the_price_counts_that_holds_since_the_latest_time() -> None:
    rows = (priced_at(1, "m"), priced_at(2, "m", 2, since=50), priced_at(3, "m", 3, since=101))
    assert [chosen(rows, "m", at) for at in (0, 49, 50, 100, 101, 900)] == [1, 1, 2, 2, 3, 3]
    assert chosen((priced_at(1, "m", since=50),), "m", 49) is None


def test_a_pattern_fits_names_in_any_case() -> None:
    rows = (priced_at(1, "my-*"),)
    assert [chosen(rows, model) for model in ("my-model", "MY-Model", "not-my-model", "my")] == [1, 1, None, None]


def test_of_prices_since_the_same_time_the_one_that_says_most_counts() -> None:
    rows = (priced_at(1, "m"), priced_at(2, "*", 2), priced_at(3, "m", 3, provider="azure"), priced_at(4, "?", 4))
    assert chosen(rows, "m") == 1
    assert chosen(rows, "m", provider="Azure") == 3
    assert chosen(rows, "n") == 4
    assert chosen(rows, "nn") == 2
    assert chosen((*rows, priced_at(5, "m", 5)), "m") == 5, "then the one that was made last"


@pytest.mark.parametrize(
    ("price", "asked", "holds"),
    [
        (("m", None), ("openrouter/m", None), True),
        (("m", "openrouter"), ("openrouter/m", None), True),
        (("m", "openrouter"), ("OpenRouter/M", "openrouter"), True),
        (("m", "openrouter"), ("openrouter/m", "litellm"), True),
        (("openrouter/m", None), ("openrouter/m", None), True),
        (("m*", "openrouter"), ("openrouter/m1", None), True),
        (("m", "aws"), ("bedrock/m", None), True),
        (("m", "bedrock"), ("bedrock/m", None), True),
        (("m", "google"), ("m", "google_genai"), True),
        (("m", "house"), ("house/m", None), True),
        (("m", "openrouter"), ("m", None), False),
        (("m", "openrouter"), ("azure/m", None), False),
        (("m", "openrouter"), ("openrouter/m", "azure"), False),
        (("m", None), ("meta-llama/m", None), False),
        (("0", None), ("us.anthropic.claude-haiku-4-5-20251001-v1:0", None), False),
        (("7b", None), ("qwen2.5:7b", None), False),
    ],
)
def test_a_price_holds_where_the_provider_stands_in_the_name_of_the_model(
    price: tuple[str, str | None], asked: tuple[str, str | None], *, holds: bool
) -> None:
    model, provider = price
    rows = (priced_at(1, model, provider=provider),)
    assert (chosen(rows, asked[0], provider=asked[1]) == 1) is holds


def test_what_is_looked_up_follows_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_prices, "MAX_ORGS_WITH_PRICES", 2)
    known, rows = KnownPrices(), (priced_at(1, "m"),)
    assert known.of(rows) is known.of(rows)
    changed = (*rows, priced_at(2, "m", 2))
    found = known.of(changed).card(None, "m", 0)
    assert found is not None
    assert (found.cost_nanos(ONE), found.version) == (2, "price p2")
    for org in range(9):
        known.of((PriceRow(org, "p", 1, "m", Rates(), 0),))
    assert len(known._known) == 2


@given(
    made=st.lists(
        st.tuples(
            st.sampled_from(["m", "n", "mn", "*", "m*", "?"]), st.sampled_from([None, "p", "q"]), st.integers(0, 4)
        ),
        max_size=12,
    ),
    model=st.sampled_from(["m", "n", "mn", "M", "x"]),
    provider=st.sampled_from([None, "p", "Q"]),
    at=st.integers(0, 5),
)
def test_whatever_there_is_the_same_price_counts_as_when_all_are_looked_at(made, model, provider, at) -> None:
    rows = tuple(
        priced_at(number, name, number, provider=of, since=since) for number, (name, of, since) in enumerate(made, 1)
    )
    fitting = [
        ((row.since, not is_pattern(row.model), row.provider is not None, row.number), row.number)
        for row in rows
        if NamePattern(row.model).fits(model.lower())
        and row.since <= at
        and (row.provider is None or row.provider == (provider or "").lower())
    ]
    assert chosen(rows, model, at, provider) == (max(fitting)[1] if fitting else None)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine with a list that has one model."""
    async with open_rig(tmp_path, prices=FixedPrices({"m": card(10)})) as made:
        yield made


async def call(rig: Rig, model: str = "m", occurred_at: int | None = None) -> tuple[int | None, str | None]:
    """What a call of one token cost, and by which prices."""
    facts = facts_of(model=model, report=UsageReport(ONE, "delta"))
    ref = RunByForeignId("steps:r", "r")
    await rig.append(Draft(EventType.MODEL_CALL, ref, b"{}", facts, agent="a", occurred_at=occurred_at))
    [*_, event] = await rig.log()
    assert event.effects.priced is not None
    return event.effects.priced.nanos, event.effects.priced.version


def of_dollars(nanos: int) -> Rates:
    return Rates(input=nanos * FEMTOS_PER_NANO)


async def test_a_price_of_ones_own_goes_before_the_list_until_it_is_deleted(rig: Rig) -> None:
    assert await call(rig) == (10, "test 1")
    made = await rig.do(CreatePrice("m", of_dollars(7)))
    assert await call(rig) == (7, f"price {made.row.price_id}")
    rig.engine.forget()
    assert await call(rig) == (7, f"price {made.row.price_id}")
    gone = await rig.do(DeletePrice(made.row.price_id))
    assert gone.row == made.row
    assert await call(rig) == (10, "test 1")
    with pytest.raises(NotFound):
        await rig.do(DeletePrice(made.row.price_id))
    assert (await rig.store.rows(rig.org)).runs[0].usage.cost_nanos == 10 + 7 + 7 + 10


async def test_a_price_holds_by_the_time_of_the_call(rig: Rig) -> None:
    now = rig.clock.now_ms()
    await rig.do(CreatePrice("m", of_dollars(7), since=now - 1000))
    assert await call(rig, occurred_at=now - 1001) == (10, "test 1")
    assert (await call(rig, occurred_at=now - 1000))[0] == 7


async def test_a_price_is_of_its_organisation(rig: Rig) -> None:
    other = await rig.make_org("other")
    await rig.do(CreatePrice("m", of_dollars(7)), principal=other)
    assert (await call(rig))[0] == 10


async def test_a_model_that_nobody_lists_is_priced_by_ones_own(rig: Rig) -> None:
    await rig.do(CreatePrice("local*", of_dollars(0)))
    assert (await call(rig, "local-7b"))[0] == 0
    assert (await call(rig, "elsewhere")) == (None, None)


async def test_each_name_that_is_looked_for_is_a_step_of_its_own(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many prices a look-up takes a while; a batch that names many models lets others go on between any two."""
    await rig.do(CreatePrice("m*", of_dollars(7)))
    turns, seen = 0, []
    matching = OwnPrices._matching

    def slow(self: OwnPrices, asked: tuple[str | None, str]) -> Any:
        seen.append(turns)
        rig.clock.advance(STEP_MS + 1)
        return matching(self, asked)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(OwnPrices, "_matching", slow)
    counting = asyncio.create_task(count())
    ref = RunByForeignId("steps:r", "r")
    models = [facts_of(model=f"m{number}", report=UsageReport(ONE, "delta")) for number in range(20)]
    await rig.append(*[Draft(EventType.MODEL_CALL, ref, b"{}", facts, agent="a") for facts in models])
    counting.cancel()
    assert len(seen) == 20
    # The first step of a plan is not measured: the second look-up may follow in the same turn.
    assert len(set(seen)) >= 18, seen


def test_what_is_remembered_of_names_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_prices, "MAX_KNOWN_BYTES_OF_OWN", 40_000)
    known = OwnPrices(tuple(priced_at(1, "*", number, since=number) for number in range(20)))
    for number in range(200):
        assert known.card(None, f"m{number}", 100) is known.card(None, "x", 100), "a price is one card"
        assert known._known.held_bytes <= 40_000
    assert 10 < len(known._known) < 200
    monkeypatch.setattr(own_prices, "MAX_KNOWN_BYTES_OF_OWN", 4_000)
    many = OwnPrices(tuple(priced_at(1, f"*{'m' * number}*", number) for number in range(1, 101)))
    assert many.card(None, "m" * 100, 5000) is not None
    assert len(many._known) == 0, "what would take the place of all others is looked up anew"


async def test_there_are_only_so_many_patterns(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.engine.commands.prices.MAX_PATTERNS", 2)
    for model in ("a*", "b*", "a*", "plain"):
        await rig.do(CreatePrice(model, of_dollars(1)))
    with pytest.raises(Conflict, match="2 patterns"):
        await rig.do(CreatePrice("c*", of_dollars(1)))


def test_what_no_regular_expression_should_read_is_looked_up_in_a_moment() -> None:
    """Two thousand patterns of one organisation, and a model that nearly fits each of them."""
    half = "a" * 60
    rows = tuple(priced_at(1, f"*{half}*{half}*{half}b*{number}", number) for number in range(price_model.MAX_PRICES))
    known = OwnPrices(rows)
    begun = process_time()
    assert known.card(None, "a" * 200, 0) is None
    looked_up = process_time() - begun
    begun = process_time()
    for _ in rows:
        PriceRow(1, "p", 1, half + str(len(rows)), Rates(), 0).card()
        [part in half for part in ("a*", "*b", half, "ab", "b")]
    assert looked_up < 5 * (process_time() - begun)
