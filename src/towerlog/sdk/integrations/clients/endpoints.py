"""What each endpoint of a provider is asked and answers: model, messages, text, usage, why it ended.

A reader belongs to one call. It gets what was asked, then the answer whole or in pieces, as objects of the provider's
library, of which only attributes are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from towerlog.sdk.record.spans.model_calls import ModelCall

Body = Mapping[str, Any]


class Endpoint(Protocol):
    """One call of an endpoint."""

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """What is asked, as messages."""

    def take(self, call: ModelCall, response: Any) -> None:
        """A whole answer."""

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """A piece of a streamed answer."""

    def close(self, call: ModelCall) -> None:
        """The end of a streamed answer."""


def dumped(value: Any) -> Any:
    """An object of the provider's library as plain values, without what it does not say."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json", exclude_none=True, warnings=False)


def id_of(response: Any) -> str | None:
    """What its provider calls it."""
    found = getattr(response, "id", None)
    return found if isinstance(found, str) and found else None


def note_response(call: ModelCall, response: Any) -> None:
    """What a response of OpenAI tells beside what was said: id, usage, terms, and whether it has failed."""
    call.response_id, call.usage = id_of(response), getattr(response, "usage", None)
    call.service_tier = getattr(response, "service_tier", None)
    if getattr(response, "status", None) == "failed":
        error = getattr(response, "error", None)
        call.failure = str(getattr(error, "message", None) or "the response has failed")


class ChatCompletions:
    """OpenAI's chat completions, which many others speak."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._tool_calls: dict[int, dict[str, Any]] = {}

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """As they are."""
        found = body.get("messages")
        return found if isinstance(found, list) else ()

    def take(self, call: ModelCall, response: Any) -> None:
        """The first choice is what was said."""
        call.model, call.usage = response.model or call.model, response.usage
        call.response_id = id_of(response)
        call.service_tier = getattr(response, "service_tier", None)
        for choice in response.choices[:1]:
            call.finish_reason, call.response = choice.finish_reason, dumped(choice.message)

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """Text, thoughts, parts of tool calls, and with the last chunk the usage."""
        call.model = chunk.model or call.model
        call.usage = chunk.usage or call.usage
        call.response_id = id_of(chunk) or call.response_id
        call.service_tier = getattr(chunk, "service_tier", None) or call.service_tier
        for choice in chunk.choices[:1]:
            call.finish_reason = choice.finish_reason or call.finish_reason
            delta = choice.delta
            thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
            if isinstance(thought, str):
                call.delta(thought, "thinking")
            if delta.content:
                self._text.append(delta.content)
                call.delta(delta.content)
            for part in delta.tool_calls or ():
                self._take_part(part)

    def _take_part(self, part: Any) -> None:
        made = self._tool_calls.setdefault(part.index, {"id": None, "type": "function", "function": {"arguments": ""}})
        made["id"] = part.id or made["id"]
        if part.function is not None:
            made["function"]["arguments"] += part.function.arguments or ""
            if part.function.name:
                made["function"]["name"] = part.function.name

    def close(self, call: ModelCall) -> None:
        """The message that the pieces make."""
        call.response = {"role": "assistant", "content": "".join(self._text) or None}
        if self._tool_calls:
            call.response["tool_calls"] = [self._tool_calls[index] for index in sorted(self._tool_calls)]


class Completions(ChatCompletions):
    """OpenAI's older completions of a text."""

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """The prompt, as what the user says."""
        return [{"role": "user", "content": body.get("prompt")}]

    def take(self, call: ModelCall, response: Any) -> None:
        """The first choice is what was said."""
        call.model, call.usage = response.model or call.model, response.usage
        for choice in response.choices[:1]:
            call.finish_reason, call.response = choice.finish_reason, choice.text

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """Text, and the usage."""
        call.usage = chunk.usage or call.usage
        for choice in chunk.choices[:1]:
            call.finish_reason = choice.finish_reason or call.finish_reason
            if choice.text:
                self._text.append(choice.text)
                call.delta(choice.text)

    def close(self, call: ModelCall) -> None:
        """The text."""
        call.response = "".join(self._text)


