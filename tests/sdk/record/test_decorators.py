"""Decorated functions stay what they are, and report themselves."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record import decorators
from towerlog.sdk.record.current import activated, current_run
from towerlog.sdk.record.decorators import agent, tool
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import Run


class Runs:
    """A recorder whose runs tell into a list."""

    def __init__(self) -> None:
        self.sink = ListSink()
        self.asked: list[dict[str, object]] = []

    def record_run(self, **options: object) -> Runs:
        self.asked.append(options)
        return self

    def open(self, kind: type[BaseRun]) -> BaseRun:
        return kind(self.sink, "r1")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(decorators, "default_recorder", lambda: made)
    return made


def test_a_call_of_an_agent_is_a_run(runs: Runs) -> None:
    @agent("adder")
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        assert current_run() is not None
        return a + b

    assert (add(1), add.__name__, add.__doc__) == (3, "add", "Adds.")
    assert runs.asked == [{"agent": "adder", "input": {"a": 1}}]
    assert (runs.sink.types, runs.sink.data) == (["run.completed"], [{"result": 3}])
    assert current_run() is None


def test_an_agent_without_brackets_has_the_name_of_its_function(runs: Runs) -> None:
    @agent
    def nightly() -> None: ...

    nightly()
    assert runs.asked[0]["agent"] == "nightly"


async def test_a_coroutine_stays_one_and_its_failure_goes_on(runs: Runs) -> None:
    @agent
    async def failing() -> None:
        raise ValueError("no")

    assert inspect.iscoroutinefunction(failing)
    with pytest.raises(ValueError, match="no"):
        await failing()
    assert runs.sink.data == [{"error": "ValueError: no"}]


def test_what_a_generator_yields_is_streamed_and_its_consumer_is_outside_of_the_run(runs: Runs) -> None:
    @agent
    def talk() -> Iterator[str]:
        assert current_run() is not None
        yield "a"
        yield "b"

    for _ in talk():
        assert current_run() is None
    assert runs.sink.types == ["message.delta", "message.delta", "run.completed"]


def test_a_generator_that_is_left_early_is_cancelled_and_closed(runs: Runs) -> None:
    closed: list[bool] = []

    @agent
    def talk() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    talking = talk()
    next(talking)
    talking.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert runs.sink.types == ["message.delta", "run.cancelled"]


def test_a_generator_takes_what_is_sent_and_thrown_into_it(runs: Runs) -> None:
    @agent
    def echo():
        got = yield "ready"
        try:
            yield got
        except KeyError:
            yield "caught"

    talking = echo()
    assert next(talking) == "ready"
    assert talking.send("x") == "x"
    assert talking.throw(KeyError()) == "caught"


async def test_an_async_generator_is_streamed(runs: Runs) -> None:
    @agent
    async def talk() -> AsyncIterator[str]:
        assert current_run() is not None
        yield "a"

    assert [item async for item in talk()] == ["a"]
    assert runs.sink.types == ["message.delta", "run.completed"]
    assert current_run() is None


def test_a_tool_reports_to_the_run_that_it_is_called_in() -> None:
    @tool
    def search(query: str) -> list[str]:
        return [query]

    sink = ListSink()
    with activated(Run(sink, "r1")):
        assert search("x") == ["x"]
    assert sink.types == ["tool.call", "tool.result"]
    assert (sink.data[0]["tool"], sink.data[0]["arguments"]) == ("search", {"query": "x"})
    assert (sink.data[1]["success"], sink.data[1]["result"]) == (True, ["x"])


def test_a_tool_outside_of_any_run_is_only_a_function() -> None:
    assert tool("t")(lambda: 3)() == 3


async def test_async_tools_and_tools_that_yield(runs: Runs) -> None:
    @tool
    async def fetch() -> None:
        raise OSError("gone")

    @tool
    def pages() -> Iterator[int]:
        yield 1
        yield 2

    sink = ListSink()
    with activated(Run(sink, "r1")):
        with pytest.raises(OSError, match="gone"):
            await fetch()
        assert list(pages()) == [1, 2]
    assert [data.get("success") for data in sink.data] == [None, False, None, True]
    assert sink.data[-1]["result"] == {"items": 2}


def test_a_method_does_not_report_its_object() -> None:
    class Shop:
        @tool
        def buy(self, what: str) -> None: ...

    sink = ListSink()
    with activated(Run(sink, "r1")):
        Shop().buy("x")
    assert sink.data[0]["arguments"] == {"what": "x"}


def test_wrong_arguments_are_the_function_s_to_refuse() -> None:
    with activated(Run(ListSink(), "r1")), pytest.raises(TypeError):
        tool(lambda a: a)()  # type: ignore[call-arg]
