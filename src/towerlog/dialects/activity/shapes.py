"""Events of the dialect `activity` on the wire: as they are shown, and as they are pushed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.details import Time
from towerlog.dialects.fields import Duration, JsonObject

Type = Literal[
    "command_start",
    "command_complete",
    "file_read",
    "file_write",
    "directory_list",
    "identity_read",
    "health_check",
    "inference_complete",
    "inference_error",
    "inference_rate_limited",
    "inference_budget_exceeded",
    "inference_client_disconnect",
]
Tool = Literal["shell", "filesystem", "runtime", "identity", "health", "inference"]


class FeedEvent(msgspec.Struct, gc=False):
    """An event as this dialect shows it."""

    id: Annotated[str, v.said("The event's id; that of an inference begins with `inference-`.", "inference-1042")]
    timestamp: v.Time
    type: Annotated[str, v.said("What the agent did.", "inference_complete", enum=list(get_args(Type)))]
    tool: Annotated[str, v.said("What it did it with; `inference` for calls of models.", "inference")]
    input_summary: Annotated[
        str,
        v.said(
            "What went in, at most 200 characters; of an inference the model and the kind of request.",
            "gpt-4o-mini (chat)",
        ),
    ]
    output_summary: (
        Annotated[
            str,
            v.said(
                "What came out: exit codes, byte counts, tokens, cost. Never any content.",
                "812+40 tokens, $0.0021, 890 ms",
            ),
        ]
        | None
    )
    duration_ms: v.DurationMs | None
    success: Annotated[bool, v.said("Whether it succeeded; null for what has only begun.", True)] | None
    metadata: Annotated[
        dict[str, Any],
        v.said(
            "Figures and names; of an inference its model, status, tokens and cost.",
            {
                "model_name": "gpt-4o-mini",
                "request_type": "chat",
                "status": "success",
                "input_tokens": 812,
                "output_tokens": 40,
                "cost_usd": 0.0021,
            },
        ),
    ]


def _nothing() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class SentFields(msgspec.Struct, gc=False):
    """What an event has beside its metadata."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=200), v.said("What the agent did.", *get_args(Type))]
    id: v.EventId | None = None
    timestamp: Annotated[
        Time,
        v.said("When it happened by the sender's clock; without it, the time of arrival.", "2026-04-02T10:00:01.500Z"),
    ] = None
    tool: Annotated[Tool, v.said("What it did it with; without it, what the type suggests.", "shell")] | None = None
    input_summary: (
        Annotated[str, v.said("What went in, without content; cut to 200 characters.", "make test")] | None
    ) = None
    output_summary: (
        Annotated[str, v.said("What came out, without content; cut to 200 characters.", "exit 0, 1204 bytes")] | None
    ) = None
    duration_ms: Annotated[Duration, v.said("How long it took, in milliseconds.", 890)] | None = None
    success: Annotated[bool, v.said("Whether it succeeded.", True)] | None = None


class SentEvent(SentFields, gc=False):
    """An event as senders write it; only `type` is required."""

    metadata: Annotated[
        JsonObject,
        v.said("Names and figures; `run_id` or `thread_id` say to which run it belongs.", {"thread_id": "towers"}),
    ] = msgspec.field(default_factory=_nothing)
