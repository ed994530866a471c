"""What a framework leaves out of its figures: the provider's own object beside them, and what only the total shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.calls import call
from tests.dialects.otlp.figures.test_told_usage import call_of, usage_of
from tests.support.otlp import JSON, Json, attribute, logs
from tests.support.tables import table
from towerlog.dialects.base import Endpoint
from towerlog.dialects.otlp.dialect import DIALECT
from towerlog.model.event import Draft
from towerlog.model.usage import NO_USAGE, Usage

VERCEL = {"ai.usage.inputTokens": 86, "ai.usage.outputTokens": 300, "ai.usage.totalTokens": 386}
ANTHROPIC = {
    "input_tokens": 86,
    "cache_creation_input_tokens": 50_000,
    "cache_read_input_tokens": 1920,
    "output_tokens": 300,
}


def metadata(provider: str, told: dict[str, Any]) -> dict[str, Any]:
    return {**VERCEL, "ai.usage.cachedInputTokens": 1920, "ai.response.providerMetadata": json.dumps({provider: told})}


def test_the_providers_own_usage_counts_before_what_vercels_sdk_makes_of_it() -> None:
    assert usage_of(metadata("anthropic", {"usage": ANTHROPIC})) == Usage(86, 1920, 50_000, 300)
    google = {"promptTokenCount": 2006, "cachedContentTokenCount": 1920, "candidatesTokenCount": 250}
    google |= {"thoughtsTokenCount": 50, "totalTokenCount": 2306}
    assert usage_of(metadata("google", {"usageMetadata": google})) == Usage(86, 1920, None, 250, 50)


def test_what_the_provider_has_charged_counts() -> None:
    told = {"promptTokens": 2006, "completionTokens": 300, "totalTokens": 2306, "cost": 0.5}
    report = call_of(metadata("openrouter", {"usage": told})).effects.report
    assert report is not None
    assert (report.usage.all_tokens(), report.usage.cost_nanos) == (386, 500_000_000)


@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_the_tier_that_has_served_it_is_in_the_metadata(provider: str) -> None:
    report = call_of(metadata(provider, {"serviceTier": "flex"})).effects.report
    assert report is not None
    assert report.parts is not None
    assert report.parts.tier == "flex"


@pytest.mark.parametrize("told", [{"usage": {"output_tokens": 3}}, {"usage": "none"}, {}])
def test_metadata_that_is_not_all_of_a_call_counts_nothing(told: dict[str, Any]) -> None:
    assert usage_of({**VERCEL, "ai.response.providerMetadata": json.dumps({"anthropic": told})}) == Usage(
        86, output_tokens=300
    )


@table(
    "total, expected",
    [
        (3000 + 300 + 1932, Usage(3000, 1920, 12, 300)),  # beside the input, as Bedrock has them
        (3300, Usage(1068, 1920, 12, 300)),
        (None, Usage(1068, 1920, 12, 300)),
        (3333, Usage(1068, 1920, 12, 300)),
    ],
)
def test_the_total_decides_whether_the_input_holds_the_caches(total: int | None, expected: Usage) -> None:
    told = {"input_tokens": 3000, "output_tokens": 300, "cache_read_input_tokens": 1920, "cache_write_input_tokens": 12}
    told |= {} if total is None else {"total_tokens": total}
    report = call_of({f"gen_ai.usage.{name}": value for name, value in told.items()}).effects.report
    assert report is not None
    bare = (report.usage.input_tokens, report.usage.cached_input_tokens, report.usage.cache_write_tokens)
    assert bare == (expected.input_tokens, expected.cached_input_tokens, expected.cache_write_tokens)


@table("tool, total, expected", [(0, 2300, 80), (6, 2306, 86), (6, 2300, 80), (6, None, 86)])
def test_what_geminis_tools_have_read_is_input_beside_the_prompt(tool: int, total: int | None, expected: int) -> None:
    told = {"input_token_count": 2000, "output_token_count": 250, "cached_content_token_count": 1920}
    told |= {"thoughts_token_count": 50, "tool_token_count": tool} | (
        {} if total is None else {"total_token_count": total}
    )
    attributes = {"event.name": "gemini_cli.api_response", "session.id": "s", "model": "gemini-2.5-flash", **told}
    record: Json = {"timeUnixNano": "1775124000000000000"}
    record["attributes"] = [{"key": key, "value": attribute(value)} for key, value in attributes.items()]
    endpoint: Endpoint = next(one for one in DIALECT.endpoints if one.path == "/v1/logs")
    command = endpoint.decode(call(json.dumps(logs(record)).encode(), headers={b"content-type": JSON.encode()}))
    [found] = [one for one in command.items if isinstance(one, Draft)]
    report = found.effects.report
    usage = NO_USAGE if report is None else report.usage
    written = 200 if total is None else 250
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        (expected, 1920, written, 50)
    )
