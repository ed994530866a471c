"""The list of prices: the models that it means, and its figures against those that the package works out itself."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice
from genai_prices.types import Usage as ListedUsage

from towerlog.engine.pricing.memo import Memo
from towerlog.engine.pricing.price_list import MAX_KNOWN_BYTES, MODEL_BYTES, ListedPrices, _find, card_of
from towerlog.model.times import parse_ms
from towerlog.model.usage import Usage
from towerlog.model.usage_parts import COUNTED_PARTS, UsageParts

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
    is_speech = "-tts" in model.id  # type: ignore[attr-defined]
    return card_of(price, LISTED.version, is_speech=is_speech)


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


def of_list(usage: Usage, parts: UsageParts, price: ModelPrice) -> Decimal:
    """Nano-dollars, as the package works them out."""
    told = {name: getattr(parts, name) for name in COUNTED_PARTS if getattr(parts, name) is not None}
    usage_of_list = ListedUsage(
        input_tokens=usage.all_input_tokens(),
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.all_output_tokens(),
        output_reasoning_tokens=usage.reasoning_tokens,
        **told,
    )
    return price.calc_price(usage_of_list)["total_price"] * 10**9


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_parts_cost_what_the_package_works_out_or_have_no_price(seed: int) -> None:
    """Random calls with cache writes of an hour and audio, at the prices of every model that has one of those."""
    draw, compared = random.Random(seed), 0
    for provider in providers:
        for model in provider.models:
            price = model.get_prices(datetime(2026, 11, 11, tzinfo=UTC))
            card = card_of(price, "v")
            rates = () if card is None else msgspec.structs.astuple(card.rates)[6:]
            if card is None or not any(rates):
                continue
            for _ in range(20):
                fresh, cached, output = (draw.choice([0, draw.randrange(5000)]) for _ in range(3))
                audio, kept = draw.randint(0, fresh), draw.randint(0, cached)
                written = draw.choice([0, draw.randrange(5000)]) if not audio else 0
                parts = UsageParts(
                    cache_write_1h_tokens=draw.randint(0, written),
                    input_audio_tokens=audio + kept,
                    cache_audio_read_tokens=kept,
                    output_audio_tokens=draw.choice([0, draw.randint(0, output)]),
                )
                usage = Usage(fresh, cached, written, output, 0)
                ours = card.cost_nanos(usage, parts)
                if ours is not None:
                    theirs = of_list(usage, parts, price)
                    assert abs(theirs - ours) <= Decimal("0.51"), (provider.id, model.id, usage, parts)
                    compared += any((parts.cache_write_1h_tokens, audio, kept, parts.output_audio_tokens))
    assert compared > 300


def test_calls_with_parts_worked_out_by_hand() -> None:
    """What these were before: $0.375, $0.00055 and $0.02."""
    at = parse_ms("2026-11-20T12:00:00Z")
    claude, gemini = LISTED.card("anthropic", "claude-sonnet-4-5", at), LISTED.card("google", "gemini-2.5-flash", at)
    spoken, plain = LISTED.card("openai", "gpt-realtime", at), LISTED.card("openai", "gpt-4o-audio-preview", at)
    assert claude is not None
    assert gemini is not None
    assert spoken is not None
    assert plain is not None
    assert claude.cost_nanos(Usage(0, 0, 100_000, 0), UsageParts(cache_write_1h_tokens=100_000)) == 600_000_000
    assert gemini.cost_nanos(Usage(1000, output_tokens=100), UsageParts(input_audio_tokens=900)) == 1_180_000
    both = UsageParts(input_audio_tokens=900, output_audio_tokens=900)
    assert spoken.cost_nanos(Usage(1000, output_tokens=1000), both) == 88_400_000
    assert plain.cost_nanos(Usage(1000, output_tokens=1000), both) is None, "the list has it as text alone"


@pytest.mark.parametrize(
    ("provider", "model", "tier", "dollars_a_million"),
    [
        ("openai", "gpt-5", None, "1.25"),
        ("openai", "gpt-5", "flex", "0.625"),
        ("openai", "gpt-5", "priority", "2.5"),
        ("openai", "gpt-5", "scale", None),
        ("anthropic", "claude-sonnet-4-5", "batch", "1.5"),
        ("anthropic", "claude-sonnet-4-5", "priority", None),
        ("azure", "gpt-5", "flex", None),
    ],
)
def test_terms_have_the_prices_of_the_list_or_none(
    provider: str, model: str, tier: str | None, dollars_a_million: str | None
) -> None:
    card = LISTED.card(provider, model, parse_ms("2026-11-20T12:00:00Z"), tier)
    assert (None if card is None else card.rates.input) == (
        None if dollars_a_million is None else Decimal(dollars_a_million) * 10**9
    )


def test_terms_have_no_price_before_the_list_has_one() -> None:
    """Prices of batches of Claude are in the list since October 2026: before that they are not the standard ones."""
    assert LISTED.card("anthropic", "claude-sonnet-4-5", SUMMER, "batch") is None
    assert LISTED.card("anthropic", "claude-sonnet-4-5", SUMMER) is not None


@pytest.mark.parametrize(
    ("provider", "model", "meant"),
    [
        (None, "us.anthropic.claude-haiku-4-5-20251001-v1:0", "regional.anthropic.claude-haiku-4-5-20251001-v1:0"),
        (None, "anthropic.claude-3-5-sonnet-20241022-v2:0", "regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
        (None, "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        (
            None,
            "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "regional.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        (None, "bedrock/converse/us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (None, "bedrock/us-east-1/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (None, "bedrock:amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "regional.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        (None, "gemini/gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "vertex_ai/gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "vertex_ai/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        (None, "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "projects/p/locations/l/publishers/anthropic/models/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        (None, "google-gla:gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "google_genai:gemini-2.5-flash", "gemini-2.5-flash"),
        ("google_genai", "gemini-2.5-flash", "gemini-2.5-flash"),
        (None, "openai-responses:gpt-5", "gpt-5"),
        (None, "azure_openai:gpt-5", "gpt-5"),
        (None, "gateway/openai:gpt-5", "gpt-5"),
        ("litellm", "gemini/gemini-2.5-flash", "gemini-2.5-flash"),
        ("litellm", "gpt-4o", "gpt-4o"),
        ("litellm", "litellm_proxy/gpt-4o", "gpt-4o"),
        ("litellm", "openrouter/deepseek/deepseek-chat", "deepseek/deepseek-chat"),
        ("xai", "grok-4.3", "grok-4.3"),
        (None, "claude-haiku-4-5", "claude-haiku-4-5"),
        (None, "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        (None, "claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        (None, "Claude-Haiku-4-5-latest", "claude-haiku-4-5"),
        (None, "claude-sonnet-4-5[1m]", "claude-sonnet-4-5"),
        (None, "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        (None, "claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
        (None, "claude-2.1", "claude-2"),
        (None, "gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        (None, "gemini-2.0-flash-001", "gemini-2.0-flash"),
        (None, "gpt-4o-realtime-preview-2024-12-17", "gpt-4o-realtime-preview"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc123", "ft:gpt-4o"),
        (None, "gpt-5.2-20251211", "gpt-5.2"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
    ],
)
def test_names_as_programs_spell_them_are_of_the_model_that_is_meant(
    provider: str | None, model: str, meant: str
) -> None:
    found = _find(provider, model)
    assert found is not None
    assert found.model.id == meant
    assert LISTED.card(provider, model, SUMMER) is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (None, "claude-haiku-4-5-turbo"),
        ("anthropic", "claude-haiku-4-5-turbo"),
        (None, "claude-haiku-4-50"),
        (None, "claude-opus-4.6-fast"),
        (None, "my-claude-haiku-4-5"),
        (None, "deepseek/deepseek-chat:free"),
        (None, "deepseek-r1-distill-qwen-7b"),
        (None, "deepseek-chat-lite"),
        (None, "kimi-k2.6:free"),
        (None, "google/gemini-2.0-flash-exp:free"),
        (None, "gemini-2.5-pro-mini"),
        (None, "GPT-JT-Moderation-6B"),
        (None, "bedrock/us.anthropic.claude-haiku-4-5-turbo-v1:0"),
        (None, "bedrock/gpt-4o"),
        (None, "vertex_ai/claude-haiku-4-5-turbo"),
        (None, "models/llama3"),
        (None, "ollama/claude-haiku-4-5"),
        ("openai", "gemini/gemini-2.5-flash"),
        (None, "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"),
    ],
)
def test_names_that_only_begin_like_a_model_have_no_price(provider: str | None, model: str) -> None:
    assert LISTED.card(provider, model, SUMMER) is None


def test_every_model_of_the_list_is_found_by_its_own_name() -> None:
    for provider in providers:
        for model in provider.models:
            found = _find(provider.id, model.id)
            assert found is not None, (provider.id, model.id)


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
        (None, "text-embedding-3-small"),
        (None, "text-embedding-ada-002"),
        (None, "embed-v4.0"),
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
        (None, "text-embedding-3-house"),
        (None, "text-embedding-004"),
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


def test_the_list_is_read_page_by_page_and_by_words() -> None:
    pages, after = [], None
    while page := LISTED.found((), after, 200, SUMMER):
        after = (page[-1].provider, page[-1].model)
        pages.append(page)
    found = [(one.provider, one.model) for page in pages for one in page]
    assert found == sorted(set(found))
    assert len(found) > 1000
    assert max(map(len, pages)) == 200
    [mini] = [one for one in LISTED.found(("openai", "4o-mini"), None, 50, SUMMER) if one.model == "gpt-4o-mini"][:1]
    assert mini.card == LISTED.card("openai", "gpt-4o-mini", SUMMER)
    assert LISTED.found(("no-such-model",), None, 50, SUMMER) == []
