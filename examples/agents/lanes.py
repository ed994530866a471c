"""A worker of the `lanes` dialect: it claims runs, weighs files, asks how to go on, and completes them.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/lanes.py [FOLDER]

This is the wire as it is, in nothing but Python; `worker.py` leaves it to `towerlog worker`. It holds a run under
a lease, and every report renews it. If this process is killed, the lease runs out and another worker gets the run.
Cancels and answers come back with the reports.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from wire import Refused, Wire, folder_of, fresh_id, say

AGENT = "weigher"
WORKER = f"weigher-{os.getpid()}"
LEASE_SECONDS = 60
WAIT_SECONDS = 20
PAUSE_S = 1.0
MAX_FILES = 6

Json = dict[str, Any]


class Cancelled(Exception):
    """Somebody wants this run to end."""


class Lane:
    """A claimed run."""

    def __init__(self, wire: Wire, claimed: Json) -> None:
        self._wire = wire
        self._path = f"/api/agents/runs/{claimed['run']['id']}"
        self._holder = {"worker_id": WORKER, "lease_epoch": claimed["run"]["lease_epoch"]}
        self.input = claimed["input"]
        self.run_id = claimed["run"]["id"]

    def report(self, *events: tuple[str, Json], **fields: Any) -> list[Json]:
        """Sends events and renews the lease; what is wanted of the run. Raises Cancelled."""
        told = [{"id": fresh_id(), "type": kind, "payload": payload} for kind, payload in events]
        body = {**self._holder, "lease_seconds": LEASE_SECONDS, "events": told, **fields}
        commands: list[Json] = self._wire.post(f"{self._path}/events", body)["run"]["commands"]
        if any(command["type"] == "cancel" for command in commands):
            raise Cancelled
        return commands

    def ask(self, question: str) -> str:
        """Waits for an answer; each report is a heartbeat that waits with it."""
        commands = self.report(("run.waiting_for_input", {"question": question}))
        while not (answers := [command for command in commands if command["type"] == "input"]):
            commands = self.report(wait_seconds=WAIT_SECONDS)
        self.report(("command.acknowledged", {"command_id": answers[0]["command_id"]}))
        return str(answers[0]["content"])

    def complete(self, result: Json) -> None:
        """Ends the run well."""
        self._wire.post(f"{self._path}/complete", {**self._holder, "result": result})

    def give_in(self) -> None:
        """Ends the run because somebody wanted it to."""
        self._wire.post(f"{self._path}/events", {**self._holder, "events": [{"type": "run.cancelled", "payload": {}}]})


def weigh(lane: Lane, path: Path) -> int:
    """Weighs a file as one tool call, and says so as the answer goes on."""
    call = {"tool_call_id": fresh_id(), "name": "weigh"}
    lane.report(("tool.call", {**call, "arguments": {"path": path.name}}), log_line=f"weighing {path.name}")
    begun = time.monotonic()
    weight = len(path.read_bytes())
    done = {**call, "success": True, "duration_ms": int((time.monotonic() - begun) * 1000), "bytes": weight}
    lane.report(("tool.result", done), ("message.delta", {"content": f"{path.name} has {weight} bytes. "}))
    return weight


def work(lane: Lane, root: Path) -> None:
    """One run from its claim to its end."""
    wanted = root / str(lane.input or ".")
    if not wanted.resolve().is_relative_to(root) or not wanted.exists():
        wanted = root
    say(AGENT, f"claims {lane.run_id}: {wanted.relative_to(root)}")
    lane.report(phase="looking")
    files = [wanted] if wanted.is_file() else sorted(path for path in wanted.iterdir() if path.is_file())
    weight, weighed = 0, files[:MAX_FILES]
    for path in weighed:
        weight += weigh(lane, path)
        time.sleep(PAUSE_S)
    if len(files) > len(weighed):
        left = len(files) - len(weighed)
        if lane.ask(f"There are {left} more files. Weigh them too?").strip().lower().startswith("y"):
            weighed = files
            weight += sum(len(path.read_bytes()) for path in files[MAX_FILES:])
    lane.report(phase="done")
    lane.complete({"files": len(weighed), "bytes": weight})
    say(AGENT, f"completes {lane.run_id}: {weight} bytes in {len(weighed)} files")


def main() -> None:
    root = folder_of(__doc__)
    wire = Wire()
    while True:
        wanted = {"worker_id": WORKER, "agents": [AGENT], "lease_seconds": LEASE_SECONDS, "wait_seconds": WAIT_SECONDS}
        claimed = wire.post("/api/agents/runs/claim", wanted)
        if claimed is None:
            continue
        lane = Lane(wire, claimed)
        try:
            work(lane, root)
        except Cancelled:
            lane.give_in()
            say(AGENT, f"{lane.run_id} was cancelled")
        except Refused as refused:
            # 409: the lease is gone or the run has ended; whatever is left to do is no longer ours.
            say(AGENT, f"gives up {lane.run_id}: {refused}")


if __name__ == "__main__":
    main()
