"""What instrumentations call things: one table of names, in the order in which they are looked for.

A span is read by the attributes that it has, never by its schema URL: libraries mix generations of the conventions, and
set old and new names side by side. A further library is further names here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from towerlog.model.usage_parts import COUNTED_PARTS

Kind = Literal["agent", "chain", "model", "tool", "step", ""]
"""What a span is. `chain`: a workflow or a part of one; `step`: any other part of an agent's work; empty: none."""
Path = tuple[str, ...]
"""An attribute; behind it, members of the JSON object that is its text."""

AGENT: Kind = "agent"
CHAIN: Kind = "chain"
MODEL: Kind = "model"
TOOL: Kind = "tool"
STEP: Kind = "step"
OTHER: Kind = ""


def _paths(*names: str | Path) -> tuple[Path, ...]:
    return tuple((name,) if isinstance(name, str) else name for name in names)


def _words(kinds: Mapping[Kind, str]) -> Mapping[str, Kind]:
    return {word: kind for kind, words in kinds.items() for word in words.split()}


KINDS: tuple[tuple[str, Mapping[str, Kind]], ...] = (
    # A copy of a span that is still under way, under an id of its own: the span follows.
    ("logfire.span_type", {"pending_span": STEP}),
    ("towerlog.span.kind", {"usage": MODEL}),
    (
        "openinference.span.kind",
        _words(
            {
                AGENT: "agent",
                CHAIN: "chain",
                MODEL: "llm embedding",
                TOOL: "tool",
                STEP: "retriever reranker guardrail evaluator prompt decision",
            }
        ),
    ),
    ("traceloop.span.kind", {"workflow": CHAIN, "agent": AGENT, "tool": TOOL, "task": STEP}),
    (
        "langsmith.span.kind",
        _words({CHAIN: "chain", MODEL: "llm embedding", TOOL: "tool", STEP: "retriever prompt parser"}),
    ),
    (
        "ai.operationId",
        _words(
            {
                CHAIN: "ai.generatetext ai.streamtext ai.generateobject ai.streamobject ai.embed ai.embedmany",
                MODEL: "ai.generatetext.dogenerate ai.streamtext.dostream ai.generateobject.dogenerate "
                "ai.streamobject.dostream ai.embed.doembed ai.embedmany.doembed",
                TOOL: "ai.toolcall",
            }
        ),
    ),
    (
        "span.type",
        {"interaction": AGENT, "llm_request": MODEL, "tool": TOOL, "tool.execution": STEP, "hook": STEP},
    ),
    (
        "gen_ai.operation.name",
        _words(
            {
                AGENT: "invoke_agent",
                CHAIN: "invoke_workflow chain",
                MODEL: "chat text_completion generate_content completion embeddings embedding",
                TOOL: "execute_tool",
                STEP: "create_agent execute_task execute_event_loop_cycle retrieval",
            }
        ),
    ),
    ("gen_ai.span.kind", {"agent": AGENT, "chain": CHAIN, "llm": MODEL, "tool": TOOL, "step": STEP}),
    ("llm.request.type", {"chat": MODEL, "completion": MODEL, "embedding": MODEL, "rerank": STEP}),
    (
        "langfuse.observation.type",
        _words(
            {
                AGENT: "agent",
                CHAIN: "chain",
                MODEL: "generation embedding",
                TOOL: "tool",
                STEP: "retriever evaluator guardrail event span",
            }
        ),
    ),
    (
        "mlflow.spanType",
        _words(
            {
                AGENT: "agent",
                CHAIN: "chain workflow",
                MODEL: "chat_model llm embedding",
                TOOL: "tool",
                STEP: "retriever reranker parser memory task",
            }
        ),
    ),
)
"""Attribute → its value in small letters → what a span is that has it. The first that says anything counts."""

PRESENT: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (TOOL, ("gen_ai.tool.name", "gen_ai.tool.call.id", "ai.toolCall.name", "tool.name")),
    (AGENT, ("pydantic_ai.all_messages", "all_messages_events", "agent_name")),
    (MODEL, ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "embedding.model_name")),
)
"""Of a span that names no kind: what it is if it has one of these."""

AGENT_NAME = _paths(
    "gen_ai.agent.name",
    "agent.name",
    "agent_name",
    "langsmith.metadata.lc_agent_name",
    "ai.telemetry.functionId",
    "gen_ai.workflow.name",
    "traceloop.workflow.name",
    ("metadata", "lc_agent_name"),
)
"""The agent of a span, as far as the span itself tells."""

