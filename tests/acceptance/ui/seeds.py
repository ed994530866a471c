"""Some of everything that the dashboard shows, reported as agents and people do it."""

from __future__ import annotations

from typing import NamedTuple

import httpx2

from tests.acceptance.feeds import create_run
from tests.support.senders import checkpoint, ingest, save_batch, sdk_event, tell

HOSTILE = '\u202etxt.\u001b[31m{{7*7}}<img src=x onerror="document.title=1"><script>document.title=2</script>'
"""Text of an agent that would be markup, move a cursor, and turn the line around, where it is not shown as text."""


class Seeds(NamedTuple):
    """What was made, by what it is good for."""

    asking: str
    """A run of `steps` that waits for an answer."""
    done: str
    failed: str
    runner: str
    """A run with checkpoints, which waits for a decision about a tool call."""
    queued: str
    agent_id: str
    thread_id: str


def seed(client: httpx2.Client) -> Seeds:
    """Runs of every kind, a budget, an alert, a price and a key."""
    rule = {"name": "failed runs", "trigger": "error", "cooldown_minutes": 0}
    client.post("/api/v1/alert-rules", json=rule).raise_for_status()
    budget = {"name": "all of it", "scope": {"organisation": True}, "amount_usd": 0.02, "period": "day", "warn_at": 0.1}
    client.post("/api/v1/budgets", json=budget).raise_for_status()
    client.post("/api/v1/prices", json={"model": "house-1", "usd_per_million": {"input": 1}}).raise_for_status()
    client.post("/api/v1/keys", json={"name": "a key", "scopes": ["ingest"]}).raise_for_status()
    persona = {"persona_key": "editor", "version": "1", "agent": "writer", "instructions": "Shorten."}
    client.post("/api/v1/personas", json=persona).raise_for_status()
    _write(client, "writer-1", cost_usd=0.0123)
    _write(client, "writer-2", cost_usd=None)
    tell(client, "run_start", "broken", {"input": "x"}, agent_name="writer")
    tell(client, "tool_call", "broken", {"tool_name": "print", "phase": "start", "input_preview": "page 1"})
    tell(client, "error", "broken", {"error_type": "IOError", "error_message": "no paper"})
    tell(client, "run_start", "asker", {"input": "send"}, agent_name="asker")
    tell(client, "human_input_requested", "asker", {"question": "Send the letter?"})
    _hostile(client)
    history = [{"role": "user", "content": "clean up"}, {"role": "assistant", "content": "I remove build."}]
    turn = {"history": history[:1], "history_meta": [{}]}
    call = {"id": "call-1", "name": "shell", "arguments": {"command": "rm -r build"}}
    waits = {
        "history": history,
        "history_meta": [{}, {}],
        "status": "waiting_for_approval",
        "pending_tool_calls": [call],
    }
    save_batch(client, checkpoint("cleaning", "trace-1", 1, **turn), checkpoint("cleaning", "trace-1", 2, **waits))
    queued = create_run(client, "letters", agent="nobody", input="wait")["run_id"]
    runs = client.get("/api/v1/runs", params={"limit": 200}).json()["data"]
    by_name = {run["foreign_id"].removeprefix("steps:"): run for run in runs if run["source"] == "steps"}
    runner = next(run for run in runs if run["thread_id"] == "cleaning")
    done = by_name["writer-1"]
    return Seeds(
        by_name["asker"]["run_id"],
        done["run_id"],
        by_name["broken"]["run_id"],
        runner["run_id"],
        queued,
        done["agent_id"],
        "cleaning",
    )


def _write(client: httpx2.Client, name: str, *, cost_usd: float | None) -> None:
    """A run that calls a tool and a model, and completes."""
    tell(client, "run_start", name, {"input": "a letter"}, agent_name="writer")
    tell(client, "step", name, {"node_name": "draft", "phase": "start"})
    tell(client, "tool_call", name, {"tool_name": "search", "phase": "start", "input_preview": "towers"})
    tell(client, "tool_call", name, {"tool_name": "search", "phase": "end", "output_preview": "two", "duration_ms": 40})
    tell(client, "step", name, {"node_name": "draft", "phase": "end", "duration_ms": 60})
    end = {"prompt_tokens": 812, "completion_tokens": 40, "model": "words-1", "output": {"pages": 1}}
    tell(client, "run_end", name, end if cost_usd is None else {**end, "cost_usd": cost_usd})


def _hostile(client: httpx2.Client) -> None:
    """A run whose every text is hostile."""
    name = "hostile"
    # It is stored with a warning: the control characters of an agent's name are taken for blanks.
    begun = sdk_event("run_start", name, {"input": HOSTILE, "framework": HOSTILE}, agent_name=HOSTILE)
    assert ingest(client, begun).status_code == 200
    tell(client, "step", name, {"node_name": HOSTILE, "phase": "start"})
    tell(client, "tool_call", name, {"tool_name": HOSTILE, "phase": "start", "input_preview": HOSTILE})
    tell(client, "human_input_requested", name, {"question": HOSTILE, "context": {HOSTILE: HOSTILE}})
