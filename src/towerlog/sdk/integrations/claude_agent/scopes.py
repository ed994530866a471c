"""Who speaks in a turn of the Claude Agent SDK: the agent, and the sub-agents that its tools have started."""

from __future__ import annotations

from typing import Any

from towerlog.sdk.integrations.claude_agent.usage import NANOS, Told, added, less, of_message
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.tool_calls import ToolCall

MAX_OPEN = 1_000
"""Tool calls of a scope that are open at a time and remembered."""


class Scope:
    """What one agent of a turn does, as events of its run."""

    def __init__(self, run: BaseRun) -> None:
        """Before its first message."""
        self.run = run
        self.tools: dict[str, ToolCall] = {}
        self.ended_as = "run.completed"
        self._told: Told = {}
        """What its calls have used, as they were told."""
        self._settled: Told = {}
        """Of that, what the figures of a result have included."""
        self._cost_nanos = 0
        self._call: ModelCall | None = None
        self._message_id: str | None = None
        self._counted: Any = None
        self._blocks: list[Any] = []
        self._streamed = False

    def stream(self, event: Any) -> None:
        """A piece of a message, where the program has asked for them."""
        if event.get("type") == "message_start":
            message = event.get("message") or {}
            self._begin(message.get("id"), message.get("model"))
        delta = event.get("delta") or {}
        if event.get("type") != "content_block_delta" or self._call is None:
            return
        self._streamed = True
        if delta.get("type") == "text_delta":
            self._call.delta(delta.get("text", ""))
        elif delta.get("type") == "thinking_delta":
            self._call.delta(delta.get("thinking", ""), "thinking")

    def assistant(self, message: Any) -> None:
        """A message of the model, or a part of one: each block may come by itself."""
        call = self._begin(getattr(message, "message_id", None), message.model)
        self._counted = getattr(message, "usage", None) or self._counted
        call.finish_reason = getattr(message, "stop_reason", None) or call.finish_reason
        for block in message.content:
            self._take(call, block)

    def _begin(self, message_id: str | None, model: Any) -> ModelCall:
        if self._call is None or (message_id is not None and message_id != self._message_id):
            self.close()
            self._call, self._message_id = self.run.start_model_call(model, provider="anthropic", parent=""), message_id
        return self._call

    def _take(self, call: ModelCall, block: Any) -> None:
        kind = type(block).__name__
        if kind == "TextBlock":
            self._blocks.append({"type": "text", "text": block.text})
            if not self._streamed:
                call.delta(block.text)
        elif kind == "ThinkingBlock":
            self._blocks.append({"type": "thinking", "thinking": block.thinking})
            if not self._streamed:
                call.delta(block.thinking, "thinking")
        elif kind == "ToolUseBlock":
            self._blocks.append({"type": "tool_use", "id": block.id, "name": block.name, "input": block.input})
            self.tools[block.id] = self.run.tool_call(block.name, block.input, tool_call_id=block.id, parent="").begin()
            if len(self.tools) > MAX_OPEN:
                del self.tools[next(iter(self.tools))]

    def returned(self, block: Any) -> None:
        """A tool has a result."""
        call = self.tools.pop(block.tool_use_id, None)
        if call is None:
            return
        if block.is_error:
            call.fail(block.content)
        else:
            call.result = block.content
        call.finish()

    def close(self) -> None:
        """The end of the model's message: its call is told."""
        call, self._call = self._call, None
        if call is None:
            return
        used, model = of_message(self._counted), str(call.model)
        call.usage = used or None
        if used:
            self._told = {**self._told, model: added(self._told.get(model, {}), used)}
        call.response = {"role": "assistant", "content": self._blocks}
        call.finish()
        self._blocks, self._counted, self._streamed = [], None, False

    @property
    def told(self) -> Told:
        """What its messages have told, of a call that goes on too, since the last result that included it."""
        whole, call = dict(self._told), self._call
        if call is not None and (used := of_message(self._counted)):
            whole[str(call.model)] = added(whole.get(str(call.model), {}), used)
        since = ((model, less(tokens, self._settled.get(model, {}))) for model, tokens in whole.items())
        return {model: tokens for model, tokens in since if any(tokens.values())}

    def settle(self) -> None:
        """The figures of a result include what was told until now."""
        for model, tokens in self.told.items():
            self._settled = {**self._settled, model: added(self._settled.get(model, {}), tokens)}

    def cost(self, nanos: int, model: str | None = None) -> None:
        """What its run has cost by a result, beside what earlier ones have told: the whole is told with its end, or
        after that. `model`: of what is of no call."""
        self._cost_nanos += nanos
        self.run.spent = {"cost_usd": self._cost_nanos / NANOS} | ({} if model is None else {"model": model})
        if self.run.ended:
            self.run.tell(self.ended_as, self.run.spent)