THREAD = _paths(
    "gen_ai.conversation.id",
    "session.id",
    "gen_ai.session.id",
    "langsmith.metadata.thread_id",
    "traceloop.association.properties.thread_id",
    "ai.telemetry.metadata.threadId",
    "ai.telemetry.metadata.thread_id",
    "thread_id",
    ("metadata", "thread_id"),
    "langsmith.metadata.session_id",
    "traceloop.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "ai.telemetry.metadata.session_id",
    "gcp.vertex.agent.session_id",
    *("langfuse.session.id", "session_id", "conversation.id"),
)

MODEL_NAME = _paths(
    *("gen_ai.response.model", "ai.response.model", "llm.response.model_name", "llm.model_name"),
    "gen_ai.request.model",
    "embedding.model_name",
    "llm.request.model_name",
    "ai.model.id",
    "langsmith.metadata.ls_model_name",
    "model",
    "langfuse.observation.model.name",
    "mlflow.llm.model",
)

PROVIDER = _paths(
    "langsmith.metadata.ls_provider",
    "traceloop.association.properties.ls_provider",
    "gen_ai.provider.name",
    "llm.provider",
    "ai.model.provider",
    "gen_ai.system",
    "llm.system",
)
PROVIDER_WORDS: Mapping[str, str | None] = {
    "langchain": None,
    "langgraph": None,
    "strands-agents": None,
    "gcp": "google",
    "vertexai": "google",
    "aws": "aws",
    "az": "azure",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
}
"""What stands before the first dot of a provider's name → as lists of prices call it; None: a framework."""

RESPONSE_ID = _paths("gen_ai.response.id", "ai.response.id", "llm.response.id", "request_id")
RESPONSE_TEXT = _paths("output.value", "gen_ai.completion")
"""Where the whole response of a model may stand, as JSON with an `id`."""
FINISH_REASON = _paths("gen_ai.response.finish_reasons", "llm.finish_reason", "ai.response.finishReason", "stop_reason")

