"""Steps of a run: one event, or a block of two."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from towerlog.sdk.record.spans.span import Span, SpanRun
from towerlog.sdk.record.values.encoding import describe, name_text


class Step(Span):
    """`run.step("mark")` is one event; `with run.step("part"):` is two, a start and an end.

    Which of the two is known only after the call. So the one event is reported when the object is freed, or before the
    next event of the same thread, whichever comes first. Where a block does not fit, use `begin` and `finish`.
    """

    def __init__(
        self,
        run: SpanRun,
        name: object,
        payload: object = None,
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
    ) -> None:
        super().__init__(run, span_id, parent, agent)
        self.name = name_text(name)
        self.payload = payload
        self._told = False

    def settle(self) -> None:
        """Reports it as one event, unless it has become a span or was reported already."""
        if not self._told:
            self._told = True
            self._tell(self._data(self._parent_now()))

    def __del__(self) -> None:
        if self._told:
            return
        try:
            self.settle()
        except Exception:
            # At interpreter shutdown the modules that this needs may be gone.
            return

    def begin(self) -> Step:
        """Reports the start."""
        self._told = True
        self._open()
        self._tell({**self._data(self._parent), "phase": "start"})
        return self

    def finish(self, error: object = None) -> None:
        """Reports the end, once."""
        duration_ms = self._close()
        if duration_ms is None:
            return
        data = {**self._data(self._parent), "phase": "end", "duration_ms": duration_ms}
        if error is not None:
            data["error"] = describe(error) if isinstance(error, BaseException) else name_text(error)
        self._tell(data)

    __enter__ = begin

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.finish(error)

    def _tell(self, data: dict[str, Any]) -> None:
        self._run.tell("step", data, agent=self._agent)

    def _data(self, parent: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name}
        if self._began_ns is not None or self._span_id is not None:
            data["span_id"] = self.span_id
        if parent is not None:
            data["parent_span_id"] = parent
        if self.payload is not None:
            data["payload"] = self.payload
        return data
