"""An agent of the `checkpoints` dialect that asks before it acts: a person approves its tool call, or rejects it.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/approvals.py [FOLDER]

It would publish the pages of a folder, one a run. A snapshot with the status `waiting_for_approval` says what it wants
to call; it looks at the state of its thread until somebody has decided. Nothing is published in truth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wire import Wire, folder_of, fresh_id, say

AGENT = "publisher"
LOOKS_EVERY_S = 1.0
PAUSE_S = 30.0
WAITS_S = 3600
LEFT_OUT = {"node_modules", "__pycache__"}

Json = dict[str, Any]


def pages_in(root: Path) -> Iterator[Path]:
    """Pages below a folder, hidden and generated ones left out."""
    for path in sorted(root.rglob("*.md")):
        parts = path.relative_to(root).parts
        if not any(part in LEFT_OUT or part.startswith(".") for part in parts):
            yield path


class Publication:
    """One run: it asks, waits, and does as it is told."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.thread_id = f"publish-{fresh_id()[:8]}"
        self._ids = {"thread_id": self.thread_id, "trace_id": fresh_id()}

    def tell(self, kind: str, **data: Any) -> None:
        """Sends one event."""
        event = {"type": kind, "event_id": fresh_id(), "data": {**self._ids, "agent_id": AGENT, **data}}
        self._wire.post("/v1/runners/events", {"events": [event]})

    def snapshot(self, step_index: int, status: str, said: str, **more: Any) -> None:
        """The state after a turn."""
        history = [{"role": "assistant", "content": said}]
        self.tell("checkpoint", step_index=step_index, status=status, history=history, **more)

    def decision(self) -> str:
        """What a person has decided: `approved` or `rejected`. Who is not answered in an hour does not act."""
        ends_at = time.monotonic() + 1.1 * WAITS_S
        while time.monotonic() < ends_at:
            state = self._wire.get(f"/v1/runners/threads/{self.thread_id}/latest")
            if state["status"] != "waiting_for_approval":
                return str(state["status"])
            time.sleep(LOOKS_EVERY_S)
        return "rejected"


def publish(wire: Wire, page: Path, root: Path) -> None:
    """One run from its start to its end."""
    name = str(page.relative_to(root))
    run = Publication(wire)
    run.tell("thread_started")
    call = {"id": "call_1", "name": "publish_page", "arguments": {"page": name, "bytes": page.stat().st_size}}
    terms = {"risk": "high", "expires_in_seconds": WAITS_S, "on_expiry": "deny"}
    run.snapshot(1, "waiting_for_approval", f"I want to publish {name}.", pending_tool_calls=[call], **terms)
    say(AGENT, f"wants to publish {name}, and waits for an approval")
    decision = run.decision()
    done = "published" if decision == "approved" else "left as it was"
    run.snapshot(2, "in_progress", f"{name}: {done}.")
    run.tell("thread_completed")
    say(AGENT, f"{name}: {decision}, {done}")


def main() -> None:
    root = folder_of(__doc__)
    wire = Wire()
    while True:
        for page in list(pages_in(root)):
            publish(wire, page, root)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
