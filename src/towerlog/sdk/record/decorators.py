"""Decorators: `@agent` reports each call as a run, `@tool` reports each call as a tool call of the current run.

Functions, coroutines, generators and async generators keep their kind.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from towerlog.sdk.record.current import activated, current_run
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun, Run
from towerlog.sdk.record.spans.tool_calls import ToolCall

P = ParamSpec("P")
R = TypeVar("R")
Keep = Callable[[Callable[P, R]], Callable[P, R]]


class _Watch(Protocol):
    """Reports one call of a decorated function."""

    def begin(self) -> None: ...
    def inside(self) -> contextlib.AbstractContextManager[None]: ...
    def item(self, value: object) -> None: ...
    def end(self, result: object, error: BaseException | None) -> None: ...


@overload
def agent(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def agent(name: str | None = None, *, recorder: Recorder | None = None) -> Keep[P, R]: ...
def agent(name: Any = None, *, recorder: Recorder | None = None) -> Any:
    """Reports each call as a run of the agent `name`, by default the function's name; the arguments are its input.

    Text that a generator yields is reported as message deltas.
    """
    if callable(name):
        return agent()(name)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        called = name or getattr(function, "__name__", "agent")
        kind = AsyncRun if _is_async(function) else Run
        return _watched(function, lambda args, kwargs: _RunWatch(recorder, called, kind, function, args, kwargs))

    return decorate


@overload
def tool(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(name: str | None = None) -> Keep[P, R]: ...
def tool(name: Any = None) -> Any:
    """Reports each call inside a run as a tool call; outside of a run nothing is reported."""
    if callable(name):
        return tool()(name)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        called = name or getattr(function, "__name__", "tool")
        return _watched(function, lambda args, kwargs: _ToolWatch(called, function, args, kwargs))

    return decorate


class _RunWatch:
    def __init__(
        self,
        recorder: Recorder | None,
        name: str,
        kind: type[BaseRun],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._kind = kind
        self._input = (function, args, kwargs)
        self._run: BaseRun | None = None

    def begin(self) -> None:
        recorder = self._recorder or default_recorder()
        self._run = recorder.record_run(agent=self._name, input=_arguments(*self._input)).open(self._kind)

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._run is None else activated(self._run)

    def item(self, value: object) -> None:
        if self._run is not None and isinstance(value, str):
            self._run.message_delta(value)

    def end(self, result: object, error: BaseException | None) -> None:
        if self._run is None:
            return
        if error is None:
            self._run.complete(result)
        else:
            self._run.end_with(error)


class _ToolWatch:
    def __init__(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._name = name
        self._input = (function, args, kwargs)
        self._call: ToolCall | None = None
        self._items = 0

    def begin(self) -> None:
        run = current_run()
        if run is not None:
            self._call = run.tool_call(self._name, _arguments(*self._input)).begin()

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def item(self, value: object) -> None:
        self._items += 1

    def end(self, result: object, error: BaseException | None) -> None:
        if self._call is not None:
            self._call.result = {"items": self._items} if self._items and result is None else result
            self._call.finish(None if isinstance(error, GeneratorExit) else error)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without `self` or `cls`."""
    try:
        named = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        # They do not fit the function: the call itself will raise.
        return {"args": list(args), **kwargs}
    first = next(iter(named), None)
    return {name: value for name, value in named.items() if not (name == first and name in ("self", "cls"))}


def _watched(function: Callable[P, R], watch_of: Callable[[tuple[Any, ...], dict[str, Any]], _Watch]) -> Callable[P, R]:
    """The function, wrapped so that each call is reported."""
    made: Callable[..., Any]
    if inspect.isasyncgenfunction(function):
        made = _async_generator(function, watch_of)
    elif inspect.iscoroutinefunction(function):
        made = _coroutine(function, watch_of)
    elif inspect.isgeneratorfunction(function):
        made = _generator(function, watch_of)
    else:
        made = _plain(function, watch_of)
    return cast("Callable[P, R]", functools.wraps(function)(made))


def _plain(function: Callable[..., Any], watch_of: Callable[..., _Watch]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        watch = watch_of(args, kwargs)
        watch.begin()
        try:
            with watch.inside():
                result = function(*args, **kwargs)
        except BaseException as error:
            watch.end(None, error)
            raise
        watch.end(result, None)
        return result

    return call


def _coroutine(function: Callable[..., Any], watch_of: Callable[..., _Watch]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        watch = watch_of(args, kwargs)
        watch.begin()
        try:
            with watch.inside():
                result = await function(*args, **kwargs)
        except BaseException as error:
            watch.end(None, error)
            raise
        watch.end(result, None)
        return result

    return call


def _generator(function: Callable[..., Any], watch_of: Callable[..., _Watch]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        watch = watch_of(args, kwargs)
        watch.begin()
        items = function(*args, **kwargs)
        step: Callable[[], Any] = lambda: next(items)  # noqa: E731 it is one of three
        while True:
            try:
                # The run is current only while the generator's own code runs, not its consumer's.
                with watch.inside():
                    item = step()
            except StopIteration as stop:
                watch.end(stop.value, None)
                return stop.value
            except BaseException as error:
                watch.end(None, error)
                raise
            watch.item(item)
            try:
                sent = yield item
                step = functools.partial(items.send, sent)
            except BaseException as error:
                step = functools.partial(items.throw, error)

    return call


def _async_generator(function: Callable[..., Any], watch_of: Callable[..., _Watch]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        watch = watch_of(args, kwargs)
        watch.begin()
        items = function(*args, **kwargs)
        step: Callable[[], Any] = items.__anext__
        while True:
            try:
                with watch.inside():
                    item = await step()
            except StopAsyncIteration:
                watch.end(None, None)
                return
            except BaseException as error:
                watch.end(None, error)
                raise
            watch.item(item)
            try:
                sent = yield item
                step = functools.partial(items.asend, sent)
            except BaseException as error:
                step = functools.partial(items.athrow, error)

    return call
