"""What instrumentations call things: one table of names, in the order in which they are looked for.

A span is read by the attributes that it has, never by its schema URL: libraries mix generations of the conventions, and
set old and new names side by side. A further library is further names here, or in `figures/spellings.py`, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

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


def paths(*names: str | Path) -> tuple[Path, ...]:
    """Attributes, in the order in which they are looked for."""
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

AGENT_NAME = paths(
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

THREAD = paths(
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

MODEL_NAME = paths(
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

PROVIDER = paths(
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

RESPONSE_ID = paths("gen_ai.response.id", "ai.response.id", "llm.response.id", "request_id")
RESPONSE_TEXT = paths("output.value", "gen_ai.completion")
"""Where the whole response of a model may stand, as JSON with an `id`."""
FINISH_REASON = paths("gen_ai.response.finish_reasons", "llm.finish_reason", "ai.response.finishReason", "stop_reason")

TOOL_NAME = paths("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name", "tool_name")
TOOL_CALL_ID = paths("gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "tool_use_id")
ARGUMENTS = paths(
    "gen_ai.tool.call.arguments",
    "tool_arguments",
    "ai.toolCall.args",
    "gcp.vertex.agent.tool_call_args",
    "input.value",
    "traceloop.entity.input",
    "gen_ai.prompt",
    *("tool_input", "tool_parameters", "langfuse.observation.input", "mlflow.spanInputs"),
)
RESULT = paths(
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
INPUT = paths(
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
OUTPUT = paths(
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