class Responses:
    """OpenAI's responses."""

    THOUGHTS = frozenset({"response.reasoning_text.delta", "response.reasoning_summary_text.delta"})

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """The instructions, and the input."""
        said, given = body.get("instructions"), body.get("input")
        first = [{"role": "system", "content": said}] if said else []
        return [*first, *(given if isinstance(given, list) else [{"role": "user", "content": given}])]

    def take(self, call: ModelCall, response: Any) -> None:
        """Its output, and why it is not whole where it is not."""
        call.model = response.model or call.model
        note_response(call, response)
        why = getattr(response.incomplete_details, "reason", None)
        call.finish_reason, call.response = why or response.status, [dumped(item) for item in response.output]

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """Text and thoughts; the last event has the whole."""
        if chunk.type == "response.output_text.delta":
            call.delta(chunk.delta)
        elif chunk.type in self.THOUGHTS:
            call.delta(chunk.delta, "thinking")
        elif chunk.type in ("response.completed", "response.incomplete", "response.failed"):
            self.take(call, chunk.response)

    def close(self, call: ModelCall) -> None:
        """Nothing: the last event has told it."""


class Embeddings:
    """OpenAI's embeddings: what was embedded is told, the numbers are not."""

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """The input."""
        return [{"role": "user", "content": body.get("input")}]

    def take(self, call: ModelCall, response: Any) -> None:
        """The usage."""
        call.model, call.usage = response.model or call.model, response.usage

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """There are none."""

    def close(self, call: ModelCall) -> None:
        """Nothing."""


class Messages:
    """Anthropic's messages."""

    def __init__(self) -> None:
        self._usage: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []

    @staticmethod
    def messages(body: Body) -> Sequence[object]:
        """The system prompt, and the messages."""
        said, given = body.get("system"), body.get("messages")
        first = [{"role": "system", "content": said}] if said else []
        return [*first, *(given if isinstance(given, list) else ())]

    def take(self, call: ModelCall, response: Any) -> None:
        """Its blocks."""
        call.model, call.usage = response.model or call.model, response.usage
        call.finish_reason, call.response_id = response.stop_reason, id_of(response)
        call.response = {"role": "assistant", "content": [dumped(block) for block in response.content]}

    def piece(self, call: ModelCall, chunk: Any) -> None:
        """Usage comes with the first and the last event, and the later figures are those of the whole."""
        if chunk.type == "message_start":
            call.model, call.response_id = chunk.message.model or call.model, id_of(chunk.message)
            self._count(chunk.message.usage)
        elif chunk.type == "content_block_start":
            self._blocks.append(dict(dumped(chunk.content_block)))
        elif chunk.type == "content_block_delta":
            self._take_delta(call, chunk.delta)
        elif chunk.type == "message_delta":
            call.finish_reason = chunk.delta.stop_reason or call.finish_reason
            self._count(chunk.usage)

    def _count(self, usage: Any) -> None:
        self._usage |= dumped(usage) or {}

    def _take_delta(self, call: ModelCall, delta: Any) -> None:
        block = self._blocks[-1] if self._blocks else {}
        if delta.type == "text_delta":
            block["text"] = block.get("text", "") + delta.text
            call.delta(delta.text)
        elif delta.type == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta.thinking
            call.delta(delta.thinking, "thinking")
        elif delta.type == "input_json_delta":
            block["input"] = (block["input"] if isinstance(block.get("input"), str) else "") + delta.partial_json

    def close(self, call: ModelCall) -> None:
        """The message that the pieces make."""
        call.usage = self._usage or None
        call.response = {"role": "assistant", "content": self._blocks}


ENDPOINTS: Mapping[str, Mapping[str, type[Endpoint]]] = {
    "openai": {
        "/chat/completions": ChatCompletions,
        "/completions": Completions,
        "/responses": Responses,
        "/embeddings": Embeddings,
    },
    "anthropic": {"/v1/messages": Messages},
}
"""Provider → path → what is read of its calls."""
