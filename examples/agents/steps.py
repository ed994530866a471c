"""An agent of the `steps` dialect: it runs a few commands, reports each step, and asks a person what to do next.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/steps.py [FOLDER]

It only ever sends events. Answers and cancels reach it in the replies, as `commands`.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from wire import Wire, folder_of, fresh_id, say

AGENT = "inspector"
MODEL = "words-1"
COMMANDS = ("git log --oneline -5", "ls -l", "wc -l README.md", "du -sk docs", "git status --short")
PAUSE_S = 1.0
ASKS_FOR_S = 30.0
POLL_S = 3.0
COMMAND_LIMIT_S = 20.0
DOLLARS_PER_WORD = 1e-6

Json = dict[str, Any]


class Cancelled(Exception):
    """Somebody wants this run to end."""


class Run:
    """One run, named by an id of its own making."""

    def __init__(self, wire: Wire) -> None:
        self.sdk_run_id = f"inspect-{fresh_id()[:8]}"
        self._wire = wire
        self._answer: str | None = None

    def tell(self, event_type: str, **payload: Any) -> None:
        """Sends one event and reads what is wanted of the run from the reply. Raises Cancelled."""
        event = {"event_type": event_type, "sdk_run_id": self.sdk_run_id, "agent_name": AGENT}
        reply = self._wire.post("/api/ingest", {**event, "event_id": fresh_id(), "payload": payload})
        for command in reply.get("commands", []):
            if command["type"] == "cancel" and event_type not in {"run_end", "error"}:
                raise Cancelled
            if command["type"] == "input":
                self._answer = command["content"]

    def ask(self, question: str) -> str:
        """The answer of a person, or after half a minute our own."""
        self.tell("human_input_requested", question=question, channel="towerlog")
        asked_at = time.monotonic()
        while self._answer is None and time.monotonic() - asked_at < ASKS_FOR_S:
            time.sleep(POLL_S)
            self.tell("step", node_name="wait_for_answer", phase="end", duration_ms=int(POLL_S * 1000))
        by = "a person" if self._answer is not None else AGENT
        answer, self._answer = self._answer or "no", None
        self.tell("human_input_received", response=answer, responded_by=by)
        return answer


def run_command(run: Run, command: str, folder: Path) -> str:
    """Runs a command as a step with one tool call; its output."""
    run.tell("step", node_name=command.split()[0], phase="start")
    run.tell("tool_call", tool_name="shell", phase="start", input_preview=command)
    begun = time.monotonic()
    code, output = outcome_of(command, folder)
    duration_ms = int((time.monotonic() - begun) * 1000)
    told = {"output_preview": output, "duration_ms": duration_ms, "success": code == 0}
    run.tell("tool_call", tool_name="shell", phase="end", input_preview=command, **told)
    run.tell("step", node_name=command.split()[0], phase="end", duration_ms=duration_ms)
    return output


def outcome_of(command: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of a command; a program that is not there is an outcome like any other."""
    try:
        done = subprocess.run(
            command.split(), cwd=folder, capture_output=True, text=True, errors="replace", timeout=COMMAND_LIMIT_S,
            check=False,
        )  # fmt: skip
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout or done.stderr


def inspect(wire: Wire, folder: Path) -> None:
    """One run from its start to its end."""
    run = Run(wire)
    say(AGENT, f"begins {run.sdk_run_id}")
    try:
        run.tell("run_start", framework="none", input={"folder": folder.name})
        seen = 0
        for command in COMMANDS:
            seen += len(run_command(run, command, folder).split())
            time.sleep(PAUSE_S)
        say(AGENT, f"{run.sdk_run_id} asks: list the tests too? (it waits {ASKS_FOR_S:.0f} seconds)")
        if run.ask("Shall I list the tests too?").strip().lower().startswith("y"):
            seen += len(run_command(run, "ls tests", folder).split())
        figures = {"prompt_tokens": seen, "completion_tokens": 9, "cost_usd": round((seen + 9) * DOLLARS_PER_WORD, 9)}
        run.tell("run_end", output={"words_seen": seen}, model=MODEL, **figures)
        say(AGENT, f"ends {run.sdk_run_id}")
    except Cancelled:
        run.tell("error", error_type="Cancelled", error_message="somebody asked for it")
        say(AGENT, f"{run.sdk_run_id} was cancelled")


def main() -> None:
    folder = folder_of(__doc__)
    wire = Wire()
    while True:
        inspect(wire, folder)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
