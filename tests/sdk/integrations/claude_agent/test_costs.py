"""What turns of the Claude Agent SDK cost: each cent that a result tells, once, however its turn went."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.sdk.integrations.claude_agent.messages import (
    AssistantMessage,
    ResultMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import RunInfo
from towerlog.sdk.integrations.claude_agent.session import ClaudeAgent, claude_agent
from towerlog.sdk.record.recorder import Recorder

LISTED, UNLISTED = "claude-sonnet-4-5", "claude-house-9"
NANOS = 1_000_000_000
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without a search for the smallest story, each of which takes a while."""
names = itertools.count()


@dataclass
class Spent:
    """A call of an agent (0: the agent itself): what it has used, and how much of its output its message tells."""

    of: int
    model: str
    sent: int
    cached: int
    written: int
    told: int


@dataclass
class Turn:
    calls: list[Spent]
    nanos: int
    is_error: bool = False


@dataclass
class Story:
    turns: list[Turn]
    model_usage: bool = True
    session: bool = True
    """The results tell sums of the session, not of the turn alone."""
    objects: bool = False
    """Each turn is reported by an object of its own."""
    running: dict[str, dict[str, Any]] = field(default_factory=dict)

    def sums(self, turn: Turn) -> dict[str, dict[str, Any]]:
        """As a result has them after this turn."""
        if not self.session:
            self.running = {}
        for call in turn.calls:
            names = ("inputTokens", "cacheReadInputTokens", "outputTokens")
            of = self.running.setdefault(call.model, dict.fromkeys((*names, "nanos"), 0))
            for name, tokens in zip(names, (call.sent, call.cached, call.written), strict=True):
                of[name] += tokens
        share, rest = divmod(turn.nanos, len(turn.calls))
        for at, call in enumerate(turn.calls):
            self.running[call.model]["nanos"] += share + (rest if at == 0 else 0)
        return {model: {**said, "costUSD": said["nanos"] / NANOS} for model, said in self.running.items()}


def usage(call: Spent) -> dict[str, int]:
    return {"input_tokens": call.sent, "cache_read_input_tokens": call.cached, "output_tokens": call.told}


async def messages(story: Story, turn: Turn, session_id: str, cost: float) -> AsyncIterator[Any]:
    agents = sorted({call.of for call in turn.calls} - {0})
    blocks: list[Any] = [ToolUseBlock(f"tool-{of}", "Task", {"subagent_type": f"sub-{of}"}) for of in agents]
    first = AssistantMessage(blocks, turn.calls[0].model, {}, f"m{next(names)}", session_id)
    yield first
    for call in turn.calls:
        told = (TextBlock("Hm."),), call.model, usage(call), f"m{next(names)}", session_id
        yield AssistantMessage(list(told[0]), *told[1:], parent_tool_use_id=f"tool-{call.of}" if call.of else None)
    for of in agents[:-1]:  # the last one has not returned when the result comes
        yield UserMessage([ToolResultBlock(f"tool-{of}")])
    sums = story.sums(turn) if story.model_usage else None
    yield ResultMessage(session_id, cost, sums, turn.is_error)


