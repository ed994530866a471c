"""One call of a wrapped client, as a model call of a run: of the current one, else of a run of its own."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from towerlog.sdk.integrations.clients.endpoints import ENDPOINTS, Endpoint, dumped
from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.integrations.new_messages import ToldMessages
from towerlog.sdk.record.current import current_run
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.span import CANCELLATIONS
from towerlog.sdk.record.values.capture import captures_content
from towerlog.sdk.wire.ids import uuid7

OWN_HOSTS = ("openai.com", "openai.azure.com")
"""Who is known to take `stream_options`; others speak the same wire, and some refuse what they do not know."""
CHAT = "/chat/completions"


class Call:
    """A call that goes on. Its methods raise nothing."""

    def __init__(self, guard: Guard, endpoint: Endpoint, told: ModelCall, own: BaseRun | None) -> None:
        """`own`: the run that was begun for it."""
        self.guard = guard
        self.hides_usage = False
        """Whether the last piece of its stream was asked for by us, and is not for the program."""
        self._endpoint = endpoint
        self._told = told
        self._own = own

    @guarded
    def take(self, response: Any) -> None:
        """The whole answer."""
        # The raw reply has it as an object only after it was parsed, which it remembers.
        parsed = response.parse() if hasattr(response, "http_response") and hasattr(response, "parse") else response
        self._endpoint.take(self._told, parsed)

    @guarded
    def piece(self, chunk: Any) -> None:
        """A piece of a streamed answer."""
        self._endpoint.piece(self._told, chunk)

    def is_for_the_program(self, chunk: Any) -> bool:
        """Whether the program would have got this piece without us."""
        return not (self.hides_usage and getattr(chunk, "usage", None) and not getattr(chunk, "choices", True))

    @guarded
    def close(self) -> None:
        """The end of a streamed answer."""
        self._endpoint.close(self._told)

    @guarded
    def end(self, error: BaseException | None = None) -> None:
        """Reports the call, and ends a run that was begun for it."""
        failure = self._told.failure if error is None else error
        if isinstance(error, CANCELLATIONS):
            self._told.interrupt(error)
        else:
            self._told.finish(error)
        if self._own is not None:
            response = self._told.response if self._own.captures_content else None
            self._own.finish(response, failure)


class Calls:
    """The calls of one client."""

    def __init__(
        self, provider: str, host: str, agent: str | None, recorder: Recorder | None, stream_usage: bool | None
    ) -> None:
        """`agent`: whose runs calls outside of any run are."""
        self.guard = Guard(f"the client of {provider}")
        self._provider = provider
        self._agent = agent or provider
        self._recorder = recorder
        self._told: weakref.WeakKeyDictionary[BaseRun, ToldMessages] = weakref.WeakKeyDictionary()
        self._asks_usage = host.endswith(OWN_HOSTS) if stream_usage is None else stream_usage

    @guarded
    def begin(self, path: str, options: dict[str, Any]) -> Call | None:
        """A call that begins; None for a path that is no model's. Raises RunCancelled where its run is cancelled.

        `options`: of the request; they may be changed so that a stream tells its usage.
        """
        kind = ENDPOINTS[self._provider].get(path.partition("?")[0])
        body = options.get("body")
        if kind is None or not isinstance(body, Mapping):
            return None
        messages, run, own = kind.messages(body), current_run(), None
        if run is None:
            recorder = self._recorder or default_recorder()
            own = run = recorder.start_run(self._agent, input=_input_of(messages))
        run.check()
        span_id, model = uuid7(), body.get("model")
        asked = self._asked(run, str(model), span_id, messages) if run.captures_content else {}
        told = run.start_model_call(model, span_id=span_id, provider=self._provider, **asked)
        call = Call(self.guard, kind(), told, own)
        if self._asks_usage and path == CHAT and options.get("stream") and "stream_options" not in body:
            options["body"] = {**body, "stream_options": {"include_usage": True}}
            call.hides_usage = True
        return call

    def _asked(self, run: BaseRun, model: str, span_id: str, messages: Sequence[object]) -> dict[str, Any]:
        told = self._told.get(run)
        if told is None:
            told = self._told[run] = ToldMessages(dumped)
        return told.members(model, span_id, messages)


def _input_of(messages: Sequence[object]) -> Any:
    """What a run that is a single call was asked: the content of the last message."""
    if not messages or not captures_content():
        return None
    last = dumped(messages[-1])
    return last.get("content") if isinstance(last, Mapping) else last
