"""Turns of the Claude Agent SDK at once, and turns that were left: whose words stand where, and what is paid once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sdk.integrations.claude_agent.messages import AssistantMessage, ResultMessage, TextBlock
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import RunInfo
from towerlog.sdk.integrations.claude_agent.session import ClaudeAgent, claude_agent
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder

MODEL = "claude-sonnet-4-5"
NANOS = 1_000_000_000
COST = 4_500_000
"""Of a call of 1,000 and 100 tokens, in nano-dollars."""
names = itertools.count()


class Process:
    """What a process of Claude tells: messages of one call each, and results with the sums of all of them."""

    def __init__(self, session_id: str) -> None:
        """Of a session; another one goes on with it, from 0."""
        self.session_id = session_id
        self._sent = self._written = 0

    def says(self, words: str = "Hm.", sent: int = 1000, written: int = 100, counts: bool = True) -> AssistantMessage:
        """A message; its call may be one that no sum has."""
        if counts:
            self._sent, self._written = self._sent + sent, self._written + written
        used = {"input_tokens": sent, "output_tokens": written}
        return AssistantMessage([TextBlock(words)], MODEL, used, f"m{next(names)}", self.session_id)

    def ends(self, words: str = "Done.", with_sums: bool = True) -> ResultMessage:
        """The result of a turn."""
        cost = (self._sent * 3000 + self._written * 15000) / NANOS
        sums = {MODEL: {"inputTokens": self._sent, "outputTokens": self._written, "costUSD": cost}}
        return ResultMessage(self.session_id, cost, sums if with_sums else None, result=words)


class Told:
    """A server, and what was reported to it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=folder)
        self.client = Client(server.base_url, ADMIN_KEY)

    def claude(self) -> tuple[ClaudeAgent, str]:
        """An object of the adapter, and a new session's id."""
        return claude_agent("coder", recorder=self.recorder), f"session-{next(names)}"

    def runs(self, session_id: str) -> list[RunInfo]:
        """Those of its thread, the first one first."""
        assert self.recorder.flush(60)
        found = [self.client.get_run(run.run_id) for run in self.client.list_runs(thread_id=session_id)]
        return found[::-1]

    def spent(self, session_id: str) -> list[tuple[int, int]]:
        """Tokens and nano-dollars of each."""
        runs = self.runs(session_id)
        assert not any(run.unpriced_calls for run in runs)
        return [(run.usage.total_tokens or 0, round((run.total_cost_usd or 0) * NANOS)) for run in runs]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("left")
    with Server(folder / "data", NO_LIMITS) as server:
        found = Told(server, folder / "spool")
        yield found
        found.recorder.close(0.0)
        found.client.close()