class Told:
    """A server, and what was reported to it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=folder)
        self.client = Client(server.base_url, ADMIN_KEY)

    def runs(self, agent: str, session_id: str, story: Story) -> list[RunInfo]:
        """The runs of the turns of a story, after it was told."""
        spent = 0.0
        claude: ClaudeAgent | None = None
        for turn in story.turns:
            spent = (spent if story.session else 0) + turn.nanos
            if claude is None or story.objects:
                claude = claude_agent(agent, recorder=self.recorder)
            asyncio.run(self._seen(claude, messages(story, turn, session_id, spent / NANOS)))
        assert self.recorder.flush(60)
        found = [self.client.get_run(run.run_id) for run in self.client.list_runs(thread_id=session_id)]
        return [run for run in reversed(found) if run.parent_run_id is None]

    async def _seen(self, claude: ClaudeAgent, told: AsyncIterator[Any]) -> None:
        async for _ in claude.seen(told):
            pass


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("costs")
    with Server(folder / "data", NO_LIMITS) as server:
        found = Told(server, folder / "spool")
        yield found
        found.recorder.close(0.0)
        found.client.close()


def check(told: Told, story: Story) -> None:
    agent = f"agent-{next(names)}"
    runs = told.runs(agent, f"session-{agent}", story)
    assert len(runs) == len(story.turns)
    for run, turn in zip(runs, story.turns, strict=True):
        assert run.tree is not None
        assert round((run.tree.total_cost_usd or 0) * NANOS) == turn.nanos, turn
        assert run.tree.unpriced_calls == 0, turn
        assert run.status == ("failed" if turn.is_error else "completed")
        sent = sum(call.sent + call.cached for call in turn.calls)
        written = sum(call.written if story.model_usage else call.told for call in turn.calls)
        assert (run.tree.total_input_tokens, run.tree.total_output_tokens) == (sent, written), turn


CALL = Spent(0, LISTED, 1000, 0, 100, 100)
EXAMPLES = {
    "one call": Story([Turn([CALL], 4_500_000)]),
    "cheaper than the list": Story([Turn([CALL], 1_000_000)]),
    "dearer than the list": Story([Turn([CALL], 9_000_000)]),
    "failed": Story([Turn([CALL], 4_500_000, is_error=True)]),
    "partial": Story([Turn([Spent(0, LISTED, 1000, 0, 100, 1)] * 2, 9_000_000)]),
    "a sub-agent": Story([Turn([CALL, Spent(1, LISTED, 1000, 0, 100, 100)], 9_000_000)]),
    "sub-agents": Story([Turn([CALL, Spent(1, LISTED, 7, 3, 5, 1), Spent(2, UNLISTED, 11, 0, 3, 3)], 7_000_001)]),
    "not listed": Story([Turn([Spent(0, UNLISTED, 1000, 0, 100, 100)], 500_000_000)]),
    "no sums": Story([Turn([CALL], 4_500_000)] * 3, model_usage=False),
    "a session": Story([Turn([CALL], 4_500_000)] * 3),
    "a session, by three objects": Story([Turn([CALL], 4_500_000)] * 3, objects=True),
    "turns alone": Story([Turn([CALL], 4_500_000)] * 3, session=False),
    "turns alone that grow": Story(
        [Turn([CALL], 4_500_000), Turn([Spent(0, LISTED, 1500, 0, 200, 2)], 8_000_000)], session=False
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_turn_costs_what_its_result_tells(told: Told, name: str) -> None:
    check(told, EXAMPLES[name])


calls = st.builds(
    lambda of, model, sent, cached, told, more: Spent(of, model, sent, cached, told + more, told),
    st.integers(0, 2),
    st.sampled_from([LISTED, LISTED, UNLISTED, "claude-haiku-4-5"]),
    st.integers(1, 3000),
    st.integers(0, 900),
    st.integers(0, 200),
    st.integers(0, 200),
)
turns = st.builds(
    lambda first, more, nanos, is_error: Turn([replace(first, of=0), *more], nanos, is_error),
    calls,
    st.lists(calls, max_size=4),
    st.integers(1, 50_000_000),
    st.booleans(),
)
"""Each begins with a call of the agent itself: who asks a sub-agent has called a model for it."""
stories = st.builds(
    lambda turns, model_usage, session, objects: Story(turns, model_usage, session or not model_usage, objects),
    st.lists(turns, min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(story=stories)
@settings(max_examples=15, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_turn_costs_what_its_result_tells(told: Told, story: Story) -> None:
    check(told, story)


def test_each_run_of_a_turn_has_its_part_of_the_cost(told: Told) -> None:
    """The sub-agent has used a quarter of what the turn has."""
    story = Story([Turn([Spent(0, LISTED, 3000, 0, 300, 300), Spent(1, LISTED, 1000, 0, 100, 100)], 8_000_000)])
    [run] = told.runs("divided", "session-divided", story)
    assert (run.total_cost_usd, run.tree and run.tree.total_cost_usd) == (0.006, 0.008)


async def _unfinished(session_id: str) -> AsyncIterator[Any]:
    yield AssistantMessage([TextBlock("Hm.")], LISTED, usage(CALL), "m", session_id)


def test_a_turn_without_a_result_has_failed_and_costs_what_its_calls_do(told: Told) -> None:
    asyncio.run(told._seen(claude_agent("killed", recorder=told.recorder), _unfinished("session-killed")))
    assert told.recorder.flush(60)
    [row] = told.client.list_runs(thread_id="session-killed")
    run = told.client.get_run(row.run_id)
    assert (run.status, run.error) == ("failed", "the messages have ended without a result")
    assert (run.total_cost_usd, run.cost_source) == (0.0045, "computed")
