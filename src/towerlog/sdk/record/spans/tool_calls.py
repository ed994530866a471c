"""Tool calls of a run: a call and its result."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from towerlog.sdk.record.spans.span import CANCELLATIONS, Span, SpanRun
from towerlog.sdk.record.values.encoding import describe, name_text


class ToolCall(Span):
    """A tool call: `with run.tool_call("search", arguments={…}) as call: call.result = …`.

    An exception inside the block marks it as failed, a cancellation as interrupted, and propagates. `fail` marks it
    without an exception. Where a block does not fit, use `begin` and `finish`.
    """

    def __init__(
        self,
        run: SpanRun,
        tool: object,
        arguments: object = None,
        tool_call_id: str | None = None,
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
    ) -> None:
        super().__init__(run, span_id, parent, agent)
        self.tool = name_text(tool)
        self.arguments = arguments
        self.result: Any = None
        self._tool_call_id = tool_call_id or None
        self._error: str | None = None
        self._interrupted = False

    @property
    def tool_call_id(self) -> str:
        """The id that pairs the call with its result: the model's own where that is given."""
        return self._tool_call_id or self.span_id

    def fail(self, error: object) -> None:
        """Marks the call as failed."""
        self._error = describe(error) if isinstance(error, BaseException) else name_text(error)

    def begin(self) -> ToolCall:
        """Reports the call."""
        self._open()
        self._run.calls.began(self)
        data: dict[str, Any] = self._head(self._parent)
        if self.arguments is not None:
            data["arguments"] = self.arguments
        self._run.tell("tool.call", data, agent=self._agent)
        return self

    def finish(self, error: BaseException | None = None) -> None:
        """Reports the result, once."""
        duration_ms = self._close()
        if duration_ms is None:
            return
        self._run.calls.ended(self)
        if error is not None:
            self.fail(error)
        data = {**self._head(self._parent), "success": self._error is None, "duration_ms": duration_ms}
        if self.result is not None:
            data["result"] = self.result
        if self._error is not None:
            data["error"] = self._error
        if self._interrupted:
            data["interrupted"] = True
        self._run.tell("tool.result", data, agent=self._agent)

    def interrupt(self, reason: object = "interrupted") -> None:
        """Reports that the call was given up before it had a result."""
        self._interrupted = True
        self.fail(reason)
        self.finish()

    __enter__ = begin

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, CANCELLATIONS):
            self.interrupt(error)
        else:
            self.finish(error)

    def _head(self, parent: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {"tool": self.tool, "tool_call_id": self.tool_call_id}
        if self._tool_call_id is not None:
            data["span_id"] = self.span_id
        if parent is not None:
            data["parent_span_id"] = parent
        return data