async def stream(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        await asyncio.sleep(0)
        yield message


async def read(claude: ClaudeAgent, *messages: Any, prompt: str = "Go.") -> None:
    async for _ in claude.seen(stream(*messages), prompt=prompt):
        pass


def test_two_streams_of_one_object_are_two_runs(told: Told) -> None:
    claude, _ = told.claude()

    async def talk(person: str) -> None:
        process = Process(f"session-of-{person}")
        for turn in ("1", "2"):
            spoken = (process.says(f"To {person}."), process.says(f"More to {person}."))
            await read(claude, *spoken, process.ends(f"Done for {person}."), prompt=f"{person} asks {turn}.")

    async def both() -> None:
        await asyncio.gather(talk("alice"), talk("bob"))

    asyncio.run(both())
    for person in ("alice", "bob"):
        assert told.spent(f"session-of-{person}") == [(2200, 2 * COST)] * 2
        for turn, run in enumerate(told.runs(f"session-of-{person}"), 1):
            assert (run.input, run.result) == (f"{person} asks {turn}.", f"Done for {person}.")
            said = [event.text for event in told.client.list_events(run.run_id) if event.type == "message.delta"]
            assert said == [f"To {person}.", f"More to {person}."]


async def breaks(claude: ClaudeAgent, process: Process) -> None:
    async with aclosing(claude.seen(stream(process.says(), process.says(), process.ends()))) as messages:
        async for _ in messages:
            break


async def breaks_by_error(claude: ClaudeAgent, process: Process) -> None:
    async def broken() -> AsyncIterator[Any]:
        yield process.says()
        process.says()
        raise OSError("the connection is gone")

    with pytest.raises(OSError, match="gone"):
        async for _ in claude.seen(broken()):
            pass


async def breaks_with_a_result(claude: ClaudeAgent, process: Process) -> None:
    """A result without any figure."""
    spoken = process.says(), process.says()
    failed = ResultMessage(process.session_id, None, None, is_error=True, subtype="error_during_execution")
    await read(claude, spoken[0], failed)


WAYS: list[Callable[[ClaudeAgent, Process], Any]] = [breaks, breaks_by_error, breaks_with_a_result]


@pytest.mark.parametrize("objects", [1, 2])
@pytest.mark.parametrize("leave", WAYS)
def test_what_a_left_turn_has_told_is_not_told_by_the_next(told: Told, leave: Any, objects: int) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        await read(claude, process.says(), process.ends())
        await leave(claude, process)
        other = claude if objects == 1 else told.claude()[0]
        await read(other, process.says(), process.ends())

    asyncio.run(story())
    first, left, last = told.spent(session_id)
    # The second call of the left turn was not read: nobody knows whose it was but the next result.
    assert (first, left, last) == ((1100, COST), (1100, COST), (2200, 2 * COST))


def test_a_stream_that_is_held_and_read_no_further_is_a_left_turn(told: Told) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        held = claude.seen(stream(process.says(), process.ends()))
        await anext(held)
        await read(claude, process.says(), process.ends())
        await held.aclose()

    asyncio.run(story())
    assert told.spent(session_id) == [(1100, COST), (1100, COST)]


def test_the_rest_of_a_left_turn_may_be_read_by_the_next(told: Told) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        async with aclosing(claude.seen(stream(process.says()))) as messages:
            await anext(messages)
        await read(claude, process.ends())
        await read(claude, process.says(), process.ends())

    asyncio.run(story())
    assert told.spent(session_id) == [(1100, COST), (0, 0), (1100, COST)]


def test_a_turn_that_a_person_cancels_is_a_left_turn(told: Told) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def cancelled() -> AsyncIterator[Any]:
        yield process.says()
        [run] = told.runs(session_id)
        told.client.cancel_run(run.run_id)
        await asyncio.to_thread(wait_until, lambda: claude_run().cancelled, "the cancel")
        yield process.says()

    def claude_run() -> Any:
        [turn] = claude._turns
        return turn.run

    async def story() -> None:
        with pytest.raises(RunCancelled):
            async for _ in claude.seen(cancelled()):
                pass
        await read(claude, process.says(), process.ends())

    asyncio.run(story())
    assert told.spent(session_id) == [(2200, 2 * COST), (1100, COST)]
    assert [run.status for run in told.runs(session_id)] == ["cancelled", "completed"]


@pytest.mark.parametrize("with_sums", [True, False])
def test_a_process_that_begins_anew_does_not_count_what_was_left_in_another(told: Told, with_sums: bool) -> None:
    """Without sums of models its costs fall, which shows it."""
    claude, session_id = told.claude()

    async def story() -> None:
        process = Process(session_id)
        await read(claude, process.says(), process.says(), process.ends(with_sums=with_sums))
        async with aclosing(claude.seen(stream(process.says()))) as messages:
            await anext(messages)
        process = Process(session_id)
        await read(claude, process.says(), process.ends(with_sums=with_sums))

    asyncio.run(story())
    assert told.spent(session_id) == [(2200, 2 * COST), (1100, COST), (1100, COST)]


def test_a_call_that_no_sum_has_costs_what_was_computed(told: Told) -> None:
    """Claude was interrupted in the middle of an answer."""
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        await read(claude, process.says(), process.ends())
        async with aclosing(claude.seen(stream(process.says(sent=700, written=0, counts=False)))) as messages:
            await anext(messages)
        await read(claude, process.says(), process.ends())

    asyncio.run(story())
    assert told.spent(session_id) == [(1100, COST), (700, 2_100_000), (1100, COST)]


def test_what_a_stream_tells_after_its_result_is_of_the_next(told: Told) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        first = process.says(), process.ends()
        partial = process.says(written=50)
        process._written += 50
        await read(claude, *first, partial, process.ends())
        await read(claude, process.says(), process.ends())

    asyncio.run(story())
    assert told.spent(session_id) == [(2200, 2 * COST), (1100, COST)]


def test_sums_may_go_on_under_another_id_and_are_not_those_of_another_session(told: Told) -> None:
    claude, session_id = told.claude()
    process, other = Process(session_id), Process(f"{session_id}-other")

    async def story() -> None:
        await read(claude, process.says(), process.ends())
        process.session_id = f"{session_id}-more"
        await read(claude, process.says(), process.ends())
        await read(claude, other.says(sent=5000), other.ends())

    asyncio.run(story())
    assert told.spent(session_id) == [(1100, COST)]
    assert told.spent(f"{session_id}-more") == [(1100, COST)]
    assert told.spent(f"{session_id}-other") == [(5100, 16_500_000)]


calls = st.tuples(st.integers(1, 3000), st.integers(0, 900))
turns = st.lists(st.tuples(st.lists(calls, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=5)
"""Calls of each turn, and whether its result is read."""


@given(turns=turns)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_session_costs_what_its_last_result_tells(told: Told, turns: list[Any]) -> None:
    claude, session_id = told.claude()
    process = Process(session_id)

    async def story() -> None:
        for spoken, is_read in turns:
            messages = [process.says(sent=sent, written=written) for sent, written in spoken]
            await read(claude, *messages, *([process.ends()] if is_read else ()))
        await read(claude, process.says(), process.ends())

    asyncio.run(story())
    tokens, cost = (sum(figures) for figures in zip(*told.spent(session_id), strict=True))
    assert tokens == process._sent + process._written
    assert cost == process._sent * 3000 + process._written * 15000
