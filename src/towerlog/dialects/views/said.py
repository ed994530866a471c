"""The text of what a model has said, in whichever form its provider or framework gives a message or a reply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from towerlog.dialects.fields import decode_any

SAVES_STATE = "checkpoints"
"""Source of runs whose result stands in the conversation that their runner saves, and not in their end."""
MAX_SAID_BYTES = 1024 * 1024
"""A longer one is not looked into: it is read on the event loop."""
MAX_SAID_DEPTH = 8
"""Of the objects that are looked into."""

_MODELS = frozenset({"assistant", "ai", "model"})
_TEXTS = frozenset({"text", "output_text"})
_MESSAGES = frozenset({None, "message", "ai", "response"})
_AROUND = ("content", "parts", "output", "message", "choices")
"""Members that hold what was said, of a message or of a whole reply; the first that is there counts."""


def reply_text(reply: bytes) -> str:
    """The text of a model's reply as JSON, without thoughts and tool calls; empty where there is none."""
    return "".join(_texts(decode_any(reply), 0)) if 0 < len(reply) <= MAX_SAID_BYTES else ""


def model_text(message: bytes) -> str:
    """The same of a message of a conversation; empty where it is another's than the model's."""
    found = decode_any(message) if len(message) <= MAX_SAID_BYTES else None
    return "".join(_texts(found, 0)) if isinstance(found, dict) and found.get("role") in _MODELS else ""


def _texts(said: Any, depth: int) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif depth == MAX_SAID_DEPTH:
        return
    elif isinstance(said, list):
        for one in said:
            yield from _texts(one, depth + 1)
    elif isinstance(said, dict) and _is(_MODELS, said.get("role", "assistant")):
        yield from _of_object(said, depth)


def _of_object(said: dict[str, Any], depth: int) -> Iterator[str]:
    kind = said.get("type")
    if _is(_TEXTS, kind):
        yield from _texts(said.get("text") or said.get("content"), depth + 1)
    elif _is(_MESSAGES, kind):
        name = next((name for name in _AROUND if said.get(name)), "content")
        held = said.get(name)
        # Of several choices the first is what was said.
        yield from _texts(held[:1] if name == "choices" and isinstance(held, list) else held, depth + 1)


def _is(words: frozenset[str | None] | frozenset[str], value: Any) -> bool:
    return (value is None or isinstance(value, str)) and value in words
