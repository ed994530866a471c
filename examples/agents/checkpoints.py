"""An agent of the `checkpoints` dialect: it surveys a folder, one subfolder a turn, and snapshots itself after each.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/checkpoints.py [FOLDER]

A snapshot is the whole conversation so far. The server keeps each message once, so a long history costs no more than
its messages. Tokens here are words, and a million words cost a dollar.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wire import Wire, folder_of, fresh_id, say

AGENT = "surveyor"
MODEL = "words-1"
MAX_TURNS = 12
PAUSE_S = 2.0
DOLLARS_PER_WORD = 1e-6
LEFT_OUT = {"node_modules", "__pycache__"}

Json = dict[str, Any]


def folders_in(root: Path) -> Iterator[Path]:
    """The folder and those below it, hidden and generated ones left out."""
    yield root
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_dir() and not any(part in LEFT_OUT or part.startswith(".") for part in parts):
            yield path


def look_at(folder: Path) -> str:
    """What a survey says of one folder."""
    files = [path for path in folder.iterdir() if path.is_file()]
    if not files:
        return "There are no files here."
    largest = max(files, key=lambda path: path.stat().st_size)
    size = sum(path.stat().st_size for path in files)
    return f"{len(files)} files, {size} bytes. The largest is {largest.name}."


class Survey:
    """One run: a conversation that grows by two messages a turn."""

    def __init__(self, wire: Wire, thread_id: str) -> None:
        self._wire = wire
        self._ids = {"thread_id": thread_id, "trace_id": fresh_id()}
        self._history: list[Json] = []
        self._meta: list[Json] = []
        self._words_in = self._words_out = 0

    def tell(self, kind: str, **data: Any) -> None:
        """Sends one event."""
        event = {"type": kind, "event_id": fresh_id(), "data": {**self._ids, "agent_id": AGENT, **data}}
        self._wire.post("/v1/runners/events", {"events": [event]})

    def take_turn(self, step_index: int, folder: str, found: str) -> None:
        """Adds a question and its answer to the conversation, and snapshots it."""
        start = len(self._history)
        self._add("user", f"Survey {folder}.", {})
        words_in = sum(len(message["content"].split()) for message in self._history)
        words_out = len(found.split())
        self._add("assistant", found, {"tokens_in": words_in, "tokens_out": words_out})
        self._words_in += words_in
        self._words_out += words_out
        self.tell(
            "checkpoint", step_index=step_index, status="in_progress", history=self._history, history_meta=self._meta,
            turn_start_history_len=start, pending_tool_calls=[], **self.totals(),
        )  # fmt: skip

    def totals(self) -> Json:
        """Figures of the run so far, never increments."""
        words = self._words_in + self._words_out
        cost = round(words * DOLLARS_PER_WORD, 9)
        figures = {"input_tokens": self._words_in, "output_tokens": self._words_out, "tokens_used": words}
        return {**figures, "model": MODEL, "run_cost_usd": cost}

    def _add(self, role: str, content: str, figures: Json) -> None:
        self._history.append({"role": role, "content": content})
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._meta.append({"ts": now, **figures})


def survey(wire: Wire, root: Path) -> None:
    """One run from its start to its end."""
    thread_id = f"survey-{fresh_id()[:8]}"
    run = Survey(wire, thread_id)
    run.tell("thread_started")
    say(AGENT, f"begins {thread_id}")
    for number, folder in zip(range(1, MAX_TURNS + 1), folders_in(root), strict=False):
        run.take_turn(number, str(folder.relative_to(root.parent)), look_at(folder))
        time.sleep(PAUSE_S)
    totals = run.totals()
    run.tell("thread_completed", tokens_used=totals["tokens_used"], model=MODEL)
    say(AGENT, f"ends {thread_id} after {totals['tokens_used']} words")


def main() -> None:
    root = folder_of(__doc__)
    wire = Wire()
    while True:
        survey(wire, root)


if __name__ == "__main__":
    main()
