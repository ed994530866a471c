"""The attributes by which instrumentations tell the tokens and the cost of a model call, in the order in which they are
looked for.

What a part of the input or of the output is called, and in front of what, differs from library to library, and from
version to version: each word is known in each of these places.
"""

from __future__ import annotations

from towerlog.dialects.otlp.names import paths
from towerlog.model.usage_parts import COUNTED_PARTS

OF_USAGE = "gen_ai.usage."
_BEFORE = (OF_USAGE, "gen_ai.usage.details.", "llm.usage.")
"""What stands before the words for parts. The whole input is not among them: behind `details`, it is that of the
provider, which counts otherwise."""


def _spelled(*words: str) -> tuple[str, ...]:
    """Each word in each place, in the order of the words."""
    return tuple(before + word for word in words for before in _BEFORE)


INPUT_TOKENS = paths(
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
    *("ai.usage.tokens", "input_token_count", "input_tokens"),
)
EXCLUSIVE_INPUT = "input_tokens"
"""The one of them, the last, that does not count what was read from a cache and written to it."""
CACHED_TOKENS = paths(
    *_spelled(
        *("cache_read.input_tokens", "cache_read_input_tokens", "cached_input_tokens", "cached_tokens"),
        *("cache_read_tokens", "input_cached_tokens", "input_cache_read", "input_cache_read_tokens"),
        *("prompt_cache_hit_tokens", "cached_content_tokens", "cached_content_token_count"),
        *("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
        *("prompt_tokens_details.cache_read_tokens", "input_token_details.cache_read"),
    ),
    "llm.token_count.prompt_details.cache_read",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    *("cache_read_tokens", "cached_token_count", "cached_content_token_count"),
)
CACHE_WRITE_TOKENS = paths(
    *_spelled(
        *("cache_creation.input_tokens", "cache_write.input_tokens", "cache_creation_input_tokens"),
        *("cache_write_input_tokens", "cache_creation_tokens", "cache_write_tokens"),
        *("input_cache_creation", "input_cache_write", "input_cache_creation_tokens", "input_cache_write_tokens"),
        *("prompt_tokens_details.cache_creation_tokens", "prompt_tokens_details.cache_write_tokens"),
        *("input_tokens_details.cache_write_tokens", "input_token_details.cache_creation"),
    ),
    "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    ("ai.response.providerMetadata", "bedrock", "usage", "cacheWriteInputTokens"),
    "cache_creation_tokens",
)
TOOL_TOKENS = paths("tool_token_count")
"""Of what tools of the provider have put into the input, which its count does not hold."""
OUTPUT_TOKENS = paths(
    "gen_ai.usage.output_tokens",
    *("gen_ai.usage.completion_tokens", "llm.token_count.completion", "llm.usage.completion_tokens"),
    "ai.usage.outputTokens",
    *("ai.usage.completionTokens", "output_tokens", "output_token_count"),
)
REASONING_TOKENS = paths(
    *_spelled(
        *("reasoning.output_tokens", "reasoning_tokens", "reasoning_output_tokens", "output_reasoning_tokens"),
        *("output_reasoning", "thoughts_tokens", "thoughts_token_count", "thinking_tokens"),
        *("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
        *("output_tokens_details.thinking_tokens", "output_token_details.reasoning"),
    ),
    "llm.token_count.completion_details.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
    *("gen_ai.usage.experimental.reasoning_tokens", "reasoning_token_count", "thoughts_token_count"),
)
TOTAL_TOKENS = paths(
    *("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens"),
    "total_token_count",
)
_AUDIO_IN = (
    *("prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens", "input_token_details.audio_tokens"),
    *("audio_input_tokens", "audio.input_tokens", "prompt_audio_tokens", "input_tokens.audio"),
)
_AUDIO_OUT = (
    *("completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens"),
    *("output_token_details.audio_tokens", "audio_output_tokens", "audio.output_tokens", "completion_audio_tokens"),
    "output_tokens.audio",
)
OUR_PARTS = "towerlog.usage."
"""Before the names of parts, on the way out."""
PARTS: tuple[tuple[str, ...], ...] = (
    *(
        (front + part, part)
        for part in COUNTED_PARTS
        for front in (OUR_PARTS, "gen_ai.usage.", "gen_ai.usage.details.")
    ),
    *(
        (name, "cache_write_1h_tokens")
        for name in _spelled(
            *("cache_creation.ephemeral_1h_input_tokens", "ephemeral_1h_input_tokens", "cache_creation_1h_tokens"),
            *("input_cache_creation_1h", "input_token_details.ephemeral_1h_input_tokens"),
        )
    ),
    ("llm.token_count.prompt_details.audio", "input_audio_tokens"),
    ("llm.token_count.completion_details.audio", "output_audio_tokens"),
    *((f"gen_ai.usage.{name}", "input_audio_tokens") for name in _AUDIO_IN),
    *((f"gen_ai.usage.{name}", "output_audio_tokens") for name in _AUDIO_OUT),
)
"""Attribute, the part of a bucket that it tells, and members of the JSON object that is its text."""
TIER = paths(
    OUR_PARTS + "service_tier",
    "gen_ai.openai.response.service_tier",
    "openai.response.service_tier",
    *("gen_ai.response.service_tier", "gen_ai.usage.service_tier"),
    *(("ai.response.providerMetadata", provider, "serviceTier") for provider in ("openai", "azure")),
    "gen_ai.openai.request.service_tier",
    "openai.request.service_tier",
    "gen_ai.request.service_tier",
)
USAGE_DETAILS = paths(
    *("gen_ai.usage.input_token_details", "gen_ai.usage.output_token_details"),
    *("gen_ai.usage.input_tokens_details", "gen_ai.usage.output_tokens_details"),
)
"""Members of an object of usage that is told by attributes otherwise: objects themselves, which split its sums."""
USAGE_OBJECTS = paths(
    "langfuse.observation.usage_details",
    "langsmith.metadata.usage_metadata",
    "mlflow.chat.tokenUsage",
    "metadata.usage_object",
    "usage",
)
"""Objects of usage, each in whichever form its sender has them."""
PROVIDER_USAGE = paths(
    ("ai.response.providerMetadata", "anthropic", "usage"),
    *(("ai.response.providerMetadata", provider, "usageMetadata") for provider in ("google", "vertex")),
)
"""The provider's own object beside what a framework has made of it: where it tells input and output, it counts."""
COST = paths(
    *("operation.cost", "gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.usage.cost_usd"),
    *("gen_ai.cost.total_cost", "litellm.cost.total", "llm.cost.total", "llm.usage.cost", "llm.usage.total_cost"),
    "cost_usd",
    ("mlflow.llm.cost", "total_cost"),
    ("langfuse.observation.cost_details", "total"),
    ("ai.response.providerMetadata", "openrouter", "usage", "cost"),
    "towerlog.cost_usd",
)
"""Dollars of one call."""
COST_PARTS: tuple[tuple[str, ...], ...] = (
    ("llm.cost.prompt", "input", "openinference"),
    ("llm.cost.completion", "output", "openinference"),
    ("gen_ai.usage.input_cost", "input", "usage"),
    ("gen_ai.usage.output_cost", "output", "usage"),
    ("gen_ai.cost.input_cost", "input", "litellm"),
    ("gen_ai.cost.output_cost", "output", "litellm"),
    ("mlflow.llm.cost", "input", "mlflow", "input_cost"),
    ("mlflow.llm.cost", "output", "mlflow", "output_cost"),
)
"""Attribute with dollars of the input or of the output of a call, which of them, whose names these are, and members."""
COST_DETAILS = "langfuse.observation.cost_details"
"""An object with a cost for each of the kinds of tokens that the object of usage has."""
OF_OUTPUT = ("output", "completion")
"""What the names of those begin with that are output; the others are input."""
