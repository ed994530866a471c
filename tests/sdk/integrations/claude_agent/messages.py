"""The messages of the Claude Agent SDK, by whose names and members the adapter goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class TextBlock:
    text: str


@dataclass
class ToolUseBlock:
    id: str
    name: str
    input: dict[str, Any]


@dataclass
class ToolResultBlock:
    tool_use_id: str
    content: str = "ok"
    is_error: bool = False


@dataclass
class AssistantMessage:
    content: list[Any]
    model: str
    usage: dict[str, int]
    message_id: str
    session_id: str
    parent_tool_use_id: str | None = None


@dataclass
class UserMessage:
    content: list[Any]
    parent_tool_use_id: str | None = None


@dataclass
class ResultMessage:
    session_id: str
    total_cost_usd: float | None
    model_usage: dict[str, Any] | None = None
    is_error: bool = False
    subtype: str = "success"
    result: str | None = "Done."
