"""The list of prices: the models that it means, and its figures against those that the package works out itself."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice
from genai_prices.types import Usage as ListedUsage

from towerlog.engine.pricing.memo import Memo
from towerlog.engine.pricing.price_list import MAX_KNOWN_BYTES, MODEL_BYTES, ListedPrices, card_of
from towerlog.model.times import parse_ms
from towerlog.model.usage import Usage

LISTED = ListedPrices()
SUMMER = parse_ms("2026-06-01T12:00:00Z")


def cost(provider: str | None, model: str, usage: Usage, at: str = "2026-06-01T12:00:00Z") -> int | None:
    """Nano-dollars of a call."""
    card = LISTED.card(provider, model, parse_ms(at))
    return None if card is None else card.cost_nanos(usage)


def test_calls_of_several_providers_worked_out_by_hand() -> None:
    # gpt-4o: $2.50, cached $1.25, output $10 for a million: 1,000 + 2,000 cached + 300.
    assert cost("openai", "gpt-4o", Usage(1000, 2000, output_tokens=300)) == 2_500_000 + 2_500_000 + 3_000_000
    # o3-mini: $1.10 and $4.40; reasoning is output.
    assert cost(None, "o3-mini", Usage(1000, output_tokens=100, reasoning_tokens=900)) == 1_100_000 + 4_400_000
    # Claude Sonnet 4.5: $3, read $0.30, written $3.75, output $15.
    claude = Usage(100, 10_000, 2_000, 500)
    assert cost("anthropic", "claude-sonnet-4-5", claude) == 300_000 + 3_000_000 + 7_500_000 + 7_500_000
    # The same above 200,000 tokens of input: twice the input, one and a half times the output.
    assert cost("anthropic", "claude-sonnet-4-5", Usage(200_001, output_tokens=10)) == 200_001 * 6_000 + 10 * 22_500
    # Gemini 2.5 Pro: $1.25, cached $0.125, output and thoughts $10.
    gemini = Usage(800, 200, None, 50, 400)
    assert cost("google-vertex", "gemini-2.5-pro", gemini) == 1_000_000 + 25_000 + 4_500_000


def test_the_price_is_that_of_the_time() -> None:
    """DeepSeek had a cheaper night, and some models became cheaper on a day."""
    moved = {
        (provider.id, model.id)
        for provider in providers
        for model in provider.models
        if not isinstance(model.prices, ModelPrice)
    }
    seen = set()
    for provider_id, model_id in sorted(moved):
        provider = next(one for one in providers if one.id == provider_id)
        model = next(one for one in provider.models if one.id == model_id)
        if provider.find_model(model_id) is not model:
            continue
        for at in ("2023-05-05T00:30:00Z", "2025-02-02T08:00:00Z", "2026-01-01T17:00:00Z", "2026-11-11T03:59:00Z"):
            ours, listed = LISTED.card(provider_id, model_id, parse_ms(at)), card_at(model, at)
            assert ours == listed, (provider_id, model_id, at)
            seen.add((provider_id, model_id, ours))
    assert len(seen) > len({place[:2] for place in seen}), "some have more than one price"


def card_at(model: object, at: str) -> object:
    """What the package itself has of a model at a time."""
    from datetime import datetime

    price = model.get_prices(datetime.fromisoformat(at))  # type: ignore[attr-defined]  # a model of the list
    return card_of(price, LISTED.version)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_price_of_the_list_gives_what_the_package_works_out(seed: int) -> None:
    draw = random.Random(seed)
    compared = 0
    for provider in providers:
        for model in provider.models:
            prices = [model.prices] if isinstance(model.prices, ModelPrice) else [one.prices for one in model.prices]
            for price in prices:
                card = card_of(price, "v")
                tokens = [draw.choice([0, draw.randrange(1000), draw.randrange(500_000)]) for _ in range(5)]
                ours = None if card is None else card.cost_nanos(Usage(*tokens))
                if ours is None:
                    continue
                uncached, cached, written, output, reasoning = tokens
                theirs = price.calc_price(
                    ListedUsage(
                        input_tokens=uncached + cached + written,
                        cache_read_tokens=cached,
                        cache_write_tokens=written,
                        output_tokens=output + reasoning,
                        output_reasoning_tokens=reasoning,
                    )
                )["total_price"]
                # Ours has prices to the ninth decimal of a dollar a million: some of the list are thirds.
                assert abs(theirs * 10**9 - ours) <= Decimal("0.51"), (provider.id, model.id, tokens)
                compared += 1
    assert compared > 2000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (None, "openai/gpt-4o"),
        (None, "openai:gpt-4o"),
        ("openai", "openai/gpt-4o"),
        ("azure", "gpt-4o"),
        (None, "gpt-4o-2024-08-06"),
        ("OpenAI", "gpt-4o"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
    ],
)
def test_a_model_is_found_by_the_names_that_senders_use(provider: str | None, model: str) -> None:
    assert LISTED.card(provider, model, SUMMER) is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (None, "m"),
        (None, ""),
        (None, "big"),
        (None, "ollama/llama3"),
        (None, "deepseek-r1:7b"),
        (None, "qwen2.5:7b"),
        ("my-own", "gpt-4o"),
        ("openai", "no-such-model"),
    ],
)
def test_what_only_looks_like_a_model_of_the_list_is_none(provider: str | None, model: str) -> None:
    assert LISTED.card(provider, model, SUMMER) is None


def test_what_was_asked_for_is_remembered_up_to_a_bound() -> None:
    asked: list[int] = []

    def ask(key: int) -> int:
        asked.append(key)
        return -key

    memo = Memo(16, ask, lambda _key, _answer: 1, lambda: None)
    for key in (*range(1000), 999):
        assert memo[key] == -key
        assert len(memo) <= 16
    assert len(asked) == 1000
    listed = ListedPrices()
    for number in range(MAX_KNOWN_BYTES // MODEL_BYTES + 50):
        listed.card(None, f"m{number}", SUMMER)
    assert listed._models.held_bytes <= MAX_KNOWN_BYTES
