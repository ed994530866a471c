"""Messages, states and results of LangChain as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_DEPTH = 8
"""Levels of a state below which objects are left to the encoder."""
ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
"""LangChain's word for who speaks → that of most others, where they differ."""
THOUGHTS = {"thinking": ("thinking",), "reasoning": ("reasoning", "text"), "reasoning_content": ("text",)}
"""Type of a block of content that is a thought → the members that may have its text."""


class Pieces(NamedTuple):
    """The text of a content, and its thoughts."""

    text: str
    thinking: str


def plain(value: object, depth: int = MAX_DEPTH) -> Any:
    """A copy in which messages are mappings with `role` and `content`."""
    if is_message(value):
        return message_of(value)
    if depth > 0 and isinstance(value, Mapping):
        return {str(name): plain(member, depth - 1) for name, member in value.items()}
    if depth > 0 and isinstance(value, list | tuple):
        return [plain(member, depth - 1) for member in value]
    return value


def is_message(value: object) -> bool:
    """Whether something is one of the library's messages."""
    return hasattr(value, "content") and isinstance(getattr(value, "type", None), str) and hasattr(value, "model_dump")


def message_of(message: Any) -> dict[str, Any]:
    """A message: who speaks and what, tool calls and ids where it has any."""
    found: dict[str, Any] = {"role": ROLES.get(message.type, message.type), "content": message.content}
    for name in ("tool_calls", "tool_call_id", "name", "id", "status"):
        value = getattr(message, name, None)
        if value and not (name == "status" and value == "success"):
            found[name] = [dict(call) for call in value] if name == "tool_calls" else value
    return found


def pieces_of(content: object) -> Pieces:
    """What a content says, be it a text or a list of blocks."""
    if isinstance(content, str):
        return Pieces(content, "")
    text: list[str] = []
    thinking: list[str] = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, str):
            text.append(block)
        elif isinstance(block, Mapping):
            kind = str(block.get("type"))
            if kind == "text":
                text.append(str(block.get("text") or ""))
            elif kind in THOUGHTS:
                thinking.append(next((str(block[name]) for name in THOUGHTS[kind] if block.get(name)), ""))
    return Pieces("".join(text), "".join(thinking))


def result_of(outputs: object) -> Any:
    """What a run has come to: of a state with messages, in place of all of them what the last one says."""
    if is_message(outputs):
        return pieces_of(getattr(outputs, "content", "")).text or plain(outputs)
    messages = outputs.get("messages") if isinstance(outputs, Mapping) else None
    if (
        not isinstance(outputs, Mapping)
        or not isinstance(messages, list)
        or not messages
        or not is_message(messages[-1])
    ):
        return plain(outputs)
    last = pieces_of(messages[-1].content).text or message_of(messages[-1])
    rest = {name: value for name, value in outputs.items() if name not in ("messages", "__interrupt__")}
    return last if not rest else {**plain(rest), "messages": last}
