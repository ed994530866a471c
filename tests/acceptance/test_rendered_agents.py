"""Stock runners as their generator renders them: chat, approval, crash and restart, sub-agents, workflows and teams.

Nothing of them is changed; only the models are a server of ours, which counts the tokens it has charged.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.agents.model_server import OUTPUT_TOKENS, ModelServer
from tests.support.agents.stock import Stock
from tests.support.ports import HeldPort
from tests.support.readback import ReadBack
from tests.support.senders import Json
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow
STARTING_S = 300.0
"""How long an agent may take until it has said something: imports alone take it ten seconds on a quiet machine."""


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("tower") / "data", NO_LIMITS) as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def tower_back(tower: Server) -> ReadBack:
    return ReadBack(tower.client())


@pytest.fixture
def models() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def stock(tower: Server, models: ModelServer, tmp_path: Path) -> Iterator[Stock]:
    agents = Stock(tower, models.url, tmp_path)
    yield agents
    agents.close()


def say(agent: subprocess.Popen[str], text: str) -> None:
    """A line on the agent's standard input."""
    assert agent.stdin is not None
    agent.stdin.write(text + "\n")
    agent.stdin.flush()


def details(back: ReadBack, thread: str) -> list[Json]:
    """All runs of a thread, oldest first."""
    return [back.detail(row["run_id"]) for row in reversed(back.runs(thread_id=thread))]


def tokens(runs: list[Json]) -> tuple[int, int]:
    """Input and output of some runs together; what no split is known of makes the sums differ from the total."""
    inputs, outputs = (sum(run[f"total_{kind}_tokens"] or 0 for run in runs) for kind in ("input", "output"))
    assert sum(run["usage"]["total_tokens"] or 0 for run in runs) == inputs + outputs
    return inputs, outputs


def settled(back: ReadBack, thread: str, models: ModelServer) -> list[Json]:
    """The runs of a thread once they tell all the tokens that the models have charged."""

    def whole() -> list[Json] | None:
        runs = details(back, thread)
        return runs if models.calls and tokens(runs) == models.tokens() else None

    return wait_until(whole, "every token that was charged", deadline_s=STARTING_S) or []


