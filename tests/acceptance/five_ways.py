"""One run fed through each dialect, the way its own clients do, for everybody to look at from the other side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from tests.acceptance.feeds import (
    Json,
    claim,
    complete,
    container_event,
    create_run,
    ended,
    held_run,
    log_of,
    newest_run_of,
    ok,
    push,
    report,
    snapshot,
    started,
    step,
)
from tests.support.readback import ReadBack
from tests.support.senders import save_batch, tell

SECRET = "the content that metadata never shows"
HISTORY = [{"role": "user", "content": SECRET}, {"role": "assistant", "content": f"about {SECRET}"}]
AGENT = "researcher"


@dataclass(frozen=True)
class Fed:
    """A run that came in through one dialect, and the log's positions just before and just after it."""

    client: httpx2.Client
    run_id: str
    thread_id: str
    stored: int
    positions: tuple[int, int]

    @property
    def agent_id(self) -> str:
        """The UUID of the agent that did the work."""
        return ReadBack(self.client).agent_id(AGENT)

    def row(self) -> Json:
        """The run in the global list of `runs`."""
        (row,) = [row for row in ok(self.client.get("/v1/runs")) if row["run_id"] == self.run_id]
        return dict(row)

    def types(self) -> list[str]:
        """The types of the run's events."""
        return [event["type"] for event in log_of(self.client, self.run_id)]


def between(client: httpx2.Client, feed: Callable[[httpx2.Client], tuple[str, str]]) -> Fed:
    """Feeds a run between two `steps` events, whose replies tell the log's position before and after it."""
    first = tell(client, "step", "bystander", {"node_name": "before"})
    run_id, thread_id = feed(client)
    last = tell(client, "step", "bystander", {"node_name": "after"})
    return Fed(client, run_id, thread_id, len(log_of(client, run_id)), (first, last))


def checkpoints_feed(client: httpx2.Client) -> tuple[str, str]:
    """A runner's thread: started, two turns, completed."""
    figures = {"tokens_used": 420, "input_tokens": 310, "output_tokens": 110, "run_cost_usd": 0.00231}
    save_batch(client, started("my-project", "abc123", agent_id=AGENT, model="claude-sonnet-4-6"))
    save_batch(client, snapshot("my-project", "abc123", 1, HISTORY[:1], model="claude-sonnet-4-6"))
    save_batch(client, snapshot("my-project", "abc123", 2, HISTORY, model="claude-sonnet-4-6", **figures))
    save_batch(client, ended("my-project", tokens_used=420, model="claude-sonnet-4-6"))
    return newest_run_of(client, "my-project"), "my-project"


def steps_feed(client: httpx2.Client) -> tuple[str, str]:
    """An SDK's run: started, a step, a tool, an end with its figures."""
    name = "run_a1b2c3"
    step(client, name, "run_start", {"framework": "langgraph", "input": {"query": SECRET}}, agent_name=AGENT)
    step(client, name, "step", {"node_name": "search_web", "phase": "end", "output": {"results": [SECRET]}})
    tool = {"tool_name": "web_search", "phase": "end", "output_preview": SECRET, "duration_ms": 740}
    step(client, name, "tool_call", tool)
    figures = {"prompt_tokens": 150, "completion_tokens": 45, "total_tokens": 195, "cost_usd": 0.0023}
    step(client, name, "run_end", {"output": {"answer": SECRET}, "model": "gpt-4", **figures})
    return newest_run_of(client, name), name


def activity_feed(client: httpx2.Client) -> tuple[str, str]:
    """A container's pushed events, for an agent that an ended run has registered."""
    agent_id = ReadBack(client).agent_id(AGENT)
    push(client, agent_id, container_event(input_summary="make test", output_summary="exit 0, 77 bytes"))
    push(client, agent_id, container_event(type="file_read", tool="filesystem", input_summary="README.md"))
    for row in ok(client.get("/v1/runs", params={"agent": AGENT})):
        if "make test" in str(log_of(client, row["run_id"])):
            return row["run_id"], row["thread_id"]
    raise AssertionError("no run of the agent shows what its container pushed")


def register_agent(client: httpx2.Client) -> None:
    """An ended run, which leaves its agent registered."""
    step(client, "registers-the-agent", "run_start", agent_name=AGENT)
    step(client, "registers-the-agent", "run_end")


def runs_feed(client: httpx2.Client) -> tuple[str, str]:
    """An application's run: created with input, answered while its worker waits, ended by the worker."""
    run_id: str = create_run(client, "an-app-thread", input=SECRET)["run_id"]
    claim(client, run_id, "worker")
    report(client, run_id, "worker", {"type": "run.waiting_for_input", "payload": {"question": SECRET}})
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": f"answer {SECRET}"}))
    complete(client, run_id, "worker", {"answer": SECRET})
    return run_id, "an-app-thread"


def lanes_feed(client: httpx2.Client) -> tuple[str, str]:
    """A worker's run, still held: text, a tool, a phase and a log line reported under its lease."""
    run_id = held_run(client, "a-lane", "worker")
    tool = {"tool_call_id": "t1", "name": "shell", "tool_name": "shell"}
    report(
        client,
        run_id,
        "worker",
        {"type": "message.delta", "payload": {"content": SECRET}},
        {"type": "tool.call", "payload": {**tool, "input": SECRET}},
        {"type": "tool.result", "payload": {**tool, "output": SECRET, "duration_ms": 5, "success": True}},
        phase="building",
        log_line=SECRET,
    )
    return run_id, "a-lane"
