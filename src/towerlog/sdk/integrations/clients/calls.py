"""One call of a wrapped client, as a model call of a run: of the current one, else of a run of its own."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
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
LEFT = "the program has left the stream"


def is_raw(response: Any) -> bool:
    """Whether it is a reply of `with_raw_response` or `with_streaming_response`, which the program has parsed."""
    return hasattr(response, "http_response") and hasattr(response, "parse")


class Call:
    """A call that goes on. Its methods raise nothing."""

    def __init__(self, guard: Guard, endpoint: Endpoint, told: ModelCall, own: BaseRun | None) -> None:
        """`own`: the run that was begun for it."""
        self.guard = guard
        self.hides_usage = False
        """Whether the last piece of its stream was asked for by us, and is not for the program."""
        self.is_reading = False
        """Whether the program waits for its answer, or for the next piece of it."""
        self.is_streamed = False
        self._endpoint = endpoint
        self._told = told
        self._own = own
        self._stream: Any = None
        self._is_heard = False
        self._is_over = False

    @guarded
    def hear(self, options: dict[str, Any]) -> None:
        """Has the reply read before the library makes of it what the program has asked for (`parse`): that may fail,
        and the reply was paid for all the same.

        `options`: of the request; the function that parses is replaced.
        """
        inner = options.get("options")
        if isinstance(inner, Mapping) and callable(parser := inner.get("post_parser")):
            options["options"] = {**inner, "post_parser": self._hearing(parser)}

    def _hearing(self, parser: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def parsed(reply: Any) -> Any:
            if not hasattr(reply, "_iterator"):
                self._hear(reply)
            return parser(reply)

        return parsed

    @guarded
    def _hear(self, reply: Any) -> None:
        if not self._is_over:
            self._endpoint.take(self._told, reply)
            self._is_heard = True

    @guarded
    def take(self, response: Any) -> None:
        """The whole answer; of a raw one the body was read."""
        if self._is_over or self.is_streamed:
            return
        if is_raw(response):
            # It has the answer as an object only after it was parsed, which it remembers.
            try:
                response = _without_waiting(response.parse())
            except Exception:
                if not self._is_heard:
                    raise
                # The program gets this exception too, where it has the reply parsed.
                return
        self._endpoint.take(self._told, response)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """The time in which the program waits for its answer to be parsed."""
        self.is_reading = True
        try:
            yield
        except BaseException as error:
            self.end(error)
            raise
        finally:
            self.is_reading = False

    def follows(self, stream: Any) -> bool:
        """Whether this stream is new to it; it is the one that it follows from now on."""
        known, self._stream = self._stream, stream
        return known is not stream

    @guarded
    def piece(self, chunk: Any) -> None:
        """A piece of a streamed answer."""
        if not self._is_over:
            self._endpoint.piece(self._told, chunk)

    def is_for_the_program(self, chunk: Any) -> bool:
        """Whether the program would have got this piece without us."""
        return not (self.hides_usage and getattr(chunk, "usage", None) and not getattr(chunk, "choices", True))

    @guarded
    def close(self) -> None:
        """The end of a streamed answer."""
        if not self._is_over:
            self._endpoint.close(self._told)

    @guarded
    def closed(self) -> None:
        """The connection of its answer is closed: by the program, unless that waits for a piece. A raw answer that was
        not parsed has nothing more to tell."""
        if self.is_reading:
            return
        if self._stream is None:
            self.end()
        else:
            self.close()
            self.end(GeneratorExit())

    @guarded
    def end(self, error: BaseException | None = None) -> None:
        """Reports the call, and ends a run that was begun for it; once."""
        if self._is_over:
            return
        self._is_over = True
        failure = self._told.failure if error is None else error
        if isinstance(error, CANCELLATIONS):
            self._told.interrupt(LEFT if isinstance(error, GeneratorExit) else error)
        else:
            self._told.finish(error)
        if self._own is not None:
            response = self._told.response if self._own.captures_content else None
            self._own.finish(response, failure)


def _without_waiting(found: Any) -> Any:
    """What was parsed; an asyncio client may give it as a coroutine, which waits for nothing as the body was read."""
    if not hasattr(found, "send"):
        return found
    try:
        found.send(None)
    except StopIteration as done:
        return done.value
    found.close()
    raise RuntimeError("the body of a raw reply was not read")


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
        call.is_streamed = bool(options.get("stream"))
        call.hear(options)
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
