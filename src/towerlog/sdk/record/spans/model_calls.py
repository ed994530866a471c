"""A call of a model, from its beginning to its end: told as one event then, and its text as it comes before."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from towerlog.sdk.record.spans.span import CANCELLATIONS, Span, SpanRun
from towerlog.sdk.record.values.encoding import describe, name_text

FAILED, BROKEN_OFF = "error", "client_disconnect"
"""How a call ends that did not succeed: of itself, or because nobody wanted the rest."""


class CallingRun(SpanRun, Protocol):
    """What a model call needs from its run."""

    def model_call(self, model: object, **told: Any) -> None:
        """Reports a model call."""

    def message_delta(
        self, content: object, *, span: Span | str | None = None, channel: str = "text", agent: object = None
    ) -> None:
        """Reports a piece of text."""


class ModelCall(Span):
    """`with run.start_model_call("some-model", messages=[…]) as call: call.response, call.usage = …`.

    An exception inside the block marks it as failed, a cancellation as broken off, and propagates. Where a block does
    not fit, use `finish`. What is known of it only later may be set until then.
    """

    def __init__(
        self,
        run: CallingRun,
        model: object,
        told: dict[str, Any],
        span_id: str | None = None,
        parent: Span | str | None = None,
        agent: object = None,
    ) -> None:
        """`told`: what is known of it from the beginning, as `model_call` takes it."""
        super().__init__(run, span_id, parent, agent)
        self._calling = run
        self.model = model
        self.response: Any = None
        self.usage: Any = None
        self.finish_reason: str | None = None
        self.cost_usd: Any = None
        self.service_tier: Any = None
        """The terms on which it was served, as its provider calls them."""
        self.response_id: str | None = None
        """Of the provider. Calls of a run that two readers tell with the same one at once are told once."""
        self.reader = ""
        """Which adapter has read it."""
        self.failure: Any = None
        """What its provider says went wrong with it: it has failed by that, though something was answered."""
        self._told = told
        self._first_ms: int | None = None

    def begin(self) -> ModelCall:
        """Begins to count the time."""
        self._open()
        self._run.calls.began(self)
        return self

    def first_token(self) -> None:
        """Notes that the first of its text has come; only the first time counts."""
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()

    def delta(self, content: object, channel: str = "text") -> None:
        """Reports a piece of its text (`text`) or of its thoughts (`thinking`)."""
        self.first_token()
        self._calling.message_delta(content, span=self, channel=channel, agent=self._agent)

    def finish(self, error: object = None) -> None:
        """Reports the call, once: as failed with an error."""
        told: dict[str, Any] = {}
        error = self.failure if error is None else error
        if error is not None:
            told["error"] = describe(error) if isinstance(error, BaseException) else name_text(error)
        self._finish(FAILED if told else None, told)

    def interrupt(self, reason: object = "interrupted") -> None:
        """Reports that nobody waited for the rest of it."""
        said = describe(reason) if isinstance(reason, BaseException) else name_text(reason)
        self._finish(BROKEN_OFF, {"error": said})

    def __enter__(self) -> ModelCall:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, CANCELLATIONS):
            self.interrupt(error)
        else:
            self.finish(error)

    def _finish(self, status: str | None, told: dict[str, Any]) -> None:
        duration_ms = self._close()
        if duration_ms is None:
            return
        self._run.calls.ended(self)
        if not self._run.calls.is_first(self.response_id, self.reader, self._began_ns or 0):
            return
        terms = {} if self.service_tier is None else {"service_tier": self.service_tier}
        self._calling.model_call(
            self.model,
            **{**self._told, **terms},
            **({} if self.response_id is None else {"response_id": self.response_id}),
            **told,
            usage=self.usage,
            cost_usd=self.cost_usd,
            response=self.response,
            finish_reason=self.finish_reason,
            status=status,
            time_to_first_token_ms=self._first_ms,
            duration_ms=duration_ms,
            span=self,
            parent=self._parent or "",
            agent=self._agent,
        )