TOOL_NAME = _paths("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name", "tool_name")
TOOL_CALL_ID = _paths("gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "tool_use_id")
ARGUMENTS = _paths(
    "gen_ai.tool.call.arguments",
    "tool_arguments",
    "ai.toolCall.args",
    "gcp.vertex.agent.tool_call_args",
    "input.value",
    "traceloop.entity.input",
    "gen_ai.prompt",
    *("tool_input", "tool_parameters", "langfuse.observation.input", "mlflow.spanInputs"),
)
RESULT = _paths(
    "gen_ai.tool.call.result",
    "tool_response",
    "ai.toolCall.result",
    "gcp.vertex.agent.tool_response",
    "output.value",
    "traceloop.entity.output",
    "gen_ai.completion",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
)
INPUT = _paths(
    "input.value",
    "ai.prompt",
    "traceloop.entity.input",
    "gen_ai.input.messages",
    "gen_ai.prompt",
    "user_prompt",
    "langfuse.trace.input",
    "langfuse.observation.input",
    "mlflow.spanInputs",
)
OUTPUT = _paths(
    "final_result",
    "output.value",
    "ai.response.text",
    "traceloop.entity.output",
    "gen_ai.output.messages",
    "gen_ai.completion",
    "langfuse.trace.output",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
)
"""What an agent or a workflow was given, and what it has produced."""

FAILURES: tuple[tuple[str, frozenset[str]], ...] = (
    ("gen_ai.tool.status", frozenset({"error", "failure", "failed"})),
    ("gen_ai.task.status", frozenset({"error", "failure", "failed"})),
    ("tool.status", frozenset({"error", "failure", "failed"})),
    ("langfuse.observation.level", frozenset({"error"})),
    ("success", frozenset({"false"})),
)
"""Attributes that say of a span with a good status that what it did has failed."""
NO_FAILURES = frozenset(
    {
        *("GraphBubbleUp", "GraphInterrupt", "GraphDrained", "NodeInterrupt", "ParentCommand"),  # LangGraph
        *("WorkflowDone", "WorkflowCancelledByUser", "WaitingForEvent"),  # LlamaIndex
        *("ApprovalRequired", "CallDeferred", "SkipModelRequest", "SkipToolExecution", "SkipToolValidation"),
        *("HumanFeedbackPending", "StopAgentRun", "RunCancelled"),  # CrewAI, Agno, ours
        *("CancelledError", "trio.Cancelled", "AbortError", "KeyboardInterrupt"),
        *("GeneratorExit", "StopIteration", "StopAsyncIteration"),
    }
)
"""Exceptions by which a program goes on elsewhere, waits or is stopped; a word of many with its module."""

INPUT_TOKENS = _paths(
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
CACHED_TOKENS = _paths(
    "gen_ai.usage.cache_read.input_tokens",
    *("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cached_input_tokens", "gen_ai.usage.cached_tokens"),
    *("gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.details.cached_tokens"),
    "gen_ai.usage.prompt_tokens_details.cached_tokens",
    "llm.token_count.prompt_details.cache_read",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    ("gen_ai.usage.input_token_details", "cache_read"),
    *("cache_read_tokens", "cached_token_count", "cached_content_token_count"),
)
CACHE_WRITE_TOKENS = _paths(
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
    *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens"),
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    ("ai.response.providerMetadata", "bedrock", "usage", "cacheWriteInputTokens"),
    "cache_creation_tokens",
)
TOOL_TOKENS = _paths("tool_token_count")
"""Of what tools of the provider have put into the input, which its count does not hold."""
OUTPUT_TOKENS = _paths(
    "gen_ai.usage.output_tokens",
    *("gen_ai.usage.completion_tokens", "llm.token_count.completion", "llm.usage.completion_tokens"),
    "ai.usage.outputTokens",
    *("ai.usage.completionTokens", "output_tokens", "output_token_count"),
)
REASONING_TOKENS = _paths(
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "gen_ai.usage.completion_tokens_details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "llm.usage.reasoning_tokens",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
    ("gen_ai.usage.output_token_details", "reasoning"),
    *("gen_ai.usage.experimental.reasoning_tokens", "reasoning_token_count", "thoughts_token_count"),
)
TOTAL_TOKENS = _paths(
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
    ("gen_ai.usage.cache_creation.ephemeral_1h_input_tokens", "cache_write_1h_tokens"),
    ("gen_ai.usage.details.ephemeral_1h_input_tokens", "cache_write_1h_tokens"),
    ("gen_ai.usage.input_token_details", "input_audio_tokens", "audio"),
    ("gen_ai.usage.output_token_details", "output_audio_tokens", "audio"),
    ("llm.token_count.prompt_details.audio", "input_audio_tokens"),
    ("llm.token_count.completion_details.audio", "output_audio_tokens"),
    *((f"gen_ai.usage.{name}", "input_audio_tokens") for name in _AUDIO_IN),
    *((f"gen_ai.usage.{name}", "output_audio_tokens") for name in _AUDIO_OUT),
)
"""Attribute, the part of a bucket that it tells, and members of the JSON object that is its text."""
TIER = _paths(
    OUR_PARTS + "service_tier",
    "gen_ai.openai.response.service_tier",
    "openai.response.service_tier",
    *("gen_ai.response.service_tier", "gen_ai.usage.service_tier"),
    *(("ai.response.providerMetadata", provider, "serviceTier") for provider in ("openai", "azure")),
    "gen_ai.openai.request.service_tier",
    "openai.request.service_tier",
    "gen_ai.request.service_tier",
)
USAGE_OBJECTS = _paths(
    "langfuse.observation.usage_details",
    "langsmith.metadata.usage_metadata",
    "mlflow.chat.tokenUsage",
    "metadata.usage_object",
)
"""Objects of usage, each in whichever form its sender has them."""
PROVIDER_USAGE = _paths(
    ("ai.response.providerMetadata", "anthropic", "usage"),
    *(("ai.response.providerMetadata", provider, "usageMetadata") for provider in ("google", "vertex")),
)
"""The provider's own object beside what a framework has made of it: where it tells input and output, it counts."""
COST = _paths(
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

OURS = frozenset({"towerlog.cost_usd", "towerlog.unpriced_calls", "towerlog.run.id"})
"""Attributes that spans get on the way out. They are read and not kept: what comes back is what went out."""

LOG_NAMES = ("event.name",)
"""Attributes with the name of what a log record tells; they come before the name of the record itself."""
LOG_KINDS: Mapping[str, Kind] = _words(
    {
        MODEL: "api_request api_error gemini_cli.api_response gemini_cli.api_error codex.sse_event:response.completed",
        TOOL: "tool_result",
    }
)
"""Name of a log record without `claude_code.`, alone or with its `event.kind` → what a sender without spans reports."""
LOG_PREFIX = "claude_code."
LOG_KIND = "event.kind"
SERVICE = "service.name"
UNKNOWN_SERVICE = "unknown_service"
