"""What the OpenAI Agents SDK says of models, messages and tools, in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_name(agent: Any, config: Any) -> str:
    """The model that an agent asks: the runner's configuration counts before the agent's own."""
    for given in (getattr(config, "model", None), getattr(agent, "model", None)):
        if isinstance(given, str):
            return given
        if given is not None:
            return str(getattr(given, "model", None) or type(given).__name__)
    from agents.models import get_default_model

    return str(get_default_model())


def provider_of(model: str) -> str | None:
    """Who serves a model; None where its name does not tell, as with a prefix of another library."""
    if "/" not in model:
        return "openai"
    parts = model.split("/")
    return parts[1] if parts[0] in ("litellm", "any-llm") and len(parts) > 2 else None


def input_messages(system_prompt: Any, input_items: Any) -> Sequence[object]:
    """What a model is asked, the system prompt first."""
    first = [{"role": "system", "content": system_prompt}] if system_prompt else []
    items = input_items if isinstance(input_items, list) else [{"role": "user", "content": input_items}]
    return [*first, *items]


def text_of(items: Any) -> str:
    """What a model has said, without its calls."""
    messages = [item for item in items if _member(item, "type") == "message"] if isinstance(items, list) else []
    parts = [part for message in messages for part in _member(message, "content") or ()]
    return "".join(str(_member(part, "text") or "") for part in parts if _member(part, "type") == "output_text")


def call_id_of(context: Any) -> str | None:
    """The model's own id of the tool call that a context belongs to."""
    found = getattr(context, "tool_call_id", None)
    return found if isinstance(found, str) and found else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
