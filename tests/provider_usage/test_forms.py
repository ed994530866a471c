"""What providers say of a call: no token is counted twice, and none more than the total says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sdk.support.sinks import told
from tests.support.tables import table
from towerlog.provider_usage.forms import BUCKETS, FORMS, Form, usage_of

OPENAI_CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
OPENAI_RESPONSES = {
    "input_tokens": 2006,
    "input_tokens_details": {"cached_tokens": 1920},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 50},
}
ANTHROPIC = {
    "input_tokens": 86,
    "cache_read_input_tokens": 1920,
    "cache_creation_input_tokens": 12,
    "output_tokens": 300,
}
ANTHROPIC_THINKING = {
    **ANTHROPIC,
    "cache_creation": None,
    "output_tokens_details": {"thinking_tokens": 50},
    "server_tool_use": None,
}
GEMINI = {
    "promptTokenCount": 2000,
    "cachedContentTokenCount": 1920,
    "toolUsePromptTokenCount": 6,
    "candidatesTokenCount": 250,
    "thoughtsTokenCount": 50,
}
PYDANTIC_AI = {
    "input_tokens": 2018,
    "cache_read_tokens": 1920,
    "cache_write_tokens": 12,
    "output_tokens": 300,
    "details": {"reasoning_tokens": 50},
}
BEDROCK = {"inputTokens": 86, "cacheReadInputTokens": 1920, "outputTokens": 300}
LANGCHAIN = {
    "input_tokens": 2018,
    "output_tokens": 300,
    "total_tokens": 2318,
    "input_token_details": {"cache_read": 1920, "cache_creation": 12},
    "output_token_details": {"reasoning": 50},
}
LANGCHAIN_EPHEMERAL = LANGCHAIN | {
    "input_token_details": {
        "cache_read": 1920,
        "cache_creation": 0,
        "ephemeral_5m_input_tokens": 7,
        "ephemeral_1h_input_tokens": 5,
    }
}
LANGCHAIN_FLEX, LANGCHAIN_PRIORITY = (
    LANGCHAIN
    | {
        "input_token_details": {f"{tier}_cache_read": 1920, tier: 98},
        "output_token_details": {f"{tier}_reasoning": 50, tier: 250},
    }
    for tier in ("flex", "priority")
)
LITELLM = {
    "prompt_tokens": 2018,
    "completion_tokens": 300,
    "total_tokens": 2318,
    "prompt_tokens_details": {"cached_tokens": 1920},
    "cache_read_input_tokens": 1920,
    "cache_creation_input_tokens": 12,
}
OPENROUTER = {
    "prompt_tokens": 2018,
    "completion_tokens": 300,
    "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 12},
}
CODEX = {
    "input_tokens": 2006,
    "cached_input_tokens": 1920,
    "output_tokens": 300,
    "reasoning_output_tokens": 50,
    "total_tokens": 2306,
}
CODEX_RPC = {
    "inputTokens": 2006,
    "cachedInputTokens": 1920,
    "outputTokens": 300,
    "reasoningOutputTokens": 50,
    "totalTokens": 2306,
}
VERCEL_6 = {
    "inputTokens": 2018,
    "inputTokenDetails": {"noCacheTokens": 86, "cacheReadTokens": 1920, "cacheWriteTokens": 12},
    "outputTokens": 300,
    "outputTokenDetails": {"textTokens": 250, "reasoningTokens": 50},
    "totalTokens": 2318,
}
LANGFUSE = {"input": 86, "input_cached_tokens": 1920, "output": 250, "output_reasoning_tokens": 50}
LANGFUSE_WRITES = {"input": 86, "output": 300, "input_cache_creation_1h": 10, "input_cache_creation_5m": 2}
REALTIME = {
    "input_tokens": 2006,
    "output_tokens": 300,
    "total_tokens": 2306,
    "input_token_details": {
        "text_tokens": 106,
        "audio_tokens": 1900,
        "cached_tokens": 1920,
        "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 1820},
    },
    "output_token_details": {"text_tokens": 300, "audio_tokens": 0},
}
INTERACTION = {
    "total_input_tokens": 2000,
    "total_cached_tokens": 1920,
    "total_tool_use_tokens": 6,
    "total_output_tokens": 250,
    "total_thought_tokens": 50,
    "total_tokens": 2306,
}
SHAPES = [
    ({**ANTHROPIC, "inference_geo": "us"}, (86, 1920, 12, 300, None)),
    ({**OPENAI_CHAT, "cost_in_usd_ticks": 1234500}, (86, 1920, None, 250, 50)),
    (LANGFUSE_WRITES, (86, None, 12, 300, None)),
    ({**LANGFUSE_WRITES, "input_cached_tokens": 1920, "total": 2318}, (86, 1920, 12, 300, None)),
    # What Langfuse has no name for stands beside the input and the output too, unless the total says otherwise.
    ({"input": 86, "output": 300, "input_text": 20, "output_tool_tokens": 7}, (106, None, None, 307, None)),
    ({"input": 106, "output": 300, "input_text": 20, "total": 406}, (106, None, None, 300, None)),
    (
        {"input": 86, "output": 300, "input_cost": 2, "input_tokens": 86, "output_kind": "x"},
        (86, None, None, 300, None),
    ),
    ({"input": 0, "input_flex": 86, "output": 0, "output_flex": 300}, (86, None, None, 300, None)),
    (REALTIME, (86, 1920, None, 300, None)),
    (INTERACTION, (86, 1920, None, 250, 50)),
    (OPENAI_CHAT, (86, 1920, None, 250, 50)),
    (OPENAI_RESPONSES, (86, 1920, None, 250, 50)),
    (ANTHROPIC, (86, 1920, 12, 300, None)),
    (ANTHROPIC_THINKING, (86, 1920, 12, 250, 50)),
    ({**ANTHROPIC, "output_tokens_details": None}, (86, 1920, 12, 300, None)),
    (GEMINI, (86, 1920, None, 250, 50)),
    (PYDANTIC_AI, (86, 1920, 12, 250, 50)),
    (BEDROCK, (86, 1920, None, 300, None)),
    ({**BEDROCK, "cacheCreationInputTokens": 53}, (86, 1920, 53, 300, None)),  # Claude's `modelUsage`
    ({"prompt_tokens": 10, "completion_tokens": 2}, (10, None, None, 2, None)),
    ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None}, (10, None, None, 2, None)),
    ({"input_tokens": 10, "output_tokens": 2}, (10, None, None, 2, None)),
    ({"prompt_eval_count": 10, "eval_count": 2}, (10, None, None, 2, None)),
    (LANGCHAIN, (86, 1920, 12, 250, 50)),
    (LITELLM, (86, 1920, 12, 300, None)),
    (OPENROUTER, (86, 1920, 12, 300, None)),
    (CODEX, (86, 1920, None, 250, 50)),
    (CODEX_RPC, (86, 1920, None, 250, 50)),
    (VERCEL_6, (86, 1920, 12, 250, 50)),
    (LANGFUSE, (86, 1920, None, 250, 50)),
    ({**LANGFUSE, "total": 2306}, (86, 1920, None, 250, 50)),
    ({**LANGFUSE, "input": 2006, "output": 300, "total": 2306}, (86, 1920, None, 250, 50)),
    ({"input": 86, "input_cache_read": 1920, "output": 300}, (86, 1920, None, 300, None)),
    ({"input": 86, "input_audio": 20, "output": 300, "total": 406}, (106, None, None, 300, None)),
    ({"input": 106, "input_audio": 20, "output": 300, "total": 406}, (106, None, None, 300, None)),
    (
        {"input": 86, "output": 300, "cache_read_input_tokens": 1920, "cache_creation_input_tokens": 12},
        (86, 1920, 12, 300, None),
    ),
    ({"input": 86, "output": 300, "cacheRead": 1920, "cacheWrite": 12, "totalTokens": 2318}, (86, 1920, 12, 300, None)),
    # Some write the way to a member as one name.
    (
        {"prompt_tokens": 2006, "completion_tokens": 300, "prompt_tokens_details.cached_tokens": 1920},
        (86, 1920, None, 300, None),
    ),
    ({"prompt_tokens": 2006, "completion_tokens": 300, "cached_tokens": 1920}, (86, 1920, None, 300, None)),  # Moonshot
    # MLflow counts what was cached with the input; where it cannot have been in it, a sum of both leaves it out.
    (
        {"input_tokens": 2006, "output_tokens": 300, "total_tokens": 2306, "cache_read_input_tokens": 1920},
        (86, 1920, None, 300, None),
    ),
    (
        {"input_tokens": 86, "output_tokens": 300, "total_tokens": 386, "cache_read_input_tokens": 1920},
        (86, 1920, None, 300, None),
    ),
    # A total that is told says what is inside what.
    (
        {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10, "total_tokens": 110},
        (60, 40, None, 10, None),
    ),
    (
        {"input_tokens": 60, "cached_input_tokens": 40, "output_tokens": 10, "total_tokens": 110},
        (60, 40, None, 10, None),
    ),
    ({"input_tokens": 9, "output_tokens": 8, "reasoning_tokens": 3, "total_tokens": 17}, (9, None, None, 5, 3)),
    # Of a provider whose input is without what was cached, under the names of a library.
    (
        {"inputTokens": 60, "cachedInputTokens": 40, "outputTokens": 10, "totalTokens": 110},
        (60, 40, None, 10, None),
    ),
    # More was cached than there was prompt: no more is counted than the total.
    (
        {"promptTokenCount": 100, "cachedContentTokenCount": 120, "candidatesTokenCount": 10, "totalTokenCount": 110},
        (0, 100, None, 10, None),
    ),
    # From a proxy that puts another provider's figures under these names: the cached ones were not inside.
    ({"prompt_tokens": 86, "prompt_tokens_details": {"cached_tokens": 1920}}, (86, 1920, None, None, None)),
]


def as_object(value: Any) -> Any:
    """The same as an object with attributes, as the libraries give it."""
    if not isinstance(value, dict):
        return value
    return SimpleNamespace(**{name: as_object(member) for name, member in value.items()})


@table("form", [dict, as_object])
@table("usage, expected", SHAPES)
def test_the_usage_of_a_provider_is_taken_apart(usage: Any, expected: tuple[Any, ...], form: Any) -> None:
    known = {bucket: tokens for bucket, tokens in zip(BUCKETS, expected, strict=True) if tokens is not None}
    found = usage_of(form(usage))
    assert {bucket: found[bucket] for bucket in (*BUCKETS, "total_tokens") if bucket in found} == known


def test_what_langchain_calls_otherwise_is_in_the_same_buckets() -> None:
    found = [
        [usage_of(usage).get(bucket) for bucket in BUCKETS]
        for usage in (LANGCHAIN_EPHEMERAL, LANGCHAIN_FLEX, LANGCHAIN_PRIORITY)
    ]
    assert found == [[86, 1920, 12, 250, 50], [98, 1920, None, 250, 50], [98, 1920, None, 250, 50]]


@pytest.mark.parametrize("names", [("input_cost", "output_cost"), ("prompt_cost", "completion_cost")])
def test_costs_of_input_and_output_add_up_and_one_of_them_is_not_the_cost(names: tuple[str, str]) -> None:
    one, other = ({name: cost} for name, cost in zip(names, (0.3, 0.1), strict=True))
    assert usage_of(ANTHROPIC | one | other)["cost_usd"] == 0.4
    assert "cost_usd" not in usage_of(ANTHROPIC | one)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_token_of_a_provider_is_in_one_bucket(prompt: int, cached: int, completion: int, reasoning: int) -> None:
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    chat = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert sum(usage_of(chat).values()) == prompt + completion


@pytest.mark.parametrize("usage", [7, "text", {}, {"sum": 3}, [], {"prompt_tokens": -4}], ids=repr)
def test_usage_of_no_known_shape_is_kept_aside(usage: object) -> None:
    run, events = told()
    run.model_call("m", usage=usage, output_tokens=3)
    (event,) = events
    assert event["data"]["output_tokens"] == 3
    assert list(event["data"]["towerlog_invalid"]) == ["usage"]


def test_single_figures_override_a_providers_usage() -> None:
    run, events = told()
    run.model_call("m", usage=OPENAI_CHAT, output_tokens=1)
    assert [events[0]["data"][bucket] for bucket in ("input_tokens", "output_tokens")] == [86, 1]


def test_a_total_beyond_the_figures_is_told_too() -> None:
    assert usage_of({"total_tokens": 500}) == {"total_tokens": 500}
    assert usage_of({"input_tokens": 10, "total_tokens": 500}) == {"input_tokens": 10, "total_tokens": 500}
    run, events = told()
    run.model_call("m", usage={"input_tokens": 10, "total_tokens": 500}, output_tokens=900)
    assert "total_tokens" not in events[0]["data"], "it was the total of other figures"


@pytest.mark.parametrize(
    "usage",
    [
        {"input": 2244, "output": 2265, "total": 2265},
        {"input_tokens": 2244, "output_tokens": 2265, "total_tokens": 2265},
        {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 10},
    ],
)
def test_of_figures_beyond_the_total_that_alone_counts(usage: dict[str, int]) -> None:
    [total] = [usage[name] for name in ("total", "total_tokens") if name in usage]
    assert usage_of(usage) == {"total_tokens": total}
    unfilled = {name: 0 if name.startswith("total") else tokens for name, tokens in usage.items()}
    assert sum(usage_of(unfilled).values()) > total, "a library may leave the total at 0"


GEMINI_LIVE = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 50,
    "cachedContentTokenCount": 200,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 200}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
    "trafficType": "ON_DEMAND_PRIORITY",
}


@pytest.mark.parametrize(
    ("usage", "parts"),
    [
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 12}}, {"cache_write_1h_tokens": 12}),
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 0}, "service_tier": "standard"}, {}),
        (ANTHROPIC | {"service_tier": "batch"}, {"service_tier": "batch"}),
        (ANTHROPIC | {"service_tier": "batch", "inference_geo": "us"}, {"service_tier": "inference_geo:us"}),
        (ANTHROPIC | {"service_tier": "batch", "inference_geo": "global"}, {"service_tier": "batch"}),
        (ANTHROPIC | {"service_tier": "standard", "speed": "fast"}, {"service_tier": "fast"}),
        (
            OPENAI_CHAT
            | {
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 30},
                "completion_tokens_details": {"audio_tokens": 20},
            },
            {"input_audio_tokens": 30, "output_audio_tokens": 20},
        ),
        (
            GEMINI_LIVE,
            {
                "input_audio_tokens": 900,
                "cache_audio_read_tokens": 0,
                "output_audio_tokens": 50,
                "service_tier": "ON_DEMAND_PRIORITY",
            },
        ),
        (
            {
                "inputTokens": 5,
                "outputTokens": 5,
                "cacheWriteInputTokens": 9,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 9}],
            },
            {"cache_write_1h_tokens": 9},
        ),
        (
            {"input_tokens": 50, "output_tokens": 5, "input_token_details": {"audio": 40, "cache_read": 0}},
            {"input_audio_tokens": 40},
        ),
        (OPENAI_CHAT | {"prompt_tokens_details": {"audio_tokens": "many"}}, {}),
        (LANGCHAIN_EPHEMERAL, {"cache_write_1h_tokens": 5}),
        (LANGFUSE_WRITES, {"cache_write_1h_tokens": 10}),
        (
            {"input": 5, "output": 3, "input_audio": 2, "output_audio": 1},
            {"input_audio_tokens": 2, "output_audio_tokens": 1},
        ),
        ({"input": 5, "output": 3, "input_priority_cache_read": 2}, {"service_tier": "priority"}),
        (REALTIME, {"input_audio_tokens": 1900, "cache_audio_read_tokens": 1820}),
        (
            INTERACTION | {"input_tokens_by_modality": [{"modality": "audio", "tokens": 30}]},
            {"input_audio_tokens": 30},
        ),
        (LANGCHAIN_FLEX, {"service_tier": "flex"}),
        (LANGCHAIN_PRIORITY, {"service_tier": "priority"}),
    ],
)
def test_what_a_price_goes_by_is_told_beside_the_buckets_and_changes_none(
    usage: dict[str, Any], parts: dict[str, Any]
) -> None:
    found = usage_of(usage)
    assert {name: value for name, value in found.items() if name not in (*BUCKETS, "total_tokens")} == parts


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        ({"cost": 0.00014}, 0.00014),
        ({"cost": 0.00014, "cost_details": {"upstream_inference_cost": None}}, 0.00014),
        ({"cost": 0.00014, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00014}}, 0.00014),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, 0.0021),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.002}}, 0.002),
        ({"cost": 0}, 0),
        ({"cost": {"total_cost": 0.25}}, 0.25),
        ({"cost_in_usd_ticks": 1234500}, 0.00012345),
        ({"cost_in_usd_ticks": "many"}, None),
        ({"cost": "much"}, None),
    ],
)
def test_a_cost_that_the_provider_tells_is_the_senders(said: dict[str, Any], cost: float | None) -> None:
    assert usage_of(OPENAI_CHAT | said).get("cost_usd") == cost
    run, events = told()
    run.model_call("m", usage=OPENAI_CHAT | said)
    run.model_call("m", usage=OPENAI_CHAT | said, cost_usd=1)
    assert [event["data"].get("cost_usd") for event in events] == [cost, 1]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.marks[0])
@given(data=st.data())
def test_never_more_is_counted_than_the_total(form: Form, data: st.DataObject) -> None:
    counts = st.integers(0, 100)
    usage: dict[str, Any] = {}
    for names in (form.input, form.output, form.cached, form.written, form.reasoning, form.beside_input):
        for path in names[:1]:
            *around, name = path.split(".")
            members = usage
            for outer in around:
                members = members.setdefault(outer, {})
            members[name] = data.draw(counts)
    if not form.total:
        return
    total = usage[form.total[0]] = data.draw(st.integers(1, 400))
    bare = form.is_total_bare and total == usage["input_tokens"] + usage["output_tokens"]
    assert bare or sum(usage_of(usage).get(bucket, 0) for bucket in BUCKETS) <= total