def test_a_conversation_and_its_tools(tower_back: ReadBack, stock: Stock, models: ModelServer) -> None:
    agent = stock.start(stock.render("keeper"), thread="keep")
    say(agent, "hello")
    wait_until(lambda: len(models.calls) == 1, "the first answer", deadline_s=STARTING_S)
    say(agent, "please remember this")
    wait_until(lambda: len(models.calls) == 3, "the answer after a tool")
    [run] = settled(tower_back, "keep", models)
    assert (run["agent"], run["status"], run["usage_flags"]) == ("keeper", "running", [])
    state = tower_back.state("keep")
    assert [message["role"] for message in state["history"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_an_approval_outlives_a_crash(tower_back: ReadBack, stock: Stock, models: ModelServer) -> None:
    """Killed while it waits, started again, approved: it goes on with what it was asked, and nothing is lost."""
    client, program = tower_back.client, stock.render("careful", approve=("memory_save",))
    agent = stock.start(program, thread="care")
    say(agent, "hello")
    wait_until(lambda: len(models.calls) == 1, "the first answer", deadline_s=STARTING_S)
    say(agent, "please remember this")
    [waiting] = wait_until(lambda: approvals(client, "care"), "a wait for approval")
    assert waiting["pending_tool_calls"][0]["function"] == "memory_save"
    [run] = details(tower_back, "care")
    assert run["status"] == "waiting_for_input"
    before = tower_back.state("care")
    assert [message["role"] for message in before["history"]] == ["user", "assistant", "user", "assistant"]
    agent.kill()
    agent.wait()
    again = stock.start(program, thread="care")
    wait_until(lambda: "Re-polling" in stock.log("careful"), "the restarted runner", deadline_s=STARTING_S)
    path = f"/approvals/{waiting['trace_id']}/{waiting['step_index']}/approve"
    assert client.post(path).status_code == 200
    wait_until(lambda: "Re-send your request" in stock.log("careful"), "the decision that it polls for")
    say(again, "please remember this")
    [asked] = wait_until(lambda: approvals(client, "care"), "it asks for the same again")
    assert client.post(f"/approvals/{asked['trace_id']}/{asked['step_index']}/approve").status_code == 200
    runs = settled(tower_back, "care", models)

    def is_answered() -> bool:
        last = tower_back.state("care")["history"][-1]
        return last["role"] == "assistant" and bool(last["content"])

    wait_until(is_answered, "the end of the turn")
    runs = settled(tower_back, "care", models)
    assert [one["resumed_from"] for one in runs] == [None, runs[0]["run_id"]]
    roles = [message["role"] for message in tower_back.state("care")["history"]]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert again.poll() is None


def approvals(client: httpx2.Client, thread: str) -> list[Json]:
    """What waits for a person in a thread."""
    return [one for one in client.get("/approvals").json() if one["thread_id"] == thread]


def test_a_sub_agent_is_a_child_and_the_main_agent_goes_on_after_a_crash(
    tower_back: ReadBack, stock: Stock, models: ModelServer
) -> None:
    program = stock.render("chief")
    agent = stock.start(program, thread="chief")
    say(agent, "please delegate this")
    wait_until(lambda: len(models.calls) == 3, "the main agent's answer", deadline_s=STARTING_S)
    main, sub = settled(tower_back, "chief", models)
    assert (sub["parent_run_id"], sub["agent"], sub["resumed_from"]) == (main["run_id"], "chief:scout", None)
    assert (main["tree"]["runs"], main["tree"]["total_tokens"]) == (2, sum(models.tokens()))
    assert main["total_output_tokens"] == 2 * OUTPUT_TOKENS
    # One counter of the process: the sub-agent's share of it is in the main agent's figure.
    assert main["tree"]["total_cost_usd"] == main["total_cost_usd"]
    before = tower_back.state("chief")
    assert (before["trace_id"], before["history"][0]["content"]) == (main["trace_id"], "please delegate this")
    agent.kill()
    agent.wait()
    again = stock.start(program, thread="chief")
    wait_until(lambda: "Restored thread" in stock.log("chief"), "the restarted runner", deadline_s=STARTING_S)
    say(again, "and now?")
    wait_until(lambda: len(models.calls) == 4, "an answer after the restart")
    runs = settled(tower_back, "chief", models)
    assert runs[2]["resumed_from"] == main["run_id"]
    assert len(tower_back.state("chief")["history"]) == len(before["history"]) + 2


def test_each_turn_of_a_served_chat_is_a_run_that_ends(tower_back: ReadBack, stock: Stock, models: ModelServer) -> None:
    held, program = HeldPort(), stock.render("desk", serve=True)
    ports = {"AGENTFILE_INVOKE_PORT": str(held.number), "AGENTFILE_WEBHOOK_PORT": str(held.number)}
    first = stock.start(program, **ports)
    with held, httpx2.Client(base_url=held.url, timeout=60, trust_env=False) as agent:
        wait_until(lambda: is_up(agent), "the agent's server", deadline_s=STARTING_S)
        for text in ("hello", "please remember this"):
            reply = wait_until(lambda text=text: chat(agent, text), "an answer")
            assert reply["session_id"] == "s1"
        runs = details(tower_back, "chat-s1")
        assert [run["status"] for run in runs] == ["completed", "completed"]
        assert runs[1]["resumed_from"] == runs[0]["run_id"]
        assert tokens(runs) == models.tokens()
        before = tower_back.state("chat-s1")["history"]
        first.kill()
        first.wait()
        stock.start(program, **ports)
        wait_until(lambda: is_up(agent), "the agent's server, started again", deadline_s=STARTING_S)
        wait_until(lambda: chat(agent, "and now?"), "an answer after the restart")
    after = tower_back.state("chat-s1")["history"]
    assert after[: len(before)] == before, "the conversation goes on"
    assert len(after) == len(before) + 2


def is_up(agent: httpx2.Client) -> bool:
    """Whether the agent's server answers."""
    try:
        return agent.get("/health").status_code == 200
    except httpx2.HTTPError:
        return False


def chat(agent: httpx2.Client, text: str) -> Json | None:
    """The answer to a message; None while the agent is not ready."""
    reply = agent.post("/chat", json={"message": text, "session_id": "s1"})
    return None if reply.status_code == 503 else reply.json()


def test_workflows_and_teams_of_the_sdk(tower_back: ReadBack, stock: Stock, models: ModelServer) -> None:
    program = Path(__file__).parents[1] / "support" / "agents" / "groups.py"
    agent = stock.start(program)
    assert agent.wait(STARTING_S) == 0, stock.log("groups")
    [flow] = details(tower_back, "flow")
    assert (flow["agent"], flow["status"], flow["duration_ms"] is not None) == ("workflow:nightly", "completed", True)
    editor, writer = (tower_back.detail(row["run_id"]) for row in tower_back.runs(parent_run_id=flow["run_id"]))
    assert [(run["agent"], run["status"]) for run in (writer, editor)] == [
        (name, "completed") for name in ("writer", "editor")
    ]
    [dead] = details(tower_back, "dead-end")
    assert (dead["status"], dead["error"]) == ("failed", "nothing to do")
    team, member = details(tower_back, "desk-1")
    assert (team["agent"], team["status"], member["parent_run_id"]) == ("team:desk", "completed", team["run_id"])
    assert sum(tokens([member])) == team["tree"]["total_tokens"]
